//! What a scraper sees.

use super::aggregate::{Aggregate, Buckets};
use crate::base::ids::ShardId;
use crate::base::metrics::{Counter, Latency, Metrics, Side, Timing};
use crate::services::rest::testkit::{self, Kit};
use crate::shard::mailbox::{OutsideRoute, ShardReport};
use crate::wire::frame::Opcode;
use crate::wire::kinds::{AppKind, PhoneKind};
use crate::wire::sent_kinds;
use std::collections::HashSet;

fn report(shard: u16, metrics: Metrics) -> ShardReport {
    ShardReport {
        shard: ShardId(shard),
        metrics,
        ..testkit::report(0)
    }
}

fn metrics() -> Metrics {
    Metrics::new(PhoneKind::COUNT, AppKind::COUNT)
}

#[test]
fn a_value_on_a_bound_counts_below_it() {
    let mut latency = Latency::default();
    latency.record(1_000_000);
    latency.record(60_000_000_000);
    let mut buckets = Buckets::default();
    buckets.add(&latency);
    assert_eq!(buckets.counts[3], 1, "{buckets:?}");
    assert_eq!(buckets.counts[16], 1);
    assert_eq!(buckets.count(), 2);
}

#[test]
fn counters_of_a_shard_replace_its_last_ones_and_sum_over_shards() {
    let mut all = Aggregate::new(2);
    let mut of_one = metrics();
    of_one.add(Counter::UdpReceived, 5);
    all.take(report(0, of_one.clone()), 1);
    of_one.add(Counter::UdpReceived, 2);
    all.take(report(0, of_one.clone()), 2);
    all.take(report(1, of_one), 3);
    assert_eq!(all.counter(Counter::UdpReceived), 14);
    assert_eq!(all.gauge(|shard| shard.sessions), 6);
}

#[test]
fn histograms_age_out_of_the_window_and_stay_in_the_buckets() {
    let mut all = Aggregate::new(1);
    let mut slow = metrics();
    slow.time(Timing::TurnLag, 2_000_000_000);
    assert_eq!(all.take(report(0, slow), 0), None);
    let late = all
        .take(report(0, metrics()), 10_000)
        .expect("the slot ended");
    assert!((1980..=2020).contains(&late), "{late}");
    for slot in 2..10 {
        all.take(report(0, metrics()), slot * 10_000);
    }
    assert!(all.window().timing(Timing::TurnLag).histogram().is_none());
    assert_eq!(all.timings[Timing::TurnLag as usize].count(), 1);
}

/// Every sample belongs to the metric announced last, each metric is announced once, values are numbers.
#[test]
fn the_page_is_well_formed() {
    Kit::run(|kit| async move {
        let mut metrics = metrics();
        metrics.inc(Counter::PhoneOpened);
        metrics.message(Side::Phone, 0);
        metrics.message_latency(Side::Phone, 0, 1_500_000, 4);
        metrics.time(Timing::PingApp, 30_000_000);
        metrics.time(Timing::AppStartTimeout, 6_000_000_000);
        metrics.frame_sent(
            Side::App,
            sent_kinds::to_app(Opcode::Text, br#"{"type":"data_stream","x":1}"#),
        );
        kit.cx.shared.beats[0].runs_on("epoll");
        let report = ShardReport {
            speech_streams: [4, 1],
            ..report(0, metrics)
        };
        super::take_report(&kit.cx, report);
        let page = super::render(&kit.cx);
        let mut announced = HashSet::new();
        let (mut name, mut kind) = (String::new(), String::new());
        for line in page.lines() {
            if let Some(head) = line.strip_prefix("# TYPE ") {
                (name, kind) = head
                    .split_once(' ')
                    .map(|(a, b)| (a.to_owned(), b.to_owned()))
                    .expect("name and type");
                assert!(announced.insert(name.clone()), "{name} is announced twice");
            } else if !line.starts_with("# HELP ") {
                let (sample, value) = line.rsplit_once(' ').expect("a sample");
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let base = sample.split('{').next().expect("a name");
                let belongs = match kind.as_str() {
                    "histogram" => ["_bucket", "_sum", "_count"]
                        .iter()
                        .any(|end| base == format!("{name}{end}")),
                    _ => base == name,
                };
                assert!(belongs, "{line} stands under {name}");
            }
        }
        for wanted in [
            "mentra_user_sessions 3",
            "mentra_connections_active{kind=\"app\"} 5",
            "mentra_app_state{state=\"running\"} 5",
            "prism_io_driver{driver=\"epoll\"} 1",
            "mentra_app_start_seconds_count{outcome=\"ok\"} 0",
            "mentra_app_start_seconds_count{outcome=\"TIMEOUT\"} 1",
            "mentra_reconnect_downtime_seconds_count{kind=\"app\"} 0",
            "mentra_audio_fanout_seconds_count{transport=\"ws\"} 0",
            "mentra_connections_closed_total{kind=\"app\",reason=\"network_error\",code=\"1006\"} 0",
            "prism_memory_owner_bytes{owner=\"calendar\"} 700",
            "mentra_ping_rtt_seconds_bucket{kind=\"app\",le=\"0.05\"} 1",
            "mentra_ping_rtt_seconds_bucket{kind=\"app\",le=\"0.025\"} 0",
            "mentra_message_latency_seconds_count{side=\"glasses\",type=\"ping\"} 4",
            "mentra_messages_total{side=\"glasses\",direction=\"in\",type=\"ping\"} 1",
            "mentra_messages_total{side=\"app\",direction=\"out\",type=\"data_stream\"} 1",
            "mentra_messages_total{side=\"glasses\",direction=\"out\",type=\"audio\"} 0",
            "mentra_stt_streams{provider=\"soniox\",kind=\"transcription\"} 4",
            "mentra_stt_streams{provider=\"soniox\",kind=\"translation\"} 1",
            "mentra_stt_streams{provider=\"alibaba\",kind=\"translation\"} 0",
        ] {
            assert!(page.lines().any(|line| line == wanted), "{wanted}\n{page}");
        }
        for wanted in PROMISED.split_whitespace() {
            assert!(announced.contains(wanted), "{wanted}\n{page}");
        }
    });
}

/// Every name of behaviour.md §10.3.
const PROMISED: &str = "mentra_user_sessions mentra_miniapp_sessions mentra_event_loop_lag_ms mentra_event_loop_lag_avg_ms
    mentra_event_loop_lag_p99_ms mentra_udp_packets_received_total mentra_udp_packets_dropped_total
    mentra_udp_pings_received_total mentra_udp_packets_decrypted_total mentra_udp_decryption_failures_total
    mentra_udp_registered_sessions mentra_ws_client_messages_in_total mentra_ws_client_messages_out_total
    mentra_ws_miniapp_messages_in_total mentra_ws_miniapp_messages_out_total mentra_http_requests_total
    mentra_heap_used_bytes mentra_heap_total_bytes mentra_rss_bytes mentra_external_bytes mentra_array_buffers_bytes
    mentra_uptime_seconds mentra_connections_active mentra_connections_opened_total mentra_connections_closed_total
    mentra_upgrade_total mentra_messages_total mentra_message_errors_total mentra_message_latency_seconds
    mentra_app_start_seconds mentra_app_state mentra_resurrections_total mentra_recoveries_total
    mentra_reconnect_downtime_seconds mentra_health_timeouts_total mentra_ping_rtt_seconds
    mentra_send_queue_dropped_total mentra_backpressure_total mentra_audio_bytes_total mentra_audio_fanout_seconds
    mentra_stt_streams mentra_stt_errors_total mentra_stt_latency_seconds mentra_display_total
    mentra_mic_state_changes_total mentra_unauthorized_audio_total mentra_device_state_total mentra_webhook_seconds
    mentra_correlation_orphans_total";

#[test]
fn health_tells_the_worst_delay_of_each_sample() {
    Kit::run(|kit| async move {
        let beat = &kit.cx.shared.beats[0];
        beat.turn(10, 250_000);
        beat.turn(20, 1000);
        super::lag::take_sample(&kit.cx);
        super::lag::take_sample(&kit.cx);
        let answer = super::health::answer(&kit.cx);
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let expected = serde_json::json!({
            "lagMs": 1.0, "lagAvgMs": 125.0, "lagP99Ms": 250.0, "samples": 2
        });
        assert_eq!(body["eventLoop"], expected);
    });
}

#[test]
fn health_has_both_shapes_and_says_when_it_drains() {
    Kit::run(|kit| async move {
        kit.cx.shared.beats[0].runs_on("epoll");
        super::take_report(&kit.cx, report(0, metrics()));
        let answer = super::health::answer(&kit.cx);
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(
            (answer.status, &body["status"], &body["quality"]),
            (200, &"ok".into(), &"healthy".into())
        );
        assert_eq!(
            (
                &body["activeSessions"],
                &body["sessions"]["miniappSessions"]
            ),
            (&3.into(), &5.into())
        );
        assert_eq!(body["connections"]["glassesConnections"], 2);
        assert_eq!(body["ioDriver"], "epoll");
        let row = &body["shards"][0];
        assert_eq!(
            (&row["driver"], &row["phones"]),
            (&"epoll".into(), &2.into())
        );
        assert!(body["rssMB"].as_u64().is_some_and(|rss| rss > 0));
        kit.cx.shared.start_draining();
        assert_eq!(super::health::answer(&kit.cx).status, 503);
    });
}

#[test]
fn health_is_no_older_than_the_question_and_questions_share_a_round() {
    Kit::run(|kit| async move {
        let request = Kit::request(OutsideRoute::Health, "GET", &[], &serde_json::Value::Null);
        let (_, body) = kit.send(&request).await;
        assert_eq!(body["activeSessions"], 3, "nobody reported before");
        let before = kit.cx.rounds.begun();
        let questions = (0..20).map(|_| kit.send(&request));
        for (status, body) in futures_util::future::join_all(questions).await {
            assert_eq!((status, &body["activeSessions"]), (200, &3.into()));
        }
        // At most one for the first and one for all that came while it was under way.
        assert!(kit.cx.rounds.begun() <= before + 2);
    });
}
