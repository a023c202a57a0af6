//! REST, tests: installed apps, their settings and their servers.

use super::*;
use crate::wire::records::{AppRecord, HardwareRequirement};

#[test]
fn nothing_is_confirmed_while_the_store_is_down() {
    let slow = |settings: &mut Settings| settings.store.db_timeout_ms = 30;
    Kit::run_with(slow, |kit| async move {
        kit.store.set_failing(true);
        let (status, _) = kit
            .app(
                Route::StorageKey,
                "PUT",
                &[USER, "k"],
                json!({"value": "v"}),
            )
            .await;
        assert_eq!(status, 503);
    });
}

#[test]
fn app_lists_hide_key_hashes_and_show_what_runs() {
    Kit::run(|kit| async move {
        kit.session(|call| match call {
            Call::Snapshot => Some(RestAnswer::json(
                200,
                json!({"running": [APP], "capabilities": null}).to_string(),
            )),
            _ => ok(),
        });
        let (_, body) = kit.client(Route::Apps, "GET", &[], Value::Null).await;
        assert!(
            !body
                .to_string()
                .contains(&crate::wire::auth::sha256_hex(KEY))
        );
        let list = body["data"].as_array().expect("a list");
        let scribe = list
            .iter()
            .find(|app| app["packageName"] == APP)
            .expect("listed");
        assert_eq!(
            (&scribe["is_running"], &scribe["isOnline"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(scribe["compatibility"], json!({}), "of no glasses");
        let mut search = Kit::request(Route::AppsSearch, "GET", &[], &Value::Null);
        assert_eq!(kit.send(&search).await.0, 400);
        search.query.push(("query".into(), "SCRIBE".into()));
        assert_eq!(
            kit.send(&search).await.1["data"].as_array().map(Vec::len),
            Some(1)
        );
    });
}

#[test]
fn unmet_requirements_are_listed_as_the_app_states_them() {
    let need = |kind: &str, level: &str, description: Option<&str>| HardwareRequirement {
        kind: kind.into(),
        level: level.into(),
        description: description.map(Into::into),
    };
    let record = AppRecord {
        hardware_requirements: vec![
            need("CAMERA", "REQUIRED", None),
            need("LIGHT", "OPTIONAL", Some("blinks")),
            need("DISPLAY", "REQUIRED", None),
        ],
        ..AppRecord::default()
    };
    assert_eq!(
        crate::services::rest::apps::compatibility(&record, &json!({"hasDisplay": true})),
        json!({"isCompatible": false, "missingRequired": [{"type": "CAMERA"}],
            "missingOptional": [{"type": "LIGHT", "description": "blinks"}]})
    );
}

#[test]
fn a_setting_that_was_set_to_null_shows_its_default_as_in_an_ack() {
    Kit::run(|kit| async move {
        kit.session(|_| ok());
        let none = json!({"key": "lang", "value": null});
        let posted = kit.client(Route::AppSettings, "POST", &[APP], none).await;
        assert_eq!(posted.0, 200);
        let (_, body) = kit
            .client(Route::AppSettings, "GET", &[APP], Value::Null)
            .await;
        assert_eq!(body["settings"][1]["selected"], "en");
    });
}

#[test]
fn app_settings_show_the_selected_value_and_reach_the_session() {
    Kit::run(|kit| async move {
        kit.session(|_| ok());
        let (_, body) = kit
            .client(Route::AppSettings, "GET", &[APP], Value::Null)
            .await;
        assert_eq!(body["settings"][1]["selected"], "en");
        assert_eq!(body["settings"][0].get("selected"), None);
        let publisher = json!({"name": "Acme", "website": "https://acme.com"});
        assert_eq!(body["organization"], publisher);
        let posted = kit
            .client(
                Route::AppSettings,
                "POST",
                &[APP],
                json!({"key": "lang", "value": "pt"}),
            )
            .await;
        assert_eq!(
            posted,
            (
                200,
                json!({"success": true, "message": "Settings updated successfully"})
            )
        );
        let (_, body) = kit
            .client(Route::AppSettings, "GET", &[APP], Value::Null)
            .await;
        assert_eq!(body["settings"][1]["selected"], "pt");
        let bad = kit
            .client(Route::AppSettings, "POST", &[APP], json!({"nokey": 1}))
            .await;
        assert_eq!(bad.0, 400);
        let nothing = kit
            .client(Route::AppSettings, "POST", &[APP], json!([]))
            .await;
        assert_eq!(nothing.0, 200, "a list of no changes is a list");
        let calls = crate::services::lock::lock(&kit.calls).clone();
        let told = Call::AppSettings {
            package: APP.into(),
            settings: vec![json!({"key": "lang", "value": "pt"})],
        };
        assert_eq!(calls, [told.clone(), told]);
        let mut refetch = Kit::request(Route::AppSettingsUser, "GET", &[APP], &Value::Null);
        refetch.headers = vec![
            ("authorization".into(), format!("Bearer {APP}:{KEY}")),
            ("x-user-id".into(), USER.into()),
        ];
        let (_, body) = kit.send(&refetch).await;
        assert_eq!(
            body["settings"],
            json!([{
                "key": "lang", "type": "select", "label": "Language", "options": [], "value": "pt", "defaultValue": "en"
            }])
        );
        refetch.headers = vec![("authorization".into(), format!("Bearer {USER}"))];
        assert_eq!(
            kit.send(&refetch).await.0,
            401,
            "a bare e-mail is no credential"
        );
        refetch.headers.clear();
        let missing = json!({"error": "User ID missing in Authorization header"});
        assert_eq!(kit.send(&refetch).await, (400, missing));
    });
}

#[test]
fn settings_fetched_anew_are_those_of_an_update_also_where_the_app_declares_none_of_them() {
    Kit::run(|kit| async move {
        kit.session(|_| ok());
        let own = json!({"key": "size", "value": 3});
        let posted = kit.client(Route::AppSettings, "POST", &[APP], own).await;
        assert_eq!(posted.0, 200);
        let mut refetch = Kit::request(Route::AppSettingsUser, "GET", &[APP], &Value::Null);
        refetch.headers = vec![
            ("authorization".into(), format!("Bearer {APP}:{KEY}")),
            ("x-user-id".into(), USER.into()),
        ];
        let (_, body) = kit.send(&refetch).await;
        let settings = body["settings"].as_array().expect("a list").iter();
        let known: Vec<_> = settings
            .map(|item| json!([item["key"], item["value"]]))
            .collect();
        assert_eq!(known, [json!(["lang", "en"]), json!(["size", 3])]);
    });
}

#[test]
fn a_restarted_app_server_gets_its_sessions_back() {
    Kit::run(|kit| async move {
        kit.session(|_| ok());
        let register = json!({"packageName": APP, "apiKey": KEY, "webhookUrl": "http://127.0.0.1:7010/webhook"});
        let send = |route, body: Value| {
            let kit = &kit;
            async move { kit.send(&Kit::request(route, "POST", &[], &body)).await }
        };
        let mut wrong = register.clone();
        wrong["apiKey"] = json!("wrong");
        assert_eq!(send(Route::ServerRegister, wrong).await.0, 401);
        assert_eq!(
            send(Route::ServerRegister, json!({"packageName": APP}))
                .await
                .0,
            400
        );
        let (status, body) = send(Route::ServerRegister, register).await;
        assert_eq!(status, 201);
        let id = json!({"registrationId": body["registrationId"]});
        assert_eq!(
            send(Route::ServerHeartbeat, id.clone()).await,
            (200, json!({"success": true}))
        );
        let link = |change| AppLink {
            user: Kit::user(),
            package: Package::new(APP),
            key_sha256: crate::wire::auth::sha256_hex(KEY),
            change,
        };
        registrations::sockets::note(&kit.cx, &link(LinkChange::Attached));
        registrations::sockets::note(&kit.cx, &link(LinkChange::Lost));
        let restarted = send(Route::ServerRestart, id.clone()).await;
        assert_eq!(
            restarted,
            (200, json!({"success": true, "recoveredSessions": 1}))
        );
        registrations::sockets::note(&kit.cx, &link(LinkChange::Ended));
        assert_eq!(
            send(Route::ServerRestart, id).await.1["recoveredSessions"],
            0
        );
        let unknown = send(Route::ServerHeartbeat, json!({"registrationId": "x"})).await;
        assert_eq!(
            unknown,
            (
                404,
                json!({"success": false, "error": "Registration not found"})
            )
        );
    });
}

/// Of four sessions one accepts, one does not want the app any more, one has a server that refuses, and one is over.
#[test]
fn a_recovery_counts_what_was_accepted() {
    Kit::run(|kit| async move {
        let mut answers = [
            ok(),
            Some(RestAnswer::json(409, "{}")),
            Some(RestAnswer::json(502, "{}")),
            None,
        ]
        .into_iter();
        kit.session(move |_| answers.next().flatten());
        let register = json!({"packageName": APP, "apiKey": KEY, "webhookUrl": "http://127.0.0.1:7010/webhook"});
        let register = Kit::request(Route::ServerRegister, "POST", &[], &register);
        let id = kit.send(&register).await.1["registrationId"].clone();
        for user in [
            "ada@lumen.io",
            "ben@lumen.io",
            "cy@lumen.io",
            "dee@lumen.io",
        ] {
            let attached = AppLink {
                user: UserId::new(user),
                package: Package::new(APP),
                key_sha256: crate::wire::auth::sha256_hex(KEY),
                change: LinkChange::Attached,
            };
            registrations::sockets::note(&kit.cx, &attached);
        }
        let restart = json!({ "registrationId": id });
        let restart = Kit::request(Route::ServerRestart, "POST", &[], &restart);
        assert_eq!(
            kit.send(&restart).await,
            (200, json!({"success": true, "recoveredSessions": 1}))
        );
        assert_eq!(
            crate::services::lock::lock(&kit.calls).len(),
            3,
            "each was asked once"
        );
    });
}

#[test]
fn system_apps_are_checked_in_order() {
    Kit::run(|kit| async move {
        let mut list = Kit::request(Route::SystemApps, "GET", &[], &Value::Null);
        assert_eq!(kit.send(&list).await.0, 400);
        let mut with = |package: &str, key: &str| {
            list.query = [("apiKey", key), ("packageName", package), ("userId", USER)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec();
            list.clone()
        };
        assert_eq!(kit.send(&with(APP, KEY)).await.0, 403);
        assert_eq!(
            kit.send(&with("com.mentra.assistant", "wrong")).await.1["error"],
            "Invalid API key"
        );
        let (status, body) = kit.send(&with("com.mentra.assistant", KEY)).await;
        assert_eq!(
            (status, &body["error"]),
            (401, &json!("No active session found for user"))
        );
        kit.session(|call| match call {
            Call::Snapshot => Some(RestAnswer::json(
                200,
                json!({"running": [APP], "capabilities": null}).to_string(),
            )),
            _ => ok(),
        });
        let query = with("com.mentra.assistant", KEY).query;
        let of = |route| OutsideRequest {
            query: query.clone(),
            ..Kit::request(route, "POST", &[APP], &Value::Null)
        };
        let start = kit.send(&of(Route::SystemAppStart)).await;
        assert_eq!(
            (start.0, &start.1["error"]),
            (404, &json!("App is not installed"))
        );
        // What runs can be stopped, though it was uninstalled meanwhile.
        assert_eq!(kit.send(&of(Route::SystemAppStop)).await.0, 200);
    });
}

#[test]
fn the_list_of_all_apps_refuses_as_other_lists_and_assistants_calls_do() {
    Kit::run(|kit| async move {
        let mut list = Kit::request(Route::Apps, "GET", &[], &Value::Null);
        let error = |text: &str| (401, json!({ "error": text }));
        let missing = error("Authorization header missing or invalid");
        assert_eq!(kit.send(&list).await, missing);
        assert_eq!(
            kit.bearer("a.b", Route::Apps, "GET", &[], Value::Null)
                .await,
            error("Invalid or expired token")
        );
        let refused = |status: u16, text: &str| (status, json!({"success": false, "error": text}));
        list.query = vec![("apiKey".into(), KEY.into())];
        let text = "Missing required query parameters: apiKey, packageName, userId";
        assert_eq!(kit.send(&list).await, refused(400, text));
        for (name, value) in [("packageName", "com.mentra.assistant"), ("userId", USER)] {
            list.query.push((name.into(), value.into()));
        }
        let nobody = refused(401, "No active session found for user");
        assert_eq!(kit.send(&list).await, nobody);
        kit.session(|_| {
            let live = r#"{"running":["com.acme.scribe"],"capabilities":null}"#;
            Some(RestAnswer::json(200, live))
        });
        let (status, body) = kit.send(&list).await;
        let running = |app: &&Value| app["is_running"] == true;
        let running = body["data"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(running);
        assert_eq!((status, running.count()), (200, 1));
    });
}

#[test]
fn assistants_need_a_live_session_for_tools_too() {
    Kit::run(|kit| async move {
        let of = |route, method: &str| {
            let body = json!({"toolId": "t"});
            let mut request = Kit::request(route, method, &["com.acme.other"], &body);
            let query = [
                ("apiKey", KEY),
                ("packageName", "com.mentra.assistant"),
                ("userId", USER),
            ];
            request.query = query
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec();
            request
        };
        let refused = json!({"success": false, "error": "No active session found for user"});
        for request in [
            of(Route::SystemTools, "GET"),
            of(Route::SystemInvokeTool, "POST"),
        ] {
            assert_eq!(kit.send(&request).await, (401, refused.clone()));
        }
        kit.session(|_| {
            Some(RestAnswer::json(
                200,
                r#"{"running":[],"capabilities":null}"#,
            ))
        });
        assert_eq!(kit.send(&of(Route::SystemTools, "GET")).await.0, 200);
    });
}
