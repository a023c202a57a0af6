//! Bringing the users up: phone, installation, start, webhook, app socket, subscriptions. At a limited rate.

use super::timers::Timer;
use super::{Background, Engine, EngineError, Target};
use crate::clock::{self, SECOND};
use crate::schedule::{Poisson, Round, Schedule};
use crate::{interrupt, output};

/// Without any new user ready for so long, bring-up has failed.
const PATIENCE: u64 = 20 * SECOND;

impl Engine {
    /// Connects everyone and waits until all are ready. Returns the seconds it took.
    pub(crate) fn bring_up(&mut self) -> Result<f64, EngineError> {
        let start = clock::mono_ns();
        let gap = SECOND as f64 / self.scenario.ramp_users_per_s;
        for user in 0..self.users.len() {
            let due = start + (user as f64 * gap) as u64;
            let user = u32::try_from(user).unwrap_or(u32::MAX);
            self.timers.at(due, Timer::PhoneConnect(user));
        }
        self.plan_bystanders(start);
        self.timers.at(start + SECOND, Timer::Sweep);
        self.start_background(start);
        let mut best = (0, start);
        let mut shown = start;
        loop {
            let now = clock::mono_ns();
            let ready = self.users.iter().filter(|user| user.ready()).count();
            let open = self.bystanders_open();
            if ready == self.users.len() && open == self.scenario.bystanders as usize {
                let own = &self.stats;
                for (cause, count) in own.errors.0.iter().chain(&own.closes.0) {
                    self.bring_up_errors.0.insert(cause.clone(), *count);
                }
                return Ok((now - start) as f64 / SECOND as f64);
            }
            if interrupt::wanted() {
                return Err(EngineError::Interrupted);
            }
            if ready + open > best.0 {
                best = (ready + open, now);
            }
            if now - best.1 > PATIENCE {
                return Err(EngineError::BringUp(self.missing(ready)));
            }
            if self.settings.progress && now - shown > SECOND {
                shown = now;
                let all = self.users.len();
                output::progress(&format!("bring-up: {ready} of {all} users ready"));
            }
            // Counting is linear in the users: look every 20 ms, not after every event.
            self.turn_until(now + 20 * clock::MILLI)?;
        }
    }

    /// What to look at first, by what went wrong most often when somebody pointed the tester at a server of her own.
    pub(super) fn advice(&self, phones: usize, causes: &str) -> Option<String> {
        if causes.contains("phone upgrade: status 404") {
            return Some(
                "nothing there takes phones: are --host and --port those of the real-time tier?"
                    .into(),
            );
        }
        let Target::Prism { webhook_port, .. } = &self.settings.target else {
            let tokens = causes.contains("status 401");
            return tokens.then(|| "the server wants tokens: --target prism has them".into());
        };
        let missing = (0..self.scenario.apps_per_user).any(|app| {
            let ready = |user: &super::user::User| user.apps[app].ready;
            !self.users.iter().any(ready)
        });
        Some(if phones == 0 && causes.contains("status 401") {
            "the server refuses the tokens: is --jwt-secret its AUGMENTOS_AUTH_JWT_SECRET?".into()
        } else if phones == 0 && causes.is_empty() {
            "phones connect, but no connection_ack comes; a plain relay needs --target relay".into()
        } else if causes.contains("status 404") {
            "the server does not know the apps: declare what `prism-load apps-file` prints, and give --install where users install them"
                .into()
        } else if causes.contains("INVALID_API_KEY") {
            "the server refuses the apps: is --api-key the one of its apps file?".into()
        } else if missing && self.hooks.requests == 0 {
            format!(
                "no webhook arrived at port {webhook_port}: does the server's apps file name it, and reach this machine (`apps-file \
                 --webhook-host --webhook-port`)?"
            )
        } else {
            return None;
        })
    }

    fn missing(&self, ready: usize) -> String {
        let phones = self.users.iter().filter(|user| user.acked).count();
        let causes: Vec<String> = (self.stats.errors.0.iter())
            .chain(&self.stats.closes.0)
            .map(|(cause, count)| format!("{cause} ({count})"))
            .collect();
        let causes = causes.join(", ");
        let advice = self.advice(phones, &causes);
        format!(
            "{ready} of {} users ready, {phones} phones acknowledged, {} webhooks seen; {}{}",
            self.users.len(),
            self.hooks.requests,
            if causes.is_empty() {
                "no errors reported"
            } else {
                causes.as_str()
            },
            advice.map_or_else(String::new, |text| format!("\n{text}"))
        )
    }

    /// The phone of a user is known to the server for the first time.
    pub(super) fn begin_user(&mut self, user: u32, now: u64) {
        self.users[user as usize].begun = true;
        self.post_device_state(user, now);
        for app in 0..self.scenario.apps_per_user {
            let app = u8::try_from(app).unwrap_or(u8::MAX);
            match self.settings.target {
                Target::Prism { .. } => self.request_app(user, app),
                Target::Relay => self.dial_app(user, app, now),
            }
        }
    }

    /// Pings go on in every mode; REST reports and churn only where the scenario has them.
    fn start_background(&mut self, start: u64) {
        let everyone: Vec<u32> = (0..self.scenario.users).collect();
        let ping = Round::new(&everyone, super::phone::PING_EVERY, start, &mut self.rng);
        self.background
            .push((Background::Ping, Schedule::Even(ping)));
    }

    /// Begins what only runs during traffic.
    pub(super) fn start_reports(&mut self, start: u64) {
        let everyone: Vec<u32> = (0..self.scenario.users).collect();
        let rest = self.scenario.rest;
        let churn = self.scenario.faults.iter().find_map(|fault| match fault {
            crate::scenario::Fault::Churn(churn) => Some(churn.per_user_per_h / 60.0),
            _ => None,
        });
        let rates = [
            (Background::DeviceState, rest.device_state_per_min),
            (Background::Location, rest.location_per_min),
            (Background::AppPing, rest.app_pings_per_min),
            (Background::Churn, churn.unwrap_or(0.0)),
        ];
        self.background
            .retain(|(kind, _)| *kind == Background::Ping);
        for (kind, per_min) in rates {
            if per_min > 0.0 {
                let period = (60.0 * SECOND as f64 / per_min) as u64;
                let arrivals = Poisson::new(&everyone, period, start, &mut self.rng);
                self.background.push((kind, Schedule::Poisson(arrivals)));
            }
        }
    }
}
