//! The transport as a peer sees it, on both drivers, with a real process and an independent WebSocket client.
#![allow(missing_docs, reason = "a test")]

mod support;

use std::io::{Read, Write};
use support::{AppServer, DRIVERS, Server, Site, close_of, eventually, token, wait_for};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::stream::MaybeTlsStream;

#[test]
fn http_is_strict_keeps_alive_and_answers_exactly() {
    for driver in DRIVERS {
        let server = Server::start(driver);
        let two = server.raw(
            "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere?q=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(two.matches("HTTP/1.1 ").count(), 2, "{driver}: {two}");
        assert!(two.contains("\r\n\r\nokHTTP/1.1 404"), "{driver}: {two}");
        assert!(two.contains(r#"{"error":"Not found","path":"/nowhere","timestamp":""#));
        assert!(two.contains("Cache-Control: no-store\r\n"));

        for line in ["GET http://x/livez", "GET /%6civez"] {
            let alive = server.raw(&format!(
                "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            ));
            assert!(alive.starts_with("HTTP/1.1 200"), "{driver}: {alive}");
        }

        let smuggled = server.raw(
            "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        );
        assert!(smuggled.starts_with("HTTP/1.1 400"), "{driver}: {smuggled}");
        assert!(smuggled.contains("X-Request-Id: "), "{driver}: {smuggled}");

        let chunked = server.raw(
            "POST /api/client/location HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\"b\"\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n\
             GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        assert!(chunked.starts_with("HTTP/1.1 401"), "{driver}: {chunked}");
        assert!(chunked.ends_with("\r\n\r\nok"), "{driver}: {chunked}");

        let upgrade = |path: &str, extra: &str| {
            server.raw(&format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{extra}\r\n"
            ))
        };
        let missing = upgrade("/glasses-ws", "X-Request-Id: mine-7\r\n");
        assert!(
            missing.contains("X-Request-Id: mine-7\r\n"),
            "{driver}: {missing}"
        );
        assert!(missing.starts_with("HTTP/1.1 401"), "{driver}: {missing}");
        assert!(missing.contains(
            r#"{"type":"connection_error","message":"No core token provided","timestamp":""#
        ));
        let headers = upgrade("/app-ws", "Authorization: Bearer x\r\n");
        assert!(
            headers.contains(
                r#""code":"MISSING_HEADERS","message":"Missing userId in request headers""#
            )
        );
        assert!(upgrade("http://x/glasses%2Dws", "").starts_with("HTTP/1.1 401"));
        assert!(upgrade("/elsewhere", "").ends_with("Unknown WebSocket path"));
        let failed = upgrade(&format!("/glasses-ws?token={}", token("a@b.io")), "");
        assert!(failed.starts_with("HTTP/1.1 500"), "{driver}: {failed}");
        assert!(failed.ends_with("WebSocket upgrade failed"));
    }
}

#[test]
fn phones_are_acknowledged_and_pinged_on_whatever_shard_accepts_them() {
    for driver in DRIVERS {
        let server = Server::start(driver);
        // Enough users and connections that both shards accept and both own some.
        for user in 0..8 {
            let mut phone = server.dial(&format!("user{user}@lumen.io"));
            phone
                .send(Message::text(r#"{"type":"ping"}"#))
                .expect("sent");
            wait_for(&mut phone, "pong");
            let mut again = server.dial(&format!("USER{user}@lumen.io"));
            wait_for(&mut again, "connection_ack");
        }
    }
}

#[test]
fn a_v2_app_reaches_the_session_of_the_user_in_its_first_message() {
    for driver in DRIVERS {
        let server = Server::start(driver);
        for user in 0..6 {
            let email = format!("user{user}@lumen.io");
            let init = format!(
                r#"{{"type":"tpa_connection_init","sessionId":"{email}-com.acme.x","packageName":"com.acme.x","apiKey":"k1"}}"#
            );
            let mut stranger = server.socket("/app-ws", &[]);
            stranger
                .send(Message::text(r#"{"type":"ping"}"#))
                .expect("sent");
            assert!(wait_for(&mut stranger, "pong")["timestamp"].is_u64());
            stranger.send(Message::text(init.clone())).expect("sent");
            assert_eq!(
                wait_for(&mut stranger, "tpa_connection_error")["code"],
                "SESSION_NOT_FOUND"
            );
            assert_eq!(close_of(&mut stranger), (1008, "Session not found".into()));

            let mut phone = server.dial(&email);
            wait_for(&mut phone, "connection_ack");
            let mut app = server.socket("/app-ws", &[]);
            app.send(Message::text(init)).expect("sent");
            // Nobody started it: only the session knows that.
            assert_eq!(
                wait_for(&mut app, "tpa_connection_error")["code"],
                "APP_NOT_STARTED"
            );
            assert_eq!(close_of(&mut app).0, 1008);
        }
    }
}

#[test]
fn broken_frames_and_giants_are_closed_with_their_codes() {
    for driver in DRIVERS {
        let server = Server::start(driver);
        let mut echo = server.socket("/echo", &[]);
        let large = vec![7; 100_000];
        echo.send(Message::binary(large.clone())).expect("sent");
        assert_eq!(
            echo.read().expect("echoed"),
            Message::binary(large),
            "{driver}"
        );

        // One unmasked text frame.
        let MaybeTlsStream::Plain(stream) = echo.get_mut() else {
            panic!("plain");
        };
        stream.write_all(&[0x81, 0x01, b'x']).expect("written");
        assert_eq!(close_of(&mut echo).0, 1002, "{driver}");

        let mut giant = server.socket("/echo", &[]);
        let MaybeTlsStream::Plain(stream) = giant.get_mut() else {
            panic!("plain");
        };
        // A masked binary frame that announces 16 MiB + 1.
        let mut head = vec![0x82, 0xff];
        head.extend_from_slice(&(16 * 1024 * 1024 + 1_u64).to_be_bytes());
        head.extend_from_slice(&[0; 4]);
        stream.write_all(&head).expect("written");
        assert_eq!(close_of(&mut giant).0, 1009, "{driver}");

        let mut polite = server.socket("/echo", &[]);
        polite.send(Message::Ping("p".into())).expect("sent");
        assert_eq!(polite.read().expect("answered"), Message::Pong("p".into()));
        polite
            .close(Some(tungstenite::protocol::CloseFrame {
                code: CloseCode::Normal,
                reason: "done".into(),
            }))
            .expect("sent");
        assert_eq!(close_of(&mut polite).0, 1000, "{driver}");
    }
}

#[test]
fn messages_of_megabytes_arrive_whoever_sends_them() {
    let giant = |bytes: usize| {
        let text = "x".repeat(bytes);
        Message::text(format!(r#"{{"type":"x","a":"{text}"}}"#))
    };
    for driver in DRIVERS {
        let app = AppServer::start("com.acme.y", "k2");
        let site = Site::new("", &[("io_driver", driver)]);
        let url = &app.url;
        site.apps(&format!(
            "  - {{packageName: com.acme.y, appType: background, publicUrl: '{url}', apiKey: k2}}"
        ));
        let server = site.serve();
        app.serve(server.address);
        let mut phone = server.phone("ana@lumen.io");
        let path = "/apps/com.acme.y/start";
        server.as_user("ana@lumen.io", "POST", path, &serde_json::json!({}));
        let mut known = app.socket();
        let mut stranger = server.socket("/app-ws", &[]);
        for socket in [&mut phone, &mut known, &mut stranger] {
            socket.send(giant(16_000_000)).expect("sent");
            socket
                .send(Message::text(r#"{"type":"ping"}"#))
                .expect("sent");
            wait_for(socket, "pong");
        }
    }
}

#[test]
fn a_drain_says_goodbye_to_everybody_and_exits_zero() {
    for driver in DRIVERS {
        let mut server = Server::start(driver);
        let mut phone = server.dial("ana@lumen.io");
        wait_for(&mut phone, "connection_ack");
        let mut app = server.socket("/app-ws", &[]);
        server.terminate();
        let goodbye = (1001, "Server shutting down".to_owned());
        assert_eq!(close_of(&mut phone), goodbye, "{driver}");
        assert_eq!(close_of(&mut app), goodbye, "{driver}");
        drop((phone, app));
        let status = server.wait();
        assert_eq!(status.code(), Some(0), "{driver}");
    }
}

#[test]
fn peers_that_never_answer_hold_a_shutdown_up_for_the_handshakes_time_only() {
    for driver in DRIVERS {
        let server = Server::start(driver);
        let mut phones: Vec<_> = (0..20)
            .map(|n| server.dial(&format!("mute{n}@lumen.io")))
            .collect();
        for phone in &mut phones {
            wait_for(phone, "connection_ack");
        }
        let (code, _) = server.stop();
        assert_eq!(code, Some(0), "{driver}");
    }
}

#[test]
fn a_shutdown_that_hangs_ends_by_its_watchdog() {
    let patient = ("PRISM_CLOSE_HANDSHAKE_TIMEOUT_MS", "10000");
    let budget = ("PRISM_SHUTDOWN_BUDGET_MS", "500");
    let server = Server::with_env(DRIVERS[1], &[patient, budget]);
    let mut mute = server.dial("mute@lumen.io");
    wait_for(&mut mute, "connection_ack");
    let (code, _) = server.stop();
    assert_eq!(code, Some(1));
}

#[test]
fn the_server_ends_the_connection_behind_its_close_frame() {
    for driver in DRIVERS {
        // A client that waited for this long would find the test over.
        let server = Server::with_env(driver, &[("PRISM_CLOSE_HANDSHAKE_TIMEOUT_MS", "60000")]);
        let polite: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
        let unmasked: &[u8] = &[0x81, 0x01, b'x'];
        // What was sent before goes out before.
        let with_work: &[u8] = &[
            0x81, 0x81, 0, 0, 0, 0, b'x', 0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8,
        ];
        for (says, answer) in [
            (polite, &[0x88, 2, 0x03, 0xe8][..]),
            (unmasked, &[0x88, 2, 0x03, 0xea]),
            (with_work, &[0x81, 1, b'x', 0x88, 2, 0x03, 0xe8]),
        ] {
            let mut echo = server.socket("/echo", &[]);
            let MaybeTlsStream::Plain(stream) = echo.get_mut() else {
                panic!("plain");
            };
            stream.write_all(says).expect("written");
            let mut all = Vec::new();
            stream
                .read_to_end(&mut all)
                .unwrap_or_else(|error| panic!("{driver}: {says:x?}: {error}, {all:x?}"));
            assert_eq!(all, answer, "{driver}");
        }
    }
}

#[test]
fn frames_that_wait_for_their_turn_are_handled_in_order_though_the_peer_said_its_last() {
    for driver in DRIVERS {
        let server = Server::with_env(driver, &[("PRISM_TURN_FRAMES_MAX", "1")]);
        let mut echo = server.socket("/echo", &[]);
        let MaybeTlsStream::Plain(stream) = echo.get_mut() else {
            panic!("plain");
        };
        // Whole and unfinished frames in every piece that arrives.
        let (mut said, mut expected) = (Vec::new(), Vec::new());
        for n in 0..3000_u32 {
            let number = n.to_be_bytes();
            said.extend_from_slice(&[0x82, 0x84, 0, 0, 0, 0]);
            said.extend_from_slice(&number);
            expected.extend_from_slice(&[0x82, 4]);
            expected.extend_from_slice(&number);
        }
        let mut writer = stream.try_clone().expect("a second handle");
        let sender = std::thread::spawn(move || {
            for piece in said.chunks(997) {
                writer.write_all(piece)?;
            }
            writer.shutdown(std::net::Shutdown::Write)
        });
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("the end");
        sender.join().expect("no panic").expect("written");
        assert!(
            all == expected,
            "{driver}: {} of {} bytes",
            all.len(),
            expected.len()
        );
    }
}

#[test]
fn microphone_audio_arrives_by_udp() {
    for driver in DRIVERS {
        // Any free port: phones are told which.
        let offered = [("UDP_HOST", "127.0.0.1"), ("PRISM_UDP_PORT", "0")];
        let server = Server::with_env(driver, &offered);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
        for user in ["nadia@lumen.io", "jean-luc@lumen.io"] {
            let mut phone = server.dial(user);
            let ack = wait_for(&mut phone, "connection_ack");
            assert_eq!(ack["udpHost"], "127.0.0.1", "{driver}");
            let port = ack["udpPort"]
                .as_u64()
                .and_then(|port| port.try_into().ok());
            let address = ("127.0.0.1", port.expect("a port"));
            let hash = prism::base::ids::fnv1a32(user.as_bytes());
            let register = format!(r#"{{"type":"udp_register","userIdHash":{hash}}}"#);
            phone.send(Message::text(register)).expect("sent");
            phone
                .send(Message::text(r#"{"type":"ping"}"#))
                .expect("sent");
            // The registration was handled before.
            wait_for(&mut phone, "pong");
            let send = |payload: &[u8]| {
                let packet = [&hash.to_be_bytes()[..], &[0, 0], payload].concat();
                socket.send_to(&packet, address).expect("sent");
            };
            // An empty datagram must not end the reception.
            socket.send_to(&[], address).expect("sent");
            // More than a receive buffer holds: no probe, cut or not.
            send(&[&b"PING"[..], &[0; 5000]].concat());
            send(b"PING");
            let told = wait_for(&mut phone, "udp_ping_ack");
            assert!(told["timestamp"].is_u64(), "{driver}: {told}");
            // Nobody listens: the microphone is switched off, because the audio did arrive.
            send(&[0; 320]);
            let told = wait_for(&mut phone, "microphone_state_change");
            assert_eq!(told["isMicrophoneEnabled"], false, "{driver}");
        }
        server.has_figures(&[("/udp/sessions", 2), ("/udp/pings", 2)]);
    }
}

#[test]
fn running_out_of_receive_buffers_loses_nothing_and_is_counted() {
    let few = [
        ("PRISM_RECEIVE_BUFFERS", "16"),
        ("PRISM_RECEIVE_BUFFER_BYTES", "1024"),
    ];
    for driver in DRIVERS {
        let server = Server::with_env(driver, &few);
        let mut echo = server.socket("/echo", &[]);
        // More than all buffers hold is there at once; far more follows.
        let first = Message::binary(vec![6; 40_000]);
        let held = server.hold();
        echo.send(first.clone()).expect("sent");
        drop(held);
        assert!(echo.read().expect("echoed") == first, "{driver}");
        let large = vec![7; 4 << 20];
        echo.send(Message::binary(large.clone())).expect("sent");
        assert!(
            echo.read().expect("echoed") == Message::binary(large),
            "{driver}"
        );
        if driver == "uring" {
            let counted = eventually(|| {
                let metrics =
                    server.raw("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
                let mut lines = metrics.lines();
                let line = lines.find(|line| line.starts_with("prism_receive_starved_total"))?;
                (!line.ends_with(" 0")).then_some(())
            });
            assert!(counted.is_some(), "it starved");
        }
    }
}
