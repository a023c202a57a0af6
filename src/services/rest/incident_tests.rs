//! Incidents and the telemetry that apps add to them (protocol.md §8.21, 18.13), with a scripted session.

use super::testkit::{APP, KEY, Kit, USER};
use super::*;
use crate::base::ids::{Package, UserId};
use crate::services::store::{Change, DocKey};
use crate::session::effects::IncidentLogs;
use crate::session::rest::Call;

#[test]
fn an_incident_asks_running_apps_and_takes_their_logs() {
    Kit::run(|kit| async move {
        kit.session(|call| match call {
            Call::Snapshot => Some(RestAnswer::json(
                200,
                json!({"running": [APP], "capabilities": null}).to_string(),
            )),
            _ => Some(RestAnswer::json(200, "{}")),
        });
        let (_, body) = kit
            .client(
                Route::Incident,
                "POST",
                &[],
                json!({"feedback": {"type": "bug"}}),
            )
            .await;
        let id = body["incidentId"].as_str().expect("an id").to_owned();
        let calls = crate::services::lock::lock(&kit.calls).clone();
        let Some(Call::RequestTelemetry { tokens, .. }) = calls.last() else {
            panic!("{calls:?}")
        };
        assert_eq!(tokens[0].0, APP);
        let logs = json!({"logs": [{"message": "hm"}]});
        let sent = kit
            .bearer(
                &tokens[0].1,
                Route::IncidentLogs,
                "POST",
                &[&id],
                logs.clone(),
            )
            .await;
        assert_eq!(sent, (200, json!({"success": true})));
        assert_eq!(
            kit.client(Route::IncidentLogs, "POST", &[&id], logs.clone())
                .await
                .0,
            200
        );
        let stranger = kit.token("eve@lumen.io");
        let refused =
            |status: u16, text: &str| (status, json!({"success": false, "message": text}));
        assert_eq!(
            kit.bearer(&stranger, Route::IncidentLogs, "POST", &[&id], logs.clone())
                .await,
            refused(403, "Forbidden")
        );
        assert_eq!(
            kit.client(Route::IncidentLogs, "POST", &["../../etc"], logs)
                .await,
            refused(404, "Incident not found")
        );
        assert_eq!(
            kit.client(Route::Feedback, "POST", &[], json!({"feedback": " "}))
                .await
                .0,
            400
        );
    });
}

#[test]
fn telemetry_over_the_socket_is_kept_only_with_the_users_own_incident() {
    Kit::run(|kit| async move {
        let feedback = json!({"feedback": {"type": "bug"}});
        let (_, body) = kit.client(Route::Incident, "POST", &[], feedback).await;
        let id = body["incidentId"].as_str().expect("an id").to_owned();
        for (user, incident_id, is_stored) in [
            (USER, id.as_str(), true),
            ("eve@lumen.io", id.as_str(), false),
            (USER, "../../etc", false),
        ] {
            let over_socket = IncidentLogs {
                incident_id: incident_id.into(),
                package: Package::new(APP),
                logs: "[]".into(),
            };
            let stored = incidents::from_socket(&kit.cx, &UserId::new(user), &over_socket).await;
            assert_eq!(stored.is_ok(), is_stored, "{user} {incident_id}");
        }
    });
}

#[test]
fn pictures_of_an_incident_are_counted_and_one_bad_one_does_not_cost_the_others() {
    Kit::run(|kit| async move {
        let feedback = json!({"feedback": {"type": "bug"}});
        let (_, body) = kit.client(Route::Incident, "POST", &[], feedback).await;
        let id = body["incidentId"].as_str().expect("an id").to_owned();
        let upload = |files: &[(&str, &str)]| {
            let mut r = Kit::request(Route::IncidentAttachments, "POST", &[&id], &Value::Null);
            let form = "multipart/form-data; boundary=b".to_owned();
            r.headers = vec![
                (
                    "authorization".into(),
                    format!("Bearer {}", kit.token(USER)),
                ),
                ("content-type".into(), form),
            ];
            let parts = files.iter().map(|(name, kind)| {
                format!("--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\nX\r\n")
            });
            r.body = (parts.collect::<String>() + "--b--\r\n").into();
            r
        };
        let mixed = [
            ("a.jpg", "image/jpeg"),
            ("b.heic", "image/heic"),
            ("c.png", "image/png"),
            ("d.jpg", "image/jpg"),
        ];
        let (status, body) = kit.send(&upload(&mixed)).await;
        assert_eq!((status, &body["success"]), (200, &json!(true)));
        let names: Vec<_> = body["uploaded"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|file| file["filename"].as_str().expect("a name"))
            .collect();
        assert_eq!(names, ["a.jpg", "c.png", "d.jpg"]);
        assert_eq!(
            body["errors"],
            json!([{"filename": "b.heic", "error": "Invalid file type: image/heic. Allowed: PNG, JPEG, WebP"}])
        );
        // None of them kept is no success, but not the request's fault.
        let (status, body) = kit.send(&upload(&mixed[1..2])).await;
        assert_eq!((status, &body["success"]), (200, &json!(false)));
        assert_eq!(body["uploaded"], json!([]));
        let refused = |(status, body): (u16, Value)| (status, body["message"].clone());
        let none = refused(kit.send(&upload(&[])).await);
        assert_eq!(none, (400, "No files provided".into()));
        let many = refused(kit.send(&upload(&[("e.jpg", "image/jpeg"); 3])).await);
        assert_eq!(many, (400, "Can only add 2 more attachment(s)".into()));
        let (status, body) = kit.send(&upload(&[("e.jpg", "image/jpeg"); 2])).await;
        assert_eq!((status, &body["success"]), (200, &json!(true)));
        assert_eq!(body.get("errors"), None);
        let full = refused(kit.send(&upload(&mixed[..1])).await);
        assert_eq!(full, (400, "Maximum 5 attachments allowed".into()));
        let folder = files::folder(&kit.cx, "incidents").join(&id);
        let kept = std::fs::read_dir(folder).expect("a folder").count();
        assert_eq!(kept, 5, "what is not listed is not kept");
    });
}

#[test]
fn bug_reports_are_refused_in_the_words_of_their_family() {
    Kit::run(|kit| async move {
        let refused =
            |status: u16, text: &str| (status, json!({"success": false, "message": text}));
        let bug = json!({"feedback": {"type": "bug"}});
        for (body, text) in [
            (json!({}), "Missing feedback data"),
            (json!({"feedback": "it broke"}), "Missing feedback data"),
            (
                json!({"feedback": {"type": "feature"}}),
                "Incidents are only for bug reports",
            ),
            (Value::Null, "Invalid JSON body"),
        ] {
            let answer = kit.client(Route::Incident, "POST", &[], body.clone()).await;
            assert_eq!(answer, refused(400, text), "{body}");
        }
        let (_, body) = kit.client(Route::Incident, "POST", &[], bug.clone()).await;
        let id = body["incidentId"].as_str().expect("an id").to_owned();
        for route in [Route::Incident, Route::IncidentAttachments] {
            let bare = Kit::request(route, "POST", &[&id], &bug);
            assert_eq!(
                kit.send(&bare).await,
                refused(401, "Missing authentication")
            );
            let wrong = kit
                .bearer("a.b.c", route, "POST", &[&id], bug.clone())
                .await;
            assert_eq!(wrong, refused(401, "Invalid token"));
        }
    });
}

#[test]
fn telemetry_of_an_app_needs_its_key_and_the_token_of_this_incident() {
    Kit::run(|kit| async move {
        let refused =
            |status: u16, text: &str| (status, json!({"success": false, "message": text}));
        let bug = json!({"feedback": {"type": "bug"}});
        let (_, body) = kit.client(Route::Incident, "POST", &[], bug).await;
        let id = body["incidentId"].as_str().expect("an id").to_owned();
        let minted = |incident: &str, package: &str| {
            let claims = json!({"incidentId": incident, "packageName": package, "userId": USER});
            kit.cx.tokens.mint(&claims).expect("claims")
        };
        let app = |key: &str, token: Option<String>| {
            let body = json!({"logs": [], "uploadToken": token});
            let mut r = Kit::request(Route::IncidentLogs, "POST", &[&id], &body);
            r.headers = vec![
                ("x-app-api-key".into(), key.into()),
                ("x-app-package".into(), APP.into()),
            ];
            r
        };
        for (request, status, text) in [
            (
                Kit::request(Route::IncidentLogs, "POST", &[&id], &json!({})),
                400,
                "Invalid payload: logs array required",
            ),
            (
                Kit::request(Route::IncidentLogs, "POST", &[&id], &json!({"logs": []})),
                401,
                "Missing authentication",
            ),
            (app("wrong", None), 401, "Invalid app credentials"),
            (app(KEY, None), 401, "Missing uploadToken for app telemetry"),
            (
                app(KEY, Some("a.b".into())),
                401,
                "Invalid or expired uploadToken",
            ),
            (
                app(KEY, Some(minted(&id, "com.acme.other"))),
                401,
                "Invalid uploadToken",
            ),
            (
                app(KEY, Some(minted("another", APP))),
                401,
                "Invalid uploadToken",
            ),
        ] {
            assert_eq!(kit.send(&request).await, refused(status, text));
        }
        let bare = minted("another", APP);
        let misused = kit
            .bearer(
                &bare,
                Route::IncidentLogs,
                "POST",
                &[&id],
                json!({"logs": []}),
            )
            .await;
        assert_eq!(misused, refused(401, "Invalid token"));
        let fine = app(KEY, Some(minted(&id, APP)));
        assert_eq!(kit.send(&fine).await, (200, json!({"success": true})));
    });
}

#[test]
fn what_is_long_is_not_even_read_for_a_stranger() {
    Kit::run(|kit| async move {
        let bug = json!({"feedback": {"type": "bug"}});
        let (_, body) = kit.client(Route::Incident, "POST", &[], bug).await;
        let id = body["incidentId"].as_str().expect("an id").to_owned();
        let long = json!({"logs": ["x".repeat(300_000)]});
        let whole = Kit::request(Route::IncidentLogs, "POST", &[&id], &long);
        let broken = OutsideRequest {
            body: whole.body.slice(1..),
            ..whole
        };
        let (status, body) = kit.send(&broken).await;
        assert_eq!(
            (status, &body["message"]),
            (401, &json!("Missing authentication"))
        );
        let claims = json!({"incidentId": id, "packageName": APP, "userId": USER});
        let token = kit.cx.tokens.mint(&claims).expect("claims");
        let known = kit
            .bearer(&token, Route::IncidentLogs, "POST", &[&id], long)
            .await;
        assert_eq!(known, (200, json!({"success": true})));
    });
}

#[test]
fn feedback_without_a_type_is_refused() {
    Kit::run(|kit| async move {
        for (body, text) in [
            (json!({}), "Feedback content required"),
            (
                json!({"feedback": {"text": "nice"}}),
                "Structured feedback must include 'type' field ('bug' or 'feature')",
            ),
        ] {
            let (status, answer) = kit.client(Route::Feedback, "POST", &[], body).await;
            assert_eq!((status, &answer["message"]), (400, &json!(text)));
            assert!(answer["timestamp"].is_string());
        }
        let idea = json!({"feedback": {"type": "feature"}});
        assert_eq!(kit.client(Route::Feedback, "POST", &[], idea).await.0, 200);
    });
}

#[test]
fn a_new_incident_beyond_the_bound_takes_the_place_of_the_oldest() {
    Kit::run(|kit| async move {
        let max = kit.cx.settings().store.incidents_per_user;
        let mut ids = Vec::new();
        for n in 0..=max {
            let feedback = json!({"feedback": {"type": "bug"}});
            let (status, body) = kit.client(Route::Incident, "POST", &[], feedback).await;
            assert_eq!(status, 200, "{n}");
            ids.push(body["incidentId"].as_str().expect("an id").to_owned());
            if n == 0 {
                let logs = json!({"logs": [1]});
                kit.client(Route::IncidentLogs, "POST", &[&ids[0]], logs)
                    .await;
            }
        }
        let folders = files::folder(&kit.cx, "incidents");
        let logs = json!({"logs": [1]});
        for (id, status) in [(&ids[0], 404), (&ids[1], 200), (&ids[max as usize], 200)] {
            let answer = kit
                .client(Route::IncidentLogs, "POST", &[id], logs.clone())
                .await;
            assert_eq!(answer.0, status, "{id}");
            let files = std::fs::read_dir(folders.join(id)).map_or(0, Iterator::count);
            assert_eq!(files, usize::from(status == 200), "{id}");
        }
        // Another user's are counted apart.
        let eve = kit.token("eve@lumen.io");
        let feedback = json!({"feedback": {"type": "bug"}});
        kit.bearer(&eve, Route::Incident, "POST", &[], feedback)
            .await;
        let logs = kit
            .client(Route::IncidentLogs, "POST", &[&ids[1]], logs)
            .await;
        assert_eq!(logs.0, 200);
    });
}

/// Incidents that a version stored which did not count them.
#[test]
fn incidents_from_before_they_were_counted_count() {
    let three = |settings: &mut crate::base::settings::Settings| {
        settings.store.incidents_per_user = 3;
    };
    Kit::run_with(three, |kit| async move {
        let earlier = |id: &str, user: &str, day: u32| {
            let at = format!("2026-01-0{day}T00:00:00.000Z");
            // A report may name whom it likes.
            let incident = json!({"id": id, "user": user, "createdAt": at, "feedback": {"user": USER}, "logs": []});
            kit.cx
                .writes
                .apply(Change::PutIncident(id.to_owned(), incident))
        };
        let stored = [
            ("i3", USER, 1),
            ("i1", USER, 2),
            ("i0", USER, 3),
            ("i2", USER, 4),
        ];
        for (id, user, day) in stored.into_iter().chain([("eve", "eve@lumen.io", 1)]) {
            earlier(id, user, day).await.expect("stored");
        }
        let feedback = json!({"feedback": {"type": "bug"}});
        let all = ["i3", "i1", "i0", "i2"];
        // More than may be: each new one takes the place of the oldest, and of no other.
        for gone in 1..=3 {
            let report = kit.client(Route::Incident, "POST", &[], feedback.clone());
            assert_eq!(report.await.0, 200);
            for (index, id) in all.iter().enumerate() {
                let logs = json!({"logs": []});
                let (status, _) = kit.client(Route::IncidentLogs, "POST", &[id], logs).await;
                let expected = if index < gone { 404 } else { 200 };
                assert_eq!(status, expected, "{id} after {gone}");
            }
        }
        let eves: Option<Value> = kit
            .cx
            .writes
            .read(DocKey::incident("eve"))
            .await
            .expect("reads");
        assert!(eves.is_some());
    });
}

/// Whose record is damaged has the more to report; what is told to be refused must not be stored, or a client repeats it.
#[test]
fn an_incident_of_a_user_whose_record_is_damaged_is_taken() {
    Kit::run(|kit| async move {
        kit.store.put(DocKey::user(&Kit::user()), b"{");
        let feedback = json!({"feedback": {"type": "bug"}});
        let (status, body) = kit.client(Route::Incident, "POST", &[], feedback).await;
        assert_eq!(status, 200);
        let id = body["incidentId"].as_str().expect("an id");
        let logs = json!({"logs": []});
        let logs = kit.client(Route::IncidentLogs, "POST", &[id], logs).await;
        assert_eq!(logs.0, 200);
    });
}

#[test]
fn a_client_that_reports_errors_without_end_does_not_fill_the_log() {
    let lines = crate::base::log_capture::lines_of(|| {
        Kit::run(|kit| async move {
            for _ in 0..500 {
                let report = json!({"error": "again"});
                let answer = kit
                    .bearer("", Route::ErrorReport, "POST", &[], report)
                    .await;
                assert_eq!(answer, (200, json!({"success": true})));
            }
        });
    });
    let told = lines.iter().filter(|line| line.contains("error-report"));
    assert!((1..=20).contains(&told.count()), "one a second");
}
