//! What goes to the server behind: unknown routes, those that are switched off, those that were left there.

use super::*;

#[test]
fn unknown_routes_are_404_unless_there_is_an_upstream() {
    let mut world = World::new();
    assert_eq!(
        world.answer("GET /nowhere?x=1", ""),
        (
            404,
            r#"{"error":"Not found","path":"/nowhere","timestamp":"2026-03-14T09:26:53.589Z"}"#
                .into()
        )
    );
    let upstream =
        |world: &World, line: &str| goes_upstream(&head(line, ""), &world.cfg, &world.shared);
    assert!(!upstream(&world, "GET /nowhere"));
    world.cfg.http.fallback_upstream = "http://127.0.0.1:9".into();
    for line in [
        "GET /nowhere",
        "OPTIONS /nowhere",
        "PATCH /apps/com.acme.mira",
    ] {
        assert!(upstream(&world, line), "{line}");
    }
    for line in [
        "GET /health",
        "HEAD /health",
        "OPTIONS /apps/x/start",
        "POST /apps/x/start/",
    ] {
        assert!(!upstream(&world, line), "{line}");
    }
    world.cfg.http.upstream_paths = vec!["/apps".into()];
    assert!(
        upstream(&world, "POST /apps/x/start"),
        "moved by its prefix"
    );
    assert!(world.shared.start_draining());
    assert!(
        !upstream(&world, "GET /nowhere"),
        "503 like everything else"
    );
}

#[test]
fn registration_that_is_switched_off_is_an_unknown_route() {
    let mut world = World::new();
    let lines =
        ["register", "heartbeat", "restart"].map(|deed| format!("POST /api/app-server/{deed}"));
    for line in &lines {
        let decision = world.ask(line, "");
        assert!(matches!(decision, Decision::Outside(_)), "{decision:?}");
    }
    world.cfg.apps.app_server_registration_enabled = false;
    for line in &lines {
        assert_eq!(world.answer(line, "").0, 404, "{line}");
    }
    world.cfg.http.fallback_upstream = "http://127.0.0.1:9".into();
    for line in &lines {
        let head = head(line, "");
        assert!(goes_upstream(&head, &world.cfg, &world.shared), "{line}");
    }
}

#[test]
fn a_capability_is_left_behind_under_all_its_mounts_and_takes_no_other_with_it() {
    let mut world = World::new();
    world.cfg.http.fallback_upstream = "http://127.0.0.1:9".into();
    for (left, goes, stays) in [
        ("/apps", "/apps", "/appsettings/x"),
        ("/apps/", "/api/apps/x/start", "/appsettings/x"),
        ("/api/apps", "/apps/x/start", "/api/client/apps"),
        ("/api/apps/x", "/api/apps/x/start", "/api/apps/y/start"),
        ("/api/auth", "/auth/exchange-token", "/api/incidents"),
        ("/tpasettings", "/appsettings/x", "/apps/x"),
        (
            "/api/app-server",
            "/api/tpa-server/register",
            "/api/photos/upload",
        ),
        ("/api", "/api/apps/x/start", "/apps/x/start"),
        (
            "/api",
            "/ws/miniapp/api/auth/exchange-token",
            "/auth/exchange-token",
        ),
        (
            "/api/client/user",
            "/api/client/user/settings/key/a",
            "/api/client/goodbye",
        ),
        ("/", "/livez", ""),
    ] {
        world.cfg.http.upstream_paths = vec![left.into()];
        let asks = |path: &str| {
            let methods = ["GET", "POST"];
            let lines = methods.map(|method| head(&format!("{method} {path}"), ""));
            // One of the methods is known here.
            lines.map(|head| goes_upstream(&head, &world.cfg, &world.shared))
        };
        assert_eq!(asks(goes), [true, true], "{left}: {goes}");
        if !stays.is_empty() {
            assert_ne!(asks(stays), [true, true], "{left}: {stays}");
        }
    }
}
