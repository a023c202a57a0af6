//! Layer 2: log lines that app servers, phones or a failing store can cause without end. Each is told once a second on a shard,
//! whoever of its users it is about, with the number of those left out (`more`).

use crate::base::rarely::Rarely;

/// One of a kind is told in this time (ms).
const EVERY_MS: u64 = 1000;

/// Kinds of lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    /// An app server with a wrong key, or of an app that nobody started, comes again and again.
    InitRefused,
    /// An app server comes from a wrong address again and again.
    AddressRefused,
    /// An attached app names another app or user.
    IdentityChanged,
    /// An app server has two sockets for one user.
    TwoConnections,
    /// An app's subscriptions come and go.
    ManyReceivers,
    /// A session began without its record.
    RecordMissing,
    /// A record took its time.
    RecordSlow,
    /// A record that was missing was read at last.
    RecordLate,
}

/// When each was told last.
#[derive(Default, Debug)]
pub struct Lines([Rarely; Line::RecordLate as usize + 1]);

impl Lines {
    /// Whether it may be told now, and how many were not since the last one.
    pub fn may(&mut self, line: Line, now_ms: u64) -> Option<u64> {
        self.0[line as usize].may(now_ms, EVERY_MS)
    }
}
