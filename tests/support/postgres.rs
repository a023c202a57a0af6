//! The PostgreSQL that a run is given; and one of a single test, which may go down, and a wire to it that may be cut without
//! anybody noticing.
#![allow(dead_code, reason = "each user takes its part")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The PostgreSQL server under test; without one the caller covers only the embedded store.
pub(crate) fn postgres_url() -> Option<String> {
    let url = std::env::var("PRISM_TEST_POSTGRES_URL").ok();
    let url = url.filter(|url| !url.is_empty());
    if url.is_none() {
        eprintln!("PRISM_TEST_POSTGRES_URL is not set: PostgreSQL is not covered by this run");
    }
    url
}

/// Runs what speaks to a store to its end.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}

/// A connection of somebody else, for as long as it is kept.
pub(crate) async fn somebody(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    client
}

/// Runs statements over a connection of its own.
pub(crate) async fn sql(url: &str, statements: &[&str]) {
    let client = somebody(url).await;
    for statement in statements {
        client.batch_execute(statement).await.expect(statement);
    }
}

/// A server of its own; gone with its data when dropped.
pub(crate) struct OwnPostgres {
    folder: String,
    pub(crate) url: String,
}

impl OwnPostgres {
    /// `None` where the run has no PostgreSQL at all.
    pub(crate) fn start() -> Option<Self> {
        postgres_url()?;
        let name = format!("prism-outage-{:x}", fastrand::u64(..));
        let folder = std::env::temp_dir().join(name).display().to_string();
        let mut this = Self {
            folder,
            url: String::new(),
        };
        this.url = this.script("start");
        Some(this)
    }

    fn script(&self, verb: &str) -> String {
        let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/postgres"))
            .arg(verb)
            .env("PRISM_POSTGRES_DIR", &self.folder)
            .stderr(std::process::Stdio::inherit())
            .output()
            .expect("the script runs");
        assert!(output.status.success(), "scripts/postgres {verb}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn down(&self) {
        self.script("down");
    }

    pub(crate) fn up(&self) {
        self.script("up");
    }

    /// From now on only TLS; the certificates to trust.
    pub(crate) fn tls(&self) -> String {
        self.script("tls")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let (_, rest) = self.url.split_once('@').expect("a user");
        rest.split('/')
            .next()
            .and_then(|text| text.parse().ok())
            .expect("an address")
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        self.script("stop");
    }
}

/// Forwards connections. After [`Wire::swallow`] what is connected stays so, but nothing passes any more.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    next: Arc<AtomicU64>,
    /// Connections with a lower number are swallowed.
    dead: Arc<AtomicU64>,
    /// How long what passes takes, each way (ms).
    delay_ms: Arc<AtomicU64>,
}

impl Wire {
    pub(crate) fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let this = Self {
            address: listener.local_addr().expect("bound"),
            next: Arc::default(),
            dead: Arc::default(),
            delay_ms: Arc::default(),
        };
        let (next, dead) = (Arc::clone(&this.next), Arc::clone(&this.dead));
        let delay_ms = Arc::clone(&this.delay_ms);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let number = next.fetch_add(1, Ordering::SeqCst);
                let Ok(far) = TcpStream::connect(target) else {
                    continue;
                };
                let (Ok(near2), Ok(far2)) = (near.try_clone(), far.try_clone()) else {
                    continue;
                };
                for (from, to) in [(near, far), (far2, near2)] {
                    let (dead, delay_ms) = (Arc::clone(&dead), Arc::clone(&delay_ms));
                    std::thread::spawn(move || forward(from, to, number, &dead, &delay_ms));
                }
            }
        });
        this
    }

    /// From now on the other end is far away.
    pub(crate) fn lengthen(&self, delay_ms: u64) {
        self.delay_ms.store(delay_ms, Ordering::SeqCst);
    }

    pub(crate) fn swallow(&self) {
        self.dead
            .store(self.next.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

fn forward(
    mut from: TcpStream,
    mut to: TcpStream,
    number: u64,
    dead: &AtomicU64,
    delay_ms: &AtomicU64,
) {
    let mut bytes = [0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        // The way there; nobody unparks this thread.
        std::thread::park_timeout(Duration::from_millis(delay_ms.load(Ordering::SeqCst)));
        if number >= dead.load(Ordering::SeqCst) && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
