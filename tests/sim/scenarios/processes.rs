//! What a process leaves to the next one.

use super::super::store::Mood;
use super::{MAPS, NOTES, SCRIBE, USER, package, quiet, running};
use prism::session::event::Sdk;
use prism::session::managers::apps::AppState;

/// Whatever the process was told last, the phone comes back within seconds, and its apps with it.
#[test]
fn what_ran_runs_again_when_another_process_has_taken_over() {
    for sdk in [Sdk::V2, Sdk::V3] {
        let mut w = running(sdk, SCRIBE);
        w.runs(MAPS);
        w.runs(NOTES);
        w.stop(USER, NOTES);
        w.run(3000);
        w.process_dies();
        w.run(15_000);
        w.sound();
        assert_eq!(w.state(SCRIBE), AppState::Running, "{sdk:?}");
        assert_eq!(w.state(MAPS), AppState::Running, "{sdk:?}");
        assert_eq!(w.state(NOTES), AppState::Stopped, "{sdk:?}");
        w.process_leaves(USER);
        w.run(25_000);
        w.sound();
        assert_eq!(w.processes, 2);
        assert_eq!(w.state(SCRIBE), AppState::Running, "{sdk:?}");
        assert_eq!(w.state(NOTES), AppState::Stopped, "{sdk:?}");
    }
}

/// Nobody was told that it had been started.
#[test]
fn a_start_that_was_not_stored_yet_is_lost_with_its_process() {
    let mut w = quiet(Sdk::V3);
    w.store.mood = Mood::Slow;
    w.start(USER, SCRIBE);
    w.run(300);
    let answered = w.watch.promises_seen;
    w.process_dies();
    w.store.mood = Mood::Quick;
    w.run(15_000);
    w.sound();
    assert_eq!(answered, 0);
    assert_eq!(w.store.running(USER), Vec::<String>::new());
    assert_ne!(w.state(SCRIBE), AppState::Running);
    w.runs(SCRIBE);
    assert_eq!(w.store.running(USER), [package(SCRIBE)]);
}
