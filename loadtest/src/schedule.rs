//! When open-loop messages are meant to be sent. Fixed before the run; never slowed down by the server.

use crate::rng::Rng;

/// Every member once per period, each at its own random phase; O(1) per step.
#[derive(Debug)]
pub(crate) struct Round {
    /// (phase in nanoseconds, member), ascending.
    phases: Vec<(u64, u32)>,
    period: u64,
    start: u64,
    cycle: u64,
    index: usize,
}

impl Round {
    /// Members of `members` take turns, each every `period_ns` from `start_ns` on.
    pub(crate) fn new(members: &[u32], period_ns: u64, start_ns: u64, rng: &mut Rng) -> Self {
        let mut phases: Vec<(u64, u32)> = members
            .iter()
            .map(|member| (rng.below(period_ns), *member))
            .collect();
        phases.sort_unstable();
        Self {
            phases,
            period: period_ns.max(1),
            start: start_ns,
            cycle: 0,
            index: 0,
        }
    }

    /// Time and member of the next turn; `None` when there are no members.
    pub(crate) fn peek(&self) -> Option<(u64, u32)> {
        let (phase, member) = self.phases.get(self.index)?;
        Some((self.start + self.cycle * self.period + phase, *member))
    }

    /// Takes the next turn if it is due at `now`.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(u64, u32)> {
        let turn = self.peek().filter(|(due, _)| *due <= now)?;
        self.index += 1;
        if self.index == self.phases.len() {
            self.index = 0;
            self.cycle += 1;
        }
        Some(turn)
    }
}

/// Independent arrivals with exponential gaps, each at a random member.
#[derive(Debug)]
pub(crate) struct Poisson {
    members: Vec<u32>,
    mean_gap_ns: f64,
    next: (u64, u32),
    rng: Rng,
}

impl Poisson {
    /// `members` together receive one arrival every `period_ns / members` on average.
    pub(crate) fn new(members: &[u32], period_ns: u64, start_ns: u64, rng: &mut Rng) -> Self {
        let mut own = Self {
            members: members.to_vec(),
            mean_gap_ns: period_ns as f64 / members.len().max(1) as f64,
            next: (start_ns, 0),
            rng: Rng::new(rng.next_u64()),
        };
        own.advance();
        own
    }

    fn advance(&mut self) {
        let gap = -(1.0 - self.rng.unit()).ln() * self.mean_gap_ns;
        let index = self.rng.below(self.members.len() as u64);
        let member = usize::try_from(index)
            .ok()
            .and_then(|index| self.members.get(index))
            .copied()
            .unwrap_or(0);
        self.next = (self.next.0 + gap as u64, member);
    }

    /// Time and member of the next arrival; `None` when there are no members.
    pub(crate) fn peek(&self) -> Option<(u64, u32)> {
        (!self.members.is_empty()).then_some(self.next)
    }

    /// Takes the next arrival if it is due at `now`.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(u64, u32)> {
        let turn = self.peek().filter(|(due, _)| *due <= now)?;
        self.advance();
        Some(turn)
    }
}

/// Either kind of schedule.
#[derive(Debug)]
pub(crate) enum Schedule {
    /// Fixed period, random phase.
    Even(Round),
    /// Random arrivals.
    Poisson(Poisson),
}

impl Schedule {
    /// Time of the next turn.
    pub(crate) fn next_due(&self) -> Option<u64> {
        match self {
            Self::Even(round) => round.peek(),
            Self::Poisson(poisson) => poisson.peek(),
        }
        .map(|(due, _)| due)
    }

    /// Takes the next turn if it is due at `now`.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(u64, u32)> {
        match self {
            Self::Even(round) => round.pop_due(now),
            Self::Poisson(poisson) => poisson.pop_due(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_has_its_turn_exactly_once_per_period() {
        let members: Vec<u32> = (0..50).collect();
        let mut round = Round::new(&members, 1000, 5000, &mut Rng::new(1));
        let mut turns: Vec<Vec<u64>> = vec![Vec::new(); 50];
        let mut last = 0;
        while let Some((due, member)) = round.pop_due(5000 + 3000 - 1) {
            assert!(due >= last, "turns come in order of time");
            last = due;
            turns[member as usize].push(due);
        }
        for own in turns {
            assert_eq!(own.len(), 3);
            assert_eq!((own[1] - own[0], own[2] - own[1]), (1000, 1000));
        }
    }

    #[test]
    fn a_late_caller_gets_the_time_that_was_intended() {
        let mut round = Round::new(&[4], 100, 0, &mut Rng::new(3));
        let (first, _) = round.pop_due(10_000).unwrap();
        let (second, _) = round.pop_due(10_000).unwrap();
        assert!(first < 100);
        assert_eq!(second, first + 100);
    }

    #[test]
    fn nothing_is_due_before_its_time_or_without_members() {
        let mut none = Round::new(&[], 100, 0, &mut Rng::new(3));
        assert_eq!(none.pop_due(u64::MAX), None);
        let mut round = Round::new(&[1], 100, 1000, &mut Rng::new(3));
        assert_eq!(round.pop_due(999), None);
    }

    #[test]
    fn poisson_arrivals_keep_the_mean_rate_and_reach_everyone() {
        let members: Vec<u32> = (0..10).collect();
        let mut poisson = Poisson::new(&members, 1000, 0, &mut Rng::new(5));
        let mut count = [0_u32; 10];
        while let Some((_, member)) = poisson.pop_due(1_000_000) {
            count[member as usize] += 1;
        }
        let total: u32 = count.iter().sum();
        assert!((9_500..=10_500).contains(&total), "{total} of 10,000");
        assert!(count.iter().all(|own| *own > 800));
    }
}
