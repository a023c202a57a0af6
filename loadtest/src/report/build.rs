//! Makes the result document from what the engine measured.

use super::verdict::{self, Verdict};
use super::{ClassResult, Counts, FORMAT, GeneratorResult, RunResult, ServerResult};
use crate::engine::{Measured, ServerUse};
use crate::hist::Class;
use crate::procfs;
use crate::scenario::Scenario;

/// What the caller knows about the run.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// Name of the server under test.
    pub(crate) label: String,
    /// Its commit.
    pub(crate) commit: String,
    /// Target kind, polling, core.
    pub(crate) driver: String,
    /// When the run began.
    pub(crate) started: String,
    /// Seconds until every user was ready.
    pub(crate) bring_up_s: f64,
    /// What went wrong meanwhile.
    pub(crate) bring_up_errors: std::collections::BTreeMap<String, u64>,
    /// Whether a server pid was given.
    pub(crate) watched: bool,
}

/// Makes the document.
pub(crate) fn result(scenario: &Scenario, context: &Context, measured: Measured) -> RunResult {
    let delivered_per_s: f64 = measured
        .streams
        .iter()
        .map(|stream| stream.delivered_per_s)
        // An empty sum of floats is -0.
        .fold(0.0, |sum, rate| sum + rate);
    let server = measured
        .server
        .map(|server| server_result(&server, &measured, delivered_per_s, scenario));
    let server_cpu_s = server.as_ref().map_or(0.0, |server| server.cpu_s);
    let generator = GeneratorResult {
        cpu_s: measured.generator_cpu_s,
        busy: measured.generator_busy,
        lag: measured.stats.lag.summary(),
        unreached: measured.unreached,
        other_cores: ((measured.machine_busy_s - server_cpu_s - measured.generator_cpu_s)
            / measured.seconds)
            .max(0.0),
    };
    let mut own = RunResult {
        format: FORMAT,
        started: context.started.clone(),
        label: context.label.clone(),
        commit: context.commit.clone(),
        host: procfs::host_name(),
        machine: procfs::machine(),
        driver: context.driver.clone(),
        scenario: scenario.clone(),
        bring_up_s: context.bring_up_s,
        bring_up_errors: context.bring_up_errors.clone(),
        interrupted_s: measured.interrupted_s,
        window_ms: measured.window_ms,
        seconds: measured.seconds,
        delivered_per_s,
        offered_per_s: measured.offered_per_s,
        classes: classes(&measured),
        server,
        generator,
        counts: counts(&measured),
        errors: measured.stats.errors.0,
        closes: measured.stats.closes.0,
        verdict: Verdict::default(),
        timeline: measured.timeline,
    };
    own.verdict = verdict::judge(&own, context.watched);
    own
}

fn classes(measured: &Measured) -> Vec<ClassResult> {
    Class::ALL
        .into_iter()
        .filter_map(|class| {
            let recorder = &measured.stats.latency[class.index()];
            let stream = measured.streams.iter().find(|own| own.class == class);
            let latency = recorder.summary();
            if latency.is_none() && stream.is_none() {
                return None;
            }
            Some(ClassResult {
                class,
                sent: stream.map_or(0, |stream| stream.sent),
                delivered_per_s: stream.map_or(0.0, |stream| stream.delivered_per_s),
                tally: stream.map(|stream| stream.tally),
                wrong_text_standing: stream.map_or(0, |stream| stream.wrong_text_standing),
                latency,
                curve: recorder.curve(),
            })
        })
        .collect()
}

fn counts(measured: &Measured) -> Counts {
    let stats = &measured.stats;
    Counts {
        skipped_offline: stats.skipped_offline,
        held_back: stats.held_back,
        udp: (stats.udp_packets, stats.udp_no_room, stats.udp_fallback),
        udp_paths: stats.udp_paths,
        ping_timeouts: stats.ping_timeouts,
        stalled: stats.stalled,
        phone_acks: stats.phone_acks,
        visits_tried: stats.visits_tried,
        visits: stats.visits,
        visits_skipped: stats.visits_skipped,
        calls_failed: stats.calls_failed,
        phones_alive: measured.phones_alive,
        apps_alive: measured.apps_alive,
        bystanders: measured.bystanders,
        unaccounted_apps: measured.unaccounted_apps,
    }
}

fn server_result(
    server: &ServerUse,
    measured: &Measured,
    delivered_per_s: f64,
    scenario: &Scenario,
) -> ServerResult {
    let cpu_s = (server.after.cpu_ns.saturating_sub(server.before.cpu_ns)) as f64 / 1e9;
    let delivered = delivered_per_s * measured.seconds;
    let per = |seconds: f64, count: f64| (count >= 1.0).then(|| seconds * 1e6 / count);
    // Ticks split the exact total: user / (user + system) of it.
    let user_s = server.after.user_s - server.before.user_s;
    let system_s = server.after.system_s - server.before.system_s;
    let user_share = if user_s + system_s > 0.0 {
        user_s / (user_s + system_s)
    } else {
        0.0
    };
    ServerResult {
        cpu_s,
        cores_used: cpu_s / measured.seconds,
        cores_allowed: server.cores,
        cpu_us_per_delivered: per(cpu_s, delivered),
        user_us_per_delivered: per(cpu_s * user_share, delivered),
        cpu_us_per_connect: per(cpu_s, measured.stats.visits as f64),
        rss_before: server.before.rss,
        rss_after: server.after.rss,
        rss_peak: server.after.rss_peak,
        rss_per_user: server.after.rss / u64::from(scenario.users.max(1)),
        threads: server.after.threads,
    }
}
