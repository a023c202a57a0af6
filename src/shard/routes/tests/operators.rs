//! What is for those who run the server, and not for strangers.

use super::*;

#[test]
fn what_a_proxy_hides_by_its_path_has_no_other_spelling() {
    let mut world = World::new();
    let header = format!("Authorization: Bearer {}\r\n", world.token("root@acme.io"));
    for path in [
        "/metrics",
        "/health",
        "/health?x=1",
        "/api/admin/connections",
        "/api/admin/sessions/ana%40lumen.io/dispose",
        "/api/admin/sessions/%61na@lumen.io/dispose",
    ] {
        let method = if path.ends_with("dispose") {
            "POST"
        } else {
            "GET"
        };
        let decision = world.ask(&format!("{method} {path}"), &header);
        assert!(
            matches!(decision, Decision::Outside(_)),
            "{path}: {decision:?}"
        );
    }
    let others = [
        "GET /metrics/",
        "GET /%6detrics",
        "GET /health/",
        "GET /api/%61dmin/connections",
        "GET /api/admin/connections/",
        "GET /ws/miniapp/api/%61dmin/connections",
        "POST /api/admin/reload/",
    ];
    for line in others {
        assert_eq!(world.answer(line, &header).0, 404, "{line}");
    }
    world.cfg.http.fallback_upstream = "http://127.0.0.1:9".into();
    for line in others {
        let head = head(line, &header);
        let goes = goes_upstream(&head, &world.cfg, &world.shared);
        assert!(goes, "unknown here: {line}");
    }
}
