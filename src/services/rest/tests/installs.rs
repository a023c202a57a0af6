//! REST, tests: installing and uninstalling.

use super::*;
use std::sync::atomic::Ordering::Relaxed;

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
        let record = super::super::apps::user_record(&kit.cx, &Kit::user())
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
        let calls = crate::services::lock::lock(&kit.calls).clone();
        let told: Vec<_> = calls
            .iter()
            .map(|call| match call {
                Call::InstallChanged { installed, .. } => installed.is_some(),
                other => panic!("{other:?}"),
            })
            .collect();
        // What is stored, even if nothing changed.
        assert_eq!(told, [true, true, false, false]);
    });
}

#[test]
fn what_was_done_though_its_commit_was_cut_is_answered_as_done() {
    Kit::run(|kit| async move {
        kit.session(|_| ok());
        let routes = [Route::Install, Route::Uninstall, Route::Install];
        for (n, route) in routes.into_iter().enumerate() {
            // The first makes the user's record as well.
            if n > 0 {
                kit.store.cut_next();
            }
            let answer = kit.client(route, "POST", &[APP], Value::Null).await;
            assert_eq!(answer.0, 200, "{n}: {answer:?}");
        }
        assert_eq!(kit.cx.writes.figures().failures.load(Relaxed), 2);
    });
}

#[test]
fn the_session_hears_of_an_install_that_was_written_after_its_answer() {
    let slow = |settings: &mut Settings| {
        settings.store.db_timeout_ms = 300;
        settings.store.db_retry_ms = 10;
    };
    Kit::run_with(slow, |kit| async move {
        kit.session(|_| ok());
        let record = super::super::apps::user_record(&kit.cx, &Kit::user()).await;
        record.expect("reads");
        for (route, installed) in [(Route::Install, true), (Route::Uninstall, false)] {
            kit.store.set_hanging(true);
            let early = kit.client(route, "POST", &[APP], Value::Null).await;
            assert_eq!(early.0, 503);
            kit.store.set_hanging(false);
            let mut again = kit.client(route, "POST", &[APP], Value::Null).await;
            while again.0 == 503 {
                again = kit.client(route, "POST", &[APP], Value::Null).await;
            }
            // It was written meanwhile.
            assert_eq!(again.0, 400);
            let told = crate::services::lock::lock(&kit.calls).pop();
            let Some(Call::InstallChanged { installed: now, .. }) = told else {
                panic!("{told:?}");
            };
            assert_eq!(now.is_some(), installed);
        }
    });
}

#[test]
fn an_app_that_is_installed_twice_at_once_is_there_once_and_both_are_told_so() {
    Kit::run(|kit| async move {
        kit.session(|_| ok());
        let install = || kit.client(Route::Install, "POST", &[APP], Value::Null);
        let (one, other) = tokio::join!(install(), install());
        assert_eq!((one.0, other.0), (200, 200));
        let record = super::super::apps::user_record(&kit.cx, &Kit::user()).await;
        let installed = record.expect("reads").installed_apps;
        let all: Vec<_> = installed.iter().map(|app| &*app.package_name).collect();
        assert_eq!(all, ["com.acme.other", APP]);
    });
}
