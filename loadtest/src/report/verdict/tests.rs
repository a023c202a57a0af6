//! When a run is INVALID, failed or passed.

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

pub(crate) fn run(stream: &str) -> RunResult {
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
        bring_up_errors: std::collections::BTreeMap::new(),
        interrupted_s: None,
        window_ms: 0,
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
            unreached: 0,
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

/// A valid run in a closed loop.
pub(crate) fn closed_run() -> RunResult {
    run(CLOSED)
}

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
    own.generator.unreached = 8;
    assert_eq!(judge(&own, true).word(), "ok");
    own.generator.unreached = 100;
    assert_eq!(judge(&own, true).word(), "INVALID");
}

/// A search calls its best step held; its summary must not call it useless.
#[test]
fn where_a_bound_held_lateness_is_a_note_and_other_reasons_stand() {
    let mut own = run(OPEN);
    own.generator.lag = Some(latency(1500.0, 1000));
    let mut verdict = judge(&own, true);
    assert_eq!(verdict.word(), "INVALID");
    verdict.excuse_lateness();
    assert_eq!(verdict.word(), "ok");
    assert!(verdict.notes.iter().any(|note| {
        note.starts_with("the generator was late") && note.ends_with("upper bounds")
    }));
    own.generator.unreached = 100;
    let mut verdict = judge(&own, true);
    verdict.excuse_lateness();
    assert_eq!((verdict.word(), verdict.invalid.len()), ("INVALID", 1));
}

#[test]
fn a_run_that_was_broken_off_is_invalid_and_trouble_at_bring_up_is_told() {
    let mut own = run(OPEN);
    own.bring_up_errors
        .insert("phone connect: refused".into(), 3);
    let verdict = judge(&own, true);
    assert_eq!(verdict.word(), "ok");
    assert!(verdict.notes[0].contains("phone connect: refused (3)"));
    own.interrupted_s = Some(2.5);
    let verdict = judge(&own, true);
    assert_eq!(
        verdict.invalid,
        ["broken off 2.5 s after the window of 10 s began"]
    );
}

#[test]
fn a_run_whose_server_was_gone_at_the_end_is_invalid_though_no_process_was_watched() {
    let mut own = run(OPEN);
    (own.server, own.scenario.expect) = (None, crate::scenario::Expect::default());
    assert_eq!(judge(&own, false).word(), "ok");
    own.counts.phones_alive = (0, 10);
    let verdict = judge(&own, false);
    assert_eq!(verdict.invalid.len(), 1);
    assert!(verdict.invalid[0].contains("the server is gone"));
    // Where it is restarted its absence is a finding, not a mistake.
    let restart = "{ restart: { at_s: 1 } }";
    own.scenario.faults = vec![serde_saphyr::from_str(restart).unwrap()];
    own.scenario.expect.phones_alive_min = Some(1.0);
    assert_eq!(judge(&own, false).word(), "FAILED");
}

#[test]
fn a_p99_that_a_late_generator_may_have_broken_is_no_failure_of_the_server() {
    let mut own = run(OPEN);
    let churn = "{ churn: { per_user_per_h: 4 } }";
    own.scenario.faults = vec![serde_saphyr::from_str(churn).unwrap()];
    own.scenario.expect.p99_max_ms = Some(1.0);
    assert_eq!(judge(&own, true).word(), "FAILED");
    own.generator.lag = Some(latency(1500.0, 1000));
    assert_eq!(judge(&own, true).word(), "INVALID");
    // In a scenario with faults lateness alone spoils nothing.
    own.scenario.expect.p99_max_ms = Some(10.0);
    assert_eq!(judge(&own, true).word(), "ok");
    own.counts.ping_timeouts = 1;
    assert_eq!(judge(&own, true).word(), "INVALID");
}

#[test]
fn what_a_server_that_does_not_read_keeps_from_being_sent_is_told_and_counts() {
    let mut own = run(OPEN);
    own.counts.held_back = 7;
    let verdict = judge(&own, true);
    assert_eq!(verdict.word(), "FAILED");
    assert!(verdict.notes[0].starts_with("7 messages were not sent"));
}

#[test]
fn a_connection_that_nobody_meant_to_lose_counts_as_loss() {
    let mut own = run(OPEN);
    own.counts.skipped_offline = 5;
    assert_eq!(judge(&own, true).word(), "FAILED");
    let herd = "{ herd: { at_s: 1 } }";
    own.scenario.faults = vec![serde_saphyr::from_str(herd).unwrap()];
    assert_eq!(judge(&own, true).word(), "ok");
}

#[test]
fn lateness_is_measured_against_what_is_quickest() {
    let mut own = run(&format!(
        "{OPEN}, {{ kind: display, bytes: 300, per_user_per_s: 1 }}"
    ));
    own.generator.lag = Some(latency(1500.0, 1000));
    let slow = ClassResult {
        class: Class::Display,
        latency: Some(latency(300_000.0, 1000)),
        ..own.classes[0].clone()
    };
    own.classes.push(slow);
    let text = judge(&own, true).invalid.join(" ");
    assert!(text.contains("of 2.0 ms measured"), "{text}");
    // What has no schedule cannot be late.
    own.classes[0].class = Class::Rest;
    assert_eq!(judge(&own, true).word(), "ok");
    // And where nothing came at all, that is the server's failure.
    own.classes.clear();
    own.counts.apps_alive = (0, 10);
    assert_eq!(judge(&own, true).word(), "FAILED");
}

#[test]
fn a_process_that_did_next_to_nothing_is_not_the_server() {
    let mut own = run(OPEN);
    for (us, word) in [(0.0, "INVALID"), (0.3, "ok")] {
        own.server.as_mut().unwrap().cpu_us_per_delivered = Some(us);
        assert_eq!(judge(&own, true).word(), word, "{us} us");
    }
}

#[test]
fn visitors_that_the_server_turns_away_are_a_failure_and_those_that_were_not_tried_are_told() {
    let mut own = run(OPEN);
    own.scenario.expect.visits_min = Some(0.99);
    (own.counts.visits_tried, own.counts.visits) = (1000, 995);
    assert_eq!(judge(&own, true).word(), "ok");
    own.counts.visits = 500;
    let verdict = judge(&own, true);
    assert_eq!(verdict.failed, ["connects acknowledged: 500 of 1000"]);
    own.counts.visits_skipped = 7;
    assert!(judge(&own, true).notes[0].starts_with("7 connects were not tried"));
}

#[test]
fn calls_that_fail_are_a_failure_where_none_may() {
    let mut own = run(OPEN);
    own.counts.calls_failed = 3;
    assert_eq!(judge(&own, true).word(), "ok");
    own.scenario.expect.calls_failed_max = Some(2);
    assert_eq!(judge(&own, true).word(), "FAILED");
}

#[test]
fn where_some_may_be_lost_a_share_bounds_them() {
    let mut own = run(OPEN);
    own.scenario.expect.lost_max = None;
    own.scenario.expect.lost_share_max = Some(0.01);
    for (lost, word) in [(10, "ok"), (11, "FAILED")] {
        own.classes[0].tally = Some(Tally {
            expected: 1000,
            lost,
            ..Tally::default()
        });
        assert_eq!(judge(&own, true).word(), word, "{lost} lost");
    }
}

#[test]
fn memory_that_grows_beyond_what_was_expected_fails() {
    let mut own = run(OPEN);
    own.scenario.expect.memory_growth_max_mb = Some(1.0);
    assert_eq!(judge(&own, true).word(), "ok");
    if let Some(server) = &mut own.server {
        server.rss_after = 2 << 20;
    }
    assert_eq!(judge(&own, true).failed.len(), 1);
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

/// Every name of a member in `value`.
fn keys(value: &serde_json::Value, out: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (key, member) in members {
                out.insert(key.clone());
                keys(member, out);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys(item, out)),
        _ => {}
    }
}

#[test]
fn every_member_of_a_result_file_is_documented() {
    let mut own = run(OPEN);
    own.generator.lag = Some(latency(10.0, 900));
    own.timeline = vec![crate::engine::Second {
        at_s: 1.0,
        sent_per_s: 1.0,
        delivered_per_s: 1.0,
        latency: vec![(Class::Ping, latency(10.0, 1))],
        server_cores: Some(1.0),
        server_rss: Some(1),
        generator_cores: 1.0,
        phones: 1,
        apps: 1,
        notes: vec!["herd".into()],
    }];
    let mut value = serde_json::to_value(&own).unwrap();
    // A scenario is documented as what it is: YAML.
    value["scenario"] = serde_json::Value::Null;
    let mut names = std::collections::BTreeSet::new();
    keys(&value, &mut names);
    let readme = include_str!("../../../README.md");
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !readme.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "not in loadtest/README.md: {missing:?}");
}

#[test]
fn a_result_survives_its_file() {
    let own = run(CLOSED);
    let text = serde_json::to_string(&own).unwrap();
    let back: RunResult = serde_json::from_str(&text).unwrap();
    assert_eq!(back.scenario, own.scenario);
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
}

#[test]
fn a_restart_that_did_not_happen_proves_nothing() {
    let mut own = run("{ kind: audio, bytes: 100, per_user_per_s: 10 }");
    let restart = Scenario::parse(
        "{ name: x, users: 1, duration_s: 10, faults: [{ restart: { at_s: 1, times: 3, every_s: 5 } }] }",
    );
    own.scenario.faults = restart.unwrap().faults;
    own.counts.phones_alive = (10, 10);
    let verdict = judge(&own, true);
    assert!(verdict.invalid[0].contains("not restarted"), "{verdict:?}");
    let late = "restart at 11 s never came: the window is 10 s";
    assert!(verdict.notes.iter().any(|note| note == late), "{verdict:?}");
    own.counts.phone_acks = 10;
    assert!(judge(&own, true).invalid.is_empty());
}
