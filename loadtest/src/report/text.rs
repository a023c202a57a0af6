//! The summary table of one run, for the terminal.

use std::fmt::Write as _;

use super::RunResult;
use crate::hist::{Class, Latency};

/// Bytes as MB with one decimal.
pub(crate) fn mega(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1_048_576.0)
}

/// Microseconds in a unit that suits them.
pub(crate) fn duration(us: f64) -> String {
    if us < 1000.0 {
        format!("{us:.0} us")
    } else if us < 1_000_000.0 {
        format!("{:.2} ms", us / 1000.0)
    } else {
        format!("{:.2} s", us / 1_000_000.0)
    }
}

/// The whole summary.
pub(crate) fn summary(run: &RunResult) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "\n{} against {} ({} users, {} apps each, {:.0} s): {}",
        run.scenario.name,
        run.label,
        run.scenario.users,
        run.scenario.apps_per_user,
        run.seconds,
        run.verdict.word()
    );
    classes(run, &mut out);
    tallies(run, &mut out);
    machine(run, &mut out);
    let counts = &run.counts;
    let _ = writeln!(
        out,
        "alive at the end: phones {} of {}, apps {} of {}; reconnects {}; ping time-outs {}; skipped offline {}; held back {}; stalled {}",
        counts.phones_alive.0,
        counts.phones_alive.1,
        counts.apps_alive.0,
        counts.apps_alive.1,
        counts.phone_acks,
        counts.ping_timeouts,
        counts.skipped_offline,
        counts.held_back,
        counts.stalled
    );
    special(run, &mut out);
    for (title, causes) in [("error", &run.errors), ("close by the server", &run.closes)] {
        for (cause, count) in causes {
            let _ = writeln!(out, "{title}: {cause} ({count})");
        }
    }
    for (title, lines) in [
        ("INVALID", &run.verdict.invalid),
        ("FAILED", &run.verdict.failed),
        ("note", &run.verdict.notes),
    ] {
        for line in lines {
            let _ = writeln!(out, "{title}: {line}");
        }
    }
    out
}

/// Counts of what only some scenarios have.
fn special(run: &RunResult, out: &mut String) {
    let counts = &run.counts;
    let (open, all) = counts.bystanders;
    if all > 0 {
        let _ = writeln!(
            out,
            "sockets without a name: {open} of {all} open at the end"
        );
    }
    if run.scenario.by_udp() {
        let (packets, no_room, fallback) = counts.udp;
        let _ = writeln!(
            out,
            "audio by UDP: {packets} packets; {no_room} found no room; {fallback} went over the WebSocket"
        );
    }
    if run.scenario.rest.on_ack {
        let _ = writeln!(
            out,
            "calls answered: {}; failed: {}; ways by UDP confirmed: {}",
            (run.class(Class::Rest))
                .map_or(0, |class| class.latency.as_ref().map_or(0, |own| own.count)),
            counts.calls_failed,
            counts.udp_paths
        );
    }
    if run.scenario.connects.is_some() {
        let _ = writeln!(
            out,
            "connects acknowledged: {:.0}/s; not acknowledged: {}; skipped because too many were under way: {}",
            counts.visits as f64 / run.seconds,
            counts.visits_tried.saturating_sub(counts.visits),
            counts.visits_skipped
        );
    }
}

fn classes(run: &RunResult, out: &mut String) {
    let _ = writeln!(
        out,
        "{:<14}{:>12}{:>12}{:>11}{:>11}{:>11}{:>11}{:>11}",
        "class", "delivered/s", "samples", "P50", "P90", "P99", "P99.9", "max"
    );
    for class in &run.classes {
        let cell = |pick: fn(&Latency) -> f64| {
            class
                .latency
                .as_ref()
                .map_or_else(|| "-".to_owned(), |latency| duration(pick(latency)))
        };
        let _ = writeln!(
            out,
            "{:<14}{:>12}{:>12}{:>11}{:>11}{:>11}{:>11}{:>11}",
            class.class.name(),
            class.tally.map_or_else(
                || "-".to_owned(),
                |_| format!("{:.0}", class.delivered_per_s)
            ),
            class.latency.as_ref().map_or(0, |latency| latency.count),
            cell(|latency| latency.p50_us),
            cell(|latency| latency.p90_us),
            cell(|latency| latency.p99_us),
            cell(|latency| latency.p999_us),
            cell(|latency| latency.max_us),
        );
    }
}

fn tallies(run: &RunResult, out: &mut String) {
    for class in &run.classes {
        let Some(tally) = &class.tally else { continue };
        let _ = writeln!(
            out,
            "{}: expected {}, delivered {}, lost {}, missed offline {}, twice {}, out of order {}, damaged {}, misrouted {}{}",
            class.class.name(),
            tally.expected,
            tally.delivered,
            tally.lost,
            tally.missed_offline,
            tally.duplicated,
            tally.out_of_order,
            tally.damaged,
            tally.misrouted,
            if class.class == Class::Display {
                format!(", wrong text standing {}", class.wrong_text_standing)
            } else {
                String::new()
            }
        );
    }
}

fn machine(run: &RunResult, out: &mut String) {
    if let Some(server) = &run.server {
        let per = |name: &str, value: Option<f64>| {
            value.map_or_else(String::new, |us| format!(", {us:.2} us per {name}"))
        };
        let _ = writeln!(
            out,
            "server: {:.2} of {} cores{}{}{}; memory {} -> {} (peak {}, {:.1} KB per user), {} threads",
            server.cores_used,
            server.cores_allowed,
            per("delivered message", server.cpu_us_per_delivered),
            server.user_us_per_delivered.map_or_else(String::new, |us| {
                format!(" ({us:.2} us of it in user space, coarse)")
            }),
            per("connect", server.cpu_us_per_connect),
            mega(server.rss_before),
            mega(server.rss_after),
            mega(server.rss_peak),
            server.rss_per_user as f64 / 1024.0,
            server.threads
        );
    }
    let lag = run.generator.lag.as_ref().map_or_else(String::new, |lag| {
        format!(
            ", behind schedule P50 {} P99 {} max {}",
            duration(lag.p50_us),
            duration(lag.p99_us),
            duration(lag.max_us)
        )
    });
    let _ = writeln!(
        out,
        "generator: busy {:.0} %{lag}; other work on the machine {:.2} cores; bring-up {:.1} s",
        run.generator.busy * 100.0,
        run.generator.other_cores,
        run.bring_up_s
    );
}
