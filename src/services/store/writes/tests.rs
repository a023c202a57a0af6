//! What callers of the write queue notice, over the memory backend. Time is simulated.

use super::commits::Fault;
use super::*;
use crate::base::ids::Package;
use crate::base::log_capture::lines_of;
use crate::base::settings::Settings;
use crate::services::store::memory::Memory;
use crate::session::effects::StoreOp;
use crate::wire::records::StoredLocation;

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test)
}

fn start(change: impl FnOnce(&mut StoreSettings)) -> (Writes, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    let mut settings = Settings::default().store;
    change(&mut settings);
    (Writes::start(memory.clone(), settings), memory)
}

fn nadia() -> UserId {
    UserId::new("nadia@lumen.io")
}

fn running(add: bool, package: &str) -> Change {
    let package = Package::new(package);
    Change::Session(
        nadia(),
        if add {
            StoreOp::AddRunning(package)
        } else {
            StoreOp::RemoveRunning(package)
        },
    )
}

fn location(lat: f64) -> Change {
    let fix = StoredLocation {
        lat,
        lng: 0.0,
        accuracy: None,
        unix_ms: 0,
    };
    Change::Session(nadia(), StoreOp::SetLocation(fix))
}

#[test]
fn a_read_sees_what_was_queued_before_it() {
    run(async {
        let (writes, _) = start(|settings| settings.db_write_delay_ms = 1000);
        writes.submit(running(true, "a")).expect("room");
        let record = writes.user(&nadia(), Vec::new(), 0).await.expect("reads");
        assert_eq!(record.running_apps, ["a"]);
    });
}

#[test]
fn a_user_of_whom_something_was_written_before_the_first_load_gets_the_preinstalled_apps_once() {
    run(async {
        let (writes, _) = start(|_| {});
        writes.submit(location(1.0)).expect("room");
        writes.submit(running(true, "a")).expect("room");
        let load = async |packages: &[&str]| {
            let packages = packages.iter().map(|name| (*name).to_owned()).collect();
            let record = writes.user(&nadia(), packages, 7).await.expect("reads");
            let installed = record.installed_apps.into_iter();
            let names: Vec<String> = installed.map(|app| app.package_name).collect();
            (names, record.running_apps)
        };
        let expected = (vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned()]);
        assert_eq!(load(&["a", "b"]).await, expected);
        let gone = Change::Uninstall(nadia(), "b".into());
        writes.apply(gone).await.expect("written");
        assert_eq!(load(&["a", "b"]).await.0, ["a"], "the user's later word");
    });
}

#[test]
fn later_locations_replace_waiting_ones_and_order_is_kept() {
    run(async {
        let (writes, memory) = start(|_| {});
        for lat in 0..50 {
            writes.submit(location(f64::from(lat))).expect("room");
        }
        writes.submit(running(true, "a")).expect("room");
        writes.submit(running(false, "a")).expect("room");
        writes.submit(running(true, "a")).expect("room");
        let stored = writes.read(DocKey::user(&nadia())).await.expect("reads");
        let record: UserRecord = stored.expect("stored");
        assert_eq!(record.location.expect("stored").lat, 49.0);
        assert_eq!(record.running_apps, ["a"]);
        assert_eq!(memory.commits(), 1);
        assert_eq!(writes.figures().coalesced.load(Ordering::Relaxed), 51);
    });
}

#[test]
fn an_outage_does_not_fill_the_queue_with_the_same_few_facts() {
    run(async {
        let (writes, memory) = start(|settings| {
            // Three facts, and the read that follows.
            settings.db_queue_max = 4;
            settings.db_retry_ms = 10;
        });
        memory.set_failing(true);
        for turn in 0..100 {
            writes.submit(location(f64::from(turn))).expect("room");
            writes.submit(running(turn % 2 == 1, "a")).expect("room");
            writes.submit(running(turn % 2 == 0, "b")).expect("room");
        }
        memory.set_failing(false);
        let record = writes.user(&nadia(), Vec::new(), 0).await.expect("reads");
        assert_eq!(record.location.expect("stored").lat, 99.0);
        assert_eq!(record.running_apps, ["a"]);
    });
}

#[test]
fn a_later_change_never_jumps_before_one_that_somebody_waits_for() {
    run(async {
        let (writes, _) = start(|settings| settings.db_write_delay_ms = 1000);
        writes.submit(running(true, "a")).expect("room");
        let waited = writes.begin(running(false, "a")).expect("room");
        writes.submit(running(true, "a")).expect("room");
        assert_eq!(waited.wait().await.expect("durable"), Outcome::Done);
        let record = writes.user(&nadia(), Vec::new(), 0).await.expect("reads");
        assert_eq!(record.running_apps, ["a"]);
    });
}

#[test]
fn nothing_is_acknowledged_while_the_store_is_down_and_nothing_is_lost() {
    run(async {
        let (writes, memory) = start(|settings| {
            settings.db_timeout_ms = 30;
            settings.db_retry_ms = 10;
        });
        memory.set_failing(true);
        let answer = writes.apply(running(true, "a")).await;
        assert!(matches!(answer, Err(StoreError::Timeout)), "{answer:?}");
        memory.set_failing(false);
        assert!(writes.close(Duration::from_secs(10)).await);
        let json = memory
            .get(&DocKey::user(&nadia()))
            .await
            .expect("reads")
            .expect("written at last");
        assert!(String::from_utf8_lossy(&json).contains(r#""runningApps":["a"]"#));
        assert!(writes.figures().failures.load(Ordering::Relaxed) > 0);
    });
}

#[test]
fn a_panic_of_the_store_is_not_the_end_of_writing() {
    run(async {
        let (writes, memory) = start(|settings| settings.db_retry_ms = 10);
        memory.set_panicking(true);
        let waits = writes.begin(running(true, "a")).expect("room");
        while writes.figures().failures.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        memory.set_panicking(false);
        waits.wait().await.expect("written");
        let record = writes.user(&nadia(), Vec::new(), 0).await.expect("reads");
        assert_eq!(record.running_apps, ["a"]);
    });
}

#[test]
fn the_log_says_when_an_outage_is_over() {
    let lines = lines_of(|| {
        run(async {
            let (writes, memory) = start(|settings| settings.db_retry_ms = 10);
            writes.apply(running(true, "a")).await.expect("written");
            memory.set_failing(true);
            let waits = writes.begin(running(true, "b")).expect("room");
            while writes.figures().failures.load(Ordering::Relaxed) < 3 {
                tokio::task::yield_now().await;
            }
            memory.set_failing(false);
            waits.wait().await.expect("written");
            writes.apply(running(true, "c")).await.expect("written");
        });
    });
    let again: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("store-writes-again"))
        .collect();
    assert_eq!(again.len(), 1, "{lines:?}");
    assert!(again[0].contains("failures=3"), "{again:?}");
}

#[test]
fn beyond_the_bound_a_write_is_refused_and_counted() {
    run(async {
        let (writes, memory) = start(|settings| settings.db_queue_max = 2);
        memory.set_failing(true);
        writes.submit(running(true, "a")).expect("room");
        writes.submit(running(true, "b")).expect("room");
        assert!(matches!(
            writes.submit(running(true, "c")),
            Err(StoreError::Full)
        ));
        assert!(matches!(
            writes.begin(running(true, "d")),
            Err(StoreError::Full)
        ));
        assert_eq!(writes.figures().refused.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn what_the_store_can_never_take_is_dropped_alone_and_its_caller_told() {
    let lines = lines_of(|| {
        run(async {
            let (writes, memory) = start(|settings| settings.db_write_delay_ms = 1000);
            memory.set_refused("poison");
            let begin = |package: &str| writes.begin(running(true, package)).expect("room");
            let before: Vec<_> = (0..100).map(|n| begin(&format!("a{n}"))).collect();
            let refused = begin("poison");
            writes.submit(running(true, "poison too")).expect("room");
            let behind: Vec<_> = (0..100).map(|n| begin(&format!("b{n}"))).collect();
            let answer = refused.wait().await;
            assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
            for waits in before.into_iter().chain(behind) {
                waits.wait().await.expect("durable");
            }
            let record = writes.user(&nadia(), Vec::new(), 0).await.expect("reads");
            let names = |letter: &'static str| (0..100).map(move |n| format!("{letter}{n}"));
            let all: Vec<_> = names("a").chain(names("b")).collect();
            assert_eq!(record.running_apps, all, "in order, and nothing else");
            assert_eq!(writes.figures().dropped.load(Ordering::Relaxed), 2);
            assert_eq!(writes.figures().failures.load(Ordering::Relaxed), 0);
            assert_eq!(writes.depth(), 0);
        });
    });
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("store-write-dropped"))
        .collect();
    // Once a second.
    assert_eq!(told.len(), 1, "{lines:?}");
    assert!(!told[0].contains("nadia"), "no address: {told:?}");
}

#[test]
fn a_batch_that_the_store_never_gets_done_in_time_is_written_in_parts() {
    run(async {
        let (writes, memory) = start(|settings| {
            settings.db_write_delay_ms = 1000;
            settings.db_retry_ms = 10;
        });
        memory.set_in_time(7);
        let waiting: Vec<_> = (0..200)
            .map(|n| writes.begin(running(true, &n.to_string())).expect("room"))
            .collect();
        for waits in waiting {
            waits.wait().await.expect("durable");
        }
        let record = writes.user(&nadia(), Vec::new(), 0).await.expect("reads");
        let all: Vec<_> = (0..200).map(|n: u32| n.to_string()).collect();
        assert_eq!(record.running_apps, all);
    });
}

#[test]
fn a_store_that_hangs_as_a_whole_is_no_fault_of_the_changes_that_it_was_given() {
    let lines = lines_of(|| {
        run(async {
            let (writes, memory) = start(|settings| settings.db_retry_ms = 10);
            memory.set_hanging(true);
            let of = |n: u32| {
                let op = StoreOp::AddRunning(Package::new("a"));
                Change::Session(UserId::new(&format!("user{n}@lumen.io")), op)
            };
            let waiting: Vec<_> = (0..100)
                .map(|n| writes.begin(of(n)).expect("room"))
                .collect();
            while writes.figures().failures.load(Ordering::Relaxed) < 5 {
                tokio::task::yield_now().await;
            }
            memory.set_hanging(false);
            for waits in waiting {
                waits.wait().await.expect("durable");
            }
            // Neither divided nor set aside, one by one.
            assert_eq!(memory.commits(), 1);
        });
    });
    let told = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert!(told("store_works=false") >= 5, "{lines:?}");
    assert_eq!(told("store_works=true"), 0, "{lines:?}");
}

#[test]
fn a_pause_ends_when_the_store_takes_writes_again() {
    const HOUR: Duration = Duration::from_secs(3600);
    run(async {
        let (writes, memory) = start(|settings| settings.db_retry_ms = 10);
        memory.set_hanging(true);
        let mut pause = std::pin::pin!(writes.inner.pause(HOUR, Fault::Store));
        let early = timeout(Duration::from_millis(50), &mut pause).await;
        assert!(early.is_err(), "it does not take them yet");
        memory.set_hanging(false);
        pause.await;
        // Of a single change that fails alone it is not cut short.
        let whole = writes.inner.pause(HOUR, Fault::Changes);
        assert!(timeout(Duration::from_millis(50), whole).await.is_err());
    });
}

#[test]
fn a_document_that_is_locked_holds_up_no_other_and_keeps_its_order() {
    run(async {
        let (writes, memory) = start(|settings| settings.db_retry_ms = 10);
        let of = |user: &str, package: &str| {
            let op = StoreOp::AddRunning(Package::new(package));
            Change::Session(UserId::new(user), op)
        };
        memory.set_stuck(r#"Session("nadia@lumen.io", AddRunning("0"))"#);
        let locked: Vec<_> = (0..20)
            .map(|n: u32| {
                writes
                    .begin(of("nadia@lumen.io", &n.to_string()))
                    .expect("room")
            })
            .collect();
        for n in 0..50 {
            let other = of(&format!("user{n}@lumen.io"), "a");
            writes.apply(other).await.expect("durable");
        }
        assert_eq!(writes.depth(), 20);
        memory.set_stuck("");
        for waits in locked {
            waits.wait().await.expect("durable");
        }
        let record = writes.user(&nadia(), Vec::new(), 0).await.expect("reads");
        let all: Vec<_> = (0..20).map(|n: u32| n.to_string()).collect();
        assert_eq!(record.running_apps, all);
        writes.submit(of("nadia@lumen.io", "last")).expect("room");
        assert!(writes.close(Duration::from_secs(10)).await);
        assert_eq!((writes.depth(), writes.inner.queue().bytes), (0, 0));
    });
}

#[test]
fn however_many_documents_are_locked_no_other_waits_for_a_pause() {
    run(async {
        // Whoever paused would not be back in this test.
        let (writes, memory) = start(|settings| settings.db_retry_ms = 600_000);
        memory.set_stuck("locked");
        let of = |user: String| {
            let op = StoreOp::AddRunning(Package::new("a"));
            Change::Session(UserId::new(&user), op)
        };
        for n in 0..20 {
            let locked = of(format!("locked{n}@lumen.io"));
            writes.submit(locked).expect("room");
        }
        let other = of("nadia@lumen.io".into());
        writes.apply(other).await.expect("durable");
        assert_eq!(writes.depth(), 20);
        memory.set_stuck("");
        assert!(writes.close(Duration::from_secs(30)).await, "nor do they");
    });
}

#[test]
fn large_values_that_wait_are_bounded_by_their_bytes() {
    run(async {
        let (writes, memory) = start(|settings| settings.db_retry_ms = 10);
        memory.set_failing(true);
        let report = || {
            let text = "x".repeat(32 << 20);
            Change::PutIncident("id".into(), serde_json::json!({ "feedback": text }))
        };
        let taken = (0..100)
            .take_while(|_| writes.submit(report()).is_ok())
            .count();
        assert_eq!(taken, 7, "of 32 MiB and a little");
        assert_eq!(writes.figures().refused.load(Ordering::Relaxed), 1);
        writes.submit(running(true, "a")).expect("a small one fits");
        memory.set_failing(false);
        assert!(writes.close(Duration::from_secs(60)).await);
        assert_eq!(writes.inner.queue().bytes, 0);
    });
}

#[test]
fn names_that_no_backend_can_hold_are_refused_before_they_are_queued() {
    run(async {
        let (writes, _) = start(|_| {});
        let change = Change::StorageClear(nadia(), "p\0q".into());
        let refused = writes.apply(change).await;
        assert!(
            matches!(refused, Err(StoreError::Refused(_))),
            "{refused:?}"
        );
        let read: Option<Vec<u8>> = writes
            .read(DocKey::storage(&nadia(), "p\0q"))
            .await
            .expect("nothing there");
        assert_eq!(read, None);
    });
}
