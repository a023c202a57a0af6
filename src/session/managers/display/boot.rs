//! Layer 2, manager part: boot screens, what waits behind them, and an app's instructions (behaviour.md §6.1.4).

use super::{Active, Display, Lock, Onboarding, Paint, Stage, next::Reason};
use crate::base::ids::Package;
use crate::session::timers::Timer;

impl Display {
    /// An app's start passed its checks. `name`: what people call it.
    pub fn app_starting(&mut self, package: &Package, name: &str, stage: &mut Stage<'_>) {
        if let Some(current) = self.current.take()
            && current.remains(stage)
            && (stage.running)(&current.request.package)
        {
            self.saved_before_boot = Some(current);
        }
        self.desired = None;
        stage.timers.cancel(&Timer::DisplayExpiry);
        stage.timers.cancel(&Timer::DisplayRelease);
        for waiting in std::mem::take(&mut self.throttled) {
            self.queue_for_boot(waiting);
        }
        if !self.booting.iter().any(|(known, _)| known == package) {
            self.booting.push((package.clone(), name.to_owned()));
        }
        let ends_ms = stage.now_ms + stage.cfg.boot_duration_ms;
        stage
            .timers
            .set(Timer::DisplayBoot(package.clone()), ends_ms);
        self.paint_boot(stage);
    }

    /// An app's boot screen is over. `instructions`: shown now, once.
    pub fn boot_due(
        &mut self,
        package: &Package,
        instructions: Option<&str>,
        stage: &mut Stage<'_>,
    ) {
        if !self.end_boot(package) {
            return;
        }
        if let Some(text) = instructions {
            self.onboarding = Some(Onboarding {
                app: package.clone(),
                text: text.to_owned(),
                block_until_ms: None,
            });
        }
        if self.booting.is_empty() {
            self.finish_boot(stage);
        }
    }

    /// Says whether it was booting.
    pub(super) fn end_boot(&mut self, package: &str) -> bool {
        let before = self.booting.len();
        self.booting.retain(|(known, _)| **known != *package);
        self.booting.len() < before
    }

    /// Latest per app, in the order of each app's first request.
    pub(super) fn queue_for_boot(&mut self, active: Active) {
        let package = active.request.package.clone();
        match self.boot_queue.iter_mut().find(|one| one.is_of(&package)) {
            Some(earlier) if earlier.id > active.id => {}
            Some(earlier) => *earlier = active,
            None => self.boot_queue.push(active),
        }
    }

    pub(super) fn paint_boot(&mut self, stage: &mut Stage<'_>) {
        if stage.reachable {
            let names = self.booting.iter().map(|(_, name)| name.clone()).collect();
            stage.out.push(Paint::Boot(names));
            self.dirty = true;
        }
    }

    /// The last boot screen ended: instructions, else the queue, else what was there before.
    pub(super) fn finish_boot(&mut self, stage: &mut Stage<'_>) {
        let mut queue = std::mem::take(&mut self.boot_queue);
        queue.retain(|entry| (stage.running)(&entry.request.package));
        let saved = self.saved_before_boot.take();
        // Durations count from the time of showing.
        let mut queue: Vec<Active> = queue
            .into_iter()
            .map(|entry| self.active(entry.request, stage.now_ms))
            .collect();
        if self.onboarding.is_some() {
            if let Some(own) = queue
                .into_iter()
                .find(|e| stage.is_main(&e.request.package))
            {
                self.core = Some(own);
            }
            self.show_card(stage);
            return;
        }
        if queue.is_empty() {
            self.clear(stage);
            match saved {
                Some(saved) if saved.remains(stage) && (stage.running)(&saved.request.package) => {
                    self.paint(saved, stage);
                }
                _ => self.next(Reason::BootComplete, stage),
            }
            return;
        }
        let winner = queue
            .iter()
            .position(|entry| stage.is_main(&entry.request.package))
            .unwrap_or(0);
        let winner = queue.remove(winner);
        if stage.is_main(&winner.request.package) {
            self.core = Some(winner.clone());
        } else {
            self.lock = Some(Lock {
                holder: winner.request.package.clone(),
                expires_ms: stage.now_ms + stage.cfg.background_lock_ms,
                last_active_ms: stage.now_ms,
            });
        }
        self.paint(winner, stage);
        for entry in queue {
            self.arbitrate(entry, stage);
        }
    }

    fn show_card(&mut self, stage: &mut Stage<'_>) {
        let Some(card) = &mut self.onboarding else {
            return;
        };
        if !stage.reachable {
            self.onboarding = None;
            self.next(Reason::BootComplete, stage);
            return;
        }
        card.block_until_ms = Some(stage.now_ms + stage.cfg.onboarding_block_ms);
        stage.out.push(Paint::Card {
            app: card.app.clone(),
            text: card.text.clone(),
        });
        self.onboarded.push(card.app.clone());
        self.dirty = true;
        self.last_display_ms = Some(stage.now_ms);
        let ends_ms = stage.now_ms + stage.cfg.onboarding_display_ms;
        stage.timers.set(Timer::Onboarding, ends_ms);
    }
}
