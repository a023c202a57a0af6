//! Pings and calls of phones, visitors, and what is said when users do not come up.

use super::*;

#[test]
fn a_ping_that_nobody_answers_before_the_run_ends_is_timed_all_the_same() {
    let text = format!("{BASE} duration_s: 1 }}").replace("users: 3", "users: 40");
    let measured = run(Quirk::NoPong, Target::Relay, &text);
    let pings = measured.stats.latency[Class::Ping.index()].summary();
    assert!(
        pings.is_some_and(|pings| pings.max_us >= 500_000.0),
        "they waited through the drain at least"
    );
}

#[test]
fn visitors_are_acknowledged_and_leave() {
    let text = "{ name: tiny, users: 1, warmup_s: 0.1, duration_s: 1, drain_s: 0.2, \
         connects: { per_s: 100, identities: 5, concurrent_max: 50 } }";
    let measured = run(Quirk::None, prism(), text);
    assert!(measured.stats.visits > 0);
    assert!(measured.stats.visits <= measured.stats.visits_tried);
    assert!(
        measured.stats.errors.0.is_empty(),
        "{:?}",
        measured.stats.errors
    );
}

#[test]
fn a_ping_that_is_given_up_is_timed_as_long_as_it_waited() {
    let text = format!("{BASE} duration_s: 1 }}");
    let fake = Fake::start(Quirk::None);
    let scenario = Scenario::parse(&text).unwrap();
    let mut engine = Engine::new(settings(fake.address, Target::Relay), scenario).unwrap();
    bring_up(&mut engine, &fake);
    let now = clock::mono_ns();
    engine.window = (now, now + 10 * SECOND);
    // No turn between the two, so no pong is seen.
    engine.users[0].ping_sent = 0;
    engine.ping(0, now, now);
    engine.ping(0, now + 5 * SECOND, now + 5 * SECOND);
    assert_eq!(engine.stats.ping_timeouts, 1);
    let pings = engine.stats.latency[Class::Ping.index()].summary();
    assert!(pings.is_some_and(|pings| pings.max_us >= 5_000_000.0));
}

#[test]
fn a_call_that_is_never_answered_has_failed() {
    let text = format!("{BASE} duration_s: 1 }}");
    let fake = Fake::start(Quirk::LeavesCallsOpen);
    let scenario = Scenario::parse(&text).unwrap();
    let mut engine = Engine::new(settings(fake.address, prism()), scenario).unwrap();
    fake.set_ports(engine.hooks.port, engine.recogniser_port);
    bring_up(&mut engine, &fake);
    until(&mut engine, |engine| engine.rest.under_way() == 0);
    let now = clock::mono_ns();
    engine.post_location(0, now);
    let later = now + 600 * SECOND;
    for failed in [0, 1] {
        // Once more, as for every connection that ends.
        engine.end_unanswered(later);
        assert_eq!(engine.stats.calls_failed, failed);
    }
    let cause = "rest answer: none in 10 s";
    assert_eq!(engine.stats.errors.0.get(cause), Some(&1));
}

#[test]
fn visitors_that_are_turned_away_have_tried() {
    let text = "{ name: tiny, users: 1, warmup_s: 0.1, duration_s: 1, drain_s: 0.2, \
         connects: { per_s: 100, identities: 5, concurrent_max: 50 } }";
    let measured = run(Quirk::RefusesVisitors, prism(), text);
    assert!(measured.stats.visits_tried > 0);
    assert_eq!((measured.stats.visits, measured.phones_alive), (0, (1, 1)));
}

#[test]
fn a_stranger_whose_users_do_not_come_up_is_told_what_to_look_at() {
    let scenario = Scenario::parse(&format!("{BASE} duration_s: 1 }}")).unwrap();
    let advice = |target, phones, causes: &str| {
        let settings = settings("127.0.0.1:1".parse().unwrap(), target);
        let engine = Engine::new(settings, scenario.clone()).unwrap();
        engine.advice(phones, causes).unwrap_or_default()
    };
    let elsewhere = "phone upgrade: status 404 (12)";
    assert!(advice(prism(), 0, elsewhere).contains("--port"));
    assert!(advice(Target::Relay, 0, elsewhere).contains("--port"));
    assert!(advice(prism(), 3, "start: status 404 (3)").contains("apps-file"));
    assert!(advice(prism(), 0, "phone upgrade: status 401 (9)").contains("--jwt-secret"));
    assert!(advice(Target::Relay, 0, "phone upgrade: status 401 (9)").contains("--target prism"));
    assert!(advice(prism(), 0, "").contains("--target relay"));
    assert!(advice(prism(), 3, "").contains("--webhook-port"));
    assert_eq!(advice(Target::Relay, 0, ""), "");
}

/// A search for capacity that went on before would count who is not back yet against the next rate.
#[test]
fn between_two_rates_everybody_who_was_dropped_comes_back() {
    let stream = "streams: [{ kind: audio, bytes: 64, per_user_per_s: 50 }]";
    let scenario = Scenario::parse(&format!("{BASE} duration_s: 0.2, {stream} }}")).unwrap();
    let fake = Fake::start(Quirk::None);
    let mut engine = Engine::new(settings(fake.address, Target::Relay), scenario).unwrap();
    bring_up(&mut engine, &fake);
    engine.run_phase(1.0, 0.1, 0.2).unwrap();
    engine.drop_phone(0);
    engine.recover().unwrap();
    let measured = engine.run_phase(1.0, 0.1, 0.2).unwrap();
    assert_eq!(measured.phones_alive, (3, 3));
    assert_eq!(measured.stats.skipped_offline, 0);
}

#[test]
fn a_call_is_timed_from_when_it_was_meant_to_be_made() {
    let text = format!("{BASE} duration_s: 1 }}");
    let fake = Fake::start(Quirk::None);
    let scenario = Scenario::parse(&text).unwrap();
    let mut engine = Engine::new(settings(fake.address, prism()), scenario).unwrap();
    fake.set_ports(engine.hooks.port, engine.recogniser_port);
    bring_up(&mut engine, &fake);
    until(&mut engine, |engine| engine.rest.under_way() == 0);
    let now = clock::mono_ns();
    engine.window = (now, now + 60 * SECOND);
    engine.post_location(0, now - 7 * SECOND);
    until(&mut engine, |engine| engine.rest.under_way() == 0);
    let calls = engine.stats.latency[Class::Rest.index()].summary();
    assert!(calls.is_some_and(|calls| calls.count == 1 && calls.max_us >= 7_000_000.0));
}
