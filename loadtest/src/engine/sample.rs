//! The timeline: once per interval, what was sent, delivered, how fast, and what the server used.

use serde::{Deserialize, Serialize};

use super::Engine;
use super::timers::Timer;
use crate::clock::{self, SECOND};
use crate::hist::{Class, Latency};
use crate::{output, procfs};

/// Most points of a timeline; longer runs get longer intervals.
const POINTS_MAX: f64 = 1800.0;

/// One interval of the timeline.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Second {
    /// End of the interval, seconds after the measured window began (negative: warm-up).
    pub(crate) at_s: f64,
    /// Messages sent per second.
    pub(crate) sent_per_s: f64,
    /// Deliveries per second.
    pub(crate) delivered_per_s: f64,
    /// Latency of messages that arrived, by class.
    pub(crate) latency: Vec<(Class, Latency)>,
    /// CPU of the server, cores.
    pub(crate) server_cores: Option<f64>,
    /// Resident memory of the server, bytes.
    pub(crate) server_rss: Option<u64>,
    /// CPU of the generator, cores.
    pub(crate) generator_cores: f64,
    /// Phones acknowledged.
    pub(crate) phones: usize,
    /// Apps attached.
    pub(crate) apps: usize,
    /// Faults that began in the interval.
    pub(crate) notes: Vec<String>,
}

/// State between two samples.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    interval: u64,
    /// Due time of the next point; timers of an earlier phase do not match it.
    next: u64,
    last: u64,
    last_server_cpu: Option<u64>,
    last_own_cpu: u64,
    notes: Vec<String>,
    /// The points so far.
    pub(super) timeline: Vec<Second>,
}

impl Sampler {
    /// Marks a moment in the timeline.
    pub(super) fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }
}

impl Engine {
    /// Begins the timeline of a phase.
    pub(super) fn start_sampling(&mut self, now: u64, duration_s: f64) {
        let interval = (duration_s / POINTS_MAX).ceil().max(1.0);
        self.sampler = Sampler {
            interval: (interval * SECOND as f64) as u64,
            next: now + (interval * SECOND as f64) as u64,
            last: now,
            last_server_cpu: self.settings.server_pid.and_then(clock::process_cpu_ns),
            last_own_cpu: clock::thread_cpu_ns(),
            ..Sampler::default()
        };
        self.timers.at(self.sampler.next, Timer::Sample);
    }

    /// Takes a point of the timeline.
    pub(super) fn sample(&mut self, due: u64) {
        if due != self.sampler.next || self.window.1 == 0 {
            return;
        }
        self.sampler.next = due + self.sampler.interval;
        self.timers.at(self.sampler.next, Timer::Sample);
        self.reread_pid();
        let now = clock::mono_ns();
        let span = now.saturating_sub(self.sampler.last).max(1) as f64 / SECOND as f64;
        let server = self.settings.server_pid.and_then(procfs::process);
        self.server_ended = self.settings.server_pid.is_some()
            && server.is_none()
            && self.settings.pid_file.is_none()
            && !self.scenario.restarts();
        let server_cores = match (server, self.sampler.last_server_cpu) {
            // A restarted server begins at zero again.
            (Some(sample), Some(last)) if sample.cpu_ns >= last => {
                Some((sample.cpu_ns - last) as f64 / SECOND as f64 / span)
            }
            _ => None,
        };
        let own_cpu = clock::thread_cpu_ns();
        let mut delivered = 0;
        for count in &mut self.stats.count {
            delivered += std::mem::take(&mut count.received_in_interval);
        }
        let sent = std::mem::take(&mut self.stats.sent_in_interval);
        let latency = Class::ALL
            .into_iter()
            .filter_map(|class| {
                let summary = self.stats.latency[class.index()].take_second()?;
                Some((class, summary))
            })
            .collect();
        let point = Second {
            at_s: (now as f64 - self.window.0 as f64) / SECOND as f64,
            sent_per_s: sent as f64 / span,
            delivered_per_s: delivered as f64 / span,
            latency,
            server_cores,
            server_rss: server.map(|sample| sample.rss),
            generator_cores: (own_cpu - self.sampler.last_own_cpu) as f64 / SECOND as f64 / span,
            phones: self.users.iter().filter(|user| user.acked).count(),
            apps: self
                .users
                .iter()
                .flat_map(|user| &user.apps)
                .filter(|app| app.ready)
                .count(),
            notes: std::mem::take(&mut self.sampler.notes),
        };
        self.show(&point);
        self.sampler.last = now;
        self.sampler.last_server_cpu = server.map(|sample| sample.cpu_ns);
        self.sampler.last_own_cpu = own_cpu;
        self.sampler.timeline.push(point);
    }

    /// After a restart the server has another pid.
    fn reread_pid(&mut self) {
        let Some(path) = &self.settings.pid_file else {
            return;
        };
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if let Ok(pid) = text.trim().parse() {
            self.settings.server_pid = Some(pid);
        }
    }

    fn show(&self, point: &Second) {
        if !self.settings.progress {
            return;
        }
        let worst = point
            .latency
            .iter()
            .filter(|(class, _)| Class::STREAMS.contains(class))
            .map(|(_, latency)| (latency.p50_us, latency.p99_us))
            .fold((0.0_f64, 0.0_f64), |a, b| (a.0.max(b.0), a.1.max(b.1)));
        output::progress(&format!(
            "{:7.1} s  sent {:8.0}/s  delivered {:8.0}/s  p50 {:8.0} us  p99 {:8.0} us  server {:>5}  {:>6}  generator {:4.2}  phones {}  apps {}",
            point.at_s,
            point.sent_per_s,
            point.delivered_per_s,
            worst.0,
            worst.1,
            point
                .server_cores
                .map_or_else(|| "-".to_owned(), |cores| format!("{cores:.2}")),
            point
                .server_rss
                .map_or_else(|| "-".to_owned(), |rss| format!("{} MB", rss >> 20)),
            point.generator_cores,
            point.phones,
            point.apps,
        ));
    }

    /// Once a second: time-outs and stalls.
    pub(super) fn sweep(&mut self, now: u64) {
        self.timers.at(now + SECOND, Timer::Sweep);
        self.end_overdue(now);
        self.end_unanswered(now);
        if self.generating {
            self.restart_stalled(now);
        }
    }
}
