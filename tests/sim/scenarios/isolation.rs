//! A defect in what the server does for one user is nobody else's.

use super::{MAPS, NOTES, SCRIBE, USER, package, running};
use prism::session::event::Sdk;
use prism::session::managers::apps::AppState;
use serde_json::json;
use std::io::{self, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

/// The user whose session meets the defect.
const BROKEN: &str = "naomi@lumen.io";

/// A second subscriber, so that `tracing` does not keep the answer of a thread that wants no lines.
static OTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

/// A log that panics once, at the line that holds these words: in the middle of what the session was doing.
struct Defect(&'static str, &'static AtomicBool);

impl Write for Defect {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let strikes = String::from_utf8_lossy(line).contains(self.0);
        assert!(
            !strikes || self.1.swap(true, Ordering::Relaxed),
            "a defect in the session of {BROKEN} ends the process"
        );
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Does this while the server has a defect.
fn with_defect(words: &'static str, act: impl FnOnce()) {
    static STRUCK: AtomicBool = AtomicBool::new(false);
    LazyLock::force(&OTHER);
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || Defect(words, &STRUCK))
        .finish();
    tracing::subscriber::with_default(subscriber, act);
    assert!(STRUCK.load(Ordering::Relaxed), "the defect was met");
}

#[test]
fn a_defect_in_one_session_ends_that_session_alone() {
    let mut w = running(Sdk::V3, SCRIBE);
    w.add_phone(BROKEN, 0);
    w.run(1500);
    w.start(BROKEN, MAPS);
    w.run(3000);
    w.sound();
    let (phone, app) = (w.phone_conn(1), w.app_conn(MAPS, BROKEN).expect("runs"));
    let (t, neighbour) = (w.t(), [w.phone_conn(0), w.conn_of(SCRIBE)]);
    w.watch.defective = Some(BROKEN.to_owned());
    let start = json!({"type": "start_app", "packageName": package(NOTES)});
    w.say(phone, &start);
    with_defect("app attached", || w.run(2000));
    w.sound();
    assert!(w.session(BROKEN).is_none());
    for conn in [phone, app] {
        assert_eq!(w.closes(conn), [(1011, "Internal server error".into())]);
    }
    w.paint(SCRIBE, USER, 0);
    w.run(10_000);
    w.sound();
    // The neighbour saw nothing of it.
    for conn in neighbour {
        assert_eq!(w.closes(conn), []);
    }
    assert!(w.texts(neighbour[0], "pong", t).len() >= 2);
    assert_eq!(w.shown(neighbour[0], t).len(), 1, "its app paints");
    assert_eq!(w.asked(SCRIBE, "session_request", t), 0);
    // The user is back with what ran.
    assert_ne!(w.phone_conn(1), phone);
    let session = w.session(BROKEN).expect("a new session");
    let maps = session.m.apps.get(package(MAPS)).map(|app| app.state);
    assert_eq!(maps, Some(AppState::Running));
}
