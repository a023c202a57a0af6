//! Layer 1: handshakes, hellos and refusals as peers see them; no connection is made.

use serde_json::{Value, json};

use super::*;
use crate::wire::http::{HeadStatus, parse_head};

const NOW: u64 = 1_773_480_413;
const ISO: &str = "2026-03-14T09:26:53.589Z";

fn keys() -> TokenKeys {
    TokenKeys::new("a development secret")
}

fn token(claims: &Value) -> String {
    keys().mint(claims).unwrap()
}

fn head(target: &str, fields: &[(&str, &str)]) -> RequestHead {
    let fields: String = fields
        .iter()
        .map(|(k, v)| format!("{k}: {v}\r\n"))
        .collect();
    let text = format!("GET {target} HTTP/1.1\r\nHost: rt.example.net\r\n{fields}\r\n");
    match parse_head(text.as_bytes()) {
        Ok(HeadStatus::Complete { head, .. }) => head,
        other => panic!("{text:?}: {other:?}"),
    }
}

const HANDSHAKE: [(&str, &str); 4] = [
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[test]
fn socket_paths_are_known_by_all_their_names() {
    use SocketPath::*;
    for (path, expected) in [
        ("/glasses-ws", Some(Glasses)),
        ("/ws/client", Some(Glasses)),
        ("/app-ws", Some(App)),
        ("/ws/miniapp", Some(App)),
        ("/echo", Some(Echo)),
        ("/glasses-ws/", None),
        ("/Glasses-ws", None),
        ("/", None),
    ] {
        assert_eq!(socket_path(path), expected, "{path}");
    }
}

#[test]
fn a_handshake_is_accepted_with_the_key_of_rfc_6455() {
    let expected = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    assert_eq!(
        accept(&head("/x", &HANDSHAKE)).unwrap(),
        expected.as_bytes()
    );
    let mut offers = HANDSHAKE.to_vec();
    offers.push(("Sec-WebSocket-Extensions", "permessage-deflate"));
    offers.push(("Sec-WebSocket-Protocol", "chat"));
    offers.push(("Connection", "x"));
    assert_eq!(accept(&head("/x", &offers)).unwrap(), expected.as_bytes());
    for protocols in ["WebSocket", "h2c, websocket", "websocket,foo/1"] {
        let mut fields = HANDSHAKE;
        fields[1].1 = protocols;
        let answer = accept(&head("/x", &fields)).unwrap();
        assert_eq!(answer, expected.as_bytes(), "{protocols}");
    }
    let two = [&HANDSHAKE[..], &[("Upgrade", "h2c")]].concat();
    assert_eq!(accept(&head("/x", &two)).unwrap(), expected.as_bytes());
}

#[test]
fn anything_less_is_answered_500() {
    let changed = |at: usize, value: &'static str| {
        let mut fields = HANDSHAKE;
        fields[at].1 = value;
        head("/x", &fields)
    };
    for refused in [
        changed(0, "keep-alive"),
        changed(1, "h2c"),
        changed(2, "8"),
        changed(3, "short"),
        changed(3, "dGhlIHNhbXBsZSBub25jZ!=="),
        head("/x", &HANDSHAKE[..3]),
        head("/x", &HANDSHAKE[1..]),
        head("/x", &[&HANDSHAKE[..], &HANDSHAKE[3..]].concat()),
        head("/x", &[&HANDSHAKE[..], &[("Content-Length", "5")]].concat()),
    ] {
        assert_eq!(accept(&refused), Err(UpgradeError), "{refused:?}");
    }
    let response = UpgradeError.response();
    assert_eq!(
        (response.status, &response.body[..]),
        (500, &b"WebSocket upgrade failed"[..])
    );
}

#[test]
fn phones_say_who_they_are_in_the_query_or_the_header() {
    let token = token(&json!({"email": "Nadia@Lumen.io"}));
    let target = format!("/glasses-ws?token={token}&livekit=true&udpEncryption=true");
    let hello = PhoneHello {
        user: "nadia@lumen.io".into(),
        udp_encryption: true,
        livekit: true,
    };
    assert_eq!(
        phone_upgrade(&head(&target, &[]), &keys(), NOW),
        Ok(hello.clone())
    );

    let plain = PhoneHello {
        udp_encryption: false,
        livekit: false,
        ..hello
    };
    for (target, authorization) in [
        (
            "/glasses-ws?token=bad&udpEncryption=1".to_owned(),
            format!("Bearer {token}"),
        ),
        (
            "/ws/client?livekit=TRUE".to_owned(),
            format!("whatever {token} more"),
        ),
        (format!("/ws/client?token={token}"), "Bearer".to_owned()),
        (
            format!("/ws/client?token={token}"),
            format!("Bearer  {token}"),
        ),
    ] {
        let head = head(&target, &[("Authorization", &authorization)]);
        assert_eq!(
            phone_upgrade(&head, &keys(), NOW),
            Ok(plain.clone()),
            "{authorization}"
        );
    }
}

#[test]
fn phones_are_rejected_with_the_known_bodies() {
    let expired = token(&json!({"email": "a@b.co", "exp": NOW - 1}));
    let nameless = token(&json!({"sub": "u-1"}));
    for (target, text) in [
        ("/glasses-ws".to_owned(), "No core token provided"),
        ("/glasses-ws?token=".to_owned(), "No core token provided"),
        ("/glasses-ws?token=x".to_owned(), "Invalid core token"),
        (format!("/glasses-ws?token={expired}"), "Invalid core token"),
        (
            format!("/glasses-ws?token={nameless}"),
            "Invalid core token - no user ID",
        ),
    ] {
        let rejection = phone_upgrade(&head(&target, &[]), &keys(), NOW).unwrap_err();
        let response = rejection.response(ISO);
        let body =
            format!(r#"{{"type":"connection_error","message":"{text}","timestamp":"{ISO}"}}"#);
        assert_eq!(
            (response.status, &response.body[..]),
            (401, body.as_bytes()),
            "{target}"
        );
        assert_eq!(response.headers[0].1, "application/json");
    }
}

#[test]
fn apps_without_a_token_always_pass() {
    let none = app_upgrade(&head("/app-ws", &[]), &keys(), NOW);
    assert_eq!(none, Ok(AppHeaders::default()));
    let fields = [
        ("X-User-Id", "Nadia@Lumen.io"),
        ("X-Session-Id", "nadia@lumen.io-com.acme.x"),
        ("X-Package-Name", "com.acme.x"),
        ("X-Api-Key", "k"),
        ("X-Sdk-Version", "3.0.0"),
        ("Authorization", "bearer x"),
    ];
    let headers = app_upgrade(&head("/ws/miniapp", &fields), &keys(), NOW).unwrap();
    assert_eq!(headers.user.as_deref(), Some("nadia@lumen.io"));
    assert_eq!(
        headers.session_id.as_deref(),
        Some("nadia@lumen.io-com.acme.x")
    );
    assert_eq!(headers.package.as_deref(), Some("com.acme.x"));
    assert_eq!(headers.api_key.as_deref(), Some("k"));
    assert_eq!(headers.sdk_version.as_deref(), Some("3.0.0"));
    assert_eq!(headers.jwt, None);
}

#[test]
fn a_user_in_latin_1_is_the_one_in_utf_8() {
    for user in [
        "x-user-id: \u{dc}n@b.co".as_bytes(),
        b"x-user-id: \xdcn@b.co",
    ] {
        let parts: [&[u8]; 3] = [b"GET /app-ws HTTP/1.1\r\nHost: h\r\n", user, b"\r\n\r\n"];
        let head = match parse_head(&parts.concat()) {
            Ok(HeadStatus::Complete { head, .. }) => head,
            other => panic!("{other:?}"),
        };
        let headers = app_upgrade(&head, &keys(), NOW).unwrap();
        assert_eq!(headers.user.as_deref(), Some("ün@b.co"));
    }
}

#[test]
fn app_tokens_are_verified() {
    let bearer = |claims: &Value| format!("Bearer {}", token(claims));
    let good = bearer(&json!({"packageName": "com.acme.x", "apiKey": "k"}));
    let fields = [("x-user-id", "a@b.co"), ("authorization", &good)];
    let headers = app_upgrade(&head("/app-ws", &fields), &keys(), NOW).unwrap();
    assert_eq!(headers.jwt.unwrap().package_name, "com.acme.x");

    let anonymous = bearer(&json!({"packageName": "com.acme.x"}));
    let late = bearer(&json!({"packageName": "p", "apiKey": "k", "exp": 5}));
    for (user, authorization, code, text) in [
        (
            "",
            good.as_str(),
            "MISSING_HEADERS",
            "Missing userId in request headers",
        ),
        (
            "",
            "Bearer x",
            "MISSING_HEADERS",
            "Missing userId in request headers",
        ),
        (
            "a@b.co",
            "Bearer x",
            "JWT_INVALID",
            "Invalid JWT token: jwt malformed",
        ),
        (
            "a@b.co",
            &anonymous,
            "JWT_INVALID",
            "Invalid JWT token: invalid token",
        ),
        (
            "a@b.co",
            &late,
            "JWT_INVALID",
            "Invalid JWT token: jwt expired",
        ),
    ] {
        let fields = [("x-user-id", user), ("authorization", authorization)];
        let rejection = app_upgrade(&head("/app-ws", &fields), &keys(), NOW).unwrap_err();
        let response = rejection.response(ISO);
        let body = format!(
            r#"{{"type":"tpa_connection_error","code":"{code}","message":"{text}","timestamp":"{ISO}"}}"#
        );
        assert_eq!(
            (response.status, &response.body[..]),
            (401, body.as_bytes())
        );
    }
}
