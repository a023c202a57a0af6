//! Defects of the phone's list of apps.

use super::super::world::World;
use super::{NOTES, SCRIBE, USER, package, world};
use prism::session::event::Sdk;
use prism::session::rest::Call;
use prism::wire::records::InstalledApp;
use serde_json::Value;

/// A phone's HTTP client: an answer that may be kept is shown again instead of asking.
#[derive(Default)]
struct Client {
    kept: Option<Value>,
}

impl Client {
    /// The packages that the phone's list shows as running.
    fn polls(&mut self, w: &mut World) -> Vec<String> {
        let body = match self.kept.take() {
            Some(body) => body,
            None => {
                let id = w.rest(USER, Call::ListApps);
                let bytes = w.http.get(&id).expect("answered at once");
                let text = String::from_utf8_lossy(bytes);
                let (head, body) = text.split_once("\r\n\r\n").expect("a whole answer");
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                let body: Value = serde_json::from_str(body).expect("JSON");
                let head = head.to_ascii_lowercase();
                if !head.contains("\r\ncache-control: no-store") {
                    self.kept = Some(body.clone());
                }
                body
            }
        };
        let apps = body["data"].as_array().expect("a list").iter();
        let running = apps.filter(|app| app["running"] == true);
        running
            .filter_map(|app| app["packageName"].as_str().map(str::to_owned))
            .collect()
    }
}

#[test]
fn every_poll_shows_what_runs_now() {
    let mut w = world(7, [Sdk::V3; 4]);
    w.watch.logging = true;
    for app in [SCRIBE, NOTES] {
        w.store.record(USER).installed_apps.push(InstalledApp {
            package_name: package(app).to_owned(),
            installed_ms: 1,
            last_active_ms: 0,
        });
    }
    w.add_phone(USER, 0);
    w.run(1500);
    let mut client = Client::default();
    let nothing = Vec::<String>::new();
    assert_eq!(client.polls(&mut w), nothing);
    w.start(USER, SCRIBE);
    w.run(3000);
    assert_eq!(client.polls(&mut w), [package(SCRIBE)], "it was started");
    w.start(USER, NOTES);
    w.run(3000);
    assert_eq!(client.polls(&mut w), [package(SCRIBE), package(NOTES)]);
    w.stop(USER, SCRIBE);
    w.run(2000);
    assert_eq!(client.polls(&mut w), [package(NOTES)], "one was stopped");
    w.stop(USER, NOTES);
    w.run(2000);
    assert_eq!(client.polls(&mut w), nothing);
    w.sound();
}
