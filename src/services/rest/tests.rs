//! REST as phones and app servers see it (protocol.md §18), with a scripted session.

use super::testkit::{APP, KEY, Kit, USER};
use super::*;
use crate::base::ids::Package;
use crate::session::rest::Call;
use crate::shard::mailbox::{AppLink, LinkChange};

fn ok() -> Option<RestAnswer> {
    Some(RestAnswer::json(200, "{}"))
}

#[test]
fn client_tokens_are_refused_in_the_documented_words() {
    Kit::run(|kit| async move {
        let bare = Kit::request(Route::UserSettings, "GET", &[], &Value::Null);
        assert_eq!(
            kit.send(&bare).await,
            (
                401,
                json!({"error": "Authorization header missing or invalid"})
            )
        );
        let wrong = kit
            .bearer("null", Route::UserSettings, "GET", &[], Value::Null)
            .await;
        assert_eq!(wrong, (401, json!({"error": "Invalid token"})));
        let no_email = kit.cx.tokens.mint(&json!({"sub": "x"})).expect("claims");
        let wrong = kit
            .bearer(&no_email, Route::UserSettings, "GET", &[], Value::Null)
            .await;
        assert_eq!(wrong, (401, json!({"error": "Invalid token data"})));
        let (status, body) = kit
            .bearer("a.b.c", Route::UserSettings, "GET", &[], Value::Null)
            .await;
        assert_eq!(
            (status, &body["error"]),
            (401, &json!("Invalid or expired token"))
        );
        assert!(body["message"].is_string());
    });
}

#[test]
fn installing_is_durable_then_told_to_the_session() {
    Kit::run(|kit| async move {
        kit.session(|_| ok());
        let install = kit
            .client(Route::Install, "POST", &[APP], Value::Null)
            .await;
        assert_eq!(
            install,
            (
                200,
                json!({"success": true, "message": format!("App {APP} installed successfully")})
            )
        );
        let again = kit
            .client(Route::Install, "POST", &[APP], Value::Null)
            .await;
        assert_eq!(
            again,
            (
                400,
                json!({"success": false, "message": "App is already installed"})
            )
        );
        let unknown = kit
            .client(Route::Install, "POST", &["com.nobody"], Value::Null)
            .await;
        assert_eq!(
            unknown,
            (404, json!({"success": false, "message": "App not found"}))
        );
        let record = apps::user_record(&kit.cx, &Kit::user())
            .await
            .expect("reads");
        let installed: Vec<_> = record
            .installed_apps
            .iter()
            .map(|app| app.package_name.as_str())
            .collect();
        assert_eq!(installed, ["com.acme.other", APP]);
        let (status, _) = kit
            .client(Route::Uninstall, "POST", &[APP], Value::Null)
            .await;
        assert_eq!(status, 200);
        let gone = kit
            .client(Route::Uninstall, "POST", &[APP], Value::Null)
            .await;
        assert_eq!(
            gone,
            (
                400,
                json!({"success": false, "message": "App is not installed"})
            )
        );
        let calls = crate::services::context::lock(&kit.calls).clone();
        assert!(
            matches!(
                &calls[..],
                [
                    Call::InstallChanged {
                        installed: Some(_),
                        ..
                    },
                    Call::InstallChanged {
                        installed: None,
                        ..
                    }
                ]
            ),
            "{calls:?}"
        );
    });
}

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
        assert_eq!(scribe["compatibility"]["isCompatible"], true);
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
fn user_settings_merge_and_null_deletes() {
    Kit::run(|kit| async move {
        kit.session(|_| ok());
        let put = json!({"settings": {"brightness": 40, "timezone": "Europe/Lisbon"}});
        let (status, body) = kit.client(Route::UserSettings, "PUT", &[], put).await;
        assert_eq!(
            (status, &body["data"]["settings"]["brightness"]),
            (200, &json!(40))
        );
        let (_, body) = kit
            .client(
                Route::UserSettings,
                "POST",
                &[],
                json!({"settings": {"brightness": null}}),
            )
            .await;
        assert_eq!(
            body["data"]["settings"],
            json!({"timezone": "Europe/Lisbon"})
        );
        let (status, body) = kit.client(Route::UserSettings, "PUT", &[], json!({})).await;
        assert_eq!(
            (status, &body["message"]),
            (400, &json!("Settings object required"))
        );
        let (_, body) = kit
            .client(
                Route::UserSettingsKey,
                "PUT",
                &["a.b"],
                json!({"value": [1]}),
            )
            .await;
        assert_eq!(body["data"], json!({"key": "a.b", "value": [1]}));
        let (_, body) = kit
            .client(Route::UserSettingsKey, "GET", &["a.b"], Value::Null)
            .await;
        assert_eq!(
            body["data"],
            json!({"key": "a.b", "value": [1], "exists": true})
        );
        let (_, body) = kit
            .client(Route::UserSettingsKey, "DELETE", &["a.b"], Value::Null)
            .await;
        assert_eq!(body["data"], json!({"key": "a.b", "deleted": true}));
        let (_, body) = kit
            .client(Route::UserSettingsKey, "GET", &["a.b"], Value::Null)
            .await;
        assert_eq!(
            body["data"],
            json!({"key": "a.b", "value": null, "exists": false})
        );
        let calls = crate::services::context::lock(&kit.calls).clone();
        assert_eq!(
            calls
                .iter()
                .filter(|call| matches!(call, Call::UserSettings { .. }))
                .count(),
            4
        );
    });
}

#[test]
fn simple_storage_follows_its_table() {
    Kit::run(|kit| async move {
        let all =
            |method: &'static str, body| kit.app(Route::Storage, method, &["NADIA@lumen.io"], body);
        let key = |method: &'static str, key: &'static str, body| {
            let kit = &kit;
            async move { kit.app(Route::StorageKey, method, &[USER, key], body).await }
        };
        assert_eq!(
            all("GET", Value::Null).await,
            (200, json!({"success": true, "data": {}}))
        );
        assert_eq!(all("DELETE", Value::Null).await.0, 404);
        assert_eq!(
            key("DELETE", "k", Value::Null).await.1["message"],
            "Storage not found"
        );
        assert_eq!(
            all("PUT", json!({"data": {"a.b": "1"}})).await,
            (200, json!({"success": true, "message": "Storage updated"}))
        );
        assert_eq!(
            all("PUT", json!({"data": {"x": 1}})).await,
            (400, json!({"error": "All values must be strings"}))
        );
        assert_eq!(all("PUT", json!([])).await.0, 400);
        assert_eq!(
            key("GET", "a.b", Value::Null).await,
            (200, json!({"success": true, "data": {"value": "1"}}))
        );
        assert_eq!(key("GET", "a", Value::Null).await.0, 404);
        assert_eq!(key("PUT", "k", json!({"value": 1})).await.0, 400);
        assert_eq!(
            key("PUT", "k", json!({"value": "v"})).await.1["message"],
            "Key \"k\" set"
        );
        let (status, body) = key("PUT", "k", json!({"value": "x".repeat(100_001)})).await;
        assert!(
            status == 400
                && body["error"]
                    .as_str()
                    .is_some_and(|text| text.contains("exceeds 100KB limit")),
            "{body}"
        );
        for index in 0..9 {
            let data = json!({"data": {format!("big{index}"): "x".repeat(100_000)}});
            assert_eq!(all("PUT", data).await.0, 200);
        }
        let (status, body) = all("PUT", json!({"data": {"over": "x".repeat(100_000)}})).await;
        assert!(
            status == 413
                && body["error"]
                    .as_str()
                    .is_some_and(|text| text.contains("exceeds 1MB limit")),
            "{body}"
        );
        assert_eq!(all("DELETE", Value::Null).await.0, 200);
    });
}

#[test]
fn app_credentials_are_checked_in_the_documented_words() {
    Kit::run(|kit| async move {
        for (token, error) in [
            ("nocolon", "Invalid token format"),
            ("a:b:c", "Invalid token format"),
            ("com.acme.scribe:", "Invalid credentials"),
            ("com.acme.scribe:wrong", "Invalid API key"),
            ("com.nobody:key", "Invalid API key"),
        ] {
            let (status, body) = kit
                .bearer(token, Route::Storage, "GET", &[USER], Value::Null)
                .await;
            assert_eq!((status, &body["error"]), (401, &json!(error)), "{token}");
        }
        let bare = Kit::request(Route::Storage, "GET", &[USER], &Value::Null);
        assert_eq!(
            kit.send(&bare).await.1["error"],
            "Missing Authorization header"
        );
    });
}

#[test]
fn the_storage_rate_limit_is_off_until_configured() {
    Kit::run_with(
        |settings| settings.messages.storage_rate_per_min = 2,
        |kit| async move {
            for wanted in [200, 200, 429] {
                let (status, _) = kit
                    .app(
                        Route::StorageKey,
                        "PUT",
                        &[USER, "k"],
                        json!({"value": "v"}),
                    )
                    .await;
                assert_eq!(status, wanted);
            }
            assert_eq!(
                kit.app(Route::Storage, "GET", &[USER], Value::Null).await.0,
                200
            );
        },
    );
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
        let calls = crate::services::context::lock(&kit.calls).clone();
        assert_eq!(
            calls,
            [Call::AppSettings {
                package: APP.into(),
                settings: vec![json!({"key": "lang", "value": "pt"})]
            }]
        );
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
    });
}

#[test]
fn a_webview_ticket_becomes_a_user_once() {
    Kit::run(|kit| async move {
        let (_, body) = kit
            .client(
                Route::WebviewToken,
                "POST",
                &[],
                json!({"packageName": APP}),
            )
            .await;
        let ticket = body["token"].as_str().expect("a token").to_owned();
        let redeem = json!({"aos_temp_token": ticket, "packageName": APP});
        assert_eq!(
            kit.app(Route::ExchangeUserToken, "POST", &[], redeem.clone())
                .await,
            (200, json!({"success": true, "userId": USER}))
        );
        let (status, body) = kit
            .bearer(KEY, Route::ExchangeUserToken, "POST", &[], redeem)
            .await;
        assert_eq!((status, &body["code"]), (401, &json!("token_used")));
        let (status, body) = kit
            .app(Route::ExchangeUserToken, "POST", &[], json!({}))
            .await;
        assert_eq!(
            (status, &body["error"]),
            (400, &json!("Missing aos_temp_token"))
        );
        let hashed = kit
            .client(
                Route::HashWithApiKey,
                "POST",
                &[],
                json!({"stringToHash": "x", "packageName": APP}),
            )
            .await;
        let wanted =
            crate::wire::auth::sha256_hex(format!("x{}", crate::wire::auth::sha256_hex(KEY)));
        assert_eq!(hashed, (200, json!({"success": true, "hash": wanted})));
    });
}

#[test]
fn provider_tokens_are_exchanged_only_with_their_secret() {
    let provider = crate::wire::auth::TokenKeys::new("provider-secret");
    let token = provider
        .mint(&json!({"sub": "7", "email": "Ines@lumen.io"}))
        .expect("claims");
    let exchange_body = json!({"supabaseToken": token});
    let exchange = Kit::request(Route::ExchangeToken, "POST", &[], &exchange_body);
    Kit::run(|kit| {
        let exchange = exchange.clone();
        async move {
            assert_eq!(
                kit.send(&exchange).await,
                (401, json!({"error": "Invalid token"}))
            )
        }
    });
    Kit::run_with(
        |settings| settings.server.supabase_jwt_secret = "provider-secret".into(),
        |kit| async move {
            let (status, body) = kit.send(&exchange).await;
            let core = body["coreToken"].as_str().expect("a token").to_owned();
            assert_eq!(status, 200);
            let (status, _) = kit
                .bearer(&core, Route::UserSettings, "GET", &[], Value::Null)
                .await;
            assert_eq!(status, 200);
            // The other provider's field means the other provider's secret, which is not set.
            let field = json!({"authingToken": exchange_body["supabaseToken"]});
            let other = Kit::request(Route::ExchangeToken, "POST", &[], &field);
            assert_eq!(
                kit.send(&other).await,
                (401, json!({"error": "Invalid token"}))
            );
            let none = Kit::request(Route::ExchangeToken, "POST", &[], &json!({}));
            assert_eq!(
                kit.send(&none).await,
                (400, json!({"error": "No token provided"}))
            );
        },
    );
}

#[test]
fn the_second_provider_has_a_field_and_a_secret_of_its_own() {
    let provider = crate::wire::auth::TokenKeys::new("second-secret");
    let token = provider
        .mint(&json!({"sub": "8", "email": "Ines@lumen.io"}))
        .expect("claims");
    Kit::run_with(
        |settings| settings.server.authing_app_secret = "second-secret".into(),
        |kit| async move {
            let exchange = json!({"authingToken": token});
            let exchange = Kit::request(Route::ExchangeToken, "POST", &[], &exchange);
            assert_eq!(kit.send(&exchange).await.0, 200);
        },
    );
}

#[test]
fn a_miniapp_photo_goes_up_with_its_token_and_down_with_its_link() {
    Kit::run(|kit| async move {
        kit.session(|_| ok());
        kit.client(
            Route::MiniappPhotoRequest,
            "POST",
            &[],
            json!({"packageName": "p", "requestId": "r1"}),
        )
        .await;
        let calls = crate::services::context::lock(&kit.calls).clone();
        let Some(Call::MiniappPhoto {
            token, upload_url, ..
        }) = calls.last()
        else {
            panic!("{calls:?}")
        };
        assert_eq!(
            upload_url,
            "https://rt.example.net/api/client/miniapp-sdk-photo/upload/r1"
        );
        let mut upload = Kit::request(Route::MiniappPhotoUpload, "POST", &["r1"], &Value::Null);
        upload.headers = vec![
            ("authorization".into(), format!("Bearer {token}")),
            (
                "content-type".into(),
                "multipart/form-data; boundary=b".into(),
            ),
        ];
        upload.body = "--b\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"p.png\"\r\nContent-Type: image/png\r\n\r\nPNG\r\n--b--\r\n".into();
        let mut other = upload.clone();
        other.params = vec!["r2".into()];
        assert_eq!(
            kit.send(&other).await,
            (401, json!({"error": "Invalid or expired upload token"}))
        );
        let (status, body) = kit.send(&upload).await;
        let url = body["photoUrl"].as_str().expect("a link").to_owned();
        assert_eq!(status, 200);
        let (path, signature) = url.split_once("?sig=").expect("signed");
        let id = path.rsplit('/').next().expect("an id");
        let mut download = Kit::request(Route::MiniappPhotoFile, "GET", &[id], &Value::Null);
        assert_eq!(kit.send(&download).await.0, 403);
        download.query.push(("sig".into(), signature.into()));
        let answer = answer(&kit.cx, &download).await;
        let Answer::WithHeaders(photo, _) = &answer else {
            panic!("{answer:?}")
        };
        assert_eq!(
            (photo.status, photo.content_type, &photo.body[..]),
            (200, "image/png", &b"PNG"[..])
        );
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
        registrations::link(&kit.cx, &link(LinkChange::Attached));
        registrations::link(&kit.cx, &link(LinkChange::Lost));
        let restarted = send(Route::ServerRestart, id.clone()).await;
        assert_eq!(
            restarted,
            (200, json!({"success": true, "recoveredSessions": 1}))
        );
        registrations::link(&kit.cx, &link(LinkChange::Ended));
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

#[test]
fn administration_is_for_administrators() {
    Kit::run(|kit| async move {
        kit.session(|_| {
            Some(RestAnswer::json(
                200,
                r#"[{"kind":"glasses"},{"kind":"app"}]"#,
            ))
        });
        assert_eq!(
            kit.client(Route::AdminSummary, "GET", &[], Value::Null)
                .await
                .0,
            403
        );
        let root = kit.token("root@lumen.io");
        assert_eq!(
            kit.bearer(&root, Route::AdminSummary, "GET", &[], Value::Null)
                .await
                .0,
            200
        );
        let mut list = Kit::request(Route::AdminConnections, "GET", &[], &Value::Null);
        list.headers
            .push(("authorization".into(), format!("Bearer {root}")));
        list.query = vec![("user".into(), USER.into()), ("kind".into(), "app".into())];
        assert_eq!(
            kit.send(&list).await.1["connections"],
            json!([{"kind": "app"}])
        );
        let (status, body) = kit
            .bearer(&root, Route::AdminReload, "POST", &[], Value::Null)
            .await;
        assert_eq!(
            (status, &body["error"]),
            (400, &json!("no configuration file in tests"))
        );
    });
}

#[test]
fn tools_need_somebody_who_may() {
    Kit::run(|kit| async move {
        let body = json!({"toolId": "add_note", "userId": "eve@lumen.io"});
        assert_eq!(
            kit.client(Route::Tool, "POST", &[APP], body).await,
            (401, json!({"error": true, "message": "Unauthorized"}))
        );
        let missing = kit
            .client(Route::Tool, "POST", &[APP], json!({"userId": USER}))
            .await;
        assert_eq!(
            missing,
            (
                400,
                json!({"error": true, "message": "Missing required fields: toolId"})
            )
        );
        let (_, tools) = kit
            .client(Route::AppTools, "GET", &[APP], Value::Null)
            .await;
        assert_eq!(tools[0]["id"], "add_note");
        let bare = Kit::request(Route::AppTools, "GET", &[APP], &Value::Null);
        assert_eq!(kit.send(&bare).await.0, 401);
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
fn versions_and_permissions_need_no_token() {
    Kit::run(|kit| async move {
        let get = |route, params: &[&str]| Kit::request(route, "GET", params, &Value::Null);
        let (_, body) = kit.send(&get(Route::MinVersion, &[])).await;
        assert_eq!(
            body["data"],
            json!({"required": "2.7.0", "recommended": "2.7.0"})
        );
        assert_eq!(
            kit.send(&get(Route::AppsVersion, &[])).await,
            (200, json!({"version": "2.7.0"}))
        );
        assert_eq!(
            kit.send(&get(Route::Permissions, &["com.nobody"])).await,
            (404, json!({"error": "App not found"}))
        );
        assert_eq!(
            kit.send(&get(Route::Permissions, &[APP])).await.1["packageName"],
            APP
        );
        assert_eq!(kit.send(&get(Route::Tts, &[])).await.0, 400);
    });
}
