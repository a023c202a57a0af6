//! Invariants 35 and 38: who is on the main view, and for how long.

use super::Watch;
use super::arbiter::Arbiter;
use super::counts::counts;
use super::picture::{Picture, Shown};
use prism::session::managers::apps::AppState;

/// A turn, within which whatever is due comes.
const TURN_MS: u64 = 10;

counts! {
    /// How often a screen was looked at, by what had to be on it, and how often a hold could have been broken.
    struct ScreenTally {
        boot,
        clear,
        foreground,
        background,
        /// Looks at something else than before.
        news,
        /// Texts that came back, after a boot screen or another app.
        restored,
        /// Others waited for a background app on the screen.
        held,
        /// It was silent for so long that they had to be shown.
        free,
        /// More than one order was possible.
        orders,
        /// Looks that said nothing: no phone or no glasses, a phone that does not read.
        blind,
    }
}

impl Watch {
    /// The longest rate window since then, and a turn.
    fn window_ms(&self, since_ms: u64) -> u64 {
        self.most(since_ms, |cfg| cfg.display.display_throttle_ms) + TURN_MS
    }

    /// 35: the last main-view message is what the arbitration says.
    pub(super) fn invariant_35_the_winner_is_on_the_screen(&mut self, user: &str) {
        let Some(screen) = self.screens.get_mut(user) else {
            return;
        };
        self.screens_seen.orders += u64::from(screen.models.len() > 1);
        if !screen.is_known() {
            self.screens_seen.blind += 1;
            return;
        }
        let mut expected = std::mem::take(&mut screen.models);
        screen.models = expected
            .extract_if(.., |model| *model.on() == screen.shown)
            .collect();
        let main = screen.scene.main.as_deref();
        let seen = &mut self.screens_seen;
        match &screen.shown {
            _ if !screen.scene.reachable => seen.blind += 1,
            Shown::Nothing => {}
            Shown::Boot(_) => seen.boot += 1,
            Shown::Clear => seen.clear += 1,
            Shown::Text(package, _) if Some(&**package) == main => seen.foreground += 1,
            Shown::Text(..) => seen.background += 1,
        }
        if screen.models.is_empty() {
            let expected: Vec<_> = expected.iter().map(Arbiter::on).collect();
            let text = format!("{expected:?} is expected, {:?} is shown", screen.shown);
            self.broken(35, "the winner is on the screen", user, text);
        }
    }

    /// 35 without the model: no text of an app that is gone, and none whose time is over.
    pub(super) fn invariant_35_nothing_stale_is_on_the_screen(&mut self, user: &str) {
        let now_ms = self.now_ms;
        let Some(screen) = self.screens.get(user) else {
            return;
        };
        let Shown::Text(package, text) = &screen.shown else {
            return;
        };
        if !screen.is_known() || !screen.scene.reachable {
            return;
        }
        let window_ms = self.window_ms(now_ms.saturating_sub(5000));
        let until_ms = screen.fresh.get(package).and_then(|row| row.1);
        let until_ms = until_ms.map(|until_ms| until_ms.max(screen.clear_ms) + window_ms);
        let (package, text) = (package.clone(), text.clone());
        let clear_ms = screen.clear_ms;
        let pair = self.pair(user, &package);
        let state = pair.state;
        // The foreground app's text may have to wait for the rate limit.
        let is_late = now_ms > pair.since_ms.max(clear_ms) + window_ms;
        let is_gone = matches!(
            state,
            AppState::Stopped | AppState::Stopping | AppState::Dormant
        );
        if is_gone && is_late {
            let text = format!("{text} is shown while its app is {state:?}");
            self.broken(35, "nothing stale is on the screen", user, text);
        }
        if until_ms.is_some_and(|until_ms| now_ms > until_ms) {
            let text = format!("{text} is shown though its time is over");
            self.broken(35, "nothing stale is on the screen", user, text);
        }
    }

    /// 38 without the model: whoever waits for a background app is shown at most ten seconds and a rate window after its last
    /// text was accepted. All times are counted from the first sight of a text, which is when it was.
    pub(super) fn invariant_38_a_hold_has_an_end(&mut self, user: &str) {
        let now_ms = self.now_ms;
        let Some(screen) = self.screens.get(user) else {
            return;
        };
        let Shown::Text(holder, text) = &screen.shown else {
            return;
        };
        let boots = screen.models.iter().any(Arbiter::boots);
        let main = screen.scene.main.as_deref();
        if !screen.is_known() || !screen.scene.reachable || boots || Some(&**holder) == main {
            return;
        }
        let Some((accepted_ms, _)) = screen.fresh.get(holder) else {
            return;
        };
        // Nothing could be shown meanwhile: a repaint is the first sight of what others asked for.
        // A hold may have begun long before its latest text, under other settings.
        let hold_ms = self.most(0, |cfg| cfg.display.background_lock_ms);
        let window_ms = self.window_ms(*accepted_ms);
        let free_ms = (accepted_ms + hold_ms).max(screen.clear_ms);
        let waits = |picture: &&Picture| {
            let is_main = Some(&*picture.package) == main;
            picture.package != *holder
                && screen.scene.running.contains(&picture.package)
                && picture.remains(&screen.scene)
                && (is_main || picture.from_ms >= free_ms)
        };
        let mut waiting = screen.asked.values().filter(waits);
        let late = waiting.find(|p| now_ms > free_ms.max(p.from_ms) + window_ms);
        let late = late.map(|p| format!("{} waits for {text} since {}", p.text, p.from_ms));
        self.screens_seen.held += u64::from(
            screen
                .asked
                .values()
                .any(|p| p.package != *holder && p.remains(&screen.scene)),
        );
        self.screens_seen.free += u64::from(now_ms > free_ms);
        if let Some(text) = late {
            self.broken(38, "a hold has an end", user, text);
        }
    }
}
