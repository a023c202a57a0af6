//! Layer 2, manager: brings audio datagrams into their order (protocol.md §11.7, behaviour.md §5.4). Holds what came too early;
//! plays nothing.

use crate::base::footprint::owns;
use crate::base::settings::Udp as Config;
use bytes::Bytes;

owns! {
    Early: audio;
    Reorder: early;
}

/// A packet in its turn.
#[derive(Debug)]
pub struct Played {
    /// Its number.
    pub sequence: u16,
    /// What it holds.
    pub audio: Bytes,
}

/// A packet whose predecessors are missing.
#[derive(Debug)]
struct Early {
    sequence: u16,
    /// When it came (`mono_ms`).
    at_ms: u64,
    audio: Bytes,
}

impl Early {
    fn played(self) -> Played {
        Played {
            sequence: self.sequence,
            audio: self.audio,
        }
    }
}

/// What becomes of a packet that just came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PacketOrder {
    /// It is the next one: after it comes whatever [`Reorder::take_next`] gives.
    Next,
    /// It waits for others.
    Early,
    /// Its turn is over, or it was here before.
    Late,
}

/// The order of one session's datagrams.
#[derive(Default, Debug)]
pub struct Reorder {
    /// Sequence number that continues what was played; unset before the first packet.
    expected: Option<u16>,
    /// In the order in which they came; all ahead of `expected`.
    early: Vec<Early>,
    /// What was played last.
    last: Option<u16>,
}

impl Reorder {
    /// Forgets everything: the phone numbers its packets anew.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// A packet came. What has to be played before it, because there is no more room to wait, goes to `overdue`.
    pub fn arrive(
        &mut self,
        sequence: u16,
        audio: &[u8],
        now_ms: u64,
        cfg: &Config,
        overdue: &mut Vec<Played>,
    ) -> PacketOrder {
        let expected = *self.expected.get_or_insert(sequence);
        if u64::from(distance(sequence, expected)) > cfg.udp_reorder_max_gap {
            self.early.clear();
            self.expected = Some(sequence);
        }
        if self.is_early(sequence)
            && self.early.len() as u64 >= cfg.udp_reorder_capacity
            && !self.is_known(sequence)
        {
            self.skip_to_oldest(overdue);
        }
        if self.expected == Some(sequence) {
            self.expected = Some(sequence.wrapping_add(1));
            return PacketOrder::Next;
        }
        if !self.is_early(sequence) || self.is_known(sequence) {
            return PacketOrder::Late;
        }
        self.early.push(Early {
            sequence,
            at_ms: now_ms,
            audio: Bytes::copy_from_slice(audio),
        });
        PacketOrder::Early
    }

    /// Takes the packet that continues what was played, if it is here.
    pub fn take_next(&mut self) -> Option<Played> {
        let expected = self.expected?;
        let at = self
            .early
            .iter()
            .position(|early| early.sequence == expected)?;
        self.expected = Some(expected.wrapping_add(1));
        Some(self.early.remove(at).played())
    }

    /// A packet is played; says whether it continues the one before.
    pub fn play(&mut self, sequence: u16) -> bool {
        self.last.replace(sequence).map(|last| last.wrapping_add(1)) == Some(sequence)
    }

    /// When the oldest packet has waited long enough (`mono_ms`).
    #[must_use]
    pub fn due_ms(&self, cfg: &Config) -> Option<u64> {
        let oldest = self.early.first()?;
        Some(oldest.at_ms + cfg.udp_reorder_timeout_ms)
    }

    /// Gives up every hole before a packet that has waited long enough.
    pub fn due(&mut self, now_ms: u64, cfg: &Config, overdue: &mut Vec<Played>) {
        while self.due_ms(cfg).is_some_and(|due_ms| due_ms <= now_ms) {
            self.skip_to_oldest(overdue);
        }
    }

    /// Everything that waits, in its order, whatever is missing.
    pub fn flush(&mut self, overdue: &mut Vec<Played>) {
        while !self.early.is_empty() {
            self.skip_to_oldest(overdue);
        }
    }

    /// Goes on at the packet that has waited longest; what precedes it in sequence comes before it.
    fn skip_to_oldest(&mut self, overdue: &mut Vec<Played>) {
        let (Some(expected), Some(oldest)) = (self.expected, self.early.first()) else {
            return;
        };
        let ahead = |sequence: u16| sequence.wrapping_sub(expected);
        let target = oldest.sequence;
        let mut skipped: Vec<Early> = self
            .early
            .extract_if(.., |early| ahead(early.sequence) <= ahead(target))
            .collect();
        skipped.sort_by_key(|early| ahead(early.sequence));
        overdue.extend(skipped.into_iter().map(Early::played));
        self.expected = Some(target.wrapping_add(1));
        while let Some(next) = self.take_next() {
            overdue.push(next);
        }
    }

    /// Less than half the numbers ahead of what is expected.
    fn is_early(&self, sequence: u16) -> bool {
        self.expected
            .is_some_and(|expected| (1..0x8000).contains(&sequence.wrapping_sub(expected)))
    }

    fn is_known(&self, sequence: u16) -> bool {
        self.early.iter().any(|early| early.sequence == sequence)
    }
}

/// On the circle of sequence numbers.
fn distance(a: u16, b: u16) -> u16 {
    let ahead = a.wrapping_sub(b);
    ahead.min(ahead.wrapping_neg())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Plays packets that come at given times; the payload of each is its sequence number.
    fn play(packets: impl IntoIterator<Item = (u64, u16)>) -> Vec<u16> {
        let cfg = crate::base::settings::Settings::default().udp;
        let mut reorder = Reorder::default();
        let mut played = Vec::new();
        for (at_ms, sequence) in packets {
            let mut out = Vec::new();
            reorder.due(at_ms, &cfg, &mut out);
            let audio = sequence.to_be_bytes();
            match reorder.arrive(sequence, &audio, at_ms, &cfg, &mut out) {
                PacketOrder::Next => out.push(Played {
                    sequence,
                    audio: Bytes::copy_from_slice(&audio),
                }),
                PacketOrder::Early | PacketOrder::Late => {}
            }
            while let Some(next) = reorder.take_next() {
                out.push(next);
            }
            played.extend(out);
        }
        reorder.flush(&mut played);
        let number = |played: &Played| {
            assert_eq!(played.audio[..], played.sequence.to_be_bytes());
            played.sequence
        };
        played.iter().map(number).collect()
    }

    fn at_once(sequences: impl IntoIterator<Item = u16>) -> Vec<u16> {
        play(sequences.into_iter().map(|sequence| (0, sequence)))
    }

    #[test]
    fn packets_are_played_in_their_order_across_the_wrap() {
        assert_eq!(at_once([1, 3, 2]), [1, 2, 3]);
        assert_eq!(at_once([65_534, 0, 1, 65_535]), [65_534, 65_535, 0, 1]);
    }

    #[test]
    fn late_and_repeated_packets_are_dropped() {
        assert_eq!(at_once([5, 6, 5, 4, 8, 8, 7, 8]), [5, 6, 7, 8]);
    }

    #[test]
    fn a_hole_is_skipped_after_twenty_milliseconds() {
        let waited = [(0, 1), (1, 3), (20, 2), (21, 9), (40, 4)];
        assert_eq!(play(waited), [1, 2, 3, 4, 9]);
        let given_up = [(0, 1), (1, 3), (21, 2), (22, 4)];
        assert_eq!(play(given_up), [1, 3, 4]);
    }

    #[test]
    fn what_came_later_but_precedes_is_played_first_when_a_hole_is_skipped() {
        assert_eq!(play([(0, 1), (1, 4), (15, 3), (21, 5)]), [1, 3, 4, 5]);
    }

    #[test]
    fn a_full_buffer_skips_the_hole() {
        let mut packets = vec![0];
        packets.extend(2..=12);
        packets.extend([1, 13]);
        assert_eq!(
            at_once(packets),
            [0].into_iter().chain(2..=13).collect::<Vec<u16>>()
        );
    }

    #[test]
    fn a_jump_of_more_than_fifty_begins_anew() {
        assert_eq!(at_once([100, 102, 153]), [100, 153], "52 ahead of 101");
        assert_eq!(at_once([100, 102, 151, 101]), [100, 101, 102, 151]);
        assert_eq!(
            at_once([100, 10, 11]),
            [100, 10, 11],
            "a phone that began anew"
        );
        assert_eq!(
            at_once([100, 60, 101]),
            [100, 101],
            "41 behind is only late"
        );
    }

    proptest! {
        /// Invariant 33: within the window nothing is lost, doubled or out of order.
        #[test]
        fn any_order_within_the_window_is_put_right(
            first in any::<u16>(),
            jitter in proptest::collection::vec(0_u64..9, 1..80),
        ) {
            let mut packets: Vec<(u64, u16)> = jitter
                .iter()
                .enumerate()
                .map(|(at, late)| (at as u64 + late, first.wrapping_add(at as u16)))
                .collect();
            packets[0].0 = 0;
            packets.sort_by_key(|packet| packet.0);
            let wanted: Vec<u16> = (0..jitter.len()).map(|at| first.wrapping_add(at as u16)).collect();
            prop_assert_eq!(play(packets), wanted);
        }

        /// Whatever comes, no packet is played twice in a row of the same numbers, and the buffer keeps its bound.
        #[test]
        fn the_buffer_is_bounded(packets in proptest::collection::vec((0_u64..3, any::<u16>()), 0..200)) {
            let cfg = crate::base::settings::Settings::default().udp;
            let mut reorder = Reorder::default();
            let mut now_ms = 0;
            for (pause_ms, number) in packets {
                now_ms += pause_ms;
                let mut out = Vec::new();
                reorder.due(now_ms, &cfg, &mut out);
                let _ = reorder.arrive(number % 200, b"a", now_ms, &cfg, &mut out);
                while reorder.take_next().is_some() {}
                prop_assert!(reorder.early.len() <= 10);
                prop_assert!(reorder.early.iter().all(|early| reorder.is_early(early.sequence)));
            }
        }
    }
}
