//! Sequence accounting of one receiver: what arrived, what is missing, what came twice or late.

/// Most separate gaps remembered; beyond it the oldest gap is final.
const GAPS_MAX: usize = 64;

/// Totals, added up over receivers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Tally {
    /// Messages that had to arrive, one per receiver.
    pub(crate) expected: u64,
    /// Distinct messages that arrived.
    pub(crate) delivered: u64,
    /// Never arrived although the receiver was connected.
    pub(crate) lost: u64,
    /// Never arrived because the receiver or the sender lost its socket.
    pub(crate) missed_offline: u64,
    /// Arrived once more.
    pub(crate) duplicated: u64,
    /// Arrived after a later one.
    pub(crate) out_of_order: u64,
    /// Arrived with other bytes than were sent.
    pub(crate) damaged: u64,
    /// Arrived at a receiver of another user.
    pub(crate) misrouted: u64,
}

impl Tally {
    /// Adds `other` to this one.
    pub(crate) fn add(&mut self, other: &Self) {
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.missed_offline += other.missed_offline;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.damaged += other.damaged;
        self.misrouted += other.misrouted;
    }
}

/// What an arriving number turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next one, or one after a gap.
    New,
    /// Filled an earlier gap.
    Late,
    /// Seen before.
    Duplicate,
}

#[derive(Debug, Clone, Copy)]
struct Gap {
    start: u64,
    end: u64,
    offline: bool,
}

/// Follows the numbers of one stream at one receiver.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    next: u64,
    delivered: u64,
    duplicated: u64,
    late: u64,
    closed_lost: u64,
    closed_offline: u64,
    /// What is missing below this is due to a lost socket.
    excused_below: u64,
    gaps: Vec<Gap>,
}

impl Tracker {
    /// Records number `seq`.
    pub(crate) fn arrive(&mut self, seq: u64) -> Arrival {
        if seq >= self.next {
            if seq > self.next {
                self.open_gap(seq);
            }
            if self.excused_below == u64::MAX {
                self.excused_below = 0;
            }
            self.next = seq + 1;
            self.delivered += 1;
            return Arrival::New;
        }
        match self
            .gaps
            .iter()
            .position(|gap| gap.start <= seq && seq < gap.end)
        {
            Some(index) => {
                self.fill(index, seq);
                self.delivered += 1;
                self.late += 1;
                Arrival::Late
            }
            None => {
                self.duplicated += 1;
                Arrival::Duplicate
            }
        }
    }

    /// Numbers from the next one to `seq` are missing.
    fn open_gap(&mut self, seq: u64) {
        let middle = self.excused_below.clamp(self.next, seq);
        for (start, end, offline) in [(self.next, middle, true), (middle, seq, false)] {
            if start == end {
                continue;
            }
            if self.gaps.len() == GAPS_MAX {
                let oldest = self.gaps.remove(0);
                self.close(oldest);
            }
            self.gaps.push(Gap {
                start,
                end,
                offline,
            });
        }
    }

    fn fill(&mut self, index: usize, seq: u64) {
        let gap = self.gaps.remove(index);
        let pieces = [(gap.start, seq), (seq + 1, gap.end)];
        for (start, end) in pieces.into_iter().rev() {
            if start < end {
                self.gaps.insert(index, Gap { start, end, ..gap });
            }
        }
    }

    fn close(&mut self, gap: Gap) {
        let missing = gap.end - gap.start;
        if gap.offline {
            self.closed_offline += missing;
        } else {
            self.closed_lost += missing;
        }
    }

    /// The receiver lost its socket: the gap up to the next arrival is due to that.
    pub(crate) fn went_away(&mut self) {
        self.excused_below = u64::MAX;
    }

    /// The sender lost its socket, by which `sent` numbers went: some of them may have been under way. What it sends by the next
    /// one must arrive.
    pub(crate) fn sender_went_away(&mut self, sent: u64) {
        self.excused_below = self.excused_below.max(sent);
    }

    /// Ends the accounting: `sent` numbers were sent in all. A tail that is missing counts as missed
    /// offline when the receiver went away and nothing came since.
    pub(crate) fn finish(&mut self, sent: u64) -> Tally {
        if sent > self.next {
            self.open_gap(sent);
            self.next = sent;
        }
        for gap in std::mem::take(&mut self.gaps) {
            self.close(gap);
        }
        Tally {
            expected: sent,
            delivered: self.delivered,
            lost: self.closed_lost,
            missed_offline: self.closed_offline,
            duplicated: self.duplicated,
            out_of_order: self.late,
            damaged: 0,
            misrouted: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seqs: &[u64], sent: u64) -> Tally {
        let mut tracker = Tracker::default();
        for seq in seqs {
            tracker.arrive(*seq);
        }
        tracker.finish(sent)
    }

    #[test]
    fn a_clean_stream_loses_nothing() {
        let tally = run(&[0, 1, 2, 3], 4);
        assert_eq!((tally.delivered, tally.lost, tally.expected), (4, 0, 4));
    }

    #[test]
    fn gaps_and_a_missing_tail_are_lost() {
        let tally = run(&[1, 2, 5], 8);
        assert_eq!((tally.delivered, tally.lost), (3, 5));
    }

    #[test]
    fn a_late_number_is_out_of_order_but_not_lost() {
        let tally = run(&[0, 3, 2, 1], 4);
        assert_eq!((tally.delivered, tally.lost, tally.out_of_order), (4, 0, 2));
    }

    #[test]
    fn the_same_number_twice_is_a_duplicate_even_when_it_came_late() {
        let tally = run(&[0, 0, 2, 1, 1], 3);
        assert_eq!(
            (tally.delivered, tally.duplicated, tally.out_of_order),
            (3, 2, 1)
        );
    }

    #[test]
    fn what_was_sent_while_the_receiver_was_away_is_told_apart_from_loss() {
        let mut tracker = Tracker::default();
        tracker.arrive(0);
        tracker.went_away();
        tracker.arrive(5);
        tracker.arrive(7);
        let tally = tracker.finish(8);
        assert_eq!((tally.missed_offline, tally.lost), (4, 1));
    }

    #[test]
    fn a_sender_that_was_away_excuses_nothing_that_it_sent_afterwards() {
        let mut tracker = Tracker::default();
        tracker.arrive(0);
        tracker.sender_went_away(4);
        // One of those that were under way still came.
        tracker.arrive(2);
        tracker.arrive(6);
        let tally = tracker.finish(8);
        assert_eq!((tally.delivered, tally.missed_offline), (3, 2));
        assert_eq!(tally.lost, 3);
    }

    #[test]
    fn more_gaps_than_are_remembered_still_add_up() {
        let odd: Vec<u64> = (0..1000).map(|n| n * 2 + 1).collect();
        let tally = run(&odd, 2000);
        assert_eq!((tally.delivered, tally.lost), (1000, 1000));
    }
}
