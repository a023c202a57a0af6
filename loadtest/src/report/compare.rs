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

/// Why the ratios of two runs say nothing about their servers, where they do not.
pub(crate) fn obstacles(a: &RunResult, b: &RunResult) -> Vec<String> {
    let mut own = Vec::new();
    let invalid: Vec<&str> = [("A", a), ("B", b)]
        .into_iter()
        .filter(|(_, run)| !run.verdict.invalid.is_empty())
        .map(|(letter, _)| letter)
        .collect();
    if !invalid.is_empty() {
        own.push(format!(
            "{} INVALID: the figures must not be used",
            match invalid.as_slice() {
                [one] => format!("{one} is"),
                _ => "both are".to_owned(),
            }
        ));
    }
    if a.load_only() != b.load_only() {
        own.push(
            "the scenarios differ (load, users or times): the ratios say little about the servers"
                .to_owned(),
        );
    }
    own
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
    for obstacle in obstacles(a, b) {
        let _ = writeln!(out, "CAUTION: {obstacle}");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::verdict::tests::run;

    const STREAM: &str = "{ kind: audio, bytes: 100, per_user_per_s: 10 }";

    #[test]
    fn runs_of_other_loads_and_invalid_ones_are_no_comparison() {
        let a = run(STREAM);
        let mut b = a.clone();
        b.scenario.about = "the same in other words".into();
        b.scenario.expect.p99_max_ms = Some(1.0);
        assert!(obstacles(&a, &b).is_empty());
        assert!(!table(&a, &b).contains("CAUTION"));
        b.scenario.users += 1;
        assert!(obstacles(&a, &b)[0].contains("scenarios differ"));
        b.verdict.invalid.push("too busy".into());
        assert!(obstacles(&b, &b)[0].starts_with("both are INVALID"));
        // One does not hide the other.
        let table = table(&a, &b);
        assert!(table.contains("CAUTION: B is INVALID"));
        assert!(table.contains("CAUTION: the scenarios differ"));
    }
}
