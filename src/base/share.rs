//! Layer 0: how much one of many may take of a limit that they share, so that none can use up what others need.

/// Whether somebody who has `own` of `all` taken places may take one more: they may while they have fewer than are still free. Alone one
/// gets half of `max`, the next one half of the rest, and so on; together they never exceed it.
#[must_use]
pub fn may_add(own: usize, all: usize, max: u64) -> bool {
    may_add_more(own as u64, all as u64, 1, max)
}

/// The same for `more` at once: bytes, say.
#[must_use]
pub fn may_add_more(own: u64, all: u64, more: u64, max: u64) -> bool {
    own.saturating_add(more) <= max.saturating_sub(all)
}

/// The index of the one that gives way for others: the first of the owner who has most.
pub fn gives_way<T: PartialEq>(owners: impl Iterator<Item = T>) -> Option<usize> {
    let mut counts: Vec<(T, usize, usize)> = Vec::new();
    for (at, owner) in owners.enumerate() {
        match counts.iter_mut().find(|row| row.0 == owner) {
            Some((_, count, _)) => *count += 1,
            None => counts.push((owner, 1, at)),
        }
    }
    let most = counts.iter().map(|row| row.1).max()?;
    let first = counts.iter().find(|row| row.1 == most)?;
    Some(first.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many each of these has when all have asked for as many as they can get, one after the other.
    fn greedy(users: usize, max: u64) -> Vec<usize> {
        let mut have = vec![0; users];
        for user in 0..users {
            while may_add(have[user], have.iter().sum(), max) {
                have[user] += 1;
            }
        }
        have
    }

    #[test]
    fn nobody_takes_everything_and_all_stay_within_the_bound() {
        assert_eq!(greedy(3, 64), [32, 16, 8]);
        assert_eq!(greedy(2, 1), [1, 0]);
        assert_eq!(greedy(2, 2), [1, 1]);
        assert_eq!(greedy(1, 0), [0]);
        for max in 0..200 {
            assert!(greedy(20, max).iter().sum::<usize>() as u64 <= max);
        }
    }

    #[test]
    fn much_at_once_counts_as_much() {
        assert!(may_add_more(0, 0, 64, 64));
        assert!(!may_add_more(0, 0, 65, 64));
        assert!(may_add_more(20, 20, 24, 64));
        assert!(!may_add_more(20, 20, 25, 64));
        assert!(!may_add_more(0, 0, u64::MAX, 64));
    }

    #[test]
    fn the_oldest_of_whoever_has_most_gives_way() {
        assert_eq!(gives_way(["a", "b", "c", "b", "c"].iter()), Some(1));
        assert_eq!(gives_way(["a", "a", "b"].iter()), Some(0));
        assert_eq!(gives_way(std::iter::empty::<u8>()), None);
    }
}
