//! Results: one JSON document per run, and what is made of it (text, HTML, comparisons).

pub(crate) mod build;
pub(crate) mod compare;
pub(crate) mod html;
pub(crate) mod sum;
pub(crate) mod summary;
mod svg;
pub(crate) mod text;
pub(crate) mod verdict;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::Second;
use crate::hist::{Class, Latency};
use crate::scenario::Scenario;
use crate::track::Tally;

/// Version of the JSON document; readers refuse others.
pub(crate) const FORMAT: u32 = 1;

/// Everything about one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunResult {
    /// See [`FORMAT`].
    pub(crate) format: u32,
    /// When the run began.
    pub(crate) started: String,
    /// Name of the server under test, as the caller calls it.
    pub(crate) label: String,
    /// Commit of the server under test, as the caller says.
    pub(crate) commit: String,
    /// Name of the machine.
    pub(crate) host: String,
    /// Its CPU and kernel.
    pub(crate) machine: String,
    /// How it was driven: target kind, polling, core.
    pub(crate) driver: String,
    /// The scenario as it was run, after scaling and overrides.
    pub(crate) scenario: Scenario,
    /// Seconds until every user was ready.
    pub(crate) bring_up_s: f64,
    /// Connection errors and closes by the server meanwhile, by cause.
    #[serde(default)]
    pub(crate) bring_up_errors: BTreeMap<String, u64>,
    /// When the run was broken off: seconds after the window began.
    #[serde(default)]
    pub(crate) interrupted_s: Option<f64>,
    /// When the measured window began (wall clock, milliseconds).
    #[serde(default)]
    pub(crate) window_ms: u64,
    /// Length of the measured window, seconds.
    pub(crate) seconds: f64,
    /// Deliveries per second inside the window, all streams.
    pub(crate) delivered_per_s: f64,
    /// Open loop: messages per second asked for; 0 in closed loops.
    pub(crate) offered_per_s: f64,
    /// Per class.
    pub(crate) classes: Vec<ClassResult>,
    /// The server process; absent when no pid was given or it ended.
    pub(crate) server: Option<ServerResult>,
    /// The load generator itself.
    pub(crate) generator: GeneratorResult,
    /// Connection errors by cause.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Closes by the server: role, code, reason.
    pub(crate) closes: BTreeMap<String, u64>,
    /// Single counts.
    pub(crate) counts: Counts,
    /// Whether the figures can be used, and whether the expectations held.
    pub(crate) verdict: verdict::Verdict,
    /// The course of the run.
    pub(crate) timeline: Vec<Second>,
}

/// One class of latencies, with the message counts where it has any.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClassResult {
    /// Which.
    pub(crate) class: Class,
    /// Messages sent in the whole phase.
    pub(crate) sent: u64,
    /// Deliveries per second inside the window.
    pub(crate) delivered_per_s: f64,
    /// Accounting over the whole phase (streams only).
    pub(crate) tally: Option<Tally>,
    /// Display only: users whose last text does not stand on the glasses.
    pub(crate) wrong_text_standing: u64,
    /// Latency summary of the window.
    pub(crate) latency: Option<Latency>,
    /// Percentile curve of the window: (percentile, microseconds).
    pub(crate) curve: Vec<(f64, f64)>,
}

/// The server process in the window.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerResult {
    /// CPU time, seconds, all threads.
    pub(crate) cpu_s: f64,
    /// Cores used on average.
    pub(crate) cores_used: f64,
    /// Cores that it may run on.
    pub(crate) cores_allowed: u64,
    /// CPU per delivered message, microseconds; absent when nothing was delivered.
    pub(crate) cpu_us_per_delivered: Option<f64>,
    /// Of which in user space, microseconds (sampled by ticks: coarse).
    pub(crate) user_us_per_delivered: Option<f64>,
    /// CPU per acknowledged connect, microseconds; scenarios with connects only.
    pub(crate) cpu_us_per_connect: Option<f64>,
    /// Resident memory at the beginning of the window, bytes.
    pub(crate) rss_before: u64,
    /// Resident memory at its end, bytes.
    pub(crate) rss_after: u64,
    /// Largest resident memory since the process started, bytes.
    pub(crate) rss_peak: u64,
    /// Resident memory at the end per simulated user, bytes.
    pub(crate) rss_per_user: u64,
    /// Threads at the end.
    pub(crate) threads: u64,
}

/// The load generator in the window.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GeneratorResult {
    /// CPU time of its thread, seconds.
    pub(crate) cpu_s: f64,
    /// Share of the window in which it had something to do.
    pub(crate) busy: f64,
    /// How late it was against its own schedule (open loop).
    pub(crate) lag: Option<Latency>,
    /// Messages that were due and that it did not get to (open loop).
    #[serde(default)]
    pub(crate) unreached: u64,
    /// Cores used by everything else on the machine.
    pub(crate) other_cores: f64,
}

/// Single counts of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counts {
    /// Due but not sent: the sender was not connected.
    pub(crate) skipped_offline: u64,
    /// Due but not sent: the server did not read.
    pub(crate) held_back: u64,
    /// Audio packets sent by UDP; those without room in the kernel; and what went over the WebSocket for want of a path.
    #[serde(default)]
    pub(crate) udp: (u64, u64, u64),
    /// Ways by UDP that the server confirmed.
    #[serde(default)]
    pub(crate) udp_paths: u64,
    /// Pings unanswered when the next was due.
    pub(crate) ping_timeouts: u64,
    /// Closed loop: messages given up.
    pub(crate) stalled: u64,
    /// Phones acknowledged in the phase (reconnects).
    pub(crate) phone_acks: u64,
    /// Visitors who tried in the window.
    #[serde(default)]
    pub(crate) visits_tried: u64,
    /// Those of them who were acknowledged.
    pub(crate) visits: u64,
    /// Visits skipped because too many were under way.
    pub(crate) visits_skipped: u64,
    /// Calls of phones that got another status than 200, or no answer within 10 s.
    #[serde(default)]
    pub(crate) calls_failed: u64,
    /// Phones connected at the end, of all.
    pub(crate) phones_alive: (usize, usize),
    /// Apps attached at the end, of all.
    pub(crate) apps_alive: (usize, usize),
    /// Sockets without a name that were open at the end, of all.
    #[serde(default)]
    pub(crate) bystanders: (usize, usize),
    /// Apps left out of the accounting because they were made to stop reading.
    pub(crate) unaccounted_apps: usize,
}

impl RunResult {
    /// The result of `class`.
    pub(crate) fn class(&self, class: Class) -> Option<&ClassResult> {
        self.classes.iter().find(|own| own.class == class)
    }

    /// The scenario as far as it is load: without its words and what it expects.
    pub(crate) fn load_only(&self) -> Scenario {
        Scenario {
            about: String::new(),
            expect: crate::scenario::Expect::default(),
            ..self.scenario.clone()
        }
    }

    /// Reads a result file.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            format: u64,
        }
        // First: other versions have other members.
        let head: Head = serde_json::from_str(text)
            .map_err(|error| format!("not a result of prism-load: {error}"))?;
        if head.format != u64::from(FORMAT) {
            return Err(format!(
                "format {} of the JSON document; this prism-load reads {FORMAT}",
                head.format
            ));
        }
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Total over the classes that have an accounting. A display that a later one replaced before it was
    /// shown is not lost: that is what the throttle is for.
    pub(crate) fn total(&self) -> Tally {
        let mut total = Tally::default();
        for class in &self.classes {
            let Some(mut tally) = class.tally else {
                continue;
            };
            if class.class == Class::Display {
                tally.lost = 0;
            }
            total.add(&tally);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_of_the_document_is_named_before_its_other_members_are() {
        let run = verdict::tests::run("{ kind: audio, bytes: 100, in_flight: 1 }");
        let text = serde_json::to_string(&run).unwrap();
        assert_eq!(RunResult::parse(&text).unwrap().scenario, run.scenario);
        let next = text.replacen("\"format\":1,", "\"format\":2,\"other\":3,", 1);
        let error = RunResult::parse(&next).unwrap_err();
        assert!(error.starts_with("format 2 of the JSON"), "{error}");
        let error = RunResult::parse(&text[..40]).unwrap_err();
        assert!(error.starts_with("not a result"), "{error}");
    }
}
