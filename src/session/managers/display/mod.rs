//! Layer 2, manager: who may write on the main view, when, and what comes next (behaviour.md §6.1). Decides what is painted;
//! never writes messages, never looks an app or the glasses up.

mod boot;
mod next;

#[cfg(test)]
mod tests;

use crate::base::footprint::owns;
use crate::base::ids::Package;
use crate::base::settings::Display as Config;
use crate::session::timers::{Timer, Timers};
use bytes::Bytes;

owns! {
    Request: message;
    Active: request;
    Onboarding: text;
    Display: current, core, saved_before_boot, desired, booting, boot_queue, throttled, onboarding, onboarded;
}

/// A display request as the phone will get it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Package of the app that draws.
    pub package: Package,
    /// The finished `display_event`.
    pub message: Bytes,
    /// `durationMs`; `None` = until replaced.
    pub duration_ms: Option<u64>,
    /// `forceDisplay`: bypasses the rate limit.
    pub force: bool,
}

/// A request with its times (`mono_ms`).
#[derive(Clone, PartialEq, Eq, Debug)]
struct Active {
    id: u64,
    request: Request,
    started_ms: u64,
    expires_ms: Option<u64>,
}

impl Active {
    fn new(id: u64, request: Request, now_ms: u64) -> Self {
        let expires_ms = request
            .duration_ms
            .filter(|duration| *duration > 0)
            .map(|duration| now_ms.saturating_add(duration));
        Self {
            id,
            request,
            started_ms: now_ms,
            expires_ms,
        }
    }

    fn is_over(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at| at <= now_ms)
    }

    /// *Has remaining duration* of behaviour.md §6.1.5.
    fn remains(&self, stage: &Stage<'_>) -> bool {
        match (self.expires_ms, self.request.duration_ms) {
            (Some(at), _) => at > stage.now_ms,
            (None, Some(_)) => false,
            (None, None) => stage.now_ms <= self.started_ms + stage.cfg.min_display_lifetime_ms,
        }
    }

    fn is_of(&self, package: &str) -> bool {
        *self.request.package == *package
    }
}

/// A background app's hold on the screen.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Lock {
    holder: Package,
    expires_ms: u64,
    last_active_ms: u64,
}

/// Instructions of an app that are shown once.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Onboarding {
    app: Package,
    text: String,
    /// Other displays are refused until then; `None` while it waits for the last boot screen.
    block_until_ms: Option<u64>,
}

/// What is to be sent to the phone now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Paint {
    /// An app's request.
    Request(Bytes),
    /// The boot screen: names of the starting apps.
    Boot(Vec<String>),
    /// Empty main view.
    Clear,
    /// Instructions of an app.
    Card {
        /// App.
        app: Package,
        /// Text.
        text: String,
    },
}

/// What became of a request. Apps are never told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Painted.
    Sent,
    /// Kept for the end of the rate window.
    Throttled,
    /// Kept for the end of the boot screen.
    Queued,
    /// Lost the arbitration.
    Rejected,
    /// No phone or no glasses.
    NotConnected,
}

/// What the manager needs to know and may write to for one decision.
pub struct Stage<'a> {
    /// `mono_ms`.
    pub now_ms: u64,
    /// Settings.
    pub cfg: &'a Config,
    /// Phone socket open and glasses connected.
    pub reachable: bool,
    /// The foreground app: type `standard`, starting, running or in grace.
    pub main_app: Option<Package>,
    /// Whether an app is running.
    pub running: &'a dyn Fn(&str) -> bool,
    /// Deadlines of the session.
    pub timers: &'a mut Timers,
    /// What is to be sent, in order.
    pub out: &'a mut Vec<Paint>,
}

impl Stage<'_> {
    fn is_main(&self, package: &str) -> bool {
        self.main_app.as_deref() == Some(package)
    }
}

/// State of the main view.
#[derive(Default)]
pub struct Display {
    current: Option<Active>,
    /// Latest request of the foreground app.
    core: Option<Active>,
    saved_before_boot: Option<Active>,
    /// What should be on the screen, sent or not: repainted when phone or glasses return.
    desired: Option<Active>,
    lock: Option<Lock>,
    /// The foreground app was kept from the screen since it was last there; until when that may last. Whatever background apps ask
    /// for meanwhile, the next hold is not longer (behaviour.md §6.1.2: displaying does not extend it).
    refused: Option<u64>,
    booting: Vec<(Package, String)>,
    boot_queue: Vec<Active>,
    throttled: Vec<Active>,
    last_display_ms: Option<u64>,
    onboarding: Option<Onboarding>,
    onboarded: Vec<Package>,
    /// Something other than an empty view was painted last.
    dirty: bool,
    /// An empty view was painted at some time.
    wiped: bool,
    /// How many `ping`s the phone had sent when it was painted last.
    pub wiped_pings: u32,
    next_id: u64,
}

impl Display {
    /// A main-view request of a running app (behaviour.md §6.1.3 steps 4–6).
    pub fn request(&mut self, request: Request, stage: &mut Stage<'_>) -> Outcome {
        let active = self.active(request, stage.now_ms);
        if self.booting.is_empty() {
            return self.arbitrate(active, stage);
        }
        self.queue_for_boot(active);
        Outcome::Queued
    }

    /// Packages whose instructions were shown earlier, beside those of this session.
    pub fn add_onboarded(&mut self, packages: impl IntoIterator<Item = Package>) {
        for package in packages {
            if self.needs_onboarding(&package) {
                self.onboarded.push(package);
            }
        }
    }

    /// Whether the instructions of an app still have to be shown.
    #[must_use]
    pub fn needs_onboarding(&self, package: &str) -> bool {
        !self.onboarded.iter().any(|known| **known == *package)
    }

    /// The rate window ended: one entry is painted, the rest waits for the next.
    pub fn release_due(&mut self, stage: &mut Stage<'_>) {
        // A forced text or a repaint came in between and opened a new window: everything waits on, in its order.
        if self.window_ends_ms(stage) > stage.now_ms {
            self.arm_release(stage);
            return;
        }
        let mut painted = false;
        while !painted && !self.throttled.is_empty() {
            let entry = self.throttled.remove(0);
            if (stage.running)(&entry.request.package) && !entry.is_over(stage.now_ms) {
                let outcome = self.arbitrate(entry, stage);
                painted = matches!(outcome, Outcome::Sent | Outcome::NotConnected);
            }
        }
        self.arm_release(stage);
        // A screen without valid content may still owe the foreground app its text, or a clear. What waits for phone or
        // glasses is left to the repaint.
        let is_void = [&self.current, &self.desired]
            .into_iter()
            .all(|slot| slot.as_ref().is_none_or(|held| held.is_over(stage.now_ms)));
        if !painted && is_void {
            self.next(next::Reason::Released, stage);
        }
    }

    /// The current display's time is over.
    pub fn expiry_due(&mut self, stage: &mut Stage<'_>) {
        let Some(current) = self.current.take_if(|held| held.is_over(stage.now_ms)) else {
            return;
        };
        // Something newer waits for phone or glasses: it is what will be painted when they return (behaviour.md §6.1.6).
        let is_superseded = self
            .desired
            .as_ref()
            .is_some_and(|newer| newer.id != current.id && !newer.is_over(stage.now_ms));
        if !is_superseded {
            self.current = Some(current);
            self.next(next::Reason::DurationExpired, stage);
        }
    }

    /// A background app's hold may be over while the foreground app is kept from the screen.
    pub fn lock_due(&mut self, stage: &mut Stage<'_>) {
        self.release_stale_lock(stage);
        // What it covered is due when its time is over, however fresh a repaint has made the lock.
        self.lock.take_if(|_| self.refused.is_none());
        if self.lock.is_some() {
            self.arm_lock(stage);
        } else if self.booting.is_empty() && self.onboarding.is_none() {
            self.show_core(stage);
        }
    }

    /// The instructions have been shown long enough.
    pub fn onboarding_due(&mut self, stage: &mut Stage<'_>) {
        if self.onboarding.take().is_some() && self.current.is_none() {
            self.next(next::Reason::DurationExpired, stage);
        }
    }

    fn active(&mut self, request: Request, now_ms: u64) -> Active {
        self.next_id += 1;
        Active::new(self.next_id, request, now_ms)
    }

    /// Steps 5 and 6. A newer request of an app replaces whatever of it still waits.
    fn arbitrate(&mut self, active: Active, stage: &mut Stage<'_>) -> Outcome {
        let package = active.request.package.clone();
        self.throttled.retain(|waiting| !waiting.is_of(&package));
        self.release_stale_lock(stage);
        if stage.is_main(&package) {
            let waits_until_ms = self.owed_ms(stage);
            self.core = Some(active.clone());
            if self.is_blocked_for(&package, stage.now_ms) {
                let ends_ms = self.lock.as_ref().map(|lock| lock.expires_ms);
                self.refused = waits_until_ms.or(ends_ms);
                self.arm_lock(stage);
                return Outcome::Rejected;
            }
        } else if !self.take_lock(&package, stage) {
            return Outcome::Rejected;
        }
        self.show(active, stage)
    }

    /// The lock's holder is another app and on the screen, by right: a display whose time is over and that only the rate
    /// limit keeps there blocks nobody.
    fn is_blocked_for(&self, package: &str, now_ms: u64) -> bool {
        match (&self.lock, &self.current) {
            (Some(lock), Some(current)) => {
                *lock.holder != *package && current.is_of(&lock.holder) && !current.is_over(now_ms)
            }
            _ => false,
        }
    }

    /// The display of the lock's holder is over: the next one of whichever app it is takes its place (behaviour.md §6.1.5).
    fn is_holder_done(&self, lock: &Lock, now_ms: u64) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.is_of(&lock.holder) && current.is_over(now_ms))
    }

    fn take_lock(&mut self, package: &Package, stage: &Stage<'_>) -> bool {
        match &self.lock {
            Some(lock) if lock.holder == *package => true,
            Some(lock)
                if !stage.is_main(&lock.holder) && !self.is_holder_done(lock, stage.now_ms) =>
            {
                false
            }
            _ => {
                let ends_ms = stage.now_ms + stage.cfg.background_lock_ms;
                self.lock = Some(Lock {
                    holder: package.clone(),
                    expires_ms: self.owed_ms(stage).map_or(ends_ms, |ms| ms.min(ends_ms)),
                    last_active_ms: stage.now_ms,
                });
                true
            }
        }
    }

    /// When the foreground app, which was refused and still has something to show, has its turn.
    fn owed_ms(&self, stage: &Stage<'_>) -> Option<u64> {
        self.refused.filter(|_| self.valid_core(stage).is_some())
    }

    fn release_stale_lock(&mut self, stage: &Stage<'_>) {
        let stale = self.lock.as_ref().is_some_and(|lock| {
            !(stage.running)(&lock.holder)
                || stage.now_ms >= lock.expires_ms
                || stage.now_ms > lock.last_active_ms + stage.cfg.background_lock_inactive_ms
        });
        if stale {
            self.lock = None;
        }
    }

    /// The foreground app comes back when the background app's hold is over, or if it asked for nothing meanwhile, when the
    /// background app's text has stood for as long as a hold lasts (behaviour.md §13.1, invariant 38).
    fn arm_lock(&self, stage: &mut Stage<'_>) {
        let cfg = stage.cfg;
        let silent = |from_ms: u64| from_ms + cfg.background_lock_inactive_ms + 1;
        let at = match (&self.lock, &self.current) {
            (Some(lock), _) if self.refused.is_some() => {
                silent(lock.last_active_ms).min(lock.expires_ms)
            }
            (_, Some(current)) if self.refused.is_some() => silent(current.started_ms),
            (_, Some(current)) => current.started_ms + cfg.background_lock_ms,
            (_, None) => return,
        };
        stage.timers.set(Timer::DisplayLock, at.max(stage.now_ms));
    }

    /// A text of a background app stands now, or one of the foreground app's own.
    fn watch_core(&mut self, stage: &mut Stage<'_>) {
        let own = |current: &Active| stage.is_main(&current.request.package);
        if self.current.as_ref().is_some_and(own) {
            self.refused = None;
        } else if self.valid_core(stage).is_some() {
            return self.arm_lock(stage);
        }
        stage.timers.cancel(&Timer::DisplayLock);
    }

    /// *Show* of behaviour.md §6.1.3.
    fn show(&mut self, active: Active, stage: &mut Stage<'_>) -> Outcome {
        if self.onboarding_blocks(stage.now_ms) {
            return Outcome::Rejected;
        }
        if !active.request.force && self.window_ends_ms(stage) > stage.now_ms {
            self.throttled.push(active);
            self.arm_release(stage);
            return Outcome::Throttled;
        }
        self.paint(active, stage)
    }

    /// Puts a request on the screen, past the rate limit.
    fn paint(&mut self, active: Active, stage: &mut Stage<'_>) -> Outcome {
        let package = active.request.package.clone();
        // A repaint shows what stood there before: a newer request of the app still waits behind it.
        self.throttled
            .retain(|waiting| !waiting.is_of(&package) || waiting.id > active.id);
        self.desired = Some(active.clone());
        if !stage.reachable {
            return Outcome::NotConnected;
        }
        stage
            .out
            .push(Paint::Request(active.request.message.clone()));
        self.dirty = true;
        self.last_display_ms = Some(stage.now_ms);
        // Whatever comes after the card's block replaces it.
        self.onboarding
            .take_if(|card| card.block_until_ms.is_some());
        if let Some(lock) = &mut self.lock {
            if lock.holder == package {
                lock.last_active_ms = stage.now_ms;
            } else if stage.is_main(&package) {
                self.lock = None;
            }
        }
        match active.expires_ms {
            Some(at) => stage.timers.set(Timer::DisplayExpiry, at),
            None => {
                stage.timers.cancel(&Timer::DisplayExpiry);
            }
        }
        self.current = Some(active);
        self.watch_core(stage);
        Outcome::Sent
    }

    fn onboarding_blocks(&self, now_ms: u64) -> bool {
        self.onboarding
            .as_ref()
            .and_then(|card| card.block_until_ms)
            .is_some_and(|until| now_ms < until)
    }

    fn window_ends_ms(&self, stage: &Stage<'_>) -> u64 {
        self.last_display_ms
            .map_or(0, |at| at + stage.cfg.display_throttle_ms)
    }

    fn arm_release(&self, stage: &mut Stage<'_>) {
        if !self.throttled.is_empty() {
            let at = self.window_ends_ms(stage).max(stage.now_ms);
            stage.timers.set(Timer::DisplayRelease, at);
        }
    }
}
