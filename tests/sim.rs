//! The deterministic simulator: thousands of random worlds, and the historical defects as fixed scripts. A failure prints its
//! seed, the invariant of behaviour.md §13.1 that broke and the shortest script that breaks it.
//!
//! `scripts/simulate [N] [SEED]` runs as many seeds as asked. `PRISM_SIM_SEEDS` and `PRISM_SIM_SEED` say how many and from which.

#[path = "sim/mod.rs"]
mod sim;

use sim::runs::run_seeds;

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
