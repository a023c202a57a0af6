//! Layer 2, manager part: an app goes, and what is shown next (behaviour.md §6.1.5, 6.1.6).

use super::{Active, Display, Paint, Stage};
use crate::session::timers::Timer;

/// Why something else is to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    AppStop,
    BootComplete,
    DurationExpired,
    /// Nothing of what waited behind the rate limit may be shown any more.
    Released,
}

impl Display {
    /// An app stopped, failed to start, went dormant or released: nothing of it is painted any more.
    pub fn app_gone(&mut self, package: &str, stage: &mut Stage<'_>) {
        let was_booting = self.end_boot(package);
        stage
            .timers
            .cancel_where(|timer| matches!(timer, Timer::DisplayBoot(own) if **own == *package));
        self.throttled.retain(|waiting| !waiting.is_of(package));
        self.boot_queue.retain(|waiting| !waiting.is_of(package));
        if self
            .lock
            .as_ref()
            .is_some_and(|lock| *lock.holder == *package)
        {
            self.lock = None;
        }
        if self
            .onboarding
            .as_ref()
            .is_some_and(|card| *card.app == *package)
        {
            self.onboarding = None;
            stage.timers.cancel(&Timer::Onboarding);
        }
        let own = |slot: &Option<Active>| slot.as_ref().is_some_and(|held| held.is_of(package));
        let was_on_screen = own(&self.current);
        if was_on_screen {
            self.current = None;
            stage.timers.cancel(&Timer::DisplayExpiry);
        }
        for slot in [
            &mut self.core,
            &mut self.saved_before_boot,
            &mut self.desired,
        ] {
            if own(slot) {
                *slot = None;
            }
        }
        if was_booting && self.booting.is_empty() {
            self.finish_boot(stage);
        }
        // What waits behind the rate limit comes later; what stands there of this app goes now.
        if was_on_screen && self.booting.is_empty() && !self.throttled.is_empty() {
            self.wipe(stage);
        }
        self.next(Reason::AppStop, stage);
    }

    /// What was wiped may still stand there: the phone's socket is one that was painted in its earlier time, or the phone may have
    /// lost the last word of the one before.
    pub fn may_show_wiped(&mut self) {
        self.dirty |= self.wiped;
    }

    /// Phone or glasses returned: the screen is painted again.
    pub fn repaint(&mut self, stage: &mut Stage<'_>) {
        if !stage.reachable {
            return;
        }
        if !self.booting.is_empty() {
            self.paint_boot(stage);
            return;
        }
        let desired = self.desired.take().filter(|desired| {
            (stage.running)(&desired.request.package)
                && !desired.is_over(stage.now_ms)
                && desired.request.duration_ms != Some(0)
        });
        match desired {
            Some(desired) => {
                self.paint(desired, stage);
            }
            None if self.dirty || !self.throttled.is_empty() => {
                self.current = None;
                self.next(Reason::Released, stage);
            }
            None => {}
        }
    }

    /// What is shown next; first match wins.
    pub(super) fn next(&mut self, reason: Reason, stage: &mut Stage<'_>) {
        if reason == Reason::BootComplete && !self.boot_queue.is_empty() {
            return;
        }
        if !self.booting.is_empty() {
            self.paint_boot(stage);
            return;
        }
        if self.onboarding.is_some() {
            return;
        }
        self.throttled.retain(|waiting| {
            (stage.running)(&waiting.request.package) && !waiting.is_over(stage.now_ms)
        });
        if !self.throttled.is_empty() {
            self.arm_release(stage);
            return;
        }
        self.release_stale_lock(stage);
        if let (Some(lock), Some(current)) = (&self.lock, &self.current)
            && current.is_of(&lock.holder)
        {
            if current.remains(stage) {
                return;
            }
            self.lock = None;
        }
        if !self.show_core(stage) {
            self.clear(stage);
        }
    }

    /// Brings the foreground app's latest display back if it is still valid; says whether it is (or will be) on the screen.
    pub(super) fn show_core(&mut self, stage: &mut Stage<'_>) -> bool {
        let Some(core) = self.valid_core(stage) else {
            return false;
        };
        if self.current.as_ref().is_some_and(|now| now.id == core.id) {
            return true;
        }
        let core = core.clone();
        // What waits already comes first, also when its time is this very millisecond (*next* of behaviour.md §6.1.5, step 3).
        if self.window_ends_ms(stage) > stage.now_ms || !self.throttled.is_empty() {
            self.throttled.push(core);
            self.arm_release(stage);
        } else {
            self.paint(core, stage);
        }
        true
    }

    /// The foreground app's latest display, if it may come back.
    pub(super) fn valid_core(&self, stage: &Stage<'_>) -> Option<&Active> {
        let core = self.core.as_ref()?;
        let undated = core.request.duration_ms.is_none();
        let kept = undated && stage.cfg.restore_undated_core_display;
        (kept || core.remains(stage)).then_some(core)
    }

    /// Empties the screen, once per transition.
    pub(super) fn clear(&mut self, stage: &mut Stage<'_>) {
        self.current = None;
        self.desired = None;
        stage.timers.cancel(&Timer::DisplayExpiry);
        self.wipe(stage);
    }

    fn wipe(&mut self, stage: &mut Stage<'_>) {
        if self.dirty && stage.reachable {
            stage.out.push(Paint::Clear);
            (self.dirty, self.wiped) = (false, true);
        }
    }
}
