//! Finds the highest open-loop rate at which a server keeps a P99 and loses nothing: doubling, then halving
//! the interval. Connections stay up between the steps.

use crate::cli::CapacityArgs;
use crate::engine::{Engine, EngineError, Settings};
use crate::hist::Class;
use crate::output;
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
    /// There is nothing left to measure.
    Over(String),
}

/// What ended the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The server's limit was found, or none up to the highest rate tried.
    Server,
    /// The generator gave out first.
    Generator,
    /// The server process ended, or somebody pressed Ctrl-C.
    Early,
}

/// Outcome of the search.
pub(crate) struct Capacity {
    /// Highest rate that held, messages per second of all users; 0 when none did.
    pub(crate) kept_per_s: f64,
    /// Lowest rate that did not hold, where there is one.
    pub(crate) failed_per_s: Option<f64>,
    /// What ended the search; unless it was the server's limit the capacity is at least what held.
    pub(crate) end: End,
    /// Why the search ended where it did.
    pub(crate) reason: String,
    /// Result of the highest rate that held.
    pub(crate) best: Option<RunResult>,
}

impl Capacity {
    /// The answer in a sentence.
    pub(crate) fn sentence(&self, p99_ms: f64) -> String {
        let bound = format!("P99 at most {p99_ms} ms, nothing lost");
        let kept = self.kept_per_s;
        let above = self
            .failed_per_s
            .map_or_else(String::new, |rate| format!(", {rate:.0} did not"));
        let reason = &self.reason;
        match (self.end, &self.best) {
            (End::Server, Some(_)) => {
                format!("{kept:.0} messages/s held ({bound}){above}; {reason}")
            }
            (End::Server, None) => format!(
                "below {:.0} messages/s, the lowest rate tried, which did not hold ({bound}); {reason}",
                self.failed_per_s.unwrap_or(0.0)
            ),
            (End::Generator, Some(_)) => {
                format!("at least {kept:.0} messages/s held ({bound}){above}; {reason}")
            }
            (End::Early, Some(_)) => format!(
                "at least {kept:.0} messages/s held ({bound}){above}; the search ended early: {reason}"
            ),
            (End::Generator, None) => {
                format!("not known, the generator gave out at the first rate (--from): {reason}")
            }
            (End::Early, None) => format!("not known, the search ended early: {reason}"),
        }
    }
}

/// Narrows a rate down: `try_rate` says whether a rate holds, or that there is nothing more to try. Returns (highest kept,
/// lowest failed).
fn bisect<E>(
    from: f64,
    precision: f64,
    mut try_rate: impl FnMut(f64) -> Result<Option<bool>, E>,
) -> Result<(f64, Option<f64>), E> {
    let (mut kept, mut failed) = (0.0, None);
    let mut rate = from;
    for _ in 0..DOUBLINGS_MAX {
        match try_rate(rate)? {
            None => return Ok((kept, failed)),
            Some(true) => {
                kept = rate;
                rate *= 2.0;
            }
            Some(false) => {
                failed = Some(rate);
                break;
            }
        }
    }
    while let Some(limit) = failed
        && limit - kept > precision * f64::max(kept, from * precision)
    {
        let middle = f64::midpoint(kept, limit);
        match try_rate(middle)? {
            None => break,
            Some(true) => kept = middle,
            Some(false) => failed = Some(middle),
        }
        if kept == 0.0 && middle < from / 64.0 {
            break;
        }
    }
    Ok((kept, failed))
}

/// One step of the search. All streams change in proportion: the mix stays what the scenario says.
fn paced(scenario: &Scenario, pace: f64, step_s: f64) -> Scenario {
    let mut step = scenario.clone();
    step.duration_s = step_s;
    for stream in &mut step.streams {
        stream.per_user_per_s = stream.per_user_per_s.map(|own| own * pace);
    }
    step
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
    let mut end = End::Server;
    let mut reason = "the highest rate tried held".to_owned();
    let (kept_per_s, failed_per_s) = bisect(args.from, args.precision, |rate| {
        let pace = rate / asked;
        let spec = paced(scenario, pace, args.step_s);
        let measured = match engine.run_phase(pace, scenario.warmup_s, args.step_s) {
            // What held so far is an answer.
            Err(own @ (EngineError::Interrupted | EngineError::ServerEnded)) => {
                let server = matches!(own, EngineError::ServerEnded);
                let why = ["interrupted", "the server process ended"][usize::from(server)];
                (end, reason) = (End::Early, why.to_owned());
                return Ok(None);
            }
            measured => measured?,
        };
        let mut run = build::result(&spec, &context, measured);
        let step = judge(&mut run, args.p99_ms);
        let line = match &step {
            Step::Kept => "held".to_owned(),
            Step::Failed(why) => why.clone(),
            Step::Generator(why) | Step::Over(why) => {
                format!("NOT A STATEMENT ABOUT THE SERVER: {why}")
            }
        };
        output::say(&format!(
            "{rate:9.0} messages/s offered, {:9.0} delivered/s, worst P99 {:8.2} ms: {line}\n",
            run.delivered_per_s,
            worst_p99_ms(&run)
        ));
        match step {
            Step::Kept => {
                best = Some(run);
                return Ok(Some(true));
            }
            Step::Over(why) => {
                (end, reason) = (End::Early, why);
                return Ok(None);
            }
            Step::Failed(why) => (end, reason) = (End::Server, why),
            Step::Generator(_) => (end, reason) = (End::Generator, line),
        }
        // What piled up must not be charged to the next rate.
        engine.recover()?;
        Ok::<_, EngineError>(Some(false))
    })?;
    Ok(Capacity {
        kept_per_s,
        failed_per_s,
        end,
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
    let (phones, all) = run.counts.phones_alive;
    if run.interrupted_s.is_some() || (phones == 0 && all > 0) {
        return Step::Over(run.verdict.invalid.join("; "));
    }
    if p99 == 0.0 && total.lost == 0 {
        return Step::Over("no message came within --step-s at this rate".into());
    }
    if !run.verdict.invalid.is_empty() {
        return Step::Generator(run.verdict.invalid.join("; "));
    }
    let wrong = total.damaged + total.misrouted + total.duplicated + total.out_of_order;
    if wrong > 0 {
        return Step::Failed(format!("{wrong} twice, out of order, damaged or astray"));
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
        bisect(from, 0.05, |rate| Ok::<_, ()>(Some(rate <= limit))).unwrap()
    }

    #[test]
    fn the_answer_names_a_bound_where_no_rate_held() {
        let mut own = Capacity {
            kept_per_s: 0.0,
            failed_per_s: Some(78.0),
            end: End::Server,
            reason: "P99 7.0 ms".into(),
            best: None,
        };
        let text = own.sentence(5.0);
        assert!(text.starts_with("below 78 messages/s"), "{text}");
        own.end = End::Early;
        assert!(own.sentence(5.0).contains("ended early: P99 7.0 ms"));
    }

    #[test]
    fn a_rate_at_which_messages_come_twice_or_wrong_does_not_hold() {
        let stream = "{ kind: audio, bytes: 100, per_user_per_s: 10 }";
        let mut own = crate::report::verdict::tests::run(stream);
        assert!(matches!(judge(&mut own, 20.0), Step::Kept));
        for at in 0..4 {
            let mut wrong = own.clone();
            let tally = wrong.classes[0].tally.as_mut().unwrap();
            let counts = [
                &mut tally.damaged,
                &mut tally.misrouted,
                &mut tally.duplicated,
                &mut tally.out_of_order,
            ];
            *counts[at] = 1;
            assert!(matches!(judge(&mut wrong, 20.0), Step::Failed(_)));
        }
    }

    #[test]
    fn a_search_that_ends_early_keeps_what_it_found() {
        let mut steps = [Some(true), Some(true), Some(false), None].into_iter();
        let found = bisect(100.0, 0.05, |_| Ok::<_, ()>(steps.next().unwrap()));
        assert_eq!(found.unwrap(), (200.0, Some(400.0)));
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
