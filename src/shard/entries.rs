//! Layer 3: the table of a shard's sessions. A session keeps its slot for life; who comes later gets it again, so whoever names a
//! slot over time names the session's epoch too.

use crate::base::ids::ConnId;
use crate::session::Session;
use crate::session::managers::Managers;
use crate::session::managers::phone::Phone;
use smallvec::SmallVec;
use std::mem::offset_of;
use std::ops::Range;

/// Cache lines of a session that audio touches. Text needs the first and the last two. See the order of its fields.
pub(super) const SESSION_LINES: usize = 6;

/// A live session and its sockets.
#[repr(C, align(64))]
pub(super) struct Entry {
    /// Deadline of this session in the heap; `u64::MAX` for none.
    pub(super) due_ms: u64,
    pub(super) session: Session,
    pub(super) conns: SmallVec<[ConnId; 4]>,
    /// Memory that it held at the last memory report; 0 before the first.
    pub(super) counted_bytes: u64,
}

/// What every message touches, beside the beginning, stands on two lines.
const _: () = {
    let managers = offset_of!(Entry, session) + offset_of!(Session, m);
    let from = managers + offset_of!(Managers, routes);
    let to = managers + offset_of!(Managers, phone) + offset_of!(Phone, sent_so_far);
    assert!(managers <= 64 && from / 64 + 1 >= to / 64 && to / 64 < SESSION_LINES);
};

/// The sessions, each in a box of its own: it is large, and must not move with the table.
#[derive(Default)]
#[repr(C)]
pub(super) struct Entries {
    slots: Vec<Option<Box<Entry>>>,
    free: Vec<u32>,
}

impl Entries {
    #[inline]
    pub(super) fn get(&self, at: u32) -> Option<&Entry> {
        self.slots.get(at as usize)?.as_deref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Entry> {
        self.slots.get_mut(at as usize)?.as_deref_mut()
    }

    /// [`Entries::get_mut`] for who also notes where the table itself was read.
    #[inline]
    pub(super) fn boxed_mut(&mut self, at: u32) -> Option<&mut Box<Entry>> {
        self.slots.get_mut(at as usize)?.as_mut()
    }

    /// Which of its user's sessions has this slot.
    pub(super) fn epoch(&self, at: u32) -> Option<u64> {
        self.get(at).map(|entry| entry.session.epoch)
    }

    /// Adds a session without sockets; returns its slot.
    pub(super) fn insert(&mut self, session: Session) -> u32 {
        let entry = Some(Box::new(Entry {
            session,
            conns: SmallVec::new(),
            due_ms: u64::MAX,
            counted_bytes: 0,
        }));
        match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = entry;
                at
            }
            None => {
                self.slots.push(entry);
                (self.slots.len() - 1) as u32
            }
        }
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<Box<Entry>> {
        let entry = self.slots.get_mut(at as usize)?.take()?;
        self.free.push(at);
        Some(entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter_map(Option::as_deref)
    }

    /// The next slots of a round that goes over all of them in many ticks, and where the tick after goes on, if slots are left.
    pub(super) fn next_slots(&self, from: u32, count: u32) -> (Range<u32>, Option<u32>) {
        let len = self.slots.len() as u32;
        let to = len.min(from.saturating_add(count));
        (from..to, (to < len).then_some(to))
    }

    /// Bytes of the table alone.
    pub(super) fn table_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Option<Box<Entry>>>()
    }
}
