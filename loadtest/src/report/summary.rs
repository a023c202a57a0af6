//! Many rounds of several servers: medians, ranges, and ratios of paired rounds. Made by `scripts/bench`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::RunResult;
use crate::hist::{Class, Latency};

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
        let parts: Vec<&str> = name.split('.').collect();
        let [workload, server, round, "json"] = parts.as_slice() else {
            continue;
        };
        let Ok(round) = round.parse() else { continue };
        let run = RunResult::load(&path)?;
        rounds
            .entry((*workload).to_owned())
            .or_default()
            .entry((*server).to_owned())
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
    for (workload, servers) in rounds {
        let _ = writeln!(out, "## {workload}\n");
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
                for reason in run.verdict.invalid.iter().chain(&run.verdict.failed) {
                    let word = run.verdict.word();
                    let _ = writeln!(out, "- {word}, {server}, round {round}: {reason}");
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
}
