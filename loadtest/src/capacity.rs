//! Finds the highest open-loop rate at which a server keeps a P99 and loses nothing: doubling, then halving
//! the interval. Connections stay up between the steps.

use crate::cli::CapacityArgs;
use crate::engine::{Engine, EngineError, Settings};
use crate::hist::Class;
use crate::report::{RunResult, build};
use crate::scenario::Scenario;

/// Doublings before we believe that there is no limit.
const DOUBLINGS_MAX: u32 = 12;

/// What one step showed.
enum Step {
    /// Everything held.
    Kept,
    /// The server did not keep up.
    Failed(String),
    /// The generator did not keep up: no statement about the server.
    Generator(String),
}

/// Outcome of the search.
pub(crate) struct Capacity {
    /// Highest rate that held, messages per second of all users; 0 when none did.
    pub(crate) kept_per_s: f64,
    /// Lowest rate that did not hold, where there is one.
    pub(crate) failed_per_s: Option<f64>,
    /// The generator gave out before the server did: the capacity is at least what held.
    pub(crate) generator_limited: bool,
    /// Why the search ended where it did.
    pub(crate) reason: String,
    /// Result of the highest rate that held.
    pub(crate) best: Option<RunResult>,
}

/// Narrows a rate down: `try_rate` says whether a rate holds. Returns (highest kept, lowest failed).
fn bisect<E>(
    from: f64,
    precision: f64,
    mut try_rate: impl FnMut(f64) -> Result<bool, E>,
) -> Result<(f64, Option<f64>), E> {
    let (mut kept, mut failed) = (0.0, None);
    let mut rate = from;
    for _ in 0..DOUBLINGS_MAX {
        if try_rate(rate)? {
            kept = rate;
            rate *= 2.0;
        } else {
            failed = Some(rate);
            break;
        }
    }
    while let Some(limit) = failed
        && limit - kept > precision * f64::max(kept, from * precision)
    {
        let middle = f64::midpoint(kept, limit);
        if try_rate(middle)? {
            kept = middle;
        } else {
            failed = Some(middle);
        }
        if kept == 0.0 && middle < from / 64.0 {
            break;
        }
    }
    Ok((kept, failed))
}

/// Runs the search.
pub(crate) fn find(
    args: &CapacityArgs,
    settings: Settings,
    scenario: &Scenario,
    context: &build::Context,
) -> Result<Capacity, EngineError> {
    let mut engine = Engine::new(settings, scenario.clone())?;
    let mut context = context.clone();
    context.bring_up_s = engine.bring_up()?;
    engine.settle(scenario.settle_s)?;
    let asked = engine.open_rate();
    if asked <= 0.0 {
        return Err(EngineError::BringUp(
            "no user takes part in an open-loop stream: raise --users".into(),
        ));
    }
    let mut best = None;
    let mut generator_limited = false;
    let mut reason = "the highest rate tried held".to_owned();
    let (kept_per_s, failed_per_s) = bisect(args.from, args.precision, |rate| {
        let mut spec = scenario.clone();
        spec.duration_s = args.step_s;
        // All streams in proportion: the mix stays what the scenario says.
        let pace = rate / asked;
        for stream in &mut spec.streams {
            stream.per_user_per_s = stream.per_user_per_s.map(|own| own * pace);
        }
        let measured = engine.run_phase(pace, scenario.warmup_s, args.step_s)?;
        if measured.interrupted_s.is_some() {
            return Err(EngineError::Interrupted);
        }
        let mut run = build::result(&spec, &context, measured);
        let step = judge(&mut run, args.p99_ms);
        let line = match &step {
            Step::Kept => "held".to_owned(),
            Step::Failed(why) => why.clone(),
            Step::Generator(why) => format!("NOT A STATEMENT ABOUT THE SERVER: {why}"),
        };
        println!(
            "{rate:9.0} messages/s offered, {:9.0} delivered/s, worst P99 {:8.2} ms: {line}",
            run.delivered_per_s,
            worst_p99_ms(&run)
        );
        let held = matches!(step, Step::Kept);
        if held {
            best = Some(run);
        } else {
            reason = line;
            generator_limited = matches!(step, Step::Generator(_));
            // What piled up must not be charged to the next rate.
            engine.settle(3.0)?;
        }
        Ok::<bool, EngineError>(held)
    })?;
    Ok(Capacity {
        kept_per_s,
        failed_per_s,
        generator_limited,
        reason,
        best,
    })
}

fn worst_p99_ms(run: &RunResult) -> f64 {
    [Class::Audio, Class::Speech, Class::Event]
        .into_iter()
        .filter_map(|class| Some(run.class(class)?.latency.as_ref()?.p99_us / 1000.0))
        .fold(0.0, f64::max)
}

fn judge(run: &mut RunResult, p99_ms: f64) -> Step {
    let total = run.total();
    let p99 = worst_p99_ms(run);
    if p99 <= p99_ms {
        // A late generator only adds to the latency: what held in spite of it, held.
        run.verdict.excuse_lateness();
    }
    if !run.verdict.invalid.is_empty() {
        return Step::Generator(run.verdict.invalid.join("; "));
    }
    if total.lost > 0 || total.missed_offline > 0 {
        return Step::Failed(format!("lost {}", total.lost + total.missed_offline));
    }
    if run.counts.held_back > 0 || run.counts.skipped_offline > 0 {
        return Step::Failed("the server stopped reading or dropped phones".into());
    }
    if p99 > p99_ms {
        return Step::Failed(format!("P99 {p99:.1} ms"));
    }
    Step::Kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(limit: f64, from: f64) -> (f64, Option<f64>) {
        bisect(from, 0.05, |rate| Ok::<bool, ()>(rate <= limit)).unwrap()
    }

    #[test]
    fn the_limit_lies_between_the_answers_and_they_are_close() {
        for (limit, from) in [(123_456.0, 5000.0), (700.0, 5000.0), (5000.0, 5000.0)] {
            let (kept, failed) = search(limit, from);
            let failed = failed.unwrap();
            assert!(kept <= limit && limit < failed, "{kept} {limit} {failed}");
            assert!(failed - kept <= 0.06 * kept, "{kept} {failed}");
        }
    }

    #[test]
    fn without_a_limit_the_search_ends_all_the_same() {
        assert_eq!(search(f64::INFINITY, 10.0).1, None);
        assert_eq!(search(0.0, 10.0).0, 0.0);
    }
}
