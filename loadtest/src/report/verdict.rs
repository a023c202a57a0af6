//! Whether a run's figures can be used at all (validity), and whether the scenario's expectations held.
//! The rules are explained in `docs/performance-method.md`.

use serde::{Deserialize, Serialize};

use super::RunResult;
use crate::hist::Class;
use crate::scenario::Scenario;

/// A generator that is busier than this may be what limits a closed loop.
pub(crate) const GENERATOR_BUSY_MAX: f64 = 0.97;
/// A server that is less busy than this (share of its cores) beside such a generator was not the limit.
pub(crate) const SERVER_LOADED: f64 = 0.85;
/// Below this a closed loop's throughput is noted as a lower bound.
pub(crate) const SERVER_SATURATED: f64 = 0.95;
/// An open loop whose generator is later than this at the 99th percentile, microseconds, ...
pub(crate) const LAG_P99_MAX_US: f64 = 1000.0;
/// ... and by more than this share of the measured P99, measures itself.
pub(crate) const LAG_SHARE_MAX: f64 = 0.25;
/// Least share of the offered messages that the generator must have got to.
pub(crate) const OFFERED_MIN: f64 = 0.99;
/// No server passes a message on, or takes a connection, for less CPU than this, microseconds.
pub(crate) const CPU_LEAST_US: f64 = 0.05;
/// Cores used by others above which a run is noted as noisy.
pub(crate) const NOISE_CORES: f64 = 0.1;

/// Judgement of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verdict {
    /// Why the figures must not be used; empty when they can be.
    pub(crate) invalid: Vec<String>,
    /// What to keep in mind.
    pub(crate) notes: Vec<String>,
    /// Expectations that did not hold.
    pub(crate) failed: Vec<String>,
    /// The generator's own lateness is a large part of the measured latency: the true one is lower.
    pub(crate) late: bool,
}

/// How the reason begins that speaks of the generator's lateness.
const LATE: &str = "the generator was late";
/// In the names of the expectations that lateness alone can break.
const P99: &str = " P99, ms";
const PONG: &str = "slowest pong, ms";

impl Verdict {
    /// Takes lateness for no reason against figures that held a bound in spite of it: the true ones are better.
    pub(crate) fn excuse_lateness(&mut self) {
        let is_late = |text: &mut String| text.starts_with(LATE);
        let late: Vec<String> = self.invalid.extract_if(.., is_late).collect();
        self.notes.extend(late.into_iter().map(upper_bound));
    }

    /// One word for tables.
    pub(crate) fn word(&self) -> &'static str {
        if !self.invalid.is_empty() {
            "INVALID"
        } else if !self.failed.is_empty() {
            "FAILED"
        } else {
            "ok"
        }
    }
}

/// Judges a run; `watched` says whether the caller gave a server pid.
pub(crate) fn judge(run: &RunResult, watched: bool) -> Verdict {
    let mut own = Verdict::default();
    validity(run, watched, &mut own);
    expectations(run, &mut own.failed);
    let slow = |text: &String| text.contains(P99) || text.contains(PONG);
    if own.late && own.failed.iter().any(slow) {
        own.invalid.push(format!(
            "{LATE}, and more was slow than is expected: that says nothing about the server"
        ));
    }
    own
}

/// Latency counts from the intended time, so a late generator makes the server look slower, never faster.
/// Where the scenario is about faults and not about microseconds that is only noted.
fn lateness(run: &RunResult, own: &mut Verdict) {
    let Some(lag) = &run.generator.lag else {
        return;
    };
    // Of all that had a schedule, what is quickest suffers most.
    let p99s = scheduled(&run.scenario)
        .filter_map(|class| Some(run.class(class)?.latency.as_ref()?.p99_us));
    // Where nothing came, it was not for lateness.
    let Some(measured) = p99s.reduce(f64::min) else {
        return;
    };
    own.late = lag.p99_us > LAG_P99_MAX_US && lag.p99_us > measured * LAG_SHARE_MAX;
    if !own.late {
        return;
    }
    let text = format!(
        "{LATE}: P99 {:.1} ms behind its schedule, of {:.1} ms measured",
        lag.p99_us / 1000.0,
        measured / 1000.0
    );
    if run.scenario.faults.is_empty() {
        own.invalid.push(text);
    } else {
        own.notes.push(upper_bound(text));
    }
}

/// The classes whose messages are sent at times fixed before.
fn scheduled(scenario: &Scenario) -> impl Iterator<Item = Class> {
    (scenario.streams.iter())
        .filter(|stream| stream.per_user_per_s.is_some())
        .map(|stream| stream.kind.class())
        .chain(scenario.connects.map(|_| Class::PhoneConnect))
}

fn upper_bound(late: String) -> String {
    late + "; latencies are upper bounds"
}

/// Whether the figures say something about the server at all.
fn validity(run: &RunResult, watched: bool, own: &mut Verdict) {
    let streams = &run.scenario.streams;
    if streams.iter().any(|stream| stream.in_flight.is_some()) {
        bottleneck(run, own);
    }
    lateness(run, own);
    let reached = run.generator.lag.as_ref().map_or(0, |lag| lag.count);
    let due = reached + run.generator.unreached;
    if (reached as f64) < due as f64 * OFFERED_MIN && run.interrupted_s.is_none() {
        own.invalid.push(format!(
            "the generator got to {reached} of {due} messages only"
        ));
    }
    if let Some(after_s) = run.interrupted_s {
        own.invalid.push(format!(
            "broken off {after_s:.1} s after the window of {:.0} s began",
            run.scenario.duration_s
        ));
    }
    presence(run, watched, own);
    right_process(run, own);
    for cause in run.errors.keys() {
        if cause.contains("EMFILE") || cause.contains("EADDRNOTAVAIL") {
            own.invalid.push(format!("the generator ran out: {cause}"));
        }
    }
    surroundings(run, watched, own);
}

/// A closed loop finds a maximum: was it the server's?
fn bottleneck(run: &RunResult, own: &mut Verdict) {
    let busy = run.generator.busy;
    let Some(server) = &run.server else {
        if busy >= GENERATOR_BUSY_MAX {
            own.invalid.push(format!(
                "the generator was busy {:.0} % of the time and the server's CPU is not known",
                busy * 100.0
            ));
        }
        return;
    };
    let used = server.cores_used / (server.cores_allowed.max(1) as f64);
    if busy >= GENERATOR_BUSY_MAX && used < SERVER_LOADED {
        own.invalid.push(format!(
            "the generator was the bottleneck: busy {:.0} % of the time, the server {:.0} % of its cores",
            busy * 100.0, used * 100.0
        ));
    } else if used < SERVER_SATURATED {
        own.notes.push(format!(
            "the server was not saturated ({:.0} % of its cores, generator {:.0} %): deliveries per second are a lower bound",
            used * 100.0, busy * 100.0
        ));
    }
}

/// Was the server there for the whole run, and away where the scenario restarts it?
fn presence(run: &RunResult, watched: bool, own: &mut Verdict) {
    let (alive, all) = run.counts.phones_alive;
    let problem = if run.scenario.restarts() {
        let away = run.counts.phone_acks > 0 || alive < all;
        (!away).then_some(
            "no phone lost its connection: the server was not restarted (--restart-command)",
        )
    } else if watched && run.server.is_none() {
        Some("the server process ended during the run")
    } else if alive == 0 && all > 0 {
        Some("no phone was connected at the end: the server is gone or takes nobody")
    } else {
        None
    };
    own.invalid.extend(problem.map(str::to_owned));
}

/// With the pid of a shell, or of one process of several, every figure of the server would look splendid.
fn right_process(run: &RunResult, own: &mut Verdict) {
    let Some(server) = &run.server else {
        return;
    };
    let cost = server.cpu_us_per_delivered.or(server.cpu_us_per_connect);
    if cost.is_some_and(|us| us < CPU_LEAST_US) {
        own.invalid.push(format!(
            "the watched process used {:.3} s of CPU for all this: it is not the server (--server-pid), or not the whole of it",
            server.cpu_s
        ));
    }
}

/// What a reader should know, though nothing is wrong.
fn surroundings(run: &RunResult, watched: bool, own: &mut Verdict) {
    if run.generator.other_cores > NOISE_CORES {
        own.notes.push(format!(
            "noisy machine: other work used {:.2} cores",
            run.generator.other_cores
        ));
    }
    if !run.bring_up_errors.is_empty() {
        let causes: Vec<String> = (run.bring_up_errors.iter())
            .map(|(cause, count)| format!("{cause} ({count})"))
            .collect();
        own.notes.push(format!(
            "while users were brought up: {}",
            causes.join(", ")
        ));
    }
    own.notes.extend(run.scenario.faults_missed());
    let (open, all) = run.counts.bystanders;
    if open < all {
        own.notes.push(format!(
            "sockets without a name: {open} of {all} still open"
        ));
    }
    if run.counts.held_back > 0 {
        own.notes.push(format!(
            "{} messages were not sent because the server did not read: they are in no latency",
            run.counts.held_back
        ));
    }
    if run.counts.visits_skipped > 0 {
        own.notes.push(format!(
            "{} connects were not tried because too many were under way: they are in no latency",
            run.counts.visits_skipped
        ));
    }
    if run.counts.udp.2 > 0 {
        own.notes.push(format!(
            "UDP was not offered or not confirmed: {} audio packets went over the WebSocket",
            run.counts.udp.2
        ));
    }
    if run.server.is_none() && !watched {
        own.notes
            .push("no server process was watched: no CPU or memory figures".into());
    }
}

fn expectations(run: &RunResult, failed: &mut Vec<String>) {
    let expect = &run.scenario.expect;
    let total = run.total();
    let mut at_most = |name: &str, got: f64, most: Option<f64>| {
        if let Some(most) = most
            && got > most
        {
            failed.push(format!("{name}: {got:.1}, at most {most:.1} expected"));
        }
    };
    let lost_max = expect.lost_max.map(|most| most as f64);
    at_most("lost", total.lost as f64, lost_max);
    let lost_percent = total.lost as f64 * 100.0 / total.expected.max(1) as f64;
    let percent_max = expect.lost_share_max.map(|most| most * 100.0);
    at_most("lost, %", lost_percent, percent_max);
    if run.scenario.faults.is_empty() {
        // Nobody was meant to be away, so a socket that the server ended is no excuse.
        let away = total.missed_offline + run.counts.skipped_offline + run.counts.held_back;
        let name = "missed or not sent because a connection was lost or the server did not read";
        at_most(name, away as f64, lost_max);
    }
    let wrong: u64 = run
        .classes
        .iter()
        .map(|class| class.wrong_text_standing)
        .sum();
    let disorder = total.out_of_order + total.duplicated + total.damaged + total.misrouted + wrong;
    at_most(
        "out of order, twice, damaged, misrouted or wrong text standing",
        disorder as f64,
        expect.disorder_max.map(|most| most as f64),
    );
    let calls_max = expect.calls_failed_max.map(|most| most as f64);
    at_most("calls failed", run.counts.calls_failed as f64, calls_max);
    let ping = run
        .class(Class::Ping)
        .and_then(|class| class.latency.as_ref());
    let slowest = if run.counts.ping_timeouts > 0 {
        f64::INFINITY
    } else {
        ping.map_or(0.0, |latency| latency.max_us / 1000.0)
    };
    at_most(PONG, slowest, expect.ping_max_ms);
    for class in [Class::Audio, Class::Speech, Class::Event] {
        let latency = run.class(class).and_then(|own| own.latency.as_ref());
        let p99 = latency.map_or(0.0, |latency| latency.p99_us / 1000.0);
        at_most(&format!("{}{P99}", class.name()), p99, expect.p99_max_ms);
    }
    if let (Some(most), Some(server)) = (expect.memory_growth_max_mb, &run.server) {
        let grown = (server.rss_after as f64 - server.rss_before as f64) / 1_048_576.0;
        at_most("memory grown by, MB", grown, Some(most));
    }
    let (visits, tried) = (run.counts.visits, run.counts.visits_tried);
    if let Some(least) = expect.visits_min
        && (visits as f64) < least * tried as f64
    {
        failed.push(format!("connects acknowledged: {visits} of {tried}"));
    }
    for (name, (alive, all), least) in [
        ("phones", run.counts.phones_alive, expect.phones_alive_min),
        ("apps", run.counts.apps_alive, expect.apps_alive_min),
    ] {
        if let Some(least) = least
            && (alive as f64) < least * all as f64
        {
            failed.push(format!("{name} alive at the end: {alive} of {all}"));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
