//! The whole engine, tiny, against a server that runs in the same process on blocking threads.

mod connects;
mod fake;

use std::net::SocketAddrV4;

use super::udp::Link;
use super::{Engine, Measured, Settings, Target};
use crate::clock::{self, MILLI, SECOND};
use crate::hist::Class;
use crate::scenario::{Kind, Scenario};
use fake::{Fake, Quirk};

fn settings(address: SocketAddrV4, target: Target) -> Settings {
    Settings {
        address,
        host: address.to_string(),
        target,
        server_pid: i32::try_from(std::process::id()).ok(),
        pid_file: None,
        restart_command: None,
        busy_poll: false,
        user_prefix: "t".into(),
        seed: 1,
        progress: false,
    }
}

fn prism() -> Target {
    Target::Prism {
        jwt_secret: fake::SECRET.into(),
        api_key: fake::API_KEY.into(),
        webhook_port: 0,
        provider_port: 0,
        install: true,
    }
}

fn run(quirk: Quirk, target: Target, text: &str) -> Measured {
    let scenario = Scenario::parse(text).unwrap();
    let fake = Fake::start(quirk);
    let mut engine = Engine::new(settings(fake.address, target), scenario.clone()).unwrap();
    fake.set_ports(engine.hooks.port, engine.recogniser_port);
    bring_up(&mut engine, &fake);
    until(&mut engine, |engine| has_paths(engine, &fake));
    let window = engine
        .generate(1.0, scenario.warmup_s, scenario.duration_s)
        .unwrap();
    // The fake's threads may be late: its part must be over before what did not arrive is lost.
    until(&mut engine, |engine| {
        has_paths(engine, &fake) && is_passed_on(engine, &fake)
    });
    engine.drain().unwrap();
    engine.collect(&window)
}

/// Until the fake sends to everybody: it handles a subscription some time after it was sent.
fn bring_up(engine: &mut Engine, fake: &Fake) {
    engine.bring_up().unwrap();
    let apps = engine.users.iter().map(|user| user.apps.len()).sum();
    let all = (engine.users.len(), apps);
    until(engine, |_| fake.attached() == all);
}

/// Goes on until then. After a long time it goes on all the same: what the test expects is wrong then.
fn until(engine: &mut Engine, is_so: impl Fn(&Engine) -> bool) {
    let most = clock::mono_ns() + 30 * SECOND;
    while !is_so(engine) && clock::mono_ns() < most {
        let soon = clock::mono_ns() + 5 * MILLI;
        engine.turn_until(soon).unwrap();
    }
}

/// Whether every phone that is to have one has its path by UDP.
fn has_paths(engine: &Engine, fake: &Fake) -> bool {
    let wanted = engine.scenario.by_udp() || engine.scenario.rest.on_ack;
    !wanted || !fake.takes_udp() || engine.users.iter().all(|user| user.udp == Link::Open)
}

/// Whether the fake server has done its part with everything that was sent.
fn is_passed_on(engine: &Engine, fake: &Fake) -> bool {
    let sent: u64 = engine.stats.count.iter().map(|count| count.sent).sum();
    let speech =
        (0..engine.streams.len()).filter(|index| engine.streams[*index].spec.kind == Kind::Speech);
    let answers: u64 = speech
        .flat_map(|index| engine.users.iter().map(move |user| (index, user)))
        .map(|(index, user)| engine.streams[index].spec.answers(user.seq[index]))
        .sum();
    let (handled, heard) = fake.passed_on();
    handled >= sent && heard >= answers && fake.is_delivered()
}

const BASE: &str = "{ name: tiny, users: 3, apps_per_user: 2, ramp_users_per_s: 1000, warmup_s: 0.1, drain_s: 0.1,";

#[test]
fn apps_of_a_relay_hear_something_long_and_answer_as_those_of_the_real_server_do() {
    for kind in ["audio", "event"] {
        let stream = format!("{{ kind: {kind}, bytes: 200, per_user_per_s: 1 }}");
        let text = format!("{BASE} duration_s: 1, streams: [{stream}] }}");
        let fake = Fake::start(Quirk::None);
        let scenario = Scenario::parse(&text).unwrap();
        let mut engine = Engine::new(settings(fake.address, Target::Relay), scenario).unwrap();
        bring_up(&mut engine, &fake);
        until(&mut engine, |_| fake.answered() == 6);
        assert_eq!(fake.answered(), 6);
        let damaged = |class| engine.stats.count[Class::index(class)].damaged;
        assert_eq!((damaged(Class::Audio), damaged(Class::Event)), (0, 0));
    }
}

#[test]
fn closed_loop_audio_reaches_every_app_and_is_accounted_for() {
    let text = format!(
        "{BASE} duration_s: 0.4, streams: [{{ kind: audio, bytes: 100, in_flight: 2 }}] }}"
    );
    let measured = run(Quirk::None, Target::Relay, &text);
    let audio = &measured.streams[0];
    assert!(audio.sent >= 6, "each user sends at least its window");
    assert_eq!(audio.tally.expected, audio.sent * 2);
    assert_eq!(audio.tally.delivered, audio.tally.expected);
    assert_eq!(
        (audio.tally.lost, audio.tally.damaged, audio.tally.misrouted),
        (0, 0, 0)
    );
    assert!(
        measured.stats.latency[Class::Audio.index()]
            .summary()
            .is_some()
    );
    assert_eq!(measured.phones_alive, (3, 3));
    assert_eq!(measured.apps_alive, (6, 6));
    assert!(measured.server.is_some());
}

#[test]
fn events_and_displays_go_through_whole_and_in_order() {
    let text = format!(
        "{BASE} duration_s: 0.4, streams: [{{ kind: event, bytes: 200, per_user_per_s: 100 }}, \
         {{ kind: display, bytes: 300, per_user_per_s: 50 }}] }}"
    );
    let measured = run(Quirk::None, Target::Relay, &text);
    for (stream, receivers) in measured.streams.iter().zip([2, 1]) {
        assert!(stream.sent > 0);
        assert_eq!(stream.tally.expected, stream.sent * receivers);
        assert_eq!(stream.tally.delivered, stream.tally.expected);
        assert_eq!((stream.tally.out_of_order, stream.tally.damaged), (0, 0));
        assert_eq!(stream.wrong_text_standing, 0);
    }
    assert!(measured.offered_per_s > 449.0 && measured.offered_per_s < 451.0);
}

#[test]
fn what_stuck_readers_hear_late_counts_for_nobody() {
    let text = format!(
        "{BASE} duration_s: 0.4, streams: [{{ kind: event, bytes: 200, per_user_per_s: 100 }}], \
         faults: [{{ stuck_readers: {{ at_s: 0.1, for_s: 0.1, share: 1, receive_buffer: 8192 }} }}] }}"
    );
    let measured = run(Quirk::None, Target::Relay, &text);
    let event = &measured.streams[0];
    assert_eq!(
        event.tally.expected, event.sent,
        "one app of each user counts"
    );
    let timed: u64 = measured.stats.latency[Class::Event.index()]
        .summary()
        .map_or(0, |latency| latency.count);
    assert!(
        timed > 0 && timed <= event.sent,
        "{timed} of {}",
        event.sent
    );
}

#[test]
fn a_server_that_loses_repeats_and_damages_is_found_out() {
    let text = format!(
        "{BASE} duration_s: 0.4, streams: [{{ kind: audio, bytes: 64, per_user_per_s: 100 }}] }}"
    );
    let lossy = run(Quirk::DropEveryFifth, Target::Relay, &text).streams[0].tally;
    assert!(lossy.lost > 0);
    assert_eq!(lossy.delivered + lossy.lost, lossy.expected);
    let twice = run(Quirk::SendTwice, Target::Relay, &text).streams[0].tally;
    assert_eq!((twice.duplicated, twice.lost), (twice.expected, 0));
    let damaged = run(Quirk::FlipLastByte, Target::Relay, &text).streams[0].tally;
    assert_eq!(damaged.damaged, damaged.expected);
    let renumbered = run(Quirk::FlipNumber, Target::Relay, &text).streams[0].tally;
    assert_eq!(
        (renumbered.damaged, renumbered.lost, renumbered.out_of_order),
        (renumbered.expected, renumbered.expected, 0),
        "a number that is wrong is no number"
    );
    let astray = run(Quirk::ToEveryone, Target::Relay, &text).streams[0].tally;
    assert!(astray.misrouted > 0 && astray.lost == 0);
}

#[test]
fn audio_goes_by_udp_where_it_is_offered_and_lost_packets_are_counted() {
    const STREAM: &str =
        "streams: [{ kind: audio, bytes: 100, transport: udp, per_user_per_s: 50 }] }";
    let text = format!("{BASE} duration_s: 0.4, {STREAM}");
    let measured = run(Quirk::UdpLosesEveryFifth, prism(), &text);
    let (audio, stats) = (&measured.streams[0], &measured.stats);
    assert!(audio.sent > 0);
    assert_eq!(stats.udp_packets, audio.sent, "all by UDP");
    assert_eq!((stats.udp_fallback, audio.tally.damaged), (0, 0));
    assert!(audio.tally.lost > 0, "every fifth was dropped");
    assert_eq!(
        audio.tally.delivered + audio.tally.lost,
        audio.tally.expected
    );

    let measured = run(Quirk::None, prism(), &text);
    let (audio, stats) = (&measured.streams[0], &measured.stats);
    assert_eq!((stats.udp_packets, audio.tally.lost), (0, 0));
    assert_eq!(stats.udp_fallback, audio.sent, "all over the WebSocket");
}

#[test]
fn what_recognisers_hear_is_timed_and_accounted_for() {
    let text = format!(
        "{BASE} duration_s: 0.5, streams: [{{ kind: speech, bytes: 640, answer_bytes: 1280, per_user_per_s: 100 }}] }}"
    );
    let measured = run(Quirk::Recognises, prism(), &text);
    let speech = &measured.streams[0];
    assert!(speech.sent > 6, "{} sent", speech.sent);
    assert_eq!((speech.tally.damaged, speech.tally.lost), (0, 0));
    assert_eq!((speech.tally.duplicated, speech.tally.misrouted), (0, 0));
    // One answer per two frames, to two apps; a user's last frame may have had no second one.
    assert!(speech.tally.expected <= speech.sent && speech.tally.expected + 6 >= speech.sent);
    assert_eq!(speech.tally.delivered, speech.tally.expected);
    let timed = measured.stats.latency[Class::Speech.index()].summary();
    assert!(timed.unwrap().count > 0);

    let lossy = run(Quirk::RecognisesAllButEveryFifth, prism(), &text).streams[0].tally;
    assert!(lossy.lost > 0);
    assert_eq!(lossy.delivered + lossy.lost, lossy.expected);
}

#[test]
fn sockets_without_a_name_are_opened_and_counted() {
    let text =
        "{ name: tiny, users: 1, bystanders: 7, warmup_s: 0.1, duration_s: 0.2, drain_s: 0.1 }";
    let measured = run(Quirk::None, prism(), text);
    assert_eq!(measured.bystanders, (7, 7));
}

#[test]
fn a_share_of_few_users_is_no_reason_to_call_the_generator_slow() {
    let text = format!(
        "{BASE} duration_s: 0.4, streams: [{{ kind: audio, bytes: 64, per_user_per_s: 50, share: 0.1 }}, \
         {{ kind: mix, per_user_per_s: 0.001, arrivals: poisson }}] }}"
    );
    let measured = run(Quirk::None, prism(), &text);
    assert_eq!((measured.unreached, measured.streams[0].sent), (0, 0));
    assert!(measured.offered_per_s < 0.0031);
}

#[test]
fn golden_messages_reach_every_app_under_their_own_names() {
    let text =
        format!("{BASE} duration_s: 0.4, streams: [{{ kind: mix, per_user_per_s: 100 }}] }}");
    let measured = run(Quirk::None, prism(), &text);
    let mix = &measured.streams[0];
    assert!(mix.sent >= 6, "every type had its turn");
    assert_eq!(mix.tally.delivered, mix.sent * 2);
    assert_eq!((mix.tally.damaged, mix.tally.misrouted), (0, 0));
}

#[test]
fn a_run_ends_with_the_server_process_that_it_watches() {
    let text = format!(
        "{BASE} duration_s: 60, streams: [{{ kind: audio, bytes: 64, per_user_per_s: 20 }}] }}"
    );
    let scenario = Scenario::parse(&text).unwrap();
    let fake = Fake::start(Quirk::None);
    let mut server = std::process::Command::new("true").spawn().unwrap();
    let mut own = settings(fake.address, Target::Relay);
    own.server_pid = i32::try_from(server.id()).ok();
    server.wait().unwrap();
    let mut engine = Engine::new(own, scenario.clone()).unwrap();
    bring_up(&mut engine, &fake);
    let measured = engine.run_phase(1.0, scenario.warmup_s, 60.0).unwrap();
    assert!(measured.interrupted_s.is_some_and(|after_s| after_s < 30.0));
    assert!(
        measured.streams[0].tally.delivered > 0,
        "nothing is thrown away"
    );
}

#[test]
fn what_a_phone_recognises_itself_reaches_every_app() {
    let text = format!(
        "{BASE} duration_s: 0.4, streams: [{{ kind: transcript, bytes: 500, per_user_per_s: 50 }}] }}"
    );
    let measured = run(Quirk::None, prism(), &text);
    let own = &measured.streams[0];
    assert_eq!(own.class, Class::Event);
    assert!(own.sent > 0);
    assert_eq!(own.tally.delivered, own.sent * 2);
    assert_eq!((own.tally.damaged, own.tally.misrouted), (0, 0));
}

#[test]
fn the_whole_protocol_from_token_to_subscription_brings_every_app_up() {
    let text = format!(
        "{BASE} duration_s: 0.4, streams: [{{ kind: audio, bytes: 100, in_flight: 1 }}, \
         {{ kind: event, bytes: 200, per_user_per_s: 50 }}] }}"
    );
    let measured = run(Quirk::None, prism(), &text);
    assert_eq!(measured.apps_alive, (6, 6));
    let starts = measured.stats.latency[Class::AppStart.index()].summary();
    assert_eq!(starts.map(|starts| starts.count), Some(6));
    for stream in &measured.streams {
        assert!(stream.sent > 0);
        assert_eq!(stream.tally.delivered, stream.tally.expected);
    }
    assert!(
        measured.stats.errors.0.is_empty(),
        "{:?}",
        measured.stats.errors
    );
}

#[test]
fn what_phones_ask_on_every_connect_is_asked_and_timed() {
    let rest = |on_ack: bool| {
        let text = format!(
            "{BASE} duration_s: 1.5, rest: {{ on_ack: {on_ack}, app_pings_per_min: 600 }}, \
             streams: [{{ kind: audio, bytes: 64, per_user_per_s: 50 }}], \
             faults: [{{ herd: {{ at_s: 0.1, within_s: 0.1, return_s: [0.3, 0.4] }} }}] }}"
        );
        let measured = run(Quirk::UdpLosesEveryFifth, prism(), &text);
        assert!(
            measured.stats.errors.0.is_empty(),
            "{:?}",
            measured.stats.errors
        );
        let calls = measured.stats.latency[Class::Rest.index()].summary();
        let calls = calls.map_or(0, |latency| latency.count);
        (calls, measured.stats.udp_paths)
    };
    let (quiet, busy) = (rest(false), rest(true));
    assert_eq!(busy.0 - quiet.0, 6, "two calls of three phones");
    assert_eq!((quiet.1, busy.1), (0, 3), "ways by UDP");
}

#[test]
fn lc3_is_accounted_for_by_what_the_apps_hear() {
    let text = format!("{BASE} duration_s: 1, streams: [{{ kind: lc3, per_user_per_s: 20 }}] }}");
    let measured = run(Quirk::DecodesAllButEveryFifth, prism(), &text);
    let audio = &measured.streams[0];
    assert!(audio.sent > 6, "{} sent", audio.sent);
    assert_eq!(audio.tally.expected, audio.sent * 2);
    assert_eq!(audio.tally.lost, audio.sent / 5 * 2);
    assert_eq!(
        (
            audio.tally.damaged,
            audio.tally.duplicated,
            audio.tally.out_of_order
        ),
        (0, 0, 0)
    );
    let timed = measured.stats.latency[Class::Audio.index()].summary();
    // From when it was meant to go, not from when the machine was started.
    assert!(timed.is_some_and(|latency| latency.max_us < 30_000_000.0));
    // Samples that are none of ours: not decoded.
    let raw = run(Quirk::None, prism(), &text).streams[0].tally;
    assert_eq!((raw.delivered, raw.damaged), (0, raw.expected));
}

#[test]
fn a_herd_comes_back_and_what_it_missed_is_not_called_lost() {
    let text = format!(
        "{BASE} duration_s: 2.5, streams: [{{ kind: audio, bytes: 64, per_user_per_s: 50 }}], \
         faults: [{{ herd: {{ at_s: 0.2, within_s: 0.1, return_s: [0.5, 0.8] }} }}] }}"
    );
    let measured = run(Quirk::None, Target::Relay, &text);
    assert_eq!(measured.phones_alive, (3, 3));
    assert_eq!(measured.apps_alive, (6, 6));
    assert!(measured.stats.skipped_offline > 0, "phones were away");
    assert_eq!(measured.streams[0].tally.lost, 0);
    assert_eq!(measured.stats.phone_acks, 3);
}

#[test]
fn what_is_painted_again_for_a_phone_that_came_back_is_no_repetition() {
    let text = format!(
        "{BASE} duration_s: 2.5, streams: [{{ kind: display, bytes: 300, per_user_per_s: 20 }}], \
         faults: [{{ herd: {{ at_s: 0.5, within_s: 0.1, return_s: [0.5, 0.8] }} }}] }}"
    );
    let again = run(Quirk::PaintsAgain, Target::Relay, &text);
    assert!(again.stats.skipped_offline > 0, "phones were away");
    let shown = again.streams[0].tally;
    assert!(shown.delivered > 0);
    assert_eq!((shown.duplicated, shown.lost), (0, 0));
    let twice = run(Quirk::PaintsTwice, Target::Relay, &text).streams[0].tally;
    assert_eq!(twice.duplicated, twice.delivered);
}

/// One report tells of the last bytes and of the end behind them.
#[test]
fn an_end_right_behind_the_last_bytes_is_seen_and_the_app_comes_back() {
    let text = format!(
        "{BASE} duration_s: 1.6, streams: [{{ kind: audio, bytes: 64, per_user_per_s: 50 }}] }}"
    );
    let measured = run(Quirk::EndsBehindTenth, Target::Relay, &text);
    let (audio, errors) = (measured.streams[0].tally, &measured.stats.errors.0);
    assert_eq!(
        errors.get("app closed without a close frame"),
        Some(&2),
        "{errors:?}"
    );
    assert!(audio.missed_offline > 0 && audio.lost == 0, "{audio:?}");
    assert_eq!(measured.apps_alive, (6, 6));
}

#[test]
fn a_herd_stays_away_as_long_as_the_scenario_says() {
    let text = format!(
        "{BASE} duration_s: 1, streams: [{{ kind: audio, bytes: 64, per_user_per_s: 50 }}], \
         faults: [{{ herd: {{ at_s: 0.1, within_s: 0.1, return_s: [6.4, 6.6] }} }}] }}"
    );
    let measured = run(Quirk::None, Target::Relay, &text);
    // Back within the time that a run waits for those who were away, but not after the 5 s of a phone left alone.
    assert_eq!(
        (measured.phones_alive, measured.stats.phone_acks),
        ((3, 3), 3)
    );
    let connect = measured.stats.latency[Class::PhoneConnect.index()].summary();
    assert!(
        connect.is_none(),
        "nobody came back in the window: {connect:?}"
    );
    assert!(measured.seconds < 6.0, "{} s", measured.seconds);
    let away = |second: &super::Second| second.phones == 0 && second.at_s > 0.3;
    let seconds = measured
        .timeline
        .iter()
        .filter(|second| away(second))
        .count();
    assert!(seconds >= 6, "away for {seconds} s only");
}

#[test]
fn what_the_server_opens_is_taken_from_where_the_server_is() {
    let at = |server: &str| settings(server.parse().unwrap(), Target::Relay).listening(7070);
    assert_eq!(at("127.0.0.1:8002").to_string(), "127.0.0.1:7070");
    assert_eq!(at("10.1.2.3:8002").to_string(), "0.0.0.0:7070");
}

#[test]
fn a_pace_multiplies_every_stream_and_keeps_the_mix() {
    let text = format!(
        "{BASE} duration_s: 1, streams: [{{ kind: audio, bytes: 64, per_user_per_s: 40 }}, \
         {{ kind: display, bytes: 300, per_user_per_s: 10 }}] }}"
    );
    let scenario = Scenario::parse(&text).unwrap();
    let fake = Fake::start(Quirk::None);
    let mut engine = Engine::new(settings(fake.address, Target::Relay), scenario).unwrap();
    bring_up(&mut engine, &fake);
    assert!((engine.open_rate() - 150.0).abs() < 0.1);
    let measured = engine.run_phase(2.0, 0.1, 1.0).unwrap();
    assert!((measured.offered_per_s - 300.0).abs() < 0.1);
    let sent = |index: usize| measured.streams[index].sent;
    assert!(sent(0) > 3 * sent(1), "{} and {}", sent(0), sent(1));
    // Due in 1.1 s; a busy machine does not get to all.
    let due = sent(0) + sent(1) + measured.unreached;
    assert!((324..=336).contains(&due), "{due}");
}
