//! What a caller notices of the HTTP client, against a small server on loopback.

use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}

/// Serves `answer` to every request; returns the base URL.
async fn server(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                if socket.read(&mut request).await.is_ok_and(|count| count > 0) {
                    let _ = socket.write_all(&answer).await;
                }
                // An empty answer means: hang.
                if answer.is_empty() {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    base
}

fn call(url: String, timeout_ms: u64) -> HttpCall {
    HttpCall {
        call: CallId(1),
        kind: HttpKind::SessionRequest,
        method: HttpMethod::Post,
        url,
        headers: vec![],
        body: Bytes::from_static(b"{}"),
        timeout_ms,
    }
}

fn client(change: impl FnOnce(&mut Settings)) -> Webhooks {
    let mut settings = Settings::default();
    change(&mut settings);
    Webhooks::new(&settings, Clock::start())
}

#[test]
fn an_answer_comes_back_with_status_and_body() {
    run(async {
        let base =
            server(b"HTTP/1.1 500 No\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nhelp".to_vec())
                .await;
        let outcome = client(|_| {}).call(call(base, 5000), None).await;
        assert_eq!(
            outcome,
            HttpOutcome::Answer {
                status: 500,
                body: Bytes::from_static(b"help"),
                retry_after_s: Some(7),
            }
        );
    });
}

#[test]
fn a_redirect_is_an_answer_not_an_errand() {
    run(async {
        let answer =
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
                .to_vec();
        let outcome = client(|_| {})
            .call(call(server(answer).await, 5000), None)
            .await;
        assert_eq!(
            outcome,
            HttpOutcome::Answer {
                status: 302,
                body: Bytes::new(),
                retry_after_s: None,
            }
        );
    });
}

#[test]
fn a_long_answer_is_cut() {
    run(async {
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n".to_vec();
        answer.resize(answer.len() + 300_000, b'x');
        match client(|_| {})
            .call(call(server(answer).await, 5000), None)
            .await
        {
            HttpOutcome::Answer {
                status: 200, body, ..
            } => assert_eq!(body.len(), ANSWER_BYTES_MAX),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_hanging_server_times_out() {
    run(async {
        let outcome = client(|_| {})
            .call(call(server(Vec::new()).await, 50), None)
            .await;
        assert_eq!(
            outcome,
            HttpOutcome::Failed {
                error: "timed out".into()
            }
        );
    });
}

#[test]
fn private_targets_are_refused_by_address_and_by_name() {
    run(async {
        let client = client(|settings| settings.apps.webhook_private_addresses = false);
        let base = server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
        let by_name = base.replace("127.0.0.1", "localhost");
        for url in [base, by_name, "http://[::1]:80/".to_owned()] {
            let outcome = client.call(call(url.clone(), 5000), None).await;
            assert_eq!(
                outcome,
                HttpOutcome::Failed {
                    error: REFUSED.into()
                },
                "{url}"
            );
        }
    });
}

#[test]
fn a_call_cancelled_before_its_turn_never_starts() {
    run(async {
        let client = Arc::new(client(|settings| settings.apps.webhook_concurrency = 1));
        let (seen, base) = counting_server().await;
        let held = Arc::clone(&client.running)
            .acquire_owned()
            .await
            .expect("open");
        let key = (UserId::new("nadia@lumen.io"), 1, CallId(1));
        let task = tokio::spawn({
            let (client, key) = (Arc::clone(&client), key.clone());
            async move { client.call(call(base, 5000), Some(key)).await }
        });
        client.track(key.clone(), task.abort_handle());
        tokio::task::yield_now().await;
        client.cancel(&key, UnderWay::GoesOn);
        drop(held);
        assert!(task.await.expect_err("aborted").is_cancelled());
        assert_eq!(seen.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_call_under_way_is_cut_where_it_must_not_go_on() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let client = Arc::new(client(|_| {}));
        let key = (UserId::new("nadia@lumen.io"), 1, CallId(1));
        let task = tokio::spawn({
            let (client, key) = (Arc::clone(&client), key.clone());
            async move { client.call(call(base, 5000), Some(key)).await }
        });
        client.track(key.clone(), task.abort_handle());
        let (mut socket, _) = listener.accept().await.expect("it comes");
        let mut request = vec![0; 4096];
        assert!(socket.read(&mut request).await.expect("it asks") > 0);
        client.cancel(&key, UnderWay::GoesOn);
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        client.cancel(&key, UnderWay::Cut);
        assert!(task.await.expect_err("aborted").is_cancelled());
        while socket.read(&mut request).await.is_ok_and(|count| count > 0) {}
        assert!(lock(&client.open).is_empty());
    });
}

#[test]
fn an_app_that_came_before_its_server_answered_holds_no_place() {
    run(async {
        // One of every origin at a time.
        let client = Arc::new(client(|settings| settings.apps.webhook_concurrency = 4));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let ask = |id| {
            let key = (UserId::new("nadia@lumen.io"), 1, CallId(id));
            let task = tokio::spawn({
                let (client, key, base) = (Arc::clone(&client), key.clone(), base.clone());
                async move { client.call(call(base, 60_000), Some(key)).await }
            });
            client.track(key.clone(), task.abort_handle());
            key
        };
        let first = ask(1);
        ask(2);
        let _asked = listener.accept().await.expect("the first");
        assert_eq!(client.waiting.load(Ordering::Relaxed), 1);
        client.cancel(&first, UnderWay::GoesOn);
        let second = timeout(Duration::from_secs(30), listener.accept()).await;
        second.expect("its turn").expect("the second");
    });
}

#[test]
fn calls_that_anybody_asks_for_leave_places_for_those_that_start_apps() {
    run(async {
        // Of each origin two at a time, and eight in all.
        let client = Arc::new(client(|settings| settings.apps.webhook_concurrency = 8));
        let ask = |base: &str, kind| {
            let (client, call) = (Arc::clone(&client), call(base.to_owned(), 60_000));
            tokio::spawn(async move { client.call(HttpCall { kind, ..call }, None).await })
        };
        // Every origin hangs, and many ask each for its health and its tools.
        let mut listeners = Vec::new();
        for _ in 0..4 {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            let base = format!("http://{}", listener.local_addr().expect("bound"));
            for kind in [HttpKind::Health, HttpKind::Tool, HttpKind::Settings].repeat(8) {
                ask(&base, kind);
            }
            listeners.push((listener, base));
        }
        for (listener, base) in &listeners {
            let _health = listener.accept().await.expect("asked");
            ask(base, HttpKind::SessionRequest);
            let start = timeout(Duration::from_secs(30), listener.accept()).await;
            start.expect("its turn").expect("the start");
        }
    });
}

/// A server that answers nobody and says who asks: the paths of its requests.
async fn hanging_server(asked: tokio::sync::mpsc::UnboundedSender<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let count = socket.read(&mut request).await.expect("readable");
                let head = String::from_utf8_lossy(&request[..count]);
                let path = head.split(' ').nth(1).unwrap_or_default();
                asked.send(path.to_owned()).expect("the test waits");
                std::future::pending::<()>().await;
            });
        }
    });
    base
}

#[test]
fn a_user_whose_app_servers_hang_leaves_places_for_other_users() {
    run(async {
        // Of each origin 16 at a time, for each user 8 of all, of which 4 tools.
        let client = Arc::new(client(|settings| settings.apps.webhook_concurrency = 64));
        let ask = |name: &str, kind, base: &str| {
            let user = UserId::new(name);
            let call = HttpCall {
                kind,
                ..call(format!("{base}/{name}"), 60_000)
            };
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                match kind {
                    HttpKind::Tool => client.call_for(call, &user).await,
                    _ => client.call(call, Some((user, 1, CallId(1)))).await,
                }
            });
        };
        let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
        let mut bases = Vec::new();
        for _ in 0..4 {
            bases.push(hanging_server(sender.clone()).await);
        }
        for base in &bases {
            for kind in [HttpKind::Tool, HttpKind::SessionRequest].repeat(40) {
                ask("eve", kind, base);
            }
        }
        assert_eq!(asked.recv().await.as_deref(), Some("/eve"));
        for base in &bases {
            ask("nadia", HttpKind::Tool, base);
            ask("nadia", HttpKind::SessionRequest, base);
        }
        let (mut eves, mut nadias) = (1, 0);
        while nadias < 8 {
            let path = timeout(Duration::from_secs(30), asked.recv()).await;
            match path.expect("nadia's turn").as_deref() {
                Some("/nadia") => nadias += 1,
                _ => eves += 1,
            }
        }
        assert!(eves <= 8, "{eves}");
    });
}

async fn counting_server() -> (Arc<AtomicU64>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (seen, base)
}

#[test]
fn beyond_the_queue_bound_a_call_fails_at_once() {
    run(async {
        let client = client(|_| {});
        client.waiting.store(client.queue_max, Ordering::Relaxed);
        let outcome = client
            .call(call("http://127.0.0.1:9/".into(), 5000), None)
            .await;
        assert_eq!(
            outcome,
            HttpOutcome::Failed {
                error: "too many outbound calls are waiting".into()
            }
        );
    });
}
