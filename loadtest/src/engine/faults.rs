//! What goes wrong on purpose. Each fault is a few timed steps; step 0 comes at its `at_s`.

use super::timers::Timer;
use super::{Engine, Target};
use crate::clock::SECOND;
use crate::output;
use crate::scenario::{AppServerGone, Fault, Herd, Restart, StuckReaders};

fn ns(seconds: f64) -> u64 {
    (seconds.max(0.0) * SECOND as f64) as u64
}

impl Engine {
    /// Plans the first step of every fault; `start` is the beginning of the measured window.
    pub(super) fn plan_faults(&mut self, start: u64) {
        for (index, fault) in self.scenario.faults.iter().enumerate() {
            let at_s = match fault {
                Fault::Herd(herd) => herd.at_s,
                Fault::StuckReaders(stuck) => stuck.at_s,
                Fault::AppServerGone(gone) => gone.at_s,
                Fault::Abuse(abuse) => abuse.at_s,
                Fault::Restart(restart) => restart.at_s,
                // Churn is background traffic.
                Fault::Churn(_) => continue,
            };
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            self.timers.at(start + ns(at_s), Timer::Fault(index, 0));
        }
    }

    /// One step of a fault.
    pub(super) fn fire_fault(&mut self, index: u16, step: u32, due: u64) {
        if !self.generating {
            return;
        }
        let Some(fault) = self.scenario.faults.get(usize::from(index)).cloned() else {
            return;
        };
        match fault {
            Fault::Herd(herd) => self.herd(&herd, index, step, due),
            Fault::StuckReaders(stuck) => self.stuck(&stuck, index, step, due),
            Fault::AppServerGone(gone) => self.app_server(&gone, index, step, due),
            Fault::Abuse(abuse) => self.begin_abuse(&abuse, due),
            Fault::Restart(restart) => self.restart(&restart, index, step, due),
            Fault::Churn(_) => {}
        }
    }

    fn note(&mut self, text: &str) {
        if self.settings.progress {
            output::progress(&format!("fault: {text}"));
        }
        self.sampler.note(text);
    }

    fn herd(&mut self, herd: &Herd, index: u16, step: u32, due: u64) {
        self.note("herd: everyone drops");
        if step + 1 < herd.times {
            let next = due + ns(herd.every_s);
            self.timers.at(next, Timer::Fault(index, step + 1));
        }
        let count = (f64::from(self.scenario.users) * herd.share).round() as u32;
        let [from, to] = herd.return_s;
        for user in 0..count {
            let phone_drop = due + self.rng.below(ns(herd.within_s).max(1));
            self.timers.at(phone_drop, Timer::CutPhone(user));
            for app in 0..self.scenario.apps_per_user {
                let app_drop = due + self.rng.below(ns(herd.within_s).max(1));
                let app = u8::try_from(app).unwrap_or(u8::MAX);
                self.timers.at(app_drop, Timer::DropApp(user, app));
            }
            let back = due + ns(from) + self.rng.below(ns(to - from).max(1));
            // Nobody returns before it went.
            self.timers
                .at(back.max(phone_drop + 1), Timer::PhoneConnect(user));
        }
    }

    fn stuck(&mut self, stuck: &StuckReaders, index: u16, step: u32, due: u64) {
        let stop = step == 0;
        self.note(if stop {
            "some apps stop reading"
        } else {
            "they read again"
        });
        if stop {
            let end = due + ns(stuck.for_s);
            self.timers.at(end, Timer::Fault(index, 1));
        }
        let last = u8::try_from(self.scenario.apps_per_user.saturating_sub(1)).unwrap_or(0);
        for user in 0..self.scenario.users {
            if !self.is_stuck(user, last, stuck.share) {
                continue;
            }
            let Some(token) = self.users[user as usize].apps[usize::from(last)].conn else {
                continue;
            };
            if let Some(conn) = self.conns.get(token) {
                conn.paused = stop;
            }
            if !stop {
                // Edge-triggered: what came meanwhile raises no further event.
                self.read(token);
            }
        }
    }

    fn app_server(&mut self, gone: &AppServerGone, index: u16, step: u32, due: u64) {
        if step == 0 {
            self.note("the app server is gone");
            let end = due + ns(gone.for_s);
            self.timers.at(end, Timer::Fault(index, 1));
            self.app_server_gone = true;
            self.stop_hooks();
            for user in 0..self.users.len() {
                for app in 0..self.users[user].apps.len() {
                    let link = &mut self.users[user].apps[app];
                    // The process is dead: it remembers no session.
                    link.dial = None;
                    if let Some(token) = link.conn {
                        self.cut(token);
                    }
                }
            }
            return;
        }
        self.note("the app server is back");
        self.app_server_gone = false;
        if self.settings.target == Target::Relay {
            for user in 0..self.scenario.users {
                for app in 0..self.scenario.apps_per_user {
                    self.dial_app(user, u8::try_from(app).unwrap_or(u8::MAX), due);
                }
            }
        } else if let Err(error) = self.start_hooks() {
            self.stats.errors.add(&format!("webhook listen: {error}"));
        }
    }

    fn restart(&mut self, restart: &Restart, index: u16, step: u32, due: u64) {
        if step + 1 < restart.times {
            let next = due + ns(restart.every_s);
            self.timers.at(next, Timer::Fault(index, step + 1));
        }
        let Some(command) = self.settings.restart_command.clone() else {
            self.note("restart: nothing to run; waiting for whoever runs the server");
            return;
        };
        self.note("restart command");
        // Not waited for: the engine goes on while the server stops and starts.
        let started = std::process::Command::new("sh")
            .args(["-c", &command])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn();
        if let Err(error) = started {
            self.stats.errors.add(&format!("restart command: {error}"));
        }
    }
}
