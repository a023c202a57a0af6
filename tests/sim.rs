//! The deterministic simulator: thousands of random worlds, and the historical defects as fixed scripts. A failure prints its
//! seed, the invariant of behaviour.md §13.1 that broke and the shortest script that breaks it.
//!
//! `scripts/simulate [N] [SEED]` runs as many seeds as asked. `PRISM_SIM_SEEDS` and `PRISM_SIM_SEED` say how many and from which.

#[path = "sim/mod.rs"]
mod sim;

use sim::invariants::{Listened, Recovered, Revised, ScreenTally, StormTally, Tally};
use sim::runs::{Plan, run_seeds};

/// Seeds of an ordinary test run.
const SEEDS: u64 = 2000;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_seed_breaks_an_invariant() {
    let count = from_environment("PRISM_SIM_SEEDS").unwrap_or(SEEDS);
    let first = from_environment("PRISM_SIM_SEED").unwrap_or(1);
    match run_seeds(first, count) {
        Ok(events) => println!("{count} seeds from {first}: {events} events, no invariant broken"),
        Err(explanation) => panic!("{explanation}"),
    }
}

/// A world without datagrams, or without trouble for them, would be sound for the wrong reason.
#[test]
fn the_seeds_send_datagrams_of_every_kind() {
    let mut sum = Tally::default();
    for seed in 1..=60 {
        sum.add(&Plan::new(seed).run(false).watch.air.seen);
    }
    assert!(sum.all().iter().all(|count| *count >= 5), "{sum:?}");
}

/// Nor would a screen that nobody fights for prove anything.
#[test]
fn the_seeds_fill_the_screen_in_every_way() {
    let mut sum = ScreenTally::default();
    for seed in 1..=60 {
        sum.add(&Plan::new(seed).run(false).watch.screens_seen);
    }
    println!("{sum:?}");
    assert!(sum.all().iter().all(|count| *count >= 5), "{sum:?}");
}

/// So would one without recoveries of every kind, or whose phones cut their audio at whole samples.
#[test]
fn the_seeds_recover_servers_and_cut_audio_anywhere() {
    let count = from_environment("PRISM_SIM_SEEDS").unwrap_or(0).max(100);
    let (mut recovered, mut listened) = (Recovered::default(), Listened::default());
    for seed in 1..=count {
        let world = Plan::new(seed).run(false);
        recovered.add(&world.watch.recovery.seen);
        listened.add(&world.watch.sound.seen);
    }
    println!("{count} seeds: {recovered:?}, {listened:?}");
    let enough = |seen: &u64| *seen >= 3;
    assert!(recovered.all().iter().all(enough), "{recovered:?}");
    assert!(listened.all().iter().all(enough), "{listened:?}");
}

/// So would one whose app records never change under a running app, or whose phone has no mini-apps.
#[test]
fn the_seeds_change_records_and_have_mini_apps() {
    let (mut revised, mut lists) = (Revised::default(), 0);
    for seed in 1..=60 {
        let watch = Plan::new(seed).run(false).watch;
        revised.add(&watch.revised);
        lists += watch.mini_app_lists;
    }
    println!("{revised:?}, {lists} lists");
    assert!(revised.all().iter().all(|count| *count >= 5), "{revised:?}");
    assert!(lists >= 20, "{lists}");
}

/// So would one whose app servers always read, whose limits nobody reaches or changes, and whose clock is always right.
#[test]
fn the_seeds_have_storms_of_every_kind() {
    let mut sum = StormTally::default();
    for seed in 1..=120 {
        sum.add(&Plan::new(seed).run(false).watch.storms.seen);
    }
    println!("{sum:?}");
    assert!(sum.all().iter().all(|count| *count >= 5), "{sum:?}");
}
