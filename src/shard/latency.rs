//! Layer 3: latency from the receipt of a message to the last write that it caused. One record per turn and message kind, counted
//! down by the sends that carry its frames.

use crate::base::metrics::{Counter, Metrics, Side, Timing};
use crate::base::settings::Settings;
use crate::wire::kinds::{AppKind, PhoneKind};
use smallvec::SmallVec;

/// What a record measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// Microphone audio.
    Audio,
    /// Text messages of one kind.
    Message(Side, usize),
}

impl What {
    /// For the log: the type on the wire.
    pub(super) fn name(self) -> &'static str {
        let name = match self {
            Self::Audio => return "audio",
            Self::Message(Side::Phone, at) => PhoneKind::ALL.get(at).map(|kind| kind.wire()),
            Self::Message(Side::App, at) => AppKind::ALL.get(at).map(|kind| kind.wire()),
        };
        name.unwrap_or("other")
    }
}

/// Half a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Record {
    what: What,
    start_ns: u64,
    messages: u32,
    writes: u32,
}

/// One in this many audio-only turns is measured to its end: to read the clock for each would cost more than the turn itself.
const STAGE_SAMPLE: u32 = 64;

/// What audio may take, and the worst that took longer (behaviour.md §5.2). All in nanoseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct SlowAudio {
    relay_limit: u64,
    stage_limit: u64,
    /// Receipt to last write; 0 = none was slow.
    pub(super) relay: u64,
    /// Receipt to the last outbox; 0 = none was slow.
    pub(super) stage: u64,
}

impl SlowAudio {
    fn relayed(&mut self, ns: u64, metrics: &mut Metrics) {
        if ns > self.relay_limit {
            metrics.inc(Counter::SlowAudioRelay);
            self.relay = self.relay.max(ns);
        }
    }

    fn queued(&mut self, ns: u64, metrics: &mut Metrics) {
        if ns > self.stage_limit {
            metrics.inc(Counter::SlowAudioStage);
            self.stage = self.stage.max(ns);
        }
    }
}

impl Record {
    #[inline]
    fn settle(&self, now_ns: u64, slow: &mut SlowAudio, metrics: &mut Metrics) {
        let ns = now_ns.saturating_sub(self.start_ns);
        match self.what {
            What::Audio => {
                metrics.time(Timing::AudioFanout, ns);
                slow.relayed(ns, metrics);
            }
            What::Message(side, kind) => metrics.message_latency(side, kind, ns, self.messages),
        }
    }
}

/// All records in flight. Number 0 means "none". What every message touches stands first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Records {
    turn_start_ns: u64,
    /// Whether the turn handled anything but audio: only then its end is worth a clock read.
    handled_text: bool,
    /// Whether a turn is going on. Frames that were held until their user was read are handled outside of one and not measured.
    in_turn: bool,
    audio_turns: u32,
    rows: Vec<Record>,
    free: Vec<u32>,
    turn: SmallVec<[u32; 4]>,
    /// A turn with text that takes this long is slow.
    slow_turn_ns: u64,
    slow: SlowAudio,
    /// What the last slow turn brought, until it is told.
    slow_turn: Option<SmallVec<[What; 4]>>,
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
            audio_turns: 0,
            slow: SlowAudio::default(),
            slow_turn_ns: u64::MAX,
            slow_turn: None,
        }
    }

    /// Sets what counts as slow.
    pub(super) fn set_limits(&mut self, cfg: &Settings) {
        self.slow.relay_limit = cfg.audio.audio_slow_relay_ms * 1_000_000;
        self.slow.stage_limit = cfg.audio.audio_stage_slow_ms * 1_000_000;
        self.slow_turn_ns = cfg.observability.slow_message_ms * 1_000_000;
    }

    /// What the turn that just ended brought, if it was slow: `took_ns`.
    #[inline]
    pub(super) fn take_slow_turn(&mut self, took_ns: u64) -> Option<SmallVec<[What; 4]>> {
        if took_ns < self.slow_turn_ns {
            return None;
        }
        self.slow_turn.take()
    }

    /// The worst slow audio since the last call; `None` where nothing was slow.
    pub(super) fn take_slow(&mut self) -> Option<SlowAudio> {
        let worst = self.slow;
        (self.slow.relay, self.slow.stage) = (0, 0);
        (worst.relay > 0 || worst.stage > 0).then_some(worst)
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
    #[inline]
    pub(super) fn end(
        &mut self,
        metrics: &mut Metrics,
        now_ns: impl FnOnce() -> u64,
    ) -> Option<u64> {
        self.in_turn = false;
        let end_ns = if self.handled_text {
            Some(now_ns())
        } else {
            self.measure_stage(metrics, now_ns);
            None
        };
        let at = end_ns.unwrap_or(self.turn_start_ns);
        if at.saturating_sub(self.turn_start_ns) >= self.slow_turn_ns {
            let rows = self.turn.iter();
            let kinds = rows.map(|number| self.rows[*number as usize].what);
            self.slow_turn = Some(kinds.collect());
        }
        for number in self.turn.drain(..) {
            let row = &self.rows[number as usize];
            if row.writes == 0 {
                // Audio that nobody wants has no last write.
                if row.what != What::Audio {
                    row.settle(at, &mut self.slow, metrics);
                }
                self.free.push(number);
            }
        }
        end_ns.map(|end_ns| end_ns.saturating_sub(self.turn_start_ns))
    }

    /// An audio-only turn ends: decoding, fan-out and microphone evidence are behind it.
    fn measure_stage(&mut self, metrics: &mut Metrics, now_ns: impl FnOnce() -> u64) {
        if self.turn.is_empty() {
            return;
        }
        self.audio_turns = self.audio_turns.wrapping_add(1);
        if self.audio_turns.is_multiple_of(STAGE_SAMPLE) {
            let took_ns = now_ns().saturating_sub(self.turn_start_ns);
            self.slow.queued(took_ns, metrics);
        }
    }

    /// One send that carried these records is over (or will never be).
    #[inline]
    pub(super) fn sent(&mut self, numbers: &[u32], now_ns: u64, metrics: &mut Metrics) {
        for number in numbers {
            let row = &mut self.rows[*number as usize];
            row.writes -= 1;
            if row.writes == 0 {
                self.settle(*number, now_ns, metrics);
            }
        }
    }

    /// The last write is over. Apart, so that all others can be inlined.
    #[inline(never)]
    fn settle(&mut self, number: u32, now_ns: u64, metrics: &mut Metrics) {
        self.rows[number as usize].settle(now_ns, &mut self.slow, metrics);
        self.free.push(number);
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

    #[test]
    fn a_message_is_settled_by_its_last_write_and_audio_without_listeners_is_not_timed() {
        let mut metrics = Metrics::new(PhoneKind::COUNT, AppKind::COUNT);
        let mut records = Records::new();
        records.begin(1_000_000);
        let number = records.message(What::Message(Side::Phone, 3));
        assert_eq!(records.message(What::Message(Side::Phone, 3)), number);
        let _ = records.message(What::Audio);
        records.write_added(number);
        records.write_added(number);
        let _ = records.end(&mut metrics, || 1_500_000);
        records.sent(&[number], 2_000_000, &mut metrics);
        let latency = |metrics: &Metrics| {
            metrics.latencies(Side::Phone)[3]
                .histogram()
                .map_or(0, hdrhistogram::Histogram::len)
        };
        assert_eq!(latency(&metrics), 0);
        records.sent(&[number], 5_000_000, &mut metrics);
        assert_eq!(latency(&metrics), 2, "both messages of the turn count");
        assert!(metrics.timing(Timing::AudioFanout).histogram().is_none());
        assert_eq!(records.in_flight(), 0);
    }

    #[test]
    fn slow_audio_is_counted_and_its_worst_is_kept_for_the_log() {
        let mut metrics = Metrics::new(PhoneKind::COUNT, AppKind::COUNT);
        let mut records = Records::new();
        records.set_limits(&Settings::default());
        let relay = |ms: u64, stage_ms: u64, records: &mut Records, metrics: &mut Metrics| {
            records.begin(0);
            let number = records.message(What::Audio);
            records.write_added(number);
            let _ = records.end(metrics, || stage_ms * 1_000_000);
            records.sent(&[number], ms * 1_000_000, metrics);
        };
        for _ in 0..STAGE_SAMPLE {
            relay(20, 10, &mut records, &mut metrics);
        }
        assert_eq!(
            records.take_slow(),
            None,
            "the thresholds are passed, not met"
        );
        relay(21, 0, &mut records, &mut metrics);
        relay(300, 0, &mut records, &mut metrics);
        for _ in 2..STAGE_SAMPLE {
            relay(1, 0, &mut records, &mut metrics);
        }
        relay(1, 11, &mut records, &mut metrics);
        let worst = records.take_slow().expect("slow");
        assert_eq!((worst.relay, worst.stage), (300_000_000, 0));
        for _ in 1..STAGE_SAMPLE {
            relay(1, 11, &mut records, &mut metrics);
        }
        assert_eq!(
            records.take_slow().map(|worst| worst.stage),
            Some(11_000_000)
        );
        let counts = [Counter::SlowAudioRelay, Counter::SlowAudioStage].map(|one| metrics.get(one));
        assert_eq!(counts, [2, 1]);
    }
}
