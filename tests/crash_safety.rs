//! What was acknowledged survives `kill -9`: a child process writes and prints each acknowledgement, this one kills it at some
//! point and looks for every acknowledged write in the store it left behind.
#![cfg(unix)]

use prism::base::ids::UserId;
use prism::base::settings::Settings;
use prism::services::store::embedded::Embedded;
use prism::services::store::writes::Writes;
use prism::services::store::{Change, DocKey, Quota, Store};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

const FOLDER: &str = "PRISM_TEST_CRASH_FOLDER";
const WRITERS: usize = 8;

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}

fn user(writer: usize) -> UserId {
    UserId::new(&format!("writer{writer}@lumen.io"))
}

/// The child: writes for ever. Without the variable it is no test at all.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    run(async {
        let store: Arc<dyn Store> = Arc::new(Embedded::open(Path::new(&folder)).expect("opens"));
        let writes = Writes::start(store, Settings::default().store);
        let quota = Quota {
            value_chars: 100,
            total_chars: 1_000_000,
        };
        let tasks: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let writes = writes.clone();
                tokio::spawn(async move {
                    for count in 0_u64.. {
                        let data = BTreeMap::from([("count".to_owned(), count.to_string())]);
                        let change = Change::StorageMerge(user(writer), "p".into(), data, quota);
                        writes.apply(change).await.expect("durable");
                        println!("ack {writer} {count}");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("writes for ever");
        }
    });
}

#[test]
fn acknowledged_writes_survive_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged = [None::<u64>; WRITERS];
    for round in 0..3_usize {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["child", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut seen = 0;
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        while let Some(Ok(line)) = lines.next() {
            let Some((_, ack)) = line.split_once("ack ") else {
                continue;
            };
            let mut numbers = ack.split(' ').filter_map(|text| text.parse::<u64>().ok());
            let (Some(writer), Some(count)) = (numbers.next(), numbers.next()) else {
                continue;
            };
            acknowledged[writer as usize] = Some(count);
            seen += 1;
            // Not at a batch's end: in the middle of whatever is going on then.
            if seen == 50 + round * 37 {
                child.kill().expect("SIGKILL");
                break;
            }
        }
        // What it said before it died counts as well.
        for line in lines.map_while(Result::ok) {
            let mut numbers = line
                .rsplit("ack ")
                .next()
                .unwrap_or("")
                .split(' ')
                .filter_map(|text| text.parse::<u64>().ok());
            if let (true, Some(writer), Some(count)) =
                (line.contains("ack "), numbers.next(), numbers.next())
            {
                acknowledged[writer as usize] = Some(count);
            }
        }
        child.wait().expect("ends");
        run(async {
            let store = Embedded::open(folder.path()).expect("opens after the crash");
            for (writer, last) in acknowledged.iter().enumerate() {
                let Some(last) = last else { continue };
                let json = store
                    .get(&DocKey::storage(&user(writer), "p"))
                    .await
                    .expect("reads")
                    .expect("stored");
                let stored: BTreeMap<String, String> =
                    serde_json::from_slice(&json).expect("a map");
                let found: u64 = stored["count"].parse().expect("a number");
                assert!(
                    found >= *last,
                    "writer {writer}: {last} was acknowledged, {found} is stored"
                );
            }
        });
    }
    assert!(acknowledged.iter().all(Option::is_some));
}
