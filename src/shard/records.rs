//! Layer 3: from receipt to last write. One record per turn and message kind, counted down by the sends it caused.

use crate::base::metrics::{Metrics, Side, Timing};
use smallvec::SmallVec;

/// What a record measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// Microphone audio.
    Audio,
    /// Text messages of one kind.
    Message(Side, usize),
}

#[derive(Clone, Copy, Debug)]
struct Record {
    what: What,
    start_ns: u64,
    messages: u32,
    writes: u32,
}

impl Record {
    fn settle(&self, now_ns: u64, metrics: &mut Metrics) {
        let ns = now_ns.saturating_sub(self.start_ns);
        match self.what {
            What::Audio => metrics.time(Timing::AudioFanout, ns),
            What::Message(side, kind) => metrics.message_latency(side, kind, ns, self.messages),
        }
    }
}

/// All records in flight. Number 0 means "none".
#[derive(Debug)]
pub(super) struct Records {
    rows: Vec<Record>,
    free: Vec<u32>,
    turn: SmallVec<[u32; 4]>,
    turn_start_ns: u64,
    /// Whether the turn handled anything but audio: only then its end is worth a clock read.
    handled_text: bool,
    /// Whether a turn is going on. What a session handles late (frames held until its user was read) has no begin.
    in_turn: bool,
}

impl Records {
    pub(super) fn new() -> Self {
        let none = Record {
            what: What::Audio,
            start_ns: 0,
            messages: 0,
            writes: 0,
        };
        Self {
            rows: vec![none],
            free: Vec::new(),
            turn: SmallVec::new(),
            turn_start_ns: 0,
            handled_text: false,
            in_turn: false,
        }
    }

    /// A turn of work begins with bytes that arrived at `now_ns`.
    pub(super) fn begin(&mut self, now_ns: u64) {
        debug_assert!(self.turn.is_empty(), "turns do not nest");
        self.turn_start_ns = now_ns;
        self.handled_text = false;
        self.in_turn = true;
    }

    /// The record of this turn for one more message of `what`; 0, which counts nothing, outside of a turn.
    #[inline]
    pub(super) fn message(&mut self, what: What) -> u32 {
        if !self.in_turn {
            return 0;
        }
        self.handled_text |= what != What::Audio;
        for number in self.turn.iter().rev() {
            let row = &mut self.rows[*number as usize];
            if row.what == what {
                row.messages += 1;
                return *number;
            }
        }
        let row = Record {
            what,
            start_ns: self.turn_start_ns,
            messages: 1,
            writes: 0,
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.rows[number as usize] = row;
                number
            }
            None => {
                self.rows.push(row);
                (self.rows.len() - 1) as u32
            }
        };
        self.turn.push(number);
        number
    }

    /// One more send will carry frames of this record.
    #[inline]
    pub(super) fn write_added(&mut self, number: u32) {
        self.rows[number as usize].writes += 1;
    }

    /// The turn ends; records without writes are settled. `now_ns` reads the clock, if anything needs it. Returns how long
    /// the turn took, where that was measured.
    pub(super) fn end(
        &mut self,
        metrics: &mut Metrics,
        now_ns: impl FnOnce() -> u64,
    ) -> Option<u64> {
        self.in_turn = false;
        let end_ns = self.handled_text.then(now_ns);
        let at = end_ns.unwrap_or(self.turn_start_ns);
        for number in self.turn.drain(..) {
            let row = &self.rows[number as usize];
            if row.writes == 0 {
                // Audio that nobody wants has no last write.
                if row.what != What::Audio {
                    row.settle(at, metrics);
                }
                self.free.push(number);
            }
        }
        end_ns.map(|end_ns| end_ns.saturating_sub(self.turn_start_ns))
    }

    /// One send that carried these records is over (or will never be).
    pub(super) fn sent(&mut self, numbers: &[u32], now_ns: u64, metrics: &mut Metrics) {
        for number in numbers {
            let row = &mut self.rows[*number as usize];
            row.writes -= 1;
            if row.writes == 0 {
                row.settle(now_ns, metrics);
                self.free.push(*number);
            }
        }
    }

    /// Records not yet settled.
    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        self.rows.len() - 1 - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::kinds::{AppKind, PhoneKind};

    #[test]
    fn a_message_is_settled_by_its_last_write_and_audio_without_listeners_is_not_timed() {
        let mut metrics = Metrics::new(PhoneKind::COUNT, AppKind::COUNT);
        let mut records = Records::new();
        records.begin(1_000_000);
        let number = records.message(What::Message(Side::PhoneIn, 3));
        assert_eq!(records.message(What::Message(Side::PhoneIn, 3)), number);
        let _ = records.message(What::Audio);
        records.write_added(number);
        records.write_added(number);
        let _ = records.end(&mut metrics, || 1_500_000);
        records.sent(&[number], 2_000_000, &mut metrics);
        let latency = |metrics: &Metrics| {
            metrics.latencies(Side::PhoneIn)[3]
                .histogram()
                .map_or(0, hdrhistogram::Histogram::len)
        };
        assert_eq!(latency(&metrics), 0);
        records.sent(&[number], 5_000_000, &mut metrics);
        assert_eq!(latency(&metrics), 2, "both messages of the turn count");
        assert!(metrics.timing(Timing::AudioFanout).histogram().is_none());
        assert_eq!(records.in_flight(), 0);
    }
}
