//! Layer 3: the memory report (behaviour.md §10.4): every `memory_report_ms` a walk over the sessions, some per tick, and a
//! word on who holds how much, who holds too much and who grows. Between two walks it costs nothing.

use super::Shard;
use crate::base::settings::Observability;
use crate::session::memory::OWNERS;

/// Sessions counted per tick.
const SESSIONS_PER_TICK: u32 = 32;
/// Single sessions named per report; more are only counted.
const NAMED_MAX: usize = 8;
/// Owners beside the sessions.
const OTHERS: [&str; 4] = ["outboxes", "receive_buffers", "waiting_apps", "tables"];

/// Bytes of one owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Which: one of the session's parts over all sessions of the shard, or one of the shard's own.
    pub name: &'static str,
    /// How much.
    pub bytes: u64,
}

/// Sums of the walk that goes on.
#[derive(Default, Debug)]
struct Walk {
    /// The next session slot.
    at: u32,
    sums: [u64; OWNERS.len()],
    sessions: u64,
    /// Largest session: bytes and slot.
    largest: (u64, u32),
    named: usize,
}

/// Where the report stands.
#[derive(Default, Debug)]
pub(super) struct Owners {
    walk: Option<Box<Walk>>,
    /// 0 before the first tick.
    next_ms: u64,
    /// The last finished report; empty before the first.
    last: Vec<Owner>,
    /// Of the last report to the outside thread.
    pub(super) outbound_bytes: u64,
    pub(super) inbound_bytes: u64,
}

impl Owners {
    /// The last finished report, largest first.
    pub(super) fn last(&self) -> &[Owner] {
        &self.last
    }
}

/// The session that a warning is about, and the part of it that holds most.
struct Whose {
    user: String,
    epoch: u64,
    part: &'static str,
}

/// What is worth a warning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryWarning {
    /// More than `memory_owner_warn_bytes`.
    Large,
    /// More than `memory_growth_bytes` since the last report.
    Grows {
        /// Bytes.
        by: u64,
        /// More than `memory_fast_growth_bytes`.
        fast: bool,
    },
}

/// What is to be said of an owner of `bytes` that had `before` at the last report.
pub fn warnings(
    cfg: &Observability,
    bytes: u64,
    before: Option<u64>,
) -> impl Iterator<Item = MemoryWarning> + use<> {
    let by = before.map_or(0, |before| bytes.saturating_sub(before));
    let large = (bytes > cfg.memory_owner_warn_bytes).then_some(MemoryWarning::Large);
    let grows = (by > cfg.memory_growth_bytes).then_some(MemoryWarning::Grows {
        by,
        fast: by > cfg.memory_fast_growth_bytes,
    });
    large.into_iter().chain(grows)
}

impl Shard {
    /// Part of a tick: begins a walk when one is due, goes on with the one under way.
    pub(super) fn count_memory(&mut self) {
        let now_ms = self.now.mono_ms;
        if self.owners.walk.is_none() {
            if self.owners.next_ms == 0 {
                self.owners.next_ms = now_ms + self.cfg.observability.memory_report_ms;
            }
            if now_ms < self.owners.next_ms {
                return;
            }
            self.owners.next_ms = now_ms + self.cfg.observability.memory_report_ms;
            self.owners.walk = Some(Box::default());
        }
        let Some(mut walk) = self.owners.walk.take() else {
            return;
        };
        let (slots, rest) = self.entries.next_slots(walk.at, SESSIONS_PER_TICK);
        for at in slots {
            self.count_session(at, &mut walk);
        }
        match rest {
            Some(at) => {
                walk.at = at;
                self.owners.walk = Some(walk);
            }
            None => self.report_memory(&walk),
        }
    }

    fn count_session(&mut self, at: u32, walk: &mut Walk) {
        let Some(entry) = self.entries.get_mut(at) else {
            return;
        };
        let owned = entry.session.owned_bytes();
        for (sum, bytes) in walk.sums.iter_mut().zip(owned) {
            *sum += bytes as u64;
        }
        let bytes: u64 = owned.iter().map(|bytes| *bytes as u64).sum();
        let before = std::mem::replace(&mut entry.counted_bytes, bytes);
        walk.sessions += 1;
        walk.largest = walk.largest.max((bytes, at));
        let before = (before > 0).then_some(before);
        for warning in warnings(&self.cfg.observability, bytes, before) {
            walk.named += 1;
            if walk.named > NAMED_MAX {
                return;
            }
            let Some(entry) = self.entries.get(at) else {
                return;
            };
            let largest = owned.iter().zip(OWNERS).max_by_key(|(bytes, _)| **bytes);
            let whose = Whose {
                user: entry.session.user.log_tag(),
                epoch: entry.session.epoch,
                part: largest.map_or("", |(_, name)| name),
            };
            self.warn(&warning, "session", bytes, Some(&whose));
        }
    }

    fn warn(&self, warning: &MemoryWarning, owner: &str, bytes: u64, whose: Option<&Whose>) {
        let shard = self.id.0;
        let user = whose.map(|whose| whose.user.as_str());
        let epoch = whose.map(|whose| whose.epoch);
        let part = whose.map(|whose| whose.part);
        match warning {
            MemoryWarning::Large => {
                tracing::warn!(shard, owner, user, epoch, bytes, part, "memory-owner-large");
            }
            MemoryWarning::Grows { by, fast } => tracing::warn!(
                shard,
                owner,
                user,
                epoch,
                bytes,
                part,
                growth_bytes = by,
                fast,
                "memory-owner-grows"
            ),
        }
    }

    fn report_memory(&mut self, walk: &Walk) {
        let own = [
            self.owners.outbound_bytes,
            self.owners.inbound_bytes,
            self.parked.heap_bytes() as u64,
            self.table_bytes(),
        ];
        let names = OWNERS.into_iter().chain(OTHERS);
        let mut owners: Vec<Owner> = names
            .zip(walk.sums.into_iter().chain(own))
            .map(|(name, bytes)| Owner { name, bytes })
            .collect();
        owners.sort_by_key(|owner| std::cmp::Reverse(owner.bytes));
        let bytes: u64 = owners.iter().map(|owner| owner.bytes).sum();
        let list: Vec<String> = owners
            .iter()
            .filter(|owner| owner.bytes > 0)
            .map(|owner| format!("{}:{}", owner.name, owner.bytes))
            .collect();
        let largest = self.entries.get(walk.largest.1);
        let largest_user = largest.map(|entry| entry.session.user.log_tag());
        tracing::info!(
            shard = self.id.0,
            sessions = walk.sessions,
            bytes,
            largest_session_bytes = walk.largest.0,
            largest_user = largest_user.unwrap_or_default(),
            sessions_warned_of = walk.named,
            owners = list.join(" "),
            "memory-owners"
        );
        for owner in &owners {
            self.judge(*owner);
        }
        self.owners.last = owners;
    }

    fn judge(&self, owner: Owner) {
        let Owner { name, bytes } = owner;
        let before = self.owners.last.iter().find(|last| last.name == name);
        let before = before.map(|last| last.bytes);
        for warning in warnings(&self.cfg.observability, bytes, before) {
            self.warn(&warning, name, bytes, None);
        }
    }

    /// Tables of the shard: slots, users, deadlines, rooms. Connections lie in a table of their own and count with their
    /// share of it.
    fn table_bytes(&self) -> u64 {
        let slots = self.entries.table_bytes();
        let users = self.users.capacity() * (size_of::<(super::UserId, u32)>() + 1);
        let conns = self.out.conns.len() * size_of::<super::conns::Conn>();
        let rows = self.out.deadlines.len() * size_of::<(u64, super::deadlines::Due)>();
        (slots + users + conns + rows + self.rooms.heap_bytes()) as u64
    }
}
