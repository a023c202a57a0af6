//! Limits of the front door as a peer meets them: CORS, sizes, times, half-closed connections, admission.
#![allow(missing_docs, reason = "a test")]

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use support::{
    DRIVERS, Place, Server, Site, Socket, close_of, eventually, is_alive, open, rest_of, token,
    wait_for,
};
use tungstenite::Message;
use tungstenite::stream::MaybeTlsStream;

#[test]
fn browsers_of_allowed_origins_may_ask_and_others_may_not() {
    let origins = "https://console.example.net,https://*.lumen.io";
    for driver in DRIVERS {
        let server = Server::with_env(driver, &[("PRISM_CORS_ORIGINS", origins)]);
        let ask = |method: &str, origin: &str, extra: &str| {
            server.raw(&format!(
                "{method} /api/client/min-version HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\n{extra}Connection: close\r\n\r\n"
            ))
        };
        let preflight = "Access-Control-Request-Method: PUT\r\n";
        for origin in ["https://console.example.net", "https://beta.lumen.io"] {
            let answer = ask("OPTIONS", origin, preflight);
            assert!(answer.starts_with("HTTP/1.1 204"), "{driver}: {answer}");
            for header in [
                &*format!("Access-Control-Allow-Origin: {origin}\r\n"),
                "Access-Control-Allow-Credentials: true\r\n",
                "Access-Control-Max-Age: 600\r\n",
            ] {
                assert!(answer.contains(header), "{driver}: {header}: {answer}");
            }
            assert!(answer.contains("Access-Control-Allow-Methods: GET") && answer.contains("PUT"));
            let plain = ask("GET", origin, "");
            assert!(plain.contains(&format!("Access-Control-Allow-Origin: {origin}\r\n")));
        }
        let foreign = ask("GET", "https://lumen.io.evil.net", "");
        assert!(foreign.starts_with("HTTP/1.1 200"), "{driver}: {foreign}");
        assert!(!foreign.contains("Access-Control-Allow-Origin"), "{driver}");
    }
}

#[test]
fn a_page_of_an_allowed_origin_can_read_why_its_body_was_refused() {
    let origin = "https://console.example.net";
    for driver in DRIVERS {
        let env = [
            ("PRISM_CORS_ORIGINS", origin),
            ("PRISM_HTTP_BODY_BYTES_MAX", "1024"),
        ];
        let server = Server::with_env(driver, &env);
        let refused = |origin: &str| {
            server.raw(&format!(
                "POST /api/client/feedback HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nContent-Length: 1025\r\n\r\n"
            ))
        };
        let answer = refused(origin);
        assert!(answer.starts_with("HTTP/1.1 413"), "{driver}: {answer}");
        let allowed = format!("Access-Control-Allow-Origin: {origin}\r\n");
        assert!(answer.contains(&allowed), "{driver}: {answer}");
        let foreign = refused("https://evil.net");
        assert!(!foreign.contains("Access-Control"), "{driver}: {foreign}");
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    for driver in DRIVERS {
        let server = Server::with_env(driver, &[("PRISM_HTTP_BODY_BYTES_MAX", "1024")]);
        let announced = server
            .raw("POST /api/client/feedback HTTP/1.1\r\nHost: x\r\nContent-Length: 1025\r\n\r\n");
        assert!(
            announced.starts_with("HTTP/1.1 413"),
            "{driver}: {announced}"
        );
        let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
        let chunked = server.raw(&format!(
            "POST /api/client/feedback HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}"
        ));
        assert!(chunked.starts_with("HTTP/1.1 413"), "{driver}: {chunked}");
    }
}

/// Sends a body without end: the server cuts the connection after some of it.
fn assert_not_read_for_ever(server: &Server, head: &str, driver: &str) {
    let mut endless = server.tcp();
    endless.write_all(head.as_bytes()).expect("written");
    let piece = vec![b'x'; 1 << 20];
    let sent = (0..1000).find(|_| endless.write_all(&piece).is_err());
    assert!(sent.is_some_and(|mib| mib < 128), "{driver}: {sent:?}");
}

#[test]
fn who_sends_a_refused_body_whole_still_finds_the_answer() {
    let head =
        "POST /api/client/feedback HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n";
    for driver in DRIVERS {
        let server = Server::with_env(driver, &[("PRISM_HTTP_BODY_BYTES_MAX", "1024")]);
        // More than the sockets' buffers hold.
        let answer = server.raw(&format!("{head}{}", "x".repeat(24 << 20)));
        assert!(answer.starts_with("HTTP/1.1 413"), "{driver}: {answer}");
        assert_not_read_for_ever(&server, head, driver);
    }
}

#[test]
fn who_sends_a_body_that_nobody_takes_behind_this_server_still_finds_the_answer() {
    // Nobody listens there.
    let settings = [("PRISM_FALLBACK_UPSTREAM", "http://127.0.0.1:1")];
    let head = "POST /elsewhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n";
    for driver in DRIVERS {
        let server = Server::with_env(driver, &settings);
        let answer = server.raw(&format!("{head}{}", "x".repeat(24 << 20)));
        assert!(answer.starts_with("HTTP/1.1 502"), "{driver}: {answer}");
        assert_not_read_for_ever(&server, head, driver);
    }
}

#[test]
fn pictures_of_a_bug_report_may_be_larger_than_other_bodies() {
    let limits = [
        ("PRISM_HTTP_BODY_BYTES_MAX", "1024"),
        ("PRISM_HTTP_UPLOAD_BYTES_MAX", "4096"),
    ];
    for driver in DRIVERS {
        let server = Server::with_env(driver, &limits);
        let send = |token: &str, bytes: usize| {
            server.raw(&format!(
                "POST /api/incidents/i1/attachments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
                 Connection: close\r\nContent-Length: {bytes}\r\n\r\n{}",
                "x".repeat(bytes)
            ))
        };
        let token = token("ben@lumen.io");
        let taken = send(&token, 4096);
        assert!(taken.starts_with("HTTP/1.1 404"), "{driver}: {taken}");
        for (token, bytes) in [(&*token, 4097), ("x", 1025)] {
            let refused = send(token, bytes);
            assert!(refused.starts_with("HTTP/1.1 413"), "{driver}: {refused}");
        }
    }
}

#[test]
fn slow_heads_and_bodies_are_cut() {
    let limits = [
        ("PRISM_HTTP_HEAD_TIMEOUT_MS", "150"),
        ("PRISM_HTTP_BODY_TIMEOUT_MS", "150"),
    ];
    for driver in DRIVERS {
        let server = Server::with_env(driver, &limits);
        // Each ends by itself, without an answer to what was never asked.
        for part in [
            "",
            "GET /livez HT",
            "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        ] {
            assert_eq!(server.raw(part), "", "{driver}: {part}");
        }
        // Only between requests: a busy machine takes longer than this to send one.
        let server = Server::with_env(driver, &[("PRISM_HTTP_KEEPALIVE_MS", "150")]);
        let idle = server.raw("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(idle.ends_with("\r\n\r\nok"), "{driver}: {idle}");
    }
}

#[test]
fn who_asks_for_nothing_makes_room_for_others_where_all_places_are_taken() {
    let limits = [
        ("PRISM_HTTP_CONNECTIONS_MAX", "16"),
        ("PRISM_HTTP_HEAD_TIMEOUT_MS", "600000"),
    ];
    for driver in DRIVERS {
        let server = Server::with_env(driver, &limits);
        // More than both shards have places for.
        let idle: Vec<_> = (0..100).map(|_| server.tcp()).collect();
        let path = format!("/glasses-ws?token={}", token("ana@lumen.io"));
        let phone = eventually(|| open(server.address, &path).ok());
        assert!(phone.is_some(), "{driver}: nobody gets in");
        drop(idle);
    }
}

#[test]
fn a_client_that_does_not_read_its_answers_loses_its_place() {
    for driver in DRIVERS {
        // Time enough for those who ask below.
        let server = Server::with_env(driver, &[("PRISM_HTTP_BODY_TIMEOUT_MS", "2000")]);
        let metrics = "GET /metrics HTTP/1.1\r\nHost: x\r\n";
        let mut deaf = server.tcp();
        // More than the kernel holds between two sockets.
        let many = format!("{metrics}\r\n").repeat(1000);
        deaf.write_all(many.as_bytes()).expect("written");
        let cut = r#"prism_http_refused_total{reason="timeout"} 1"#;
        let asked = format!("{metrics}Connection: close\r\n\r\n");
        let seen = eventually(|| server.raw(&asked).contains(cut).then_some(()));
        assert!(seen.is_some(), "{driver}");
        let read = rest_of(&mut deaf).matches("HTTP/1.1 200").count();
        assert!(read < 1000, "{driver}: {read} answers");
    }
}

#[test]
fn bodies_that_are_being_read_take_no_more_than_their_room_together() {
    let limits = ["BODY", "UPLOAD", "BODIES"].map(|name| format!("PRISM_HTTP_{name}_BYTES_MAX"));
    let limits = limits.each_ref().map(|name| (name.as_str(), "65536"));
    for driver in DRIVERS {
        let server = Server::with_env(driver, &limits);
        // Of three one finds another at its shard.
        let (answers, answered) = std::sync::mpsc::channel();
        let mut senders = Vec::new();
        for number in 0..3 {
            let mut sender = server.tcp();
            let mut reader = sender.try_clone().expect("a descriptor");
            let head = "POST /api/client/feedback HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\nConnection: close\r\n\r\n";
            let most = format!("{head}{}", "x".repeat(40_000));
            sender.write_all(most.as_bytes()).expect("written");
            senders.push(sender);
            let answers = answers.clone();
            std::thread::spawn(move || answers.send((number, rest_of(&mut reader))));
        }
        let (refused, answer) = answered.recv().expect("one is refused");
        assert!(answer.starts_with("HTTP/1.1 503"), "{driver}: {answer}");
        assert!(
            answer.contains("\r\nRetry-After: 5\r\n"),
            "{driver}: {answer}"
        );
        // There is room again for the last, which may have been refused too.
        for (number, sender) in senders.iter_mut().enumerate() {
            if number != refused {
                let _ = sender.write_all(&[b'x'; 10_000]);
            }
        }
        let judged = |(_, answer): &(usize, String)| answer.starts_with("HTTP/1.1 401");
        let others: Vec<_> = answered.iter().take(2).collect();
        assert!(others.iter().any(judged), "{driver}: {others:?}");
    }
}

#[test]
fn bodies_that_wait_for_others_keep_their_room_until_they_are_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let apps = folder.path().join("apps.yaml");
    for driver in DRIVERS {
        let slow = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let url = format!("http://{}", slow.local_addr().expect("bound"));
        let record = format!(
            "apps: [{{packageName: com.acme.slow, name: Slow, publicUrl: '{url}', apiKey: k}}]\n"
        );
        std::fs::write(&apps, record).expect("writable");
        let server = Server::with(driver, |command| {
            command.arg("--apps").arg(&apps);
            command.env("PRISM_TOOL_WEBHOOK_ATTEMPTS", "1");
            for name in ["BODY", "UPLOAD", "BODIES"] {
                command.env(format!("PRISM_HTTP_{name}_BYTES_MAX"), "65536");
            }
        });
        let body = format!(
            r#"{{"toolId":"t","userId":"ana@x.io","toolParameters":{{"a":"{}"}}}}"#,
            "x".repeat(50_000)
        );
        let request = format!(
            "POST /api/tools/apps/com.acme.slow/tool HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            token("ana@x.io"),
            body.len()
        );
        let (answers, answered) = std::sync::mpsc::channel();
        // Of three one finds another at its shard; the app takes the others' and says nothing.
        for _ in 0..3 {
            let mut sender = server.tcp();
            sender.write_all(request.as_bytes()).expect("written");
            let answers = answers.clone();
            std::thread::spawn(move || answers.send(rest_of(&mut sender)));
        }
        let answer = answered.recv().expect("one is refused");
        assert!(answer.starts_with("HTTP/1.1 503"), "{driver}: {answer}");
        drop(slow);
        let others: Vec<String> = answered.iter().take(2).collect();
        let served = |answer: &String| answer.starts_with("HTTP/1.1 502");
        assert!(others.iter().any(served), "{driver}: {others:?}");
        // And then there is room again.
        assert!(served(&server.raw(&request)), "{driver}");
    }
}

#[test]
fn a_client_that_has_said_everything_still_gets_its_answer() {
    for driver in DRIVERS {
        let server = Server::start(driver);
        for path in ["/livez", "/health", "/metrics"] {
            let mut stream = server.tcp();
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("written");
            stream.shutdown(Shutdown::Write).expect("half closed");
            let answer = rest_of(&mut stream);
            assert!(
                answer.starts_with("HTTP/1.1 200"),
                "{driver} {path}: {answer}"
            );
        }
    }
}

#[test]
fn a_half_closed_websocket_ends_and_its_session_waits() {
    for driver in DRIVERS {
        let server = Server::start(driver);
        let mut phone = server.dial("ana@lumen.io");
        wait_for(&mut phone, "connection_ack");
        let MaybeTlsStream::Plain(stream) = phone.get_mut() else {
            panic!("plain");
        };
        stream.shutdown(Shutdown::Write).expect("half closed");
        let mut rest = Vec::new();
        stream
            .read_to_end(&mut rest)
            .expect("the server closes too");
        // In its grace.
        server.has_figures(&[
            ("/activeSessions", 1),
            ("/connections/glassesConnections", 0),
        ]);
        let mut back = server.dial("ana@lumen.io");
        back.send(Message::text(r#"{"type":"ping"}"#))
            .expect("sent");
        wait_for(&mut back, "pong");
    }
}

#[test]
fn a_full_server_keeps_its_users_and_sends_others_away() {
    for driver in DRIVERS {
        let env = [
            ("PRISM_MAX_SESSIONS", "1"),
            ("PRISM_METRICS_INTERVAL_MS", "50"),
        ];
        let server = Server::with_env(driver, &env);
        let mut phone = server.dial("ana@lumen.io");
        wait_for(&mut phone, "connection_ack");
        let refused = server.raw(&format!(
            "GET /glasses-ws?token={} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            token("ben@lumen.io")
        ));
        assert!(refused.starts_with("HTTP/1.1 503"), "{driver}: {refused}");
        assert!(
            refused.contains("Retry-After: 5\r\n"),
            "{driver}: {refused}"
        );
        let mut again = server.dial("ana@lumen.io");
        wait_for(&mut again, "connection_ack");
        let counted = eventually(|| {
            let page = server.raw("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let has = |line: &str| page.lines().any(|one| one == line);
            let refused = has(r#"mentra_upgrade_total{kind="glasses",result="refused"} 1"#);
            let admitted = has(r#"mentra_upgrade_total{kind="glasses",result="ok"} 2"#);
            (refused && admitted).then_some(())
        });
        assert!(counted.is_some(), "{driver}: both kinds are counted");
    }
}

#[test]
fn the_log_tells_a_phones_life_and_never_a_secret() {
    let server = Server::start("epoll");
    let mut phone = server.dial("ana@lumen.io");
    wait_for(&mut phone, "connection_ack");
    drop(phone);
    // The next one may be another shard's to accept.
    server.log.wait_for("ws-close", Place::default());
    let mut again = server.dial("ana@lumen.io");
    wait_for(&mut again, "connection_ack");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    assert!(!log.contains(support::SECRET));
    let record = |message: &str| -> serde_json::Value {
        log.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON lines"))
            .find(|line| line["message"] == message)
            .unwrap_or_else(|| panic!("no {message} in {log}"))
    };
    assert!(
        record("effective settings")["settings"]
            .as_str()
            .is_some_and(|text| text.contains(r#""auth_jwt_secret":"***""#))
    );
    for (message, fields) in [
        (
            "ws-close",
            &["code", "session_s", "udp_active", "correlation_id"][..],
        ),
        ("ws-reconnect", &["downtime_ms", "reconnects", "last_code"]),
    ] {
        let line = record(message);
        for field in fields {
            assert!(!line[field].is_null(), "{message} lacks {field}: {line}");
        }
    }
}

fn write(socket: &mut Socket, bytes: &[u8]) {
    let MaybeTlsStream::Plain(stream) = socket.get_mut() else {
        panic!("plain");
    };
    stream.write_all(bytes).expect("written");
}

const BEGIN: u8 = 0x01;
const END: u8 = 0x80;
const WHOLE: u8 = 0x81;

/// A frame that says it has `all` bytes, of which `there` come with it; masked with zeros.
fn frame(first: u8, all: u32, there: usize) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | 127];
    bytes.extend_from_slice(&u64::from(all).to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.resize(14 + there, b' ');
    bytes
}

#[test]
fn unfinished_messages_take_so_much_memory_and_no_more() {
    for driver in DRIVERS {
        let site = Site::new(
            "",
            &[
                ("io_driver", driver),
                ("shards", "1"),
                ("ws_max_message_bytes", "1048576"),
                ("unfinished_bytes_max", "4194304"),
            ],
        );
        let server = site.serve();
        // Whoever is alive after the first part of a message had room for it.
        let begin = || {
            let mut stranger = server.socket("/app-ws", &[]);
            write(&mut stranger, &frame(BEGIN, 800_000, 800_000));
            assert!(is_alive(&mut stranger), "{driver}");
            stranger
        };
        let mut strangers = [begin(), begin()];
        let overloaded = (1013, "Overloaded".to_owned());
        for first in [BEGIN, WHOLE] {
            let mut third = server.socket("/app-ws", &[]);
            write(&mut third, &frame(first, 1_000_000, 999_999));
            assert_eq!(close_of(&mut third), overloaded, "{driver}");
        }
        let mut third = server.socket("/app-ws", &[]);
        write(&mut third, &frame(BEGIN, 800_000, 800_000));
        assert_eq!(close_of(&mut third), overloaded, "{driver}");

        // Small ones, and those of whom one knows, find room.
        let mut small = server.socket("/app-ws", &[]);
        write(&mut small, &frame(BEGIN, 200_000, 200_000));
        let mut phone = server.phone("ana@lumen.io");
        write(&mut phone, &frame(BEGIN, 800_000, 800_000));
        for socket in [&mut small, &mut phone, &mut strangers[0]] {
            write(socket, &frame(END, 20_000, 20_000));
            assert!(is_alive(socket), "{driver}");
        }
        // What arrived takes no room, and neither does what went away.
        strangers[0] = begin();
        for stranger in &mut strangers {
            stranger.close(None).expect("sent");
            close_of(stranger);
        }
        let _both = [begin(), begin()];
    }
}
