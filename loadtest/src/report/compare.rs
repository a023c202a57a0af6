//! Two runs side by side.

use std::fmt::Write as _;

use super::RunResult;
use crate::hist::{Class, Latency};

/// Takes one figure out of a summary.
type Pick = fn(&Latency) -> f64;

struct Row {
    name: String,
    a: Option<f64>,
    b: Option<f64>,
}

/// A table of what both runs measured, with the ratio B / A.
pub(crate) fn table(a: &RunResult, b: &RunResult) -> String {
    let mut out = String::new();
    for (letter, run) in [("A", a), ("B", b)] {
        let _ = writeln!(
            out,
            "{letter}: {} on {} {}, {} ({} users, {} apps), {} [{}]",
            run.scenario.name,
            run.label,
            run.commit,
            run.started,
            run.scenario.users,
            run.scenario.apps_per_user,
            run.machine,
            run.verdict.word()
        );
    }
    if a.scenario != b.scenario {
        let _ = writeln!(
            out,
            "CAUTION: the scenarios differ; ratios say little about the servers"
        );
    }
    if [a, b].iter().any(|run| run.verdict.word() == "INVALID") {
        let _ = writeln!(
            out,
            "CAUTION: a run is INVALID; its figures must not be used"
        );
    }
    if a.machine != b.machine || a.host != b.host {
        let _ = writeln!(out, "CAUTION: the machines differ");
    }
    let _ = writeln!(out, "\n{:<38}{:>14}{:>14}{:>9}", "", "A", "B", "B / A");
    for row in rows(a, b) {
        let cell = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
        };
        let ratio = match (row.a, row.b) {
            (Some(a), Some(b)) if a > 0.0 => format!("{:.3}", b / a),
            _ => "-".to_owned(),
        };
        let _ = writeln!(
            out,
            "{:<38}{:>14}{:>14}{ratio:>9}",
            row.name,
            cell(row.a),
            cell(row.b)
        );
    }
    out
}

fn rows(a: &RunResult, b: &RunResult) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |name: &str, pick: &dyn Fn(&RunResult) -> Option<f64>| {
        let (a, b) = (pick(a), pick(b));
        if a.is_some() || b.is_some() {
            rows.push(Row {
                name: name.to_owned(),
                a,
                b,
            });
        }
    };
    add("delivered / s", &|run| Some(run.delivered_per_s));
    add("server CPU us / delivered", &|run| {
        run.server.as_ref()?.cpu_us_per_delivered
    });
    add("server CPU us / connect", &|run| {
        run.server.as_ref()?.cpu_us_per_connect
    });
    add("server cores", &|run| Some(run.server.as_ref()?.cores_used));
    add("server memory MB", &|run| {
        Some(run.server.as_ref()?.rss_after as f64 / 1_048_576.0)
    });
    add("generator busy", &|run| Some(run.generator.busy));
    add("lost", &|run| Some(run.total().lost as f64));
    add("missed offline", &|run| {
        Some(run.total().missed_offline as f64)
    });
    add("twice, out of order, damaged, astray", &|run| {
        let total = run.total();
        let wrong = total.duplicated + total.out_of_order + total.damaged + total.misrouted;
        Some(wrong as f64)
    });
    for class in Class::ALL {
        let picks: [(&str, Pick); 5] = [
            ("P50", |latency| latency.p50_us),
            ("P90", |latency| latency.p90_us),
            ("P99", |latency| latency.p99_us),
            ("P99.9", |latency| latency.p999_us),
            ("max", |latency| latency.max_us),
        ];
        for (name, pick) in picks {
            add(&format!("{} {name} us", class.name()), &|run| {
                run.class(class)?.latency.as_ref().map(pick)
            });
        }
    }
    rows
}
