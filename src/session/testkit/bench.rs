//! The session with all that it may look at or write to, and its time. Effects stay in `fx` until a kit takes them.

use crate::base::clock::Now;
use crate::base::ids::{Origin, ReplyTo, UserId};
use crate::base::metrics::Counter;
use crate::base::settings::Settings;
use crate::session::event::Event;
use crate::session::rest::Call;
use crate::session::timers::Timer;
use crate::session::{Cx, Session, Workspace};
use crate::wire::records::{AppRecord, HardwareRequirement, PermissionEntry, Registry};
use std::ops::{Deref, DerefMut};

/// The user of every kit.
pub(crate) const USER: &str = "nadia@lumen.io";

/// An administrator's call that ends the session.
pub(crate) fn session_end() -> Event {
    Event::Rest {
        reply: ReplyTo {
            origin: Origin::Outside,
            id: u64::MAX,
        },
        call: Call::Dispose,
    }
}

/// What every kit stands on.
pub(crate) struct Bench {
    /// The session under test.
    pub(crate) s: Session,
    /// Settings; change them before the event that looks at them.
    pub(crate) cfg: Settings,
    /// App records; replace them freely.
    pub(crate) apps: Registry,
    /// The simulated instant.
    pub(crate) now: Now,
    /// Effects and counters; reached as `fx` and `metrics`.
    workspace: Workspace,
    next_reply: u64,
}

impl Bench {
    /// A session that has just been created; no phone yet.
    pub(crate) fn new(cfg: Settings, records: impl IntoIterator<Item = AppRecord>) -> Self {
        let apps = Registry::new(records, 1);
        let now = Now {
            mono_ms: 1_000_000,
            unix_ms: 1_773_480_413_589,
        };
        let mut workspace = Workspace::new();
        let s = Session::new(UserId::new(USER), 7, &mut workspace.cx(now, &cfg, &apps));
        Self {
            s,
            cfg,
            apps,
            now,
            workspace,
            next_reply: 0,
        }
    }

    /// Runs something against the session.
    pub(crate) fn with<R>(&mut self, act: impl FnOnce(&mut Session, &mut Cx<'_>) -> R) -> R {
        let before = self.metrics.get(Counter::HandlerPanics);
        let result = act(
            &mut self.s,
            &mut self.workspace.cx(self.now, &self.cfg, &self.apps),
        );
        let panics = self.metrics.get(Counter::HandlerPanics) - before;
        assert!(
            panics == 0 || self.s.m.audio.is_defective,
            "a handler panicked"
        );
        result
    }

    /// Moves the clock to the earliest deadline and takes it, unless it comes after `end_ms`.
    pub(crate) fn next_due(&mut self, end_ms: u64) -> Option<Timer> {
        let next_ms = self.s.next_deadline_ms();
        if next_ms > end_ms {
            return None;
        }
        self.move_to(next_ms.max(self.now.mono_ms));
        let (_, timer) = self.s.timers.pop_due(self.now.mono_ms)?;
        Some(timer)
    }

    /// Moves the clock, whatever is due.
    pub(crate) fn move_to(&mut self, mono_ms: u64) {
        self.now = self.now.plus(mono_ms.saturating_sub(self.now.mono_ms));
    }

    /// Where the answer to the next call goes.
    pub(crate) fn reply_to(&mut self, origin: Origin) -> ReplyTo {
        self.next_reply += 1;
        ReplyTo {
            origin,
            id: self.next_reply,
        }
    }
}

impl Deref for Bench {
    type Target = Workspace;

    fn deref(&self) -> &Workspace {
        &self.workspace
    }
}

impl DerefMut for Bench {
    fn deref_mut(&mut self) -> &mut Workspace {
        &mut self.workspace
    }
}

/// Hardware of the glasses that an app asks for.
pub(crate) fn needs(kind: &str, level: &str) -> HardwareRequirement {
    HardwareRequirement {
        kind: kind.to_owned(),
        level: level.to_owned(),
        description: None,
    }
}

/// Permissions of these kinds.
pub(crate) fn granted(kinds: &[&str]) -> Vec<PermissionEntry> {
    let entry = |kind: &&str| PermissionEntry {
        kind: (*kind).to_owned(),
        description: None,
    };
    kinds.iter().map(entry).collect()
}

/// Makes a kit stand on its bench: its fields and calls are reached through it.
macro_rules! stands_on_a_bench {
    ($kit:ty) => {
        impl std::ops::Deref for $kit {
            type Target = $crate::session::testkit::bench::Bench;

            fn deref(&self) -> &Self::Target {
                &self.bench
            }
        }

        impl std::ops::DerefMut for $kit {
            fn deref_mut(&mut self) -> &mut Self::Target {
                &mut self.bench
            }
        }
    };
}

pub(super) use stands_on_a_bench;
