//! Outside thread: the watch over threads that do not turn (behaviour.md §10.4). Two detectors with the same eyes: the fine
//! one looks often and finds short gaps, the coarse one finds what a peer notices. Each also watches its own timer, because a
//! process that was frozen as a whole shows no silent shard.

use crate::base::settings::Observability;
use crate::services::context::Services;
use crate::shard::shared::Beat;
use std::sync::Arc;
use std::time::Duration;

/// Which detector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Grain {
    /// `gap_interval_ms`, `gap_warn_ms`.
    Coarse,
    /// `gap_fine_interval_ms`, `gap_fine_warn_ms`.
    Fine,
}

impl Grain {
    fn as_str(self) -> &'static str {
        match self {
            Self::Coarse => "coarse",
            Self::Fine => "fine",
        }
    }

    fn interval_ms(self, cfg: &Observability) -> u64 {
        match self {
            Self::Coarse => cfg.gap_interval_ms,
            Self::Fine => cfg.gap_fine_interval_ms,
        }
    }

    fn warn_ms(self, cfg: &Observability) -> u64 {
        match self {
            Self::Coarse => cfg.gap_warn_ms,
            Self::Fine => cfg.gap_fine_warn_ms,
        }
    }
}

/// What one look found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// The detector's own timer came this late: the outside thread, or the whole process, stood still.
    OwnGap { elapsed_ms: u64 },
    /// A shard has not turned for this long. Said once per silence.
    Silent { shard: usize, silent_ms: u64 },
    /// It turns again.
    Turns { shard: usize },
}

/// What a detector remembers from look to look.
#[derive(Default, Debug)]
struct Detector {
    silent: Vec<bool>,
    looked_ms: Option<u64>,
}

impl Detector {
    /// Looks at the shards' signs of life; a gap counts from `warn_ms` up.
    fn look(&mut self, beats: &[Beat], now_ms: u64, warn_ms: u64) -> Vec<Found> {
        let elapsed_ms = self
            .looked_ms
            .replace(now_ms)
            .map_or(0, |at| now_ms.saturating_sub(at));
        if elapsed_ms >= warn_ms {
            // Shards that stood still with us have had no time to turn: the next look judges them.
            return vec![Found::OwnGap { elapsed_ms }];
        }
        let mut found = Vec::new();
        self.silent.resize(beats.len(), false);
        for (shard, (beat, was)) in beats.iter().zip(&mut self.silent).enumerate() {
            let turned_ms = beat.turned_ms();
            let silent_ms = now_ms.saturating_sub(turned_ms);
            // One that never turned has not begun.
            let is = turned_ms > 0 && silent_ms >= warn_ms;
            if is != std::mem::replace(was, is) {
                found.push(if is {
                    Found::Silent { shard, silent_ms }
                } else {
                    Found::Turns { shard }
                });
            }
        }
        found
    }
}

/// Watches until the runtime ends. A drained shard has ended, so nothing is said while the process goes away.
pub(crate) async fn watch(cx: Arc<Services>, grain: Grain) {
    let mut detector = Detector::default();
    loop {
        let settings = cx.settings();
        let cfg = &settings.observability;
        tokio::time::sleep(Duration::from_millis(grain.interval_ms(cfg))).await;
        let now_ms = cx.clock.now().mono_ms;
        let found = detector.look(&cx.shared.beats, now_ms, grain.warn_ms(cfg));
        if !cx.shared.is_draining() {
            found.into_iter().for_each(|found| say(grain, found));
        }
    }
}

fn say(grain: Grain, found: Found) {
    let detector = grain.as_str();
    match found {
        Found::OwnGap { elapsed_ms } => {
            tracing::warn!(detector, elapsed_ms, "outside-thread-gap");
        }
        Found::Silent { shard, silent_ms } => {
            tracing::warn!(detector, shard, silent_ms, "shard-stalled");
        }
        Found::Turns { shard } => tracing::warn!(detector, shard, "shard-turns-again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats(count: usize) -> Vec<Beat> {
        (0..count).map(|_| Beat::default()).collect()
    }

    #[test]
    fn a_silence_is_said_once_and_so_is_its_end() {
        let (beats, mut fine) = (beats(2), Detector::default());
        beats[1].turn(1000, 0);
        assert_eq!(fine.look(&beats, 1500, 1000), []);
        let silent = Found::Silent {
            shard: 1,
            silent_ms: 1000,
        };
        assert_eq!(fine.look(&beats, 2000, 1000), [silent]);
        assert_eq!(fine.look(&beats, 2500, 1000), []);
        beats[1].turn(2600, 0);
        assert_eq!(
            fine.look(&beats, 3000, 1000),
            [Found::Turns { shard: 1 }],
            "and the one that never turned is nobody's gap"
        );
    }

    #[test]
    fn the_fine_detector_finds_what_the_coarse_one_passes_over() {
        let cfg = Observability::default();
        let looks = |grain: Grain| {
            let (beats, mut detector) = (beats(1), Detector::default());
            let mut found = Vec::new();
            // The shard stands still from 10 s to 11.4 s.
            for now_ms in (0..20_000).step_by(100) {
                if !(10_000..11_400).contains(&now_ms) {
                    beats[0].turn(now_ms, 0);
                }
                if now_ms % grain.interval_ms(&cfg) == 0 {
                    found.extend(detector.look(&beats, now_ms, grain.warn_ms(&cfg)));
                }
            }
            found.len()
        };
        assert_eq!((looks(Grain::Fine), looks(Grain::Coarse)), (2, 0));
    }

    #[test]
    fn a_frozen_process_is_noticed_by_the_timer_itself() {
        let (beats, mut coarse) = (beats(1), Detector::default());
        for now_ms in [1000, 2000] {
            beats[0].turn(now_ms, 0);
            assert_eq!(coarse.look(&beats, now_ms, 2000), []);
        }
        // The detector may come before the shard, which is no reason to call it stalled ...
        let gap = Found::OwnGap { elapsed_ms: 7000 };
        assert_eq!(coarse.look(&beats, 9000, 2000), [gap]);
        beats[0].turn(9001, 0);
        assert_eq!(coarse.look(&beats, 10_000, 2000), []);
        // ... unless it does not turn afterwards either.
        let gap = Found::OwnGap { elapsed_ms: 5000 };
        assert_eq!(coarse.look(&beats, 15_000, 2000), [gap]);
        let (shard, silent_ms) = (0, 6999);
        assert_eq!(
            coarse.look(&beats, 16_000, 2000),
            [Found::Silent { shard, silent_ms }]
        );
    }
}
