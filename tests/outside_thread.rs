//! The outside thread as a shard sees it: messages in, messages out, over the embedded store.

#[path = "support/outside.rs"]
mod outside;

use outside::{Outside, PATIENCE};
use prism::base::clock::Clock;
use prism::base::ids::{CallId, Origin, Package, ReplyTo, ShardId, UserId};
use prism::services::StartError;
use prism::session::effects::{HttpCall, HttpKind, HttpMethod, StoreOp};
use prism::session::event::{Event, HttpOutcome, StoreOutcome};
use prism::shard::mailbox::{
    Answer, AppLink, LinkChange, OutsideRequest, OutsideRoute, ToOutside, ToShard,
};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const SHARD: ShardId = ShardId(0);
const APPS: &str = "
apps:
  - {packageName: com.acme.scribe, publicUrl: 'http://127.0.0.1:7010', apiKey: k}
";

fn fixture() -> Outside {
    start(tempfile::tempdir().expect("a folder"))
}

fn start(folder: tempfile::TempDir) -> Outside {
    std::fs::write(folder.path().join("apps.yaml"), APPS).expect("writes");
    Outside::start(folder, |_| ()).expect("starts")
}

/// With an admin listener.
fn administered() -> Outside {
    // Below the range from which the kernel takes ports for clients; another program may have one of them.
    let starts = (0..100).find_map(|_| {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("apps.yaml"), APPS).expect("writes");
        let started = Outside::start(folder, |settings| {
            settings.server.admin_port = fastrand::u64(10_000..32_000);
        });
        match started {
            Err(StartError::Admin(..)) => None,
            other => Some(other.expect("starts")),
        }
    });
    starts.expect("a free port")
}

/// One request, whole.
fn request(socket: &mut TcpStream) -> String {
    let (mut text, mut piece) = (String::new(), [0; 4096]);
    loop {
        let count = socket.read(&mut piece).expect("reads");
        text += &String::from_utf8_lossy(&piece[..count]).to_ascii_lowercase();
        let length = |head: &str| {
            let (_, rest) = head.split_once("content-length: ")?;
            rest.lines().next()?.trim().parse::<usize>().ok()
        };
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= length(head).unwrap_or(0)
        {
            return text;
        }
        assert!(count > 0, "cut off: {text}");
    }
}

fn result(fixture: &Outside) -> Event {
    match fixture.receive() {
        ToShard::Result { event, .. } => event,
        _ => panic!("a result"),
    }
}

fn nadia() -> UserId {
    UserId::new("nadia@lumen.io")
}

fn store(op: StoreOp, ack: Option<CallId>) -> ToOutside {
    ToOutside::Store {
        user: nadia(),
        epoch: 1,
        op,
        ack,
    }
}

fn load() -> ToOutside {
    ToOutside::LoadUser {
        user: nadia(),
        epoch: 1,
    }
}

#[test]
fn intent_survives_a_restart() {
    let first = fixture();
    assert!(first.running.registry.get("com.acme.scribe").is_some());
    first.send(store(
        StoreOp::AddRunning(Package::new("com.acme.scribe")),
        None,
    ));
    first.send(load());
    let Event::UserLoaded {
        record: Some(record),
    } = result(&first)
    else {
        panic!("the user")
    };
    assert_eq!(
        record.running_apps,
        ["com.acme.scribe"],
        "a load sees what was written before it"
    );
    first.send(store(
        StoreOp::AddRunning(Package::new("b")),
        Some(CallId(4)),
    ));
    assert!(matches!(
        result(&first),
        Event::Stored {
            call: CallId(4),
            outcome: StoreOutcome::Done
        }
    ));
    // Unacknowledged, but written before the thread ends.
    first.send(store(StoreOp::AddGlassesModel("Mentra Live".into()), None));
    first.send(load());
    result(&first);
    let Outside {
        folder, running, ..
    } = first;
    assert!(running.stop(PATIENCE));

    let second = start(folder);
    second.send(load());
    let Event::UserLoaded {
        record: Some(record),
    } = result(&second)
    else {
        panic!("the user")
    };
    assert_eq!(record.running_apps, ["com.acme.scribe", "b"]);
    assert_eq!(record.glasses_models, ["Mentra Live"]);
    assert!(second.running.stop(PATIENCE));
}

#[test]
fn an_http_call_comes_back_as_a_result() {
    let fixture = fixture();
    let server = TcpListener::bind("127.0.0.1:0").expect("binds");
    let url = format!("http://{}/webhook", server.local_addr().expect("bound"));
    let peer = std::thread::spawn(move || {
        let (mut socket, _) = server.accept().expect("a call");
        let asked = request(&mut socket);
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .expect("writes");
        asked
    });
    fixture.send(ToOutside::Http {
        user: nadia(),
        epoch: 1,
        call: HttpCall {
            call: CallId(9),
            kind: HttpKind::SessionRequest,
            method: HttpMethod::Post,
            url,
            headers: vec![("x-app-api-key", "hash".into())],
            body: bytes::Bytes::from_static(b"{}"),
            timeout_ms: 5000,
        },
    });
    let Event::Http {
        call: CallId(9),
        outcome: HttpOutcome::Answer {
            status: 200, body, ..
        },
    } = result(&fixture)
    else {
        panic!("an answer")
    };
    assert_eq!(&body[..], b"ok");
    let request = peer.join().expect("served");
    for part in [
        "post /webhook ",
        "content-type: application/json",
        "x-app-api-key: hash",
        "traceparent: 00-",
    ] {
        assert!(request.contains(part), "{part}: {request}");
    }
    assert!(fixture.running.stop(PATIENCE));
}

#[test]
fn a_request_is_answered_to_the_shard_that_asked() {
    let fixture = fixture();
    fixture.send(ToOutside::Request(Box::new(OutsideRequest {
        route: OutsideRoute::Permissions,
        method: "GET".into(),
        params: vec!["com.acme.scribe".into()],
        query: vec![],
        headers: vec![],
        body: bytes::Bytes::new(),
        user: None,
        package: None,
        peer: IpAddr::from([127, 0, 0, 1]),
        correlation_id: "c".into(),
        reply: ReplyTo {
            origin: Origin::Shard(SHARD),
            id: 77,
        },
    })));
    match fixture.receive() {
        ToShard::Reply {
            id: 77,
            answer: Answer::Whole(answer),
        } => assert_eq!(answer.status, 200),
        _ => panic!("a reply"),
    }
    assert!(fixture.running.stop(PATIENCE));
}

fn get(admin: SocketAddr, path: &str) -> String {
    ask(admin, "GET", path)
}

fn ask(admin: SocketAddr, method: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(admin).expect("connects");
    socket
        .write_all(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .expect("writes");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("reads");
    answer
}

#[test]
fn the_admin_listener_answers_without_any_shard() {
    let fixture = administered();
    let admin = fixture.running.admin.expect("listens");
    assert!(get(admin, "/livez").ends_with("\r\n\r\nok"));
    let head = ask(admin, "HEAD", "/livez");
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n")
            && head.contains("\r\nContent-Length: 2\r\n")
            && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(get(admin, "/health").contains(r#""status":"ok""#));
    assert!(get(admin, "/metrics").contains("# TYPE mentra_user_sessions gauge"));
    assert!(get(admin, "/api/admin/config").starts_with("HTTP/1.1 401 "));
    let dispose = ask(admin, "POST", "/api/admin/sessions/ana%40lumen.io/dispose");
    assert!(dispose.starts_with("HTTP/1.1 401 "), "{dispose}");
    assert!(get(admin, "/elsewhere").starts_with("HTTP/1.1 404 "));
    fixture.shared.start_draining();
    assert!(get(admin, "/health").starts_with("HTTP/1.1 503 "));
    assert!(get(admin, "/livez").starts_with("HTTP/1.1 200 "));
    assert!(fixture.running.stop(PATIENCE));
}

#[test]
fn a_reload_brings_new_apps_and_settings_to_the_shards() {
    let fixture = fixture();
    let more = format!(
        "{APPS}  - {{packageName: com.acme.second, publicUrl: 'http://127.0.0.1:7011', apiKey: k}}\n"
    );
    std::fs::write(fixture.folder.path().join("apps.yaml"), more).expect("writes");
    fixture.running.reload();
    assert!(matches!(fixture.receive(), ToShard::Settings(_)));
    match fixture.receive() {
        ToShard::Registry(registry) => assert!(registry.get("com.acme.second").is_some()),
        _ => panic!("a registry"),
    }
    assert!(fixture.running.stop(PATIENCE));
}

#[test]
fn a_bad_apps_file_stops_the_start_with_its_problems() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("apps.yaml"), "apps: [{packageName: a}]").expect("writes");
    let started = Outside::start(folder, |_| ());
    let Err(error) = started else {
        panic!("must not start")
    };
    let text = error.to_string();
    assert!(
        text.contains("publicUrl is missing") && text.contains("needs apiKey"),
        "{text}"
    );
}

#[test]
fn a_crashed_app_server_has_its_restarts_spread() {
    let fixture = fixture();
    let link = |user: &str, change| {
        ToOutside::AppLink(Box::new(AppLink {
            user: UserId::new(user),
            package: Package::new("com.acme.scribe"),
            key_sha256: String::new(),
            change,
        }))
    };
    for user in 0..10 {
        fixture.send(link(&format!("user{user}@lumen.io"), LinkChange::Lost));
    }
    let mut told: Vec<String> = (0..10)
        .map(|_| match fixture.receive() {
            ToShard::MassDisconnect {
                user, jitter_ms, ..
            } => {
                assert!(jitter_ms <= 2000);
                user.to_string()
            }
            _ => panic!("a word of the crash"),
        })
        .collect();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 10, "each of them is told once");
    assert!(fixture.running.stop(PATIENCE));
}

/// A provider that gives these answers in turn: what it was asked.
fn provider(statuses: &'static [u16]) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("bound");
    let asked = std::thread::spawn(move || {
        let answer = |status: &u16| {
            let (mut stream, _) = listener.accept().expect("a connection");
            let asked = request(&mut stream);
            let answer =
                format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).expect("written");
            asked.lines().next().unwrap_or_default().to_owned()
        };
        statuses.iter().map(answer).collect()
    });
    (format!("http://{address}/live_inputs/u1"), asked)
}

fn removal(url: String) -> ToOutside {
    ToOutside::Http {
        user: nadia(),
        epoch: 1,
        call: HttpCall {
            call: CallId(7),
            kind: HttpKind::Removal,
            method: HttpMethod::Delete,
            url,
            headers: Vec::new(),
            body: Vec::new().into(),
            timeout_ms: 5000,
        },
    }
}

fn provided() -> Outside {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("apps.yaml"), APPS).expect("writes");
    let started = Outside::start(folder, |settings| {
        settings.streaming.managed_api_backoff_ms = 1;
    });
    started.expect("starts")
}

#[test]
fn a_live_input_that_was_not_removed_is_tried_again() {
    let fixture = provided();
    let (url, asked) = provider(&[500, 429, 200]);
    fixture.send(removal(url));
    let Event::Http { call, outcome } = result(&fixture) else {
        panic!("an answer")
    };
    assert!(call == CallId(7) && outcome.is_success(), "{outcome:?}");
    let asked = asked.join().expect("no panic");
    assert_eq!(asked, ["delete /live_inputs/u1 http/1.1"; 3]);
    // One that is gone needs no other attempt, and one that cannot be removed is given up.
    for (statuses, last) in [(&[404][..], 404), (&[503; 6], 503)] {
        let (url, asked) = provider(statuses);
        fixture.send(removal(url));
        let Event::Http { outcome, .. } = result(&fixture) else {
            panic!("an answer")
        };
        assert!(matches!(outcome, HttpOutcome::Answer { status, .. } if status == last));
        assert_eq!(asked.join().expect("no panic").len(), statuses.len());
    }
}

#[test]
fn a_shutdown_waits_for_what_is_being_removed_but_not_for_long() {
    let fixture = provided();
    let (url, asked) = provider(&[500, 200]);
    fixture.send(removal(url));
    assert!(fixture.running.stop(Duration::from_millis(500)));
    assert_eq!(asked.join().expect("no panic").len(), 2);
    // A provider that never answers.
    let fixture = provided();
    let silent = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = silent.local_addr().expect("bound");
    fixture.send(removal(format!("http://{address}/live_inputs/u1")));
    let clock = Clock::start();
    assert!(fixture.running.stop(Duration::from_millis(500)));
    // One attempt alone would take 5 s.
    assert!(clock.mono_ns() < 5_000_000_000, "it waited");
}
