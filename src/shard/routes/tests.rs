//! Answers that clients compare byte for byte.

mod operators;
mod upstream;

use super::*;
use crate::wire::auth::sha256_hex;
use crate::wire::http::{HeadStatus, parse_head};
use crate::wire::records::AppRecord;

const NO_AUTHORIZATION: &str = r#"{"error":"Authorization header missing or invalid"}"#;

fn head(request_line: &str, headers: &str) -> RequestHead {
    let text = format!("{request_line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    match parse_head(text.as_bytes()) {
        Ok(HeadStatus::Complete { head, .. }) => head,
        other => panic!("{other:?}"),
    }
}

struct World {
    keys: TokenKeys,
    apps: Registry,
    cfg: Settings,
    shared: Shared,
}

impl World {
    fn new() -> Self {
        let mut cfg = Settings::default();
        cfg.apps.system_app_packages = vec!["com.acme.mira".into()];
        cfg.server.admin_emails = vec!["Root@Acme.io".into()];
        Self {
            keys: TokenKeys::new("secret"),
            apps: Registry::new(
                [AppRecord {
                    package_name: "com.acme.mira".into(),
                    key_sha256: sha256_hex("k1"),
                    ..AppRecord::default()
                }],
                1,
            ),
            cfg,
            shared: Shared::new(1),
        }
    }

    fn token(&self, email: &str) -> String {
        self.keys
            .mint(&serde_json::json!({ "email": email }))
            .expect("claims are an object")
    }

    fn ask(&self, request_line: &str, headers: &str) -> Decision {
        self.judge(request_line, headers, decide)
    }

    fn judge<T>(&self, line: &str, headers: &str, ask: impl FnOnce(&Ask<'_>) -> T) -> T {
        let head = head(line, headers);
        ask(&Ask {
            head: &head,
            body: &Bytes::new(),
            keys: &self.keys,
            apps: &self.apps,
            cfg: &self.cfg,
            shared: &self.shared,
            now: Now {
                mono_ms: 1,
                unix_ms: 1_773_480_413_589,
            },
        })
    }

    fn answer(&self, request_line: &str, headers: &str) -> (u16, String) {
        match self.ask(request_line, headers) {
            Decision::Answer(answer) => (
                answer.status,
                String::from_utf8(answer.body.to_vec()).expect("text"),
            ),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn client_routes_refuse_with_the_established_texts() {
    let world = World::new();
    let line = "POST /api/client/device/state";
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    assert_eq!(world.answer(line, ""), (401, NO_AUTHORIZATION.into()));
    assert_eq!(
        world.answer(line, &bearer("null")).1,
        r#"{"error":"Invalid token"}"#
    );
    assert_eq!(
        world.answer(line, &bearer("a.b")).1,
        r#"{"error":"Invalid or expired token","message":"jwt malformed"}"#
    );
    let anonymous = world
        .keys
        .mint(&serde_json::json!({"sub": "1"}))
        .expect("claims are an object");
    assert_eq!(
        world.answer(line, &bearer(&anonymous)).1,
        r#"{"error":"Invalid token data"}"#
    );
    // The same, without the reason, for starts and stops.
    assert_eq!(
        world
            .answer("POST /api/apps/com.acme.x/start", &bearer("a.b"))
            .1,
        r#"{"error":"Invalid or expired token"}"#
    );
}

#[test]
fn both_mounts_lead_to_the_session_and_parameters_are_decoded() {
    let world = World::new();
    let auth = format!("Authorization: Bearer {}\r\n", world.token("Ana@X.io"));
    for mount in ["/apps", "/api/apps"] {
        match world.ask(&format!("POST {mount}/com.acme%2Ex/stop"), &auth) {
            Decision::Session(user, Call::StopApp { package, .. }) => {
                assert_eq!((&*user, &*package), ("ana@x.io", "com.acme.x"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn sessions_that_leave_their_socket_path_in_front_reach_storage_and_speech() {
    let world = World::new();
    let auth = "Authorization: Bearer com.acme.mira:k1\r\n";
    let storage = "/api/sdk/simple-storage/ana%40x.io";
    for line in [
        format!("GET /ws/miniapp{storage}"),
        format!("PUT /ws/miniapp{storage}"),
        format!("DELETE /ws/miniapp{storage}/k"),
    ] {
        match world.ask(&line, auth) {
            Decision::Outside(found) => assert_eq!(found.params[0], "ana@x.io", "{line}"),
            other => panic!("{line}: {other:?}"),
        }
        assert_eq!(world.answer(&line, "").0, 401, "{line}");
    }
    for line in [
        "GET /ws/miniapp/api/tts?text=hi",
        "GET /ws/miniapp/api/public/permissions/com.acme.mira",
    ] {
        let found = world.ask(line, "");
        assert!(matches!(found, Decision::Outside(_)), "{line}: {found:?}");
    }
    // The path itself stays a socket's, and the answer names what was asked for.
    let sockets = ["/ws/miniapp", "/ws/miniapps/api/tts", "/ws/miniapp/nowhere"];
    // Nor is anything reached there that a proxy may hide by its path.
    let hidden = ["/ws/miniapp/metrics", "/ws/miniapp/api/admin/config"];
    for path in sockets.into_iter().chain(hidden) {
        let (status, text) = world.answer(&format!("GET {path}"), "");
        assert_eq!(status, 404, "{path}");
        assert!(text.contains(&format!(r#""path":"{path}""#)), "{text}");
    }
}

#[test]
fn app_credentials_are_checked_against_the_registry() {
    let world = World::new();
    let line = "GET /api/sdk/simple-storage/ana@x.io/k%2F1";
    let denied = |message: &str| {
        let body = format!(r#"{{"error":"{message}","message":"{message}"}}"#);
        (401, body)
    };
    assert_eq!(
        world.answer(line, ""),
        denied("Missing Authorization header")
    );
    for (value, message) in [
        ("Basic x", "Invalid Authorization format"),
        ("Bearer com.acme.mira", "Invalid token format"),
        ("Bearer a:b:c", "Invalid token format"),
        ("Bearer com.acme.mira:", "Invalid credentials"),
        ("Bearer com.acme.mira:k2", "Invalid API key"),
        ("Bearer com.acme.none:k1", "Invalid API key"),
    ] {
        let header = format!("Authorization: {value}\r\n");
        assert_eq!(world.answer(line, &header), denied(message), "{value}");
    }
    match world.ask(line, "Authorization: Bearer com.acme.mira:k1\r\n") {
        Decision::Outside(found) => {
            assert_eq!(found.route, OutsideRoute::StorageKey);
            assert_eq!(found.params, ["ana@x.io", "k/1"]);
            assert_eq!(found.package.as_deref(), Some("com.acme.mira"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn older_families_refuse_in_their_own_words() {
    let world = World::new();
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let anonymous = world
        .keys
        .mint(&serde_json::json!({"sub": "1"}))
        .expect("claims are an object");
    let error = |status: u16, text: &str| (status, format!(r#"{{"error":"{text}"}}"#));
    for line in [
        "POST /api/hardware/button-press",
        "POST /api/photos/upload",
        "POST /api/auth/hash-with-api-key",
    ] {
        let missing = error(401, "Missing or invalid Authorization header");
        assert_eq!(world.answer(line, ""), missing, "{line}");
        assert_eq!(
            world.answer(line, &bearer("a.b")),
            error(401, "Invalid or expired token")
        );
        assert_eq!(
            world.answer(line, &bearer(&anonymous)),
            error(401, "Invalid token data")
        );
    }
    for (method, deed) in [("GET", "request"), ("POST", "update")] {
        let line = format!("{method} /appsettings/com.acme.x");
        let text = format!("Invalid core token or error processing {deed}");
        assert_eq!(world.answer(&line, &bearer("a.b")), error(401, &text));
        assert_eq!(
            world.answer(&line, &bearer(&anonymous)),
            error(400, "User ID missing in token")
        );
    }
    let line = "POST /api/incidents";
    let refused = |text: &str| (401, format!(r#"{{"success":false,"message":"{text}"}}"#));
    assert_eq!(world.answer(line, ""), refused("Missing authentication"));
    for header in [bearer("a.b"), bearer(&anonymous)] {
        assert_eq!(world.answer(line, &header), refused("Invalid token"));
    }
    let bare = format!("Authorization: {}\r\n", world.token("ana@x.io"));
    assert!(
        matches!(world.ask(line, &bare), Decision::Outside(_)),
        "no scheme"
    );
}

#[test]
fn system_apps_need_all_three_parameters_and_a_place_on_the_list() {
    let world = World::new();
    let ask = |query: &str| {
        let line = format!("GET /api/sdk/system-app/apps{query}");
        match world.ask(&line, "") {
            Decision::Answer(answer) => answer.status,
            Decision::Outside(_) => 200,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask("?apiKey=k1&userId=a@b.io"), 400);
    assert_eq!(ask("?apiKey=k1&userId=a@b.io&packageName=com.other"), 403);
    assert_eq!(
        ask("?apiKey=k2&userId=a@b.io&packageName=com.acme.mira"),
        401
    );
    assert_eq!(
        ask("?apiKey=k1&userId=a@b.io&packageName=com.acme.mira"),
        200
    );
}

#[test]
fn administration_is_for_administrators() {
    let world = World::new();
    let as_user = |email: &str| {
        let header = format!("Authorization: Bearer {}\r\n", world.token(email));
        match world.ask("GET /api/admin/connections", &header) {
            Decision::Answer(answer) => answer.status,
            _ => 200,
        }
    };
    assert_eq!(as_user("ana@x.io"), 403);
    assert_eq!(as_user("root@acme.io"), 200);
}

#[test]
fn an_agent_administers_with_its_key_where_one_is_set() {
    let mut world = World::new();
    let status = |world: &World, header: &str| match world.ask("GET /api/admin/config", header) {
        Decision::Answer(answer) => answer.status,
        _ => 200,
    };
    let with_key = "Authorization: Bearer agent-key-1\r\n";
    assert_eq!(status(&world, with_key), 401);
    assert_eq!(status(&world, "Authorization: Bearer \r\n"), 401);
    world.cfg.server.admin_api_key = "agent-key-1".into();
    assert_eq!(status(&world, with_key), 200);
    for wrong in [
        "",
        "Authorization: Bearer agent-key-2\r\n",
        "Authorization: Bearer \r\n",
    ] {
        assert_eq!(status(&world, wrong), 401, "{wrong}");
    }
    // It opens nothing else.
    match world.ask("GET /api/client/apps", with_key) {
        Decision::Answer(answer) => assert_eq!(answer.status, 401),
        other => panic!("{other:?}"),
    }
}

#[test]
fn escapes_that_mean_nothing_lead_to_the_same_route() {
    let mut world = World::new();
    for line in [
        "GET /l%69vez",
        "GET /%6Civez/",
        "GET http://x/livez",
        "GET http://y/%6civez?z",
    ] {
        assert_eq!(world.answer(line, ""), (200, "ok".into()), "{line}");
    }
    for line in [
        "GET /livez%00",
        "GET %2Flivez",
        "GET /%2Flivez",
        "GET /api%2Fsdk",
        "GET /%256civez",
    ] {
        let text = format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n");
        if parse_head(text.as_bytes()).is_ok() {
            assert_eq!(world.answer(line, "").0, 404, "{line}");
        }
    }
    assert!(
        world
            .answer("GET /no%77here%2F", "")
            .1
            .contains(r#""path":"/no%77here%2F""#),
        "as it was sent"
    );
    world.cfg.http.fallback_upstream = "http://127.0.0.1:9".into();
    world.cfg.http.upstream_paths = vec!["/apps".into()];
    for (line, goes) in [
        ("GET /%61pps/x", true),
        ("GET /%61pi/apps/x", true),
        ("GET /l%69vez", false),
    ] {
        let head = head(line, "");
        assert_eq!(
            goes_upstream(&head, &world.cfg, &world.shared),
            goes,
            "{line}"
        );
        assert_eq!(
            head.target,
            line.strip_prefix("GET ").expect("a path"),
            "passed on untouched"
        );
    }
}

#[test]
fn draining_answers_503_except_for_probes_and_preflights() {
    let world = World::new();
    assert!(world.shared.start_draining());
    assert_eq!(
        world.answer("GET /health", ""),
        (
            503,
            r#"{"status":"draining","message":"Server is shutting down"}"#.into()
        )
    );
    assert_eq!(world.answer("GET /livez", ""), (200, "ok".into()));
    assert!(matches!(
        world.ask("GET /metrics", ""),
        Decision::Outside(_)
    ));
    assert_eq!(world.answer("OPTIONS /apps", "").0, 204);
}

#[test]
fn a_shard_that_stopped_turning_shows() {
    let world = World::new();
    let stalled = |now_ms: u64| world.shared.is_stalled(now_ms, 30_000);
    assert!(!stalled(100_000), "not yet started is not stalled");
    world.shared.beats[0].turn(50_000, 0);
    assert!(!stalled(80_000));
    assert!(stalled(80_001));
}

#[test]
fn an_unread_store_is_no_wrong_key() {
    let mut world = World::new();
    world.apps.loaded = false;
    let line = "GET /api/sdk/simple-storage/ana@x.io/k";
    let status = |credentials: &str| {
        let header = format!("Authorization: Bearer {credentials}\r\n");
        world.answer(line, &header).0
    };
    assert_eq!(status("com.acme.none:k1"), 503);
    assert_eq!(status("com.acme.mira:k2"), 401);
}

#[test]
fn head_looks_at_an_audio_stream_without_claiming_it() {
    let world = World::new();
    for (method, wanted) in [("HEAD", true), ("GET", false)] {
        let line = format!("{method} /api/audio/stream/Ana%40x.io/s1");
        match world.ask(&line, "") {
            Decision::Session(user, Call::AudioStream { stream_id, peek }) => {
                assert_eq!((&*user, &*stream_id, peek), ("ana@x.io", "s1", wanted));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn app_lists_need_a_core_token() {
    let world = World::new();
    let auth = format!("Authorization: Bearer {}\r\n", world.token("ana@x.io"));
    for path in ["installed", "available", "public", "search", "com.acme.x"] {
        let line = format!("GET /apps/{path}");
        assert_eq!(world.answer(&line, ""), (401, NO_AUTHORIZATION.into()));
        assert!(matches!(world.ask(&line, &auth), Decision::Outside(_)));
    }
    assert!(matches!(
        world.ask("GET /apps/version", ""),
        Decision::Outside(_)
    ));
}

#[test]
fn pictures_may_be_large_and_slow_for_whoever_is_let_in() {
    let mut world = World::new();
    let bearer = format!("Authorization: Bearer {}\r\n", world.token("a@b.io"));
    let limits = |world: &World, line: &str, headers: &str| world.judge(line, headers, body_limits);
    let pictures = "POST /api/incidents/i1/attachments";
    let usual = (12 << 20, 30_000);
    let (bytes, ms) = limits(&world, pictures, &bearer);
    assert!(bytes > 5 * (10 << 20), "five pictures of 10 MiB: {bytes}");
    assert_eq!(ms, 60_000, "as long as phones wait");
    let photo = "POST /api/photos/upload";
    assert_eq!(limits(&world, photo, &bearer), (bytes, ms));
    for line in [pictures, photo] {
        for nobody in ["", "Authorization: Bearer x\r\n"] {
            assert_eq!(limits(&world, line, nobody), usual, "{line}");
        }
    }
    assert_eq!(
        limits(&world, "POST /api/incidents/attachments/logs", &bearer),
        usual
    );
    assert_eq!(limits(&world, "POST /api/client/feedback", &bearer), usual);
    world.cfg.http.http_body_bytes_max = 200 << 20;
    assert_eq!(
        limits(&world, pictures, &bearer).0,
        200 << 20,
        "never less than any body"
    );
}

#[test]
fn the_second_listener_has_the_routes_of_operators_and_no_others() {
    for route in table::ROUTES {
        let path = route.pattern.replace(':', "");
        let is_theirs = path.starts_with("/api/admin/")
            || ["/livez", "/health", "/metrics"].contains(&path.as_str());
        let found = for_operators(route.method.as_str(), &path);
        assert_eq!(found.is_some(), is_theirs, "{path}");
    }
    let disposed = for_operators("POST", "/api/admin/sessions/ana%40lumen.io/dispose");
    let Some(ForOperators::Outside(OutsideRoute::AdminDispose, user)) = disposed else {
        panic!("{disposed:?}");
    };
    assert_eq!(user, ["ana@lumen.io"]);
    assert!(for_operators("HEAD", "/livez").is_some());
    assert!(for_operators("DELETE", "/livez").is_none());
}
