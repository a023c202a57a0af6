//! One result of several: testers that ran at the same time (`--meet`), each against a server process of its own, all servers on the
//! same core and all testers on another. CPU and deliveries are added, so the cost is that of all processes over all deliveries.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::verdict::{self, Verdict};
use super::{ClassResult, Counts, GeneratorResult, RunResult, ServerResult, text};
use crate::hist::{Class, Latency};

/// Windows further apart than this share of their length measured different moments.
const APART_MAX: f64 = 0.02;

/// The whole of `parts`, judged as one run.
pub(crate) fn whole(parts: &[RunResult]) -> Result<RunResult, String> {
    let first = parts.first().ok_or("no results to add up")?;
    for part in parts {
        let mut scenario = part.scenario.clone();
        scenario.users = first.scenario.users;
        if scenario != first.scenario || part.label != first.label || part.host != first.host {
            return Err("only parts of one measurement can be added up: same scenario but for the users, same server, same machine".into());
        }
    }
    let add = |pick: &dyn Fn(&RunResult) -> f64| parts.iter().map(pick).sum::<f64>();
    let mut own = RunResult {
        bring_up_s: parts.iter().map(|part| part.bring_up_s).fold(0.0, f64::max),
        bring_up_errors: merged(parts, |part| &part.bring_up_errors),
        interrupted_s: parts.iter().find_map(|part| part.interrupted_s),
        delivered_per_s: add(&|part| part.delivered_per_s),
        offered_per_s: add(&|part| part.offered_per_s),
        classes: classes(parts),
        generator: generator(parts),
        errors: merged(parts, |part| &part.errors),
        closes: merged(parts, |part| &part.closes),
        counts: counts(parts),
        verdict: Verdict::default(),
        timeline: Vec::new(),
        ..first.clone()
    };
    own.scenario.users = parts.iter().map(|part| part.scenario.users).sum();
    own.server = server(parts, own.scenario.users);
    let watched = parts.iter().any(|part| part.server.is_some());
    own.verdict = verdict::judge(&own, watched);
    for part in parts.iter().filter(|part| part.server.is_none()) {
        let reasons = part.verdict.invalid.iter().cloned();
        own.verdict.invalid.extend(reasons);
    }
    let begins = || parts.iter().map(|part| part.window_ms);
    let apart = begins().max().unwrap_or(0) - begins().min().unwrap_or(0);
    if apart as f64 > APART_MAX * own.seconds * 1000.0 {
        own.verdict
            .invalid
            .push(format!("the windows of the parts are {apart} ms apart"));
    }
    own.verdict.notes.push(format!(
        "{} testers and server processes; a quantile is that of the worst part, and not below that of the whole",
        parts.len()
    ));
    Ok(own)
}

/// A line per part, for the terminal.
pub(crate) fn lines(parts: &[RunResult]) -> String {
    let mut out = String::new();
    for (number, part) in parts.iter().enumerate() {
        let cost = (part.server.as_ref()).and_then(|server| server.cpu_us_per_delivered);
        let _ = writeln!(
            out,
            "part {} of {}: {} users, {:.0} delivered/s{}, {:.2} cores; generator {:.0} %; {}",
            number + 1,
            parts.len(),
            part.scenario.users,
            part.delivered_per_s,
            cost.map_or_else(String::new, |us| format!(
                ", {us:.2} us per delivered message"
            )),
            (part.server.as_ref()).map_or(0.0, |server| server.cores_used),
            part.generator.busy * 100.0,
            (part.classes.iter().filter(|class| class.tally.is_some()))
                .filter_map(|class| {
                    let latency = class.latency.as_ref()?;
                    let (p50, p99) = (
                        text::duration(latency.p50_us),
                        text::duration(latency.p99_us),
                    );
                    Some(format!("{} P50 {p50}, P99 {p99}", class.class.name()))
                })
                .collect::<Vec<_>>()
                .join("; ")
        );
    }
    out
}

fn merged(
    parts: &[RunResult],
    pick: fn(&RunResult) -> &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    for (cause, count) in parts.iter().flat_map(pick) {
        *out.entry(cause.clone()).or_default() += count;
    }
    out
}

/// Counts together, and of every quantile the worst: that of the whole is never above it.
fn worst<'a>(all: impl Iterator<Item = &'a Latency>) -> Option<Latency> {
    all.cloned().reduce(|a, b| {
        let count = a.count + b.count;
        let sum = a.mean_us * a.count as f64 + b.mean_us * b.count as f64;
        Latency {
            count,
            p50_us: a.p50_us.max(b.p50_us),
            p90_us: a.p90_us.max(b.p90_us),
            p99_us: a.p99_us.max(b.p99_us),
            p999_us: a.p999_us.max(b.p999_us),
            max_us: a.max_us.max(b.max_us),
            mean_us: sum / count.max(1) as f64,
        }
    })
}

fn classes(parts: &[RunResult]) -> Vec<ClassResult> {
    let of = |class: Class| -> Option<ClassResult> {
        let all: Vec<&ClassResult> = parts.iter().filter_map(|part| part.class(class)).collect();
        let tally = all.iter().filter_map(|own| own.tally).reduce(|mut a, b| {
            a.add(&b);
            a
        });
        all.first()?;
        Some(ClassResult {
            class,
            sent: all.iter().map(|own| own.sent).sum(),
            delivered_per_s: all.iter().map(|own| own.delivered_per_s).sum(),
            tally,
            wrong_text_standing: all.iter().map(|own| own.wrong_text_standing).sum(),
            latency: worst(all.iter().filter_map(|own| own.latency.as_ref())),
            curve: Vec::new(),
        })
    };
    Class::ALL.into_iter().filter_map(of).collect()
}

/// `None` where a part's server is not known: the sum would be too small.
fn server(parts: &[RunResult], users: u32) -> Option<ServerResult> {
    let servers: Vec<&ServerResult> = parts
        .iter()
        .map(|part| part.server.as_ref())
        .collect::<Option<_>>()?;
    let cpu_s: f64 = servers.iter().map(|own| own.cpu_s).sum();
    let delivered = |part: &RunResult| part.delivered_per_s * part.seconds;
    let all: f64 = parts.iter().map(delivered).sum();
    let user_us: Option<f64> = (parts.iter().zip(&servers))
        .map(|(part, own)| Some(own.user_us_per_delivered? * delivered(part)))
        .sum();
    let visits: u64 = parts.iter().map(|part| part.counts.visits).sum();
    let add = |pick: fn(&ServerResult) -> u64| servers.iter().map(|own| pick(own)).sum::<u64>();
    let rss_after = add(|own| own.rss_after);
    Some(ServerResult {
        cpu_s,
        cores_used: servers.iter().map(|own| own.cores_used).sum(),
        // All on the same ones.
        cores_allowed: servers.iter().map(|own| own.cores_allowed).max()?,
        cpu_us_per_delivered: (all >= 1.0).then(|| cpu_s * 1e6 / all),
        user_us_per_delivered: user_us.filter(|_| all >= 1.0).map(|us| us / all),
        cpu_us_per_connect: (visits > 0).then(|| cpu_s * 1e6 / visits as f64),
        rss_before: add(|own| own.rss_before),
        rss_after,
        rss_peak: add(|own| own.rss_peak),
        rss_per_user: rss_after / u64::from(users.max(1)),
        threads: add(|own| own.threads),
    })
}

fn generator(parts: &[RunResult]) -> GeneratorResult {
    let used = |part: &RunResult| {
        let server = part.server.as_ref().map_or(0.0, |own| own.cpu_s);
        (server + part.generator.cpu_s) / part.seconds
    };
    let all: f64 = parts.iter().map(used).sum();
    // For each tester the other testers and servers were "other work".
    let others = |part: &RunResult| part.generator.other_cores - (all - used(part));
    GeneratorResult {
        cpu_s: parts.iter().map(|part| part.generator.cpu_s).sum(),
        busy: parts
            .iter()
            .map(|part| part.generator.busy)
            .sum::<f64>()
            .min(1.0),
        lag: worst(parts.iter().filter_map(|part| part.generator.lag.as_ref())),
        unreached: parts.iter().map(|part| part.generator.unreached).sum(),
        other_cores: (parts.iter().map(others).sum::<f64>() / parts.len() as f64).max(0.0),
    }
}

fn counts(parts: &[RunResult]) -> Counts {
    let mut own = Counts::default();
    let pair = |a: &mut (usize, usize), b: (usize, usize)| *a = (a.0 + b.0, a.1 + b.1);
    for part in parts.iter().map(|part| &part.counts) {
        own.skipped_offline += part.skipped_offline;
        own.held_back += part.held_back;
        own.udp = (
            own.udp.0 + part.udp.0,
            own.udp.1 + part.udp.1,
            own.udp.2 + part.udp.2,
        );
        own.udp_paths += part.udp_paths;
        own.ping_timeouts += part.ping_timeouts;
        own.stalled += part.stalled;
        own.phone_acks += part.phone_acks;
        own.visits_tried += part.visits_tried;
        own.visits += part.visits;
        own.visits_skipped += part.visits_skipped;
        own.calls_failed += part.calls_failed;
        pair(&mut own.phones_alive, part.phones_alive);
        pair(&mut own.apps_alive, part.apps_alive);
        pair(&mut own.bystanders, part.bystanders);
        own.unaccounted_apps += part.unaccounted_apps;
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::verdict::tests::closed_run;

    #[test]
    fn cpu_of_all_over_the_deliveries_of_all() {
        let (mut a, mut b) = (closed_run(), closed_run());
        (a.scenario.users, b.scenario.users) = (10, 20);
        for (part, cpu_s, per_s) in [(&mut a, 0.3, 100.0), (&mut b, 0.6, 500.0)] {
            part.seconds = 1.0;
            part.delivered_per_s = per_s;
            part.generator.busy = 0.5;
            let server = part.server.as_mut().unwrap();
            (server.cpu_s, server.cores_used, server.cores_allowed) = (cpu_s, cpu_s, 1);
        }
        let whole = whole(&[a.clone(), b.clone()]).unwrap();
        let server = whole.server.unwrap();
        let cost = server.cpu_us_per_delivered.unwrap();
        assert!(
            (cost - 1500.0).abs() < 1e-6,
            "0.9 s over 600 messages, not {cost}"
        );
        assert!((server.cores_used - 0.9).abs() < 1e-9 && server.cores_allowed == 1);
        assert_eq!(whole.scenario.users, 30);
        assert_eq!(whole.verdict.word(), "ok", "{:?}", whole.verdict);
        assert_eq!(lines(&[a, b]).lines().count(), 2);
    }

    #[test]
    fn parts_of_different_moments_or_measurements_are_no_whole() {
        let (a, mut b) = (closed_run(), closed_run());
        b.window_ms = a.window_ms + (a.seconds * 1000.0) as u64;
        let apart = whole(&[a.clone(), b.clone()]).unwrap();
        assert!(apart.verdict.invalid[0].contains("apart"));
        b.scenario.duration_s += 1.0;
        assert!(whole(&[a, b]).is_err());
    }

    #[test]
    fn a_part_whose_server_ended_spoils_the_whole() {
        let (a, mut b) = (closed_run(), closed_run());
        b.server = None;
        assert_eq!(whole(&[a, b]).unwrap().verdict.word(), "INVALID");
    }
}
