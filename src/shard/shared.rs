//! Layer 3: the little that all threads of the process share, in atomics and rarely taken locks: heartbeats of the shards, flags,
//! live users, the last app-to-app messages.

use super::app_history::AppHistory;
use super::live::LiveUsers;
use crate::base::ids::ShardId;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One shard's signs of life.
#[derive(Default, Debug)]
pub struct Beat {
    turned_ms: AtomicU64,
    lag_us: AtomicU64,
    worst_lag_us: AtomicU64,
    drained: AtomicBool,
    driver: OnceLock<&'static str>,
}

impl Beat {
    /// The shard turned at `mono_ms`, `lag_us` later than it meant to.
    pub fn turn(&self, mono_ms: u64, lag_us: u64) {
        self.turned_ms.store(mono_ms, Ordering::Relaxed);
        self.lag_us.store(lag_us, Ordering::Relaxed);
        self.worst_lag_us.fetch_max(lag_us, Ordering::Relaxed);
    }

    /// The shard exists, on this I/O driver. Later calls change nothing.
    pub fn runs_on(&self, driver: &'static str) {
        let _ = self.driver.set(driver);
    }

    /// `uring` or `epoll`; `starting` before the shard exists, which is before anything is served.
    #[must_use]
    pub fn driver(&self) -> &'static str {
        self.driver.get().copied().unwrap_or("starting")
    }

    /// `mono_ms` of the last turn; 0 before the first.
    #[must_use]
    pub fn turned_ms(&self) -> u64 {
        self.turned_ms.load(Ordering::Relaxed)
    }

    /// Scheduling delay of the last turn (µs).
    #[must_use]
    pub fn lag_us(&self) -> u64 {
        self.lag_us.load(Ordering::Relaxed)
    }

    /// Largest scheduling delay since the last call (µs).
    pub fn take_worst_lag_us(&self) -> u64 {
        self.worst_lag_us.swap(0, Ordering::Relaxed)
    }
}

/// Shared by every thread.
#[derive(Debug)]
pub struct Shared {
    /// One per shard, in shard order.
    pub beats: Vec<Beat>,
    /// Users with a live session.
    pub live: LiveUsers,
    /// The last app-to-app messages.
    pub app_history: AppHistory,
    draining: AtomicBool,
    overloaded: AtomicBool,
    short_until_ms: AtomicU64,
}

impl Shared {
    /// For this many shards.
    #[must_use]
    pub fn new(shards: u16) -> Self {
        Self {
            beats: (0..shards).map(|_| Beat::default()).collect(),
            live: LiveUsers::default(),
            app_history: AppHistory::default(),
            draining: AtomicBool::new(false),
            overloaded: AtomicBool::new(false),
            short_until_ms: AtomicU64::new(0),
        }
    }

    /// A shard finds descriptors short; it counts until then (`mono_ms`).
    pub fn run_short(&self, until_ms: u64) {
        self.short_until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    /// Whether descriptors are short.
    #[must_use]
    pub fn is_short(&self, now_ms: u64) -> bool {
        now_ms < self.short_until_ms.load(Ordering::Relaxed)
    }

    /// Whether the process is going away.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The process is going away; says whether this call was the first.
    pub fn start_draining(&self) -> bool {
        !self.draining.swap(true, Ordering::Relaxed)
    }

    /// What the shards run on: `uring`, `epoll` or `mixed`.
    #[must_use]
    pub fn driver(&self) -> &'static str {
        let mut drivers = self.beats.iter().map(Beat::driver);
        match drivers.next() {
            Some(first) if drivers.all(|driver| driver == first) => first,
            Some(_) => "mixed",
            None => "starting",
        }
    }

    /// A shard has closed all its sockets.
    pub fn shard_drained(&self, shard: ShardId) {
        if let Some(beat) = self.beats.get(usize::from(shard.0)) {
            beat.drained.store(true, Ordering::Release);
        }
    }

    /// Whether every shard has.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let mut beats = self.beats.iter();
        beats.all(|beat| beat.drained.load(Ordering::Acquire))
    }

    /// Whether new user sessions are refused because scheduling is late (behaviour.md §10.7).
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.overloaded.load(Ordering::Relaxed)
    }

    /// Set by whoever aggregates the shards' scheduling delay.
    pub fn set_overloaded(&self, overloaded: bool) {
        self.overloaded.store(overloaded, Ordering::Relaxed);
    }

    /// Whether some shard has not turned for `stall_ms` (0 = never stalled).
    #[must_use]
    pub fn is_stalled(&self, now_ms: u64, stall_ms: u64) -> bool {
        stall_ms > 0
            && self.beats.iter().any(|beat| match beat.turned_ms() {
                0 => false,
                turned => now_ms.saturating_sub(turned) > stall_ms,
            })
    }
}
