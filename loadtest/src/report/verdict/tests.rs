use super::*;
use crate::hist::Latency;
use crate::report::{ClassResult, Counts, FORMAT, GeneratorResult, ServerResult};
use crate::scenario::Scenario;
use crate::track::Tally;

fn latency(p99_us: f64, count: u64) -> Latency {
    Latency {
        count,
        p50_us: p99_us / 4.0,
        p90_us: p99_us / 2.0,
        p99_us,
        p999_us: p99_us,
        max_us: p99_us,
        mean_us: p99_us / 3.0,
    }
}

fn run(stream: &str) -> RunResult {
    let text = format!(
        "{{ name: x, users: 10, apps_per_user: 1, duration_s: 10, streams: [{stream}], \
         expect: {{ lost_max: 0, disorder_max: 0, ping_max_ms: 1000, apps_alive_min: 1 }} }}"
    );
    RunResult {
        format: FORMAT,
        started: String::new(),
        label: "x".into(),
        commit: String::new(),
        host: String::new(),
        machine: String::new(),
        driver: String::new(),
        scenario: Scenario::parse(&text).unwrap(),
        bring_up_s: 0.0,
        seconds: 10.0,
        delivered_per_s: 100.0,
        offered_per_s: 0.0,
        classes: vec![ClassResult {
            class: Class::Audio,
            sent: 1000,
            delivered_per_s: 100.0,
            tally: Some(Tally::default()),
            wrong_text_standing: 0,
            latency: Some(latency(2000.0, 1000)),
            curve: Vec::new(),
        }],
        server: Some(ServerResult {
            cpu_s: 9.9,
            cores_used: 0.99,
            cores_allowed: 1,
            cpu_us_per_delivered: None,
            user_us_per_delivered: None,
            cpu_us_per_connect: None,
            rss_before: 0,
            rss_after: 0,
            rss_peak: 0,
            rss_per_user: 0,
            threads: 1,
        }),
        generator: GeneratorResult {
            cpu_s: 5.0,
            busy: 0.5,
            lag: None,
            other_cores: 0.0,
        },
        errors: std::collections::BTreeMap::new(),
        closes: std::collections::BTreeMap::new(),
        counts: Counts {
            phones_alive: (10, 10),
            apps_alive: (10, 10),
            ..Counts::default()
        },
        verdict: Verdict::default(),
        timeline: Vec::new(),
    }
}

const CLOSED: &str = "{ kind: audio, bytes: 100, in_flight: 1 }";
const OPEN: &str = "{ kind: audio, bytes: 100, per_user_per_s: 10 }";

#[test]
fn a_saturated_server_is_measured_even_by_a_busy_generator() {
    let mut own = run(CLOSED);
    own.generator.busy = 1.0;
    assert_eq!(judge(&own, true).word(), "ok");
}

#[test]
fn a_busy_generator_and_a_server_with_time_to_spare_make_a_closed_loop_invalid() {
    let mut own = run(CLOSED);
    own.generator.busy = 0.98;
    if let Some(server) = &mut own.server {
        server.cores_used = 0.7;
    }
    assert_eq!(judge(&own, true).word(), "INVALID");
    own.generator.busy = 0.5;
    let verdict = judge(&own, true);
    assert_eq!((verdict.word(), verdict.notes.len()), ("ok", 1));
}

#[test]
fn a_generator_that_is_late_or_does_not_keep_the_rate_makes_an_open_loop_invalid() {
    let mut own = run(OPEN);
    own.offered_per_s = 100.0;
    own.generator.lag = Some(latency(900.0, 1000));
    assert_eq!(judge(&own, true).word(), "ok");
    own.generator.lag = Some(latency(1500.0, 1000));
    assert!(judge(&own, true).late);
    // Against a server that takes seconds the same lateness is nothing.
    own.classes[0].latency = Some(latency(2_000_000.0, 1000));
    assert_eq!(judge(&own, true).word(), "ok");
    own.generator.lag = Some(latency(10.0, 900));
    assert_eq!(judge(&own, true).word(), "INVALID");
}

#[test]
fn a_server_that_ends_makes_the_run_invalid_when_it_was_watched() {
    let mut own = run(OPEN);
    own.server = None;
    assert_eq!(judge(&own, true).word(), "INVALID");
    assert_eq!(judge(&own, false).word(), "ok");
}

#[test]
fn broken_expectations_are_named() {
    let mut own = run(OPEN);
    own.classes[0].tally = Some(Tally {
        lost: 1,
        duplicated: 2,
        ..Tally::default()
    });
    own.counts.ping_timeouts = 1;
    own.counts.apps_alive = (9, 10);
    let verdict = judge(&own, true);
    assert_eq!((verdict.word(), verdict.failed.len()), ("FAILED", 4));
}

#[test]
fn a_page_and_a_summary_say_what_is_wrong_and_hold_no_markup_from_names() {
    let mut own = run(CLOSED);
    own.label = "<script>".into();
    own.classes[0].curve = vec![(0.0, 10.0), (50.0, 20.0), (100.0, 2000.0)];
    own.generator.busy = 1.0;
    own.server = None;
    own.verdict = judge(&own, true);
    let page = crate::report::html::page(&own);
    assert!(page.contains("INVALID") && page.contains("<svg") && !page.contains("<script"));
    assert!(crate::report::text::summary(&own).contains("INVALID"));
}

#[test]
fn a_result_survives_its_file() {
    let own = run(CLOSED);
    let text = serde_json::to_string(&own).unwrap();
    let back: RunResult = serde_json::from_str(&text).unwrap();
    assert_eq!(back.scenario, own.scenario);
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
}
