//! Outside thread, REST: how often each package's sockets came and were lost (behaviour.md §9.5), by which problematic apps are found.
//! Plain counts, fed by the shards' reports of app sockets; per process, since its start.

use crate::base::ids::UserId;
use crate::session::effects::LinkChange;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Figures of one package.
#[derive(Default, Debug)]
struct Figures {
    /// `mono_ms` of the attach, by user.
    open: HashMap<UserId, u64>,
    attached: u64,
    disconnects: u64,
    timeouts: u64,
    ended: u64,
    lived_ms: u64,
    lives: u64,
}

impl Figures {
    fn closed(&mut self, user: &UserId, now_ms: u64) {
        if let Some(since_ms) = self.open.remove(user) {
            self.lived_ms += now_ms.saturating_sub(since_ms);
            self.lives += 1;
        }
    }

    fn trouble(&self) -> u64 {
        self.disconnects
    }
}

/// All packages that ever had a socket.
#[derive(Default, Debug)]
pub(crate) struct AppStats(HashMap<String, Figures>);

impl AppStats {
    /// A socket of a user's app attached or was lost.
    pub(super) fn note(&mut self, package: &str, user: &UserId, change: LinkChange, now_ms: u64) {
        let figures = self.0.entry(package.to_owned()).or_default();
        match change {
            LinkChange::Attached => {
                figures.attached += 1;
                figures.open.insert(user.clone(), now_ms);
            }
            LinkChange::Lost | LinkChange::LostSilent => {
                figures.disconnects += 1;
                figures.timeouts += u64::from(change == LinkChange::LostSilent);
                figures.closed(user, now_ms);
            }
            LinkChange::Ended => {
                // A socket that was lost before has been counted then.
                figures.ended += u64::from(figures.open.contains_key(user));
                figures.closed(user, now_ms);
            }
        }
    }

    /// The packages with the most unexpected ends first, at most `max`.
    pub(super) fn worst(&self, max: usize) -> Vec<Value> {
        let mut rows: Vec<_> = self.0.iter().collect();
        rows.sort_by(|(name, one), (other, two)| {
            two.trouble().cmp(&one.trouble()).then(name.cmp(other))
        });
        let row = |(name, one): (&String, &Figures)| {
            json!({
                "packageName": name,
                "open": one.open.len(),
                "attached": one.attached,
                "disconnects": one.disconnects,
                "timeouts": one.timeouts,
                "ended": one.ended,
                "meanSessionMs": one.lived_ms.checked_div(one.lives),
            })
        };
        rows.into_iter().take(max).map(row).collect()
    }

    /// `package:disconnects/timeouts` of those with any, worst first, for the log.
    pub(crate) fn troubled(&self, max: usize) -> String {
        let mut rows: Vec<_> = self.0.iter().filter(|(_, one)| one.trouble() > 0).collect();
        rows.sort_by_key(|(name, one)| (std::cmp::Reverse(one.trouble()), *name));
        let rows: Vec<String> = rows
            .into_iter()
            .take(max)
            .map(|(name, one)| format!("{name}:{}/{}", one.disconnects, one.timeouts))
            .collect();
        rows.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_that_is_lost_most_stands_first_and_a_stop_is_no_trouble() {
        let mut stats = AppStats::default();
        let mut note = |package: &str, user: &str, change, at_ms| {
            stats.note(package, &UserId::new(user), change, at_ms);
        };
        note("calm", "a", LinkChange::Attached, 0);
        note("calm", "a", LinkChange::Ended, 10_000);
        for (at_ms, change) in [(0, LinkChange::Lost), (5000, LinkChange::LostSilent)] {
            note("flaky", "a", LinkChange::Attached, at_ms);
            note("flaky", "a", change, at_ms + 1000);
        }
        note("flaky", "a", LinkChange::Ended, 9000);
        note("flaky", "b", LinkChange::Attached, 9000);
        let rows = stats.worst(10);
        let flaky = json!({
            "packageName": "flaky", "open": 1, "attached": 3, "disconnects": 2, "timeouts": 1, "ended": 0,
            "meanSessionMs": 1000,
        });
        let calm = json!({
            "packageName": "calm", "open": 0, "attached": 1, "disconnects": 0, "timeouts": 0, "ended": 1,
            "meanSessionMs": 10_000,
        });
        assert_eq!(rows, [flaky, calm]);
        assert_eq!(stats.troubled(5), "flaky:2/1");
        assert_eq!(stats.worst(1).len(), 1);
    }
}
