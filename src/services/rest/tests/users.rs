//! REST, tests: a user's settings, storage and photos, and what needs no token.

use super::*;
use crate::services::store::DocKey;

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
        let calls = crate::services::lock::lock(&kit.calls).clone();
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
            (
                400,
                json!({"error": "All values must be strings", "detail": "Invalid value for key \"x\""})
            )
        );
        assert_eq!(all("PUT", json!([])).await.0, 400);
        assert_eq!(
            key("GET", "a.b", Value::Null).await,
            (200, json!({"success": true, "data": {"value": "1"}}))
        );
        assert_eq!(
            key("GET", "a", Value::Null).await,
            (404, json!({"success": false, "message": "Key not found"}))
        );
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
fn a_public_address_without_its_scheme_still_makes_whole_links() {
    let bare = |settings: &mut crate::base::settings::Settings| {
        settings.server.public_url = "rt.example.net".into()
    };
    Kit::run_with(bare, |kit| async move {
        kit.session(|_| ok());
        let body = json!({"packageName": "p", "requestId": "r1"});
        kit.client(Route::MiniappPhotoRequest, "POST", &[], body)
            .await;
        let calls = crate::services::lock::lock(&kit.calls).clone();
        let wanted = "https://rt.example.net/api/client/miniapp-sdk-photo/upload/r1";
        assert!(
            matches!(calls.last(), Some(Call::MiniappPhoto { upload_url, .. }) if upload_url == wanted),
            "{calls:?}"
        );
    });
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
        let calls = crate::services::lock::lock(&kit.calls).clone();
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
        let bare = Kit::request(Route::MiniappPhotoUpload, "POST", &["r1"], &Value::Null);
        for mut request in [other, bare] {
            let refused = (401, json!({"error": "Invalid or expired upload token"}));
            assert_eq!(kit.send(&request).await, refused);
            // Nor may anybody else say that it failed.
            request.query = vec![("error".into(), "UPLOAD_FAILED".into())];
            assert_eq!(kit.send(&request).await, refused);
        }
        let mut failed = upload.clone();
        failed.query = vec![("error".into(), "UPLOAD_FAILED".into())];
        assert_eq!(
            kit.send(&failed).await,
            (200, json!({"received": true, "error": "UPLOAD_FAILED"}))
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

#[test]
fn head_is_a_get_and_changes_nothing() {
    Kit::run(|kit| async move {
        kit.session(|_| ok());
        let key = json!({"value": 7});
        let params = &["brightness"];
        kit.client(Route::UserSettingsKey, "PUT", params, key).await;
        for (route, params) in [
            (Route::UserSettingsKey, &["brightness"][..]),
            (Route::UserSettings, &[]),
            (Route::AppSettings, &[APP]),
        ] {
            let get = kit.client(route, "GET", params, Value::Null).await;
            let head = kit.client(route, "HEAD", params, Value::Null).await;
            assert_eq!(head.0, 200, "{route:?}");
            // But for the moment that it names.
            let mut bodies = [get.1, head.1];
            for body in &mut bodies {
                body["timestamp"] = Value::Null;
            }
            assert_eq!(bodies[0], bodies[1], "{route:?}");
        }
        let put = json!({"value": "v"});
        kit.app(Route::StorageKey, "PUT", &[USER, "k"], put).await;
        let (status, _) = kit
            .app(Route::StorageKey, "HEAD", &[USER, "k"], Value::Null)
            .await;
        let missing = kit
            .app(Route::StorageKey, "HEAD", &[USER, "none"], Value::Null)
            .await;
        assert_eq!((status, missing.0), (200, 404));
        let (_, body) = kit.app(Route::Storage, "GET", &[USER], Value::Null).await;
        assert_eq!(body["data"], json!({"k": "v"}));
    });
}

#[test]
fn there_is_an_end_to_the_settings_of_a_user_and_of_an_app() {
    Kit::run(|kit| async move {
        kit.session(|_| ok());
        let users = |from: usize, to: usize| -> Value {
            let keys = (from..to).map(|at| (format!("k{at}"), json!(at)));
            json!({ "settings": Value::Object(keys.collect()) })
        };
        let apps = |from: usize, to: usize| -> Value {
            let entries = (from..to).map(|at| json!({"key": format!("k{at}"), "value": at}));
            Value::Array(entries.collect())
        };
        for (route, method, params, body) in [
            (
                Route::UserSettings,
                "PUT",
                &[][..],
                &users as &dyn Fn(usize, usize) -> Value,
            ),
            (Route::AppSettings, "POST", &[APP], &apps),
        ] {
            let mut statuses = Vec::new();
            for (from, to) in [(0, 1001), (0, 1000), (500, 1000), (500, 1001), (999, 1000)] {
                let answer = kit.client(route, method, params, body(from, to)).await;
                statuses.push(answer.0);
            }
            assert_eq!(statuses, [400, 200, 200, 400, 200], "{route:?}");
        }
    });
}

#[test]
fn a_settings_key_is_not_lost_to_a_body_that_says_nothing() {
    Kit::run(|kit| async move {
        let params = &["brightness"];
        let route = Route::UserSettingsKey;
        kit.client(route, "PUT", params, json!({"value": 7})).await;
        let (status, body) = kit.client(route, "PUT", params, Value::Null).await;
        assert_eq!((status, &body["message"]), (400, &json!("Value required")));
        let (_, body) = kit.client(route, "GET", params, Value::Null).await;
        assert_eq!(body["data"]["value"], 7);
        // Null is a value: it deletes.
        kit.client(route, "PUT", params, json!({"value": null}))
            .await;
        let (_, body) = kit.client(route, "GET", params, Value::Null).await;
        assert_eq!(body["data"]["exists"], false);
    });
}

#[test]
fn a_miniapp_photo_without_a_session_is_503_whatever_its_body() {
    Kit::run(|kit| async move {
        let (status, body) = kit
            .client(Route::MiniappPhotoRequest, "POST", &[], json!({}))
            .await;
        assert_eq!((status, &body["error"]), (503, &json!("NO_ACTIVE_SESSION")));
    });
}

/// What an upload is answered; `file` has its type and its content.
async fn upload_photo(kit: &Kit, metadata: &str, file: Option<(&str, &str)>) -> (u16, Value) {
    let mut upload = Kit::request(Route::PhotoUpload, "POST", &[], &Value::Null);
    let token = kit.token(USER);
    upload.headers = vec![
        ("authorization".into(), format!("Bearer {token}")),
        (
            "content-type".into(),
            "multipart/form-data; boundary=b".into(),
        ),
    ];
    let file = file.map_or_else(String::new, |(kind, content)| format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"p.jpg\"\r\nContent-Type: {kind}\r\n\r\n{content}\r\n"
    ));
    let metadata =
        format!("--b\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{metadata}\r\n");
    upload.body = format!("{metadata}{file}--b--\r\n").into();
    kit.send(&upload).await
}

#[test]
fn a_photo_upload_that_is_none_is_refused_with_its_reason() {
    Kit::run(|kit| async move {
        let (named, jpeg) = (r#"{"requestId":"r1"}"#, Some(("image/jpeg", "JPEG")));
        let huge = "x".repeat(10 << 20 | 1);
        for (metadata, file, text) in [
            ("{", jpeg, "Invalid metadata format"),
            ("", jpeg, "Request ID is required"),
            ("{}", jpeg, "Request ID is required"),
            (named, None, "No photo uploaded"),
            (
                named,
                Some(("text/html", "x")),
                "Invalid file type: text/html",
            ),
            (
                named,
                Some(("image/png", &*huge)),
                "File too large. Maximum size is 10MB",
            ),
            (
                named,
                Some(("image/jpeg", "")),
                "Invalid file data - no buffer",
            ),
        ] {
            let refused = (400, json!({ "error": text }));
            assert_eq!(upload_photo(&kit, metadata, file).await, refused);
        }
    });
}

#[test]
fn an_uploaded_photo_of_a_user_without_session_is_not_kept() {
    Kit::run(|kit| async move {
        let refused = (404, json!({"error": "User session not found"}));
        let file = Some(("image/jpeg", "JPEG"));
        assert_eq!(
            upload_photo(&kit, r#"{"requestId":"r1"}"#, file).await,
            refused
        );
        let kept = std::fs::read_dir(files::folder(&kit.cx, "photos")).map_or(0, Iterator::count);
        assert_eq!(kept, 0);
    });
}

#[test]
fn two_photos_of_one_name_reach_apps_under_two() {
    Kit::run(|kit| async move {
        kit.cx.shared.live.enter(Kit::user());
        kit.session(|_| ok());
        for kind in ["image/jpeg", "image/png"] {
            let file = Some((kind, "IMAGE"));
            let (status, _) = upload_photo(&kit, r#"{"requestId":"r1"}"#, file).await;
            assert_eq!(status, 200);
        }
        let calls = crate::services::lock::lock(&kit.calls).clone();
        let names = calls.iter().filter_map(|call| match call {
            Call::PhotoUploaded { filename, .. } => Some(filename.as_str()),
            _ => None,
        });
        let names: Vec<&str> = names.collect();
        assert_ne!(names[0], names[1]);
        assert!(names[0].ends_with(".jpg") && names[1].ends_with(".png"));
        assert!(names.iter().all(|name| !name.contains(['/', ':'])));
    });
}

#[test]
fn what_cannot_be_stored_is_refused_and_harms_nothing_that_is() {
    Kit::run(|kit| async move {
        kit.session(|_| ok());
        let put = |settings: Value| {
            let body = json!({ "settings": settings });
            kit.client(Route::UserSettings, "PUT", &[], body)
        };
        assert_eq!(put(json!({"brightness": 40})).await.0, 200);
        // As deep as a body is read; the record around it is deeper by one.
        let deep = (0..126).fold(json!(1), |inner, _| json!([inner]));
        let value = json!({ "value": deep });
        let put_key = kit.client(Route::UserSettingsKey, "PUT", &["deep"], value);
        assert_eq!(put_key.await.0, 400);
        let setting = json!({ "key": "deep", "value": deep });
        let of_app = kit.client(Route::AppSettings, "POST", &[APP], setting);
        assert_eq!(of_app.await.0, 400);
        let read = kit.client(Route::UserSettings, "GET", &[], Value::Null);
        let settings = read.await.1["data"]["settings"].clone();
        assert_eq!(settings, json!({"brightness": 40}));

        // As much as there may be.
        let full = json!({"userSettings": { "full": "x".repeat(16 << 20) }});
        let key = DocKey::user(&Kit::user());
        kit.store.put(key, full.to_string().as_bytes());
        assert_eq!(put(json!({"more": "x"})).await.0, 413);
        assert_eq!(put(json!({"full": null})).await.0, 200);
        assert_eq!(put(json!({"more": "x"})).await.0, 200);

        let long = format!("{}@lumen.io", "a".repeat(600));
        for user in ["a\0b@lumen.io", &long] {
            let data = json!({"data": {"a": "b"}});
            let put = kit.app(Route::Storage, "PUT", &[user], data).await;
            assert_eq!(put.0, 400, "{user:?}");
            let read = kit.app(Route::Storage, "GET", &[user], Value::Null).await;
            assert_eq!((read.0, &read.1["data"]), (200, &json!({})), "{user:?}");
        }
        // These can be stored.
        for text in ["a\0b", "\u{fffd}", "\u{10ffff}", "\u{1}"] {
            let data = json!({"data": { text: text }});
            assert_eq!(kit.app(Route::Storage, "PUT", &[USER], data).await.0, 200);
            let read = kit.app(Route::Storage, "GET", &[USER], Value::Null).await;
            assert_eq!(read.1["data"][text], text);
        }
    });
}
