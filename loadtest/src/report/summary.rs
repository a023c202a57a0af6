//! Many rounds of several servers: medians, ranges, and ratios of paired rounds. Made by `scripts/bench`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::RunResult;
use crate::hist::{Class, Latency};
use crate::output;

/// Runs of one folder: workload, then server, then round.
pub(crate) type Rounds = BTreeMap<String, BTreeMap<String, BTreeMap<u32, RunResult>>>;

/// Reads `<workload>.<server>.<round>.json` of a folder.
pub(crate) fn load(folder: &Path) -> Result<Rounds, String> {
    let mut rounds = Rounds::new();
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("");
        let Some((workload, server, round)) = parts(name) else {
            continue;
        };
        // A run that is under way has taken its name.
        if std::fs::metadata(&path).is_ok_and(|found| found.len() == 0) {
            output::progress(&format!("{}: empty, left out", path.display()));
            continue;
        }
        let run = RunResult::load(&path)?;
        rounds
            .entry(workload.to_owned())
            .or_default()
            .entry(server.to_owned())
            .or_default()
            .insert(round, run);
    }
    if rounds.is_empty() {
        return Err(format!(
            "{}: no files named <workload>.<server>.<round>.json",
            folder.display()
        ));
    }
    Ok(rounds)
}

/// Workload, server (whose name may have dots) and round of a file's name.
fn parts(name: &str) -> Option<(&str, &str, u32)> {
    let (rest, round) = name.strip_suffix(".json")?.rsplit_once('.')?;
    let (workload, server) = rest.split_once('.')?;
    Some((workload, server, round.parse().ok()?))
}

/// What makes the figures of a workload no measurement of one thing, where something does.
fn cautions(servers: &BTreeMap<String, BTreeMap<u32, RunResult>>) -> Vec<&'static str> {
    let runs = || servers.values().flat_map(BTreeMap::values);
    let Some(first) = runs().next() else {
        return Vec::new();
    };
    let load = first.load_only();
    let mut own = Vec::new();
    if runs().any(|run| run.load_only() != load) {
        own.push("the scenarios of these runs differ (load, users or times)");
    }
    if runs().any(|run| (&run.host, &run.machine) != (&first.host, &first.machine)) {
        own.push("these runs are from different machines");
    }
    if runs().any(|run| run.commit != first.commit) {
        own.push("these runs are of different commits");
    }
    own
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((values[middle - 1] + upper) / 2.0)
}

fn cost(run: &RunResult) -> Option<f64> {
    let server = run.server.as_ref()?;
    server.cpu_us_per_delivered.or(server.cpu_us_per_connect)
}

/// A Markdown table per workload. Ratios are `subject` / other server, round by round, then the median.
/// Figures of INVALID rounds are left out of medians and ratios; how many were is said.
pub(crate) fn markdown(rounds: &Rounds, subject: &str) -> String {
    let mut out = String::new();
    if let Some(run) = rounds
        .values()
        .flat_map(BTreeMap::values)
        .flat_map(BTreeMap::values)
        .next()
    {
        let _ = writeln!(
            out,
            "# Benchmark, {}\n\n{} ({}), commit {}.\n",
            run.started, run.machine, run.host, run.commit
        );
        let _ = writeln!(
            out,
            "CPU = server process, all threads, per delivered message (per connect where nothing is delivered), \
             microseconds. Rounds alternate between the servers; a ratio is {subject} / server within one round. \
             Method: `docs/performance-method.md`.\n"
        );
    }
    let known = |servers: &BTreeMap<_, _>| servers.contains_key(subject);
    if !rounds.values().any(known) {
        let names: BTreeSet<&String> = rounds.values().flat_map(BTreeMap::keys).collect();
        let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
        let _ = writeln!(
            out,
            "CAUTION: no ratios, because no run is of {subject}; there are {}.\n",
            names.join(", ")
        );
    }
    for (workload, servers) in rounds {
        let _ = writeln!(out, "## {workload}\n");
        for caution in cautions(servers) {
            let _ = writeln!(out, "CAUTION: {caution}.\n");
        }
        let _ = writeln!(
            out,
            "| server | rounds used | CPU us median | min-max | best | {subject} / server, paired median [min-max] | delivered/s median | P50 us | P99 us | P99.9 us | RSS MB | server cores | generator busy |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
        );
        let own = servers.get(subject);
        for (server, runs) in servers {
            row(&mut out, server, runs, own);
        }
        let _ = writeln!(out);
        for (server, runs) in servers {
            for (round, run) in runs {
                let own = &run.verdict;
                for (word, reasons) in [("INVALID", &own.invalid), ("FAILED", &own.failed)] {
                    for reason in reasons {
                        let _ = writeln!(out, "- {word}, {server}, round {round}: {reason}");
                    }
                }
            }
        }
        let _ = writeln!(out);
    }
    out
}

/// The rounds of a server that count.
struct Used<'a>(Vec<&'a RunResult>);

impl Used<'_> {
    fn values(&self, pick: impl Fn(&RunResult) -> Option<f64>) -> Vec<f64> {
        self.0.iter().filter_map(|run| pick(run)).collect()
    }

    fn median(&self, digits: usize, pick: impl Fn(&RunResult) -> Option<f64>) -> String {
        median(&mut self.values(pick)).map_or_else(none, |value| format!("{value:.digits$}"))
    }

    /// Of the first class that the workload has.
    fn latency(&self, pick: impl Fn(&Latency) -> f64) -> String {
        let classes = [
            Class::Audio,
            Class::Speech,
            Class::Event,
            Class::Display,
            Class::PhoneConnect,
        ];
        self.median(0, |run| {
            let class = classes.into_iter().find_map(|class| run.class(class))?;
            class.latency.as_ref().map(&pick)
        })
    }
}

/// A cell that has no figure.
fn none() -> String {
    "-".to_owned()
}

fn counts(run: &RunResult) -> bool {
    run.verdict.invalid.is_empty()
}

fn lowest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn range(values: &[f64]) -> String {
    if values.is_empty() {
        return none();
    }
    let high = values.iter().copied().fold(0.0, f64::max);
    format!("{:.2}-{high:.2}", lowest(values))
}

/// What `subject` cost divided by what `runs` cost, per round that counts for both.
fn ratios(subject: &BTreeMap<u32, RunResult>, runs: &BTreeMap<u32, RunResult>) -> Vec<f64> {
    let paired = runs.iter().filter_map(|(round, other)| {
        let own = subject.get(round)?;
        (counts(own) && counts(other)).then_some(cost(own)? / cost(other)?)
    });
    paired.collect()
}

fn row(
    out: &mut String,
    server: &str,
    runs: &BTreeMap<u32, RunResult>,
    subject: Option<&BTreeMap<u32, RunResult>>,
) {
    let used = Used(runs.values().filter(|run| counts(run)).collect());
    let costs = used.values(cost);
    let mut ratios = subject.map_or_else(Vec::new, |subject| ratios(subject, runs));
    let ratio =
        median(&mut ratios).map_or_else(none, |value| format!("{value:.2} [{}]", range(&ratios)));
    let best = match lowest(&costs) {
        best if best.is_finite() => format!("{best:.2}"),
        _ => none(),
    };
    let _ = writeln!(
        out,
        "| {server} | {} of {} | {} | {} | {best} | {ratio} | {} | {} | {} | {} | {} | {} | {} |",
        used.0.len(),
        runs.len(),
        used.median(2, cost),
        range(&costs),
        used.median(0, |run| Some(run.delivered_per_s)),
        used.latency(|latency| latency.p50_us),
        used.latency(|latency| latency.p99_us),
        used.latency(|latency| latency.p999_us),
        used.median(1, |run| Some(
            run.server.as_ref()?.rss_after as f64 / 1_048_576.0
        )),
        used.median(2, |run| Some(run.server.as_ref()?.cores_used)),
        used.median(2, |run| Some(run.generator.busy)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&mut []), None);
    }

    #[test]
    fn names_of_servers_may_have_dots_and_other_files_are_none_of_ours() {
        let of = |name| parts(name);
        assert_eq!(of("day.prism.3.json"), Some(("day", "prism", 3)));
        assert_eq!(of("day.v1.2.3.json"), Some(("day", "v1.2", 3)));
        for other in [
            "day.prism.json",
            "day.3.json",
            "day.prism.3.html",
            "day.1.part2.prism.json",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    fn folder(runs: &[(&str, u32, RunResult)]) -> Rounds {
        let mut rounds = Rounds::new();
        for (server, round, run) in runs {
            let servers = rounds.entry("day".to_owned()).or_default();
            let own = servers.entry((*server).to_owned()).or_default();
            own.insert(*round, run.clone());
        }
        rounds
    }

    fn run_that_cost(us: f64) -> RunResult {
        let mut run = crate::report::verdict::tests::closed_run();
        run.server.as_mut().unwrap().cpu_us_per_delivered = Some(us);
        run
    }

    #[test]
    fn ratios_are_of_the_same_round_and_of_rounds_that_count_for_both() {
        let mut spoilt = run_that_cost(100.0);
        spoilt.verdict.invalid.push("too busy".into());
        let rounds = folder(&[
            ("a", 1, run_that_cost(1.0)),
            ("a", 2, run_that_cost(9.0)),
            ("a", 3, run_that_cost(1.0)),
            ("a", 4, spoilt),
            ("b", 1, run_that_cost(2.0)),
            ("b", 2, run_that_cost(3.0)),
            ("b", 4, run_that_cost(1.0)),
        ]);
        let text = markdown(&rounds, "a");
        assert!(
            text.contains("| b | 3 of 3 | 2.00 | 1.00-3.00 | 1.00 | 1.75 [0.50-3.00] |"),
            "{text}"
        );
        assert!(text.contains("| a | 3 of 4 | 1.00 | 1.00-9.00 |"), "{text}");
        assert!(text.contains("- INVALID, a, round 4: too busy"), "{text}");
        assert!(!text.contains("CAUTION"), "{text}");
    }

    #[test]
    fn figures_of_different_loads_and_a_subject_that_is_not_there_are_told() {
        let mut other = run_that_cost(1.0);
        other.scenario.users += 1;
        let rounds = folder(&[("a", 1, run_that_cost(1.0)), ("a", 2, other)]);
        let text = markdown(&rounds, "b");
        assert!(
            text.contains("CAUTION: the scenarios of these runs differ"),
            "{text}"
        );
        assert!(
            text.contains("CAUTION: no ratios, because no run is of b; there are a."),
            "{text}"
        );
    }
}
