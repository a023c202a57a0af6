//! One traffic phase: warm-up, measured window, drain, and what came out of it.

use super::stats::Stats;
use super::timers::Timer;
use super::traffic::open_rate;
use super::{Engine, EngineError};
use crate::clock::{self, SECOND};
use crate::hist::Class;
use crate::interrupt;
use crate::meet::Meeting;
use crate::procfs::{self, ProcessSample};
use crate::scenario::Kind;
use crate::track::Tally;

/// How long testers wait for each other.
const MEETING_PATIENCE: u64 = 120 * SECOND;
/// A server that has not recovered from a phase after this time does not recover.
const RECOVERY_MAX: u64 = 60 * SECOND;
/// Last looks at the sockets, should somebody never stop sending.
const LAST_TURNS_MAX: u32 = 1000;

/// Counts of one class of stream messages.
#[derive(Debug, Clone)]
pub(crate) struct StreamResult {
    /// What was counted.
    pub(crate) class: Class,
    /// Messages sent in the whole phase.
    pub(crate) sent: u64,
    /// Deliveries inside the window, per second.
    pub(crate) delivered_per_s: f64,
    /// The accounting over the whole phase.
    pub(crate) tally: Tally,
    /// Display only: users whose last text does not stand on the glasses.
    pub(crate) wrong_text_standing: u64,
}

/// The server over the window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerUse {
    /// At the beginning.
    pub(crate) before: ProcessSample,
    /// At the end.
    pub(crate) after: ProcessSample,
    /// Cores it may use.
    pub(crate) cores: u64,
}

/// Everything that a phase yields.
pub(crate) struct Measured {
    /// When the window began (wall clock, milliseconds).
    pub(crate) window_ms: u64,
    /// Length of the window, seconds.
    pub(crate) seconds: f64,
    /// Per class that had streams.
    pub(crate) streams: Vec<StreamResult>,
    /// Latencies and other counts.
    pub(crate) stats: Stats,
    /// The server, where its pid is known and it lived through the window.
    pub(crate) server: Option<ServerUse>,
    /// CPU of our thread in the window, seconds.
    pub(crate) generator_cpu_s: f64,
    /// Share of the window in which our thread had something to do.
    pub(crate) generator_busy: f64,
    /// CPU of everything on the machine in the window, seconds.
    pub(crate) machine_busy_s: f64,
    /// Open-loop messages per second that were asked for; 0 in closed loops.
    pub(crate) offered_per_s: f64,
    /// Open-loop messages that were due and never sent because the generator had no time for them.
    pub(crate) unreached: u64,
    /// Seconds after which the run was broken off, when it was.
    pub(crate) interrupted_s: Option<f64>,
    /// The timeline.
    pub(crate) timeline: Vec<super::Second>,
    /// Phones connected at the end, of all.
    pub(crate) phones_alive: (usize, usize),
    /// Apps attached at the end, of all.
    pub(crate) apps_alive: (usize, usize),
    /// Sockets without a name that are open at the end, of all.
    pub(crate) bystanders: (usize, usize),
    /// Apps left out of the accounting (those that were made to stop reading).
    pub(crate) unaccounted_apps: usize,
}

/// A window whose answers may still be under way.
pub(super) struct Window {
    before: Look,
    after: Look,
    measured_ns: u64,
    pace: f64,
}

/// What is known at one end of the window.
struct Look {
    time: u64,
    wall_ms: u64,
    pid: Option<i32>,
    server: Option<ProcessSample>,
    own_cpu: u64,
    idle: u64,
    machine: f64,
}

impl Engine {
    /// Runs the scenario's traffic once. `pace` multiplies the rate of every open stream; times are
    /// seconds.
    pub(crate) fn run_phase(
        &mut self,
        pace: f64,
        warmup_s: f64,
        duration_s: f64,
    ) -> Result<Measured, EngineError> {
        let window = self.generate(pace, warmup_s, duration_s)?;
        self.drain()?;
        Ok(self.collect(&window))
    }

    /// Warm-up and window; nothing is waited for at its end.
    pub(super) fn generate(
        &mut self,
        pace: f64,
        warmup_s: f64,
        duration_s: f64,
    ) -> Result<Window, EngineError> {
        let ns = |seconds: f64| (seconds * SECOND as f64) as u64;
        self.phase = self.phase.wrapping_add(1);
        self.stats = self.fresh_stats();
        for user in &mut self.users {
            user.reset(self.streams.len());
        }
        let start = clock::mono_ns();
        let window = start + ns(warmup_s);
        self.window = (window, window + ns(duration_s));
        for stream in &mut self.streams {
            stream.begin(self.scenario.users, start, pace, &mut self.rng);
        }
        self.start_reports(start);
        self.start_sampling(start, warmup_s + duration_s);
        self.plan_faults(window);
        self.generating = true;
        if self.scenario.connects.is_some() {
            self.timers.at(start, Timer::Visit);
        }
        self.kick_closed();
        self.turn_until(window)?;
        if self.server_ended {
            return Err(EngineError::ServerEnded);
        }
        if interrupt::wanted() {
            return Err(EngineError::Interrupted);
        }
        let before = self.look();
        self.turn_until(self.window.1)?;
        let after = self.look();
        self.generating = false;
        let measured_ns = after.time - before.time;
        let broken_off = self.server_ended | interrupt::take();
        self.interrupted_s =
            broken_off.then(|| after.time.saturating_sub(window) as f64 / SECOND as f64);
        self.unreached = self.count_unreached(self.window.1.min(after.time));
        Ok(Window {
            before,
            after,
            measured_ns,
            pace,
        })
    }

    /// Nothing counted, but how long the apps took to start: they do so before the first phase only.
    fn fresh_stats(&mut self) -> Stats {
        let mut fresh = Stats::new();
        if self.phase == 1 {
            let index = Class::AppStart.index();
            std::mem::swap(&mut fresh.latency[index], &mut self.stats.latency[index]);
            // They are no part of the timeline.
            let _ = fresh.latency[index].take_second();
        }
        fresh
    }

    fn look(&self) -> Look {
        Look {
            time: clock::mono_ns(),
            wall_ms: clock::wall_ms(),
            pid: self.settings.server_pid,
            server: self.settings.server_pid.and_then(procfs::process),
            own_cpu: clock::thread_cpu_ns(),
            idle: self.spare.idle_ns,
            machine: procfs::machine_busy_s(),
        }
    }

    /// Waits for what is under way, and for phones and apps that are coming back.
    pub(super) fn drain(&mut self) -> Result<(), EngineError> {
        let least = clock::mono_ns() + (self.scenario.drain_s * SECOND as f64) as u64;
        self.turn_until(least)?;
        if !self.scenario.faults.is_empty() {
            // A phone needs up to 5 s and an app 7 s to come back.
            let most = least + 10 * SECOND;
            while clock::mono_ns() < most
                && !self.ends()
                && !self.users.iter().all(super::user::User::ready)
            {
                self.turn_until((clock::mono_ns() + 50 * clock::MILLI).min(most))?;
            }
        }
        self.take_what_is_there()
    }

    /// What lies in our own sockets has arrived: a generator that was held up must not call it lost.
    fn take_what_is_there(&mut self) -> Result<(), EngineError> {
        for _ in 0..LAST_TURNS_MAX {
            let count = self.epoll.wait(0)?;
            if count == 0 {
                break;
            }
            for index in 0..count {
                let ready = self.epoll.ready(index);
                self.on_ready(ready);
            }
        }
        Ok(())
    }

    pub(super) fn collect(&mut self, window: &Window) -> Measured {
        let (before, after) = (&window.before, &window.after);
        let seconds = window.measured_ns as f64 / SECOND as f64;
        if interrupt::take() {
            self.interrupted_s = Some(seconds);
        }
        let generator_cpu_s = (after.own_cpu - before.own_cpu) as f64 / SECOND as f64;
        let idle_s = (after.idle - before.idle) as f64 / SECOND as f64;
        let generator_busy = if self.settings.busy_poll {
            1.0 - idle_s / seconds
        } else {
            generator_cpu_s / seconds
        };
        let server = match (before.server, after.server) {
            // A restarted server is another process with a clock of its own.
            (Some(first), Some(last)) if before.pid == after.pid => Some(ServerUse {
                before: first,
                after: last,
                cores: self.settings.server_pid.map_or(0, procfs::allowed_cores),
            }),
            _ => None,
        };
        self.time_unanswered_pings();
        let offered_per_s = open_rate(&self.streams) * window.pace;
        let (streams, unaccounted_apps) = self.account(seconds);
        let apps: Vec<bool> = (self.users.iter())
            .flat_map(|user| user.apps.iter().map(|app| app.ready))
            .collect();
        let phones = self.users.iter().filter(|user| user.acked).count();
        let timeline = std::mem::take(&mut self.sampler.timeline);
        self.window = (0, 0);
        Measured {
            window_ms: before.wall_ms,
            seconds,
            streams,
            stats: std::mem::replace(&mut self.stats, Stats::new()),
            server,
            generator_cpu_s,
            generator_busy: generator_busy.clamp(0.0, 1.0),
            machine_busy_s: after.machine - before.machine,
            offered_per_s,
            timeline,
            unreached: self.unreached,
            interrupted_s: self.interrupted_s,
            phones_alive: (phones, self.users.len()),
            apps_alive: (apps.iter().filter(|ready| **ready).count(), apps.len()),
            bystanders: (self.bystanders_open(), self.scenario.bystanders as usize),
            unaccounted_apps,
        }
    }

    /// A ping of the window that is still unanswered has waited so long at least.
    fn time_unanswered_pings(&mut self) {
        let now = clock::mono_ns();
        for number in 0..self.users.len() {
            let sent = self.users[number].ping_sent;
            if self.in_window(sent) {
                self.stats.latency(Class::Ping, now - sent, true);
            }
        }
    }

    /// Adds the trackers up, per class.
    fn account(&mut self, seconds: f64) -> (Vec<StreamResult>, usize) {
        let mut results = Vec::new();
        let mut unaccounted = 0;
        for class in Class::STREAMS {
            let indices: Vec<usize> = (0..self.streams.len())
                .filter(|index| self.streams[*index].class == class)
                .collect();
            if indices.is_empty() {
                continue;
            }
            let mut tally = Tally::default();
            let mut wrong = 0;
            unaccounted = 0;
            for number in 0..self.users.len() {
                let user = u32::try_from(number).unwrap_or(u32::MAX);
                let left_out: Vec<bool> = (0..self.users[number].apps.len())
                    .map(|app| {
                        let app = u8::try_from(app).unwrap_or(u8::MAX);
                        self.is_left_out(user, app)
                    })
                    .collect();
                unaccounted += left_out.iter().filter(|out| **out).count();
                for index in &indices {
                    let own = &mut self.users[number];
                    let sent = own.seq[*index];
                    if self.streams[*index].spec.kind == Kind::Display {
                        tally.add(&own.displays[*index].finish(sent));
                        wrong += u64::from(own.standing[*index] != sent);
                        continue;
                    }
                    for (app, out) in own.apps.iter_mut().zip(&left_out) {
                        if !out {
                            let due = self.streams[*index].spec.answers(sent);
                            tally.add(&app.trackers[*index].finish(due));
                        }
                    }
                }
            }
            let count = self.stats.count[class.index()];
            tally.damaged = count.damaged;
            tally.misrouted = count.misrouted;
            results.push(StreamResult {
                class,
                sent: count.sent,
                delivered_per_s: count.received_in_window as f64 / seconds,
                tally,
                wrong_text_standing: wrong,
            });
        }
        (results, unaccounted)
    }

    /// Waits without traffic for `seconds`.
    pub(crate) fn settle(&mut self, seconds: f64) -> Result<(), EngineError> {
        self.turn_until(clock::mono_ns() + (seconds * SECOND as f64) as u64)
    }

    /// Waits without traffic until nothing of the last phase comes any more and everybody who was dropped in it is back.
    pub(crate) fn recover(&mut self) -> Result<(), EngineError> {
        let most = clock::mono_ns() + RECOVERY_MAX;
        self.settle(3.0)?;
        while clock::mono_ns() < most && !self.ends() {
            for count in &mut self.stats.count {
                count.received_in_interval = 0;
            }
            self.settle(1.0)?;
            let quiet = (self.stats.count.iter()).all(|count| count.received_in_interval == 0);
            if quiet && self.users.iter().all(super::user::User::ready) {
                break;
            }
        }
        Ok(())
    }

    /// Waits without traffic until all testers of the meeting may begin.
    pub(crate) fn meet(&mut self, meeting: &Meeting) -> Result<(), EngineError> {
        meeting.arrive().map_err(EngineError::Meeting)?;
        let patience = clock::mono_ns() + MEETING_PATIENCE;
        loop {
            let now = clock::mono_ns();
            if let Some(begins_ms) = meeting.begins().map_err(EngineError::Meeting)? {
                let left_ms = begins_ms.saturating_sub(clock::wall_ms());
                return self.turn_until(now + left_ms * clock::MILLI);
            }
            if interrupt::wanted() {
                return Err(EngineError::Interrupted);
            }
            if now > patience {
                return Err(EngineError::Meeting(meeting.missing()));
            }
            self.turn_until(now + 20 * clock::MILLI)?;
        }
    }

    /// Open-loop messages per second that the scenario asks for.
    pub(crate) fn open_rate(&self) -> f64 {
        let of = |stream: &crate::scenario::Stream| {
            stream.per_user_per_s.unwrap_or(0.0)
                * (f64::from(self.scenario.users) * stream.share).round()
        };
        self.scenario.streams.iter().map(of).sum()
    }
}
