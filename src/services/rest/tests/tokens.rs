//! REST, tests: who may call and the tokens that say so.

use super::*;

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
fn a_key_is_not_called_wrong_while_the_store_is_unread() {
    Kit::run(|kit| async move {
        kit.cx.apps.set_unread();
        for (token, status) in [("com.nobody:key", 503), ("com.acme.scribe:wrong", 401)] {
            let answer = kit
                .bearer(token, Route::Storage, "GET", &[USER], Value::Null)
                .await;
            assert_eq!(answer.0, status, "{token}");
        }
    });
}

/// The body that redeems a fresh ticket of this app's web view.
async fn ticket(kit: &Kit, package: &str) -> Value {
    let asked = json!({ "packageName": package });
    let (_, body) = kit.client(Route::WebviewToken, "POST", &[], asked).await;
    let token = body["token"].as_str().expect("a token");
    json!({ "aos_temp_token": token, "packageName": package })
}

#[test]
fn a_webview_ticket_becomes_a_user_once() {
    Kit::run(|kit| async move {
        let redeem = ticket(&kit, APP).await;
        assert_eq!(
            kit.app(Route::ExchangeUserToken, "POST", &[], redeem.clone())
                .await,
            (200, json!({"success": true, "userId": USER}))
        );
        let (status, body) = kit
            .bearer(KEY, Route::ExchangeUserToken, "POST", &[], redeem)
            .await;
        let used = json!({"success": false, "code": "token_used", "error": "Temporary token already used"});
        assert_eq!((status, body), (401, used));
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
fn a_ticket_is_for_a_package_of_sensible_length() {
    Kit::run(|kit| async move {
        let body = json!({"packageName": "x".repeat(1000)});
        let refused = json!({"success": false, "error": "packageName is too long"});
        assert_eq!(
            kit.client(Route::WebviewToken, "POST", &[], body).await,
            (400, refused)
        );
    });
}

/// An app's page takes whoever shows `user:hash` for that user.
#[test]
fn nobody_gets_the_hash_that_makes_them_another_user_to_an_apps_page() {
    Kit::run(|kit| async move {
        let refused = json!({"success": false, "error": "stringToHash names another user"});
        for (text, allowed) in [
            (USER, true),
            ("eve@lumen.io", false),
            ("Eve@lumen.io", false),
            // What phones have hashed.
            ("https://api.lumen.io", true),
            ("https://eve@lumen.io/", true),
        ] {
            let body = json!({"stringToHash": text, "packageName": APP});
            let (status, body) = kit.client(Route::HashWithApiKey, "POST", &[], body).await;
            match allowed {
                true => assert_eq!(status, 200, "{text}"),
                false => assert_eq!((status, &body), (403, &refused), "{text}"),
            }
        }
    });
}

/// The app store's page has no key; what it gets lets it call in the user's name.
#[test]
fn the_stores_page_redeems_its_ticket_for_a_core_token() {
    Kit::run(|kit| async move {
        let redeem = ticket(&kit, "org.augmentos.store").await;
        let call = Kit::request(Route::ExchangeStoreToken, "POST", &[], &redeem);
        let (status, body) = kit.send(&call).await;
        assert_eq!((status, &body["userId"]), (200, &json!(USER)));
        let core = body["tokens"]["coreToken"].as_str().expect("a token");
        let now_s = kit.cx.clock.now().unix_s();
        assert_eq!(
            kit.cx.tokens.verify_core(core, now_s).expect("ours").email,
            USER
        );
        for (body, status, error) in [
            (json!({}), 400, "Missing aos_temp_token"),
            (
                json!({"aos_temp_token": "x", "packageName": APP}),
                403,
                "Invalid package name for this endpoint",
            ),
        ] {
            let call = Kit::request(Route::ExchangeStoreToken, "POST", &[], &body);
            let refused = (status, json!({"success": false, "error": error}));
            assert_eq!(kit.send(&call).await, refused);
        }
    });
}

/// A provider's token for a user, as the body of `/auth/exchange-token` carries it under `field`.
fn exchange(field: &str, secret: &str) -> crate::shard::mailbox::OutsideRequest {
    let token = crate::wire::auth::TokenKeys::new(secret)
        .mint(&json!({"sub": "7", "email": "Ines@lumen.io"}))
        .expect("claims");
    Kit::request(Route::ExchangeToken, "POST", &[], &json!({field: token}))
}

#[test]
fn provider_tokens_are_exchanged_only_with_their_own_secret() {
    let invalid = || (401, json!({"error": "Invalid token"}));
    Kit::run(|kit| async move {
        for (field, secret) in [
            ("supabaseToken", "s"),
            ("authingToken", "a"),
            ("supabaseToken", ""),
        ] {
            let answer = kit.send(&exchange(field, secret)).await;
            assert_eq!(answer, invalid(), "no provider is set");
        }
    });
    Kit::run_with(
        |settings| {
            settings.server.supabase_jwt_secret = "provider-secret".into();
            settings.server.authing_app_secret = "second-secret".into();
        },
        |kit| async move {
            for (field, secret) in [
                ("supabaseToken", "provider-secret"),
                ("authingToken", "second-secret"),
            ] {
                let (status, body) = kit.send(&exchange(field, secret)).await;
                assert_eq!(status, 200, "{field}");
                let core = body["coreToken"].as_str().expect("a token");
                let settings = kit.bearer(core, Route::UserSettings, "GET", &[], Value::Null);
                assert_eq!(settings.await.0, 200, "{field}");
            }
            // The other provider's field means the other provider's secret.
            let crossed = exchange("authingToken", "provider-secret");
            assert_eq!(kit.send(&crossed).await, invalid());
            let none = Kit::request(Route::ExchangeToken, "POST", &[], &json!({}));
            assert_eq!(
                kit.send(&none).await,
                (400, json!({"error": "No token provided"}))
            );
        },
    );
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
        let without = kit.send(&list).await.1;
        assert_eq!(
            (&without["connections"], &without["sessions"]),
            (&json!([]), &json!(0)),
            "the user has no session"
        );
        kit.cx.shared.live.enter(Kit::user());
        assert_eq!(
            kit.send(&list).await.1["connections"],
            json!([{"kind": "app"}])
        );
        // A kind alone asks for everybody's.
        list.query = vec![("kind".into(), "app".into())];
        let (status, body) = kit.send(&list).await;
        assert_eq!(
            (status, &body["connections"], &body["sessions"]),
            (200, &json!([{"kind": "app"}]), &json!(1))
        );
        let mut list = Kit::request(Route::AdminSubscriptions, "GET", &[], &Value::Null);
        list.headers
            .push(("authorization".into(), format!("Bearer {root}")));
        assert_eq!(
            kit.send(&list).await,
            (400, json!({"error": "user is required"}))
        );
        list.query = vec![("user".into(), USER.into())];
        let (status, body) = kit.send(&list).await;
        assert_eq!((status, &body["userId"]), (200, &json!(USER)));
        assert_eq!(
            body["subscribers"],
            json!([{"kind": "glasses"}, {"kind": "app"}])
        );
        let (status, body) = kit
            .bearer(&root, Route::AdminAppMessages, "GET", &[], Value::Null)
            .await;
        assert_eq!(
            (status, &body["error"]),
            (400, &json!("package is required"))
        );
        let (status, body) = kit
            .bearer(&root, Route::AdminReload, "POST", &[], Value::Null)
            .await;
        assert_eq!(
            (status, &body["error"]),
            (400, &json!("config.yaml: not in tests"))
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
        assert_eq!(kit.send(&bare).await, (200, tools), "no secret");
    });
}

#[test]
fn an_assistant_without_a_token_is_known_by_its_address() {
    let named = |settings: &mut Settings| {
        settings.apps.assistant_addresses = vec!["10.9.0.0/16".into()];
    };
    Kit::run_with(named, |kit| async move {
        let user = super::super::apps::user_record(&kit.cx, &Kit::user()).await;
        user.expect("stored");
        let (install, call) = (Value::Null, json!({"toolId": "t", "userId": USER}));
        let (status, _) = kit.client(Route::Install, "POST", &[APP], install).await;
        assert_eq!(status, 200);
        let asked = async |route, method, param: &str, body: &Value, peer: [u8; 4]| {
            let mut r = Kit::request(route, method, &[param], body);
            r.peer = peer.into();
            kit.send(&r).await
        };
        let refused = (401, json!({"error": true, "message": "Unauthorized"}));
        let stranger = [10, 8, 0, 1];
        let tools = asked(Route::UserTools, "GET", USER, &Value::Null, stranger).await;
        assert_eq!(tools, refused);
        let tool = asked(Route::Tool, "POST", APP, &call, stranger).await;
        assert_eq!(tool, refused);

        let assistant = [10, 9, 0, 1];
        let (_, tools) = asked(Route::UserTools, "GET", USER, &Value::Null, assistant).await;
        let of_app = tools.as_array().into_iter().flatten();
        let of_app: Vec<_> = of_app.map(|tool| &tool["appPackageName"]).collect();
        assert_eq!(of_app, ["com.acme.other", APP]);
        let nobody = asked(
            Route::UserTools,
            "GET",
            "no@lumen.io",
            &Value::Null,
            assistant,
        );
        assert_eq!(
            nobody.await,
            (404, json!({"error": true, "message": "User not found"}))
        );
        // It is let in as far as the app, which has no address in this test.
        let (status, _) = asked(Route::Tool, "POST", APP, &call, assistant).await;
        assert_eq!(status, 502);

        // A token that is wrong is not made good by an address.
        let mut wrong = Kit::request(Route::UserTools, "GET", &[USER], &Value::Null);
        wrong.peer = assistant.into();
        let header = ("authorization".into(), "Bearer wrong".into());
        wrong.headers.push(header);
        assert_eq!(kit.send(&wrong).await, refused);
    });
}

#[test]
fn an_app_that_asks_about_users_makes_none() {
    Kit::run(|kit| async move {
        let nobody = "no@lumen.io";
        let (status, _) = kit
            .app(Route::UserTools, "GET", &[nobody], Value::Null)
            .await;
        assert_eq!(status, 404);
        let mut settings = Kit::request(Route::AppSettingsUser, "GET", &[APP], &Value::Null);
        settings.package = Some(Package::new(APP));
        settings.headers.push(("x-user-id".into(), nobody.into()));
        let (status, settings) = kit.send(&settings).await;
        assert_eq!(
            (status, &settings["settings"][0]["value"]),
            (200, &json!("en"))
        );
        let key = DocKey::user(&UserId::new(nobody));
        let stored = kit.cx.writes.read::<Value>(key).await.expect("reads");
        assert_eq!(stored, None);
    });
}

#[test]
fn a_package_in_the_body_must_be_that_of_the_credentials() {
    Kit::run(|kit| async move {
        let body = json!({"aos_temp_token": "t", "packageName": "com.acme.other"});
        let mut request = Kit::request(Route::ExchangeUserToken, "POST", &[], &body);
        request
            .headers
            .push(("authorization".into(), format!("Bearer {APP}:{KEY}")));
        let refused = (401, json!({"error": "Invalid credentials"}));
        assert_eq!(kit.send(&request).await, refused);
        // As it comes from a shard, which verified the credentials.
        request.package = Some(Package::new(APP));
        assert_eq!(kit.send(&request).await, refused);
    });
}

#[test]
fn an_agents_key_opens_the_administration_only() {
    Kit::run_with(
        |settings| settings.server.admin_api_key = "agent-key-1".into(),
        |kit| async move {
            let (status, body) = kit
                .bearer("agent-key-1", Route::AdminConfig, "GET", &[], Value::Null)
                .await;
            assert_eq!(status, 200);
            assert!(!body.to_string().contains("agent-key-1"), "it is a secret");
            let (status, _) = kit
                .bearer("agent-key-1", Route::UserSettings, "GET", &[], Value::Null)
                .await;
            assert_eq!(status, 401);
        },
    );
}
