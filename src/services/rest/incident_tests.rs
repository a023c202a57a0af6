//! Incidents and the telemetry that apps add to them (protocol.md §8.21, 18.13), with a scripted session.

use super::testkit::{APP, Kit, USER};
use super::*;
use crate::base::ids::{Package, UserId};
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
        let calls = crate::services::context::lock(&kit.calls).clone();
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
        assert_eq!(
            kit.bearer(&stranger, Route::IncidentLogs, "POST", &[&id], logs.clone())
                .await
                .0,
            403
        );
        assert_eq!(
            kit.client(Route::IncidentLogs, "POST", &["../../etc"], logs)
                .await
                .0,
            404
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
