//! Invariants 34, 36 and 37 under random traffic.

use super::{Display, Outcome, Paint, Request, Stage};
use crate::base::ids::Package;
use crate::base::settings::Settings;
use crate::session::timers::{Timer, Timers};
use proptest::prelude::*;

const APPS: [&str; 3] = ["main", "back", "other"];

proptest! {
    #[test]
    fn windows_are_kept_and_the_newest_wins(
        steps in proptest::collection::vec((0_usize..3, 1_u64..400, proptest::option::of(0_u64..2000)), 1..60)
    ) {
        let cfg = Settings::default().display;
        let (mut display, mut timers) = (Display::default(), Timers::new());
        let mut painted: Vec<(u64, String)> = Vec::new();
        let mut newest = [0_usize; 3];
        let mut now_ms = 10_000;
        for (index, (app, wait_ms, duration_ms)) in steps.into_iter().enumerate() {
            let until = now_ms + wait_ms;
            loop {
                let due = timers.next_ms() <= until;
                now_ms = if due { timers.next_ms().max(now_ms) } else { until };
                let timer = if due { timers.pop_due(now_ms).map(|row| row.1) } else { None };
                let mut out = Vec::new();
                let mut stage = Stage {
                    now_ms,
                    cfg: &cfg,
                    reachable: true,
                    main_app: Some(Package::new("main")),
                    running: &|_| true,
                    timers: &mut timers,
                    out: &mut out,
                };
                match timer {
                    Some(Timer::DisplayRelease) => display.release_due(&mut stage),
                    Some(Timer::DisplayExpiry) => display.expiry_due(&mut stage),
                    Some(Timer::DisplayLock) => display.lock_due(&mut stage),
                    Some(other) => prop_assert!(false, "{other:?}"),
                    None => {
                        let request = Request {
                            package: Package::new(APPS[app]),
                            message: format!("{app}:{index}").into(),
                            duration_ms,
                            force: false,
                        };
                        if display.request(request, &mut stage) != Outcome::Rejected {
                            newest[app] = index;
                        }
                    }
                }
                for paint in out {
                    if let Paint::Request(message) = paint {
                        let text = String::from_utf8_lossy(&message).into_owned();
                        painted.push((now_ms, text));
                    }
                }
                if !due {
                    break;
                }
            }
        }
        for pair in painted.windows(2) {
            prop_assert!(pair[1].0 >= pair[0].0 + cfg.display_throttle_ms, "{pair:?}");
        }
        let mut last = [0_usize; 3];
        for (_, text) in &painted {
            let (app, index) = text.split_once(':').expect("written above");
            let (app, index): (usize, usize) =
                (app.parse().expect("a number"), index.parse().expect("a number"));
            prop_assert!(index >= last[app], "a superseded request overtook: {painted:?}");
            last[app] = index;
        }
    }
}
