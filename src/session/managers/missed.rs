//! Layer 2, manager: what a peer still has to hear when it comes back: how its streams and photos ended while it was away
//! (behaviour.md §7.5, 7.6).

use crate::base::footprint::owns;
use crate::base::ids::Package;
use bytes::Bytes;
use std::collections::VecDeque;

owns! {
    Row: body;
    Missed: rows;
}

/// Endings kept for one peer; the oldest gives way.
const OF_ONE_MAX: usize = 8;
/// Endings kept in all; what comes beyond them is lost.
const ROWS_MAX: usize = 64;
/// Longer ones are lost (bytes).
const BODY_BYTES_MAX: usize = 8 * 1024;

#[derive(Debug)]
struct Row {
    to: Package,
    body: Bytes,
    until_ms: u64,
}

/// Messages for peers that are away, oldest first.
#[derive(Default)]
pub struct Missed {
    rows: VecDeque<Row>,
}

impl Missed {
    /// Keeps a message for an app, or the phone under its name; after `until_ms` it means nothing any more.
    pub fn keep(&mut self, to: &str, body: Vec<u8>, until_ms: u64) {
        let is_its = |row: &Row| &*row.to == to;
        if self.rows.iter().filter(|row| is_its(row)).count() == OF_ONE_MAX
            && let Some(oldest) = self.rows.iter().position(is_its)
        {
            self.rows.remove(oldest);
        }
        if self.rows.len() < ROWS_MAX && body.len() <= BODY_BYTES_MAX {
            self.rows.push_back(Row {
                to: Package::new(to),
                body: body.into(),
                until_ms,
            });
        }
    }

    /// Takes what waits for a peer that is back.
    pub fn take(&mut self, to: &str, now_ms: u64) -> Vec<Bytes> {
        let (its, others) = std::mem::take(&mut self.rows)
            .into_iter()
            .partition(|row| &*row.to == to);
        self.rows = others;
        let its: VecDeque<Row> = its;
        let its = its.into_iter().filter(|row| now_ms < row.until_ms);
        its.map(|row| row.body).collect()
    }

    /// The peer stopped, or starts anew and knows nothing of it.
    pub fn forget(&mut self, to: &str) {
        self.rows.retain(|row| &*row.to != to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::footprint::Footprint as _;

    #[test]
    fn little_is_kept_and_of_one_peer_the_latest() {
        let mut missed = Missed::default();
        for number in 0..100_u8 {
            missed.keep("a", vec![number], u64::MAX);
            missed.keep(&format!("app {number}"), vec![number], u64::MAX);
        }
        missed.keep("b", vec![0; BODY_BYTES_MAX + 1], u64::MAX);
        assert_eq!(missed.rows.len(), ROWS_MAX);
        assert!(missed.heap_bytes() < ROWS_MAX * 200);
        let kept = missed.take("a", 0);
        assert_eq!(kept.last().map(|body| body[0]), Some(99));
        assert_eq!(kept.len(), OF_ONE_MAX);
        assert!(missed.take("a", 0).is_empty() && missed.take("b", 0).is_empty());
    }

    #[test]
    fn what_means_nothing_any_more_is_not_told() {
        let mut missed = Missed::default();
        missed.keep("a", vec![1], 10);
        missed.keep("a", vec![2], 11);
        assert_eq!(missed.take("a", 10), [vec![2]]);
    }
}
