//! Outside thread: `GET /metrics`, Prometheus text 0.0.4 (behaviour.md §10.3). Each name gets one HELP and one TYPE; no user
//! and no package is ever a label.

use super::aggregate::{Aggregate, BOUNDS, Buckets, kinds, quantile};
use super::process;
use crate::base::metrics::{Counter, Latency, Side, Timing};
use crate::base::settings::DeploymentRegion;
use crate::services::context::Services;
use crate::services::lock::lock;
use crate::session::managers::apps::AppState;
use crate::wire::sent_kinds::{TO_APP, TO_PHONE, places};
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering::Relaxed;

/// Content type of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }

    pub(super) fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, "", value);
    }

    /// One gauge for each value of one label.
    fn by<L: Display, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        gauges: impl IntoIterator<Item = (L, V)>,
    ) {
        self.head(name, "gauge", help);
        for (value, gauge) in gauges {
            self.sample(name, &format!("{label}=\"{value}\""), gauge);
        }
    }

    fn buckets(&mut self, name: &str, labels: &str, buckets: &Buckets) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut sum = 0;
        for (bound, count) in BOUNDS.iter().zip(&buckets.counts) {
            sum += count;
            self.sample(
                &format!("{name}_bucket"),
                &format!("{labels}{comma}le=\"{bound}\""),
                sum,
            );
        }
        self.sample(
            &format!("{name}_bucket"),
            &format!("{labels}{comma}le=\"+Inf\""),
            buckets.count(),
        );
        self.sample(&format!("{name}_sum"), labels, buckets.sum);
        self.sample(&format!("{name}_count"), labels, buckets.count());
    }

    fn quantiles(&mut self, name: &str, labels: &str, latency: &Latency) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (label, at) in [
            ("0.5", 0.5),
            ("0.9", 0.9),
            ("0.99", 0.99),
            ("0.999", 0.999),
            ("1", 1.0),
        ] {
            let seconds = quantile(latency, at) as f64 / 1e9;
            self.sample(
                name,
                &format!("{labels}{comma}quantile=\"{label}\""),
                seconds,
            );
        }
    }
}

/// A label value between quotes.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// The whole page.
pub(crate) fn render(cx: &Services) -> String {
    let mut page = Page::default();
    let aggregate = lock(&cx.aggregate);
    gauges(&mut page, &aggregate);
    capacity(&mut page, cx, &aggregate);
    lag(&mut page, cx, &aggregate);
    counters(&mut page, &aggregate);
    messages(&mut page, &aggregate);
    timings(&mut page, &aggregate);
    drop(aggregate);
    outside(&mut page, cx);
    super::providers::figures(&mut page, cx);
    memory(&mut page, cx);
    page.0
}

fn gauges(page: &mut Page, all: &Aggregate) {
    page.one(
        "mentra_user_sessions",
        "gauge",
        "Live user sessions.",
        all.gauge(|shard| shard.sessions),
    );
    page.one(
        "mentra_miniapp_sessions",
        "gauge",
        "Attached app sockets.",
        all.gauge(|shard| shard.apps),
    );
    let connections = [
        ("glasses", all.gauge(|shard| shard.phones)),
        ("app", all.gauge(|shard| shard.apps)),
        ("app_pending", all.gauge(|shard| shard.pending_apps)),
        ("http", all.gauge(|shard| shard.http)),
    ];
    page.by(
        "mentra_connections_active",
        "Open connections.",
        "kind",
        connections,
    );
    let states = AppState::ALL.map(|state| {
        let count = all.gauge(|shard| shard.app_states[state as usize]);
        (state.as_str(), count)
    });
    page.by(
        "mentra_app_state",
        "App sessions by state.",
        "state",
        states,
    );
}

/// One provider serves a deployment, so what runs is its.
fn speech(page: &mut Page, cx: &Services, all: &Aggregate) {
    page.head("mentra_stt_streams", "gauge", "Open speech streams.");
    let global = cx.settings().speech.deployment_region == DeploymentRegion::Global;
    for (provider, used) in [("soniox", global), ("alibaba", !global)] {
        for (index, kind) in ["transcription", "translation"].iter().enumerate() {
            page.sample(
                "mentra_stt_streams",
                &format!("provider=\"{provider}\",kind=\"{kind}\""),
                all.gauge(|shard| u64::from(used) * shard.speech_streams[index]),
            );
        }
    }
}

fn capacity(page: &mut Page, cx: &Services, all: &Aggregate) {
    page.one(
        "mentra_mic_active_sessions",
        "gauge",
        "Sessions whose microphone is on.",
        all.gauge(|shard| shard.mic_active),
    );
    page.one(
        "mentra_udp_registered_sessions",
        "gauge",
        "Sessions whose phone registered for UDP audio.",
        all.gauge(|shard| shard.udp_sessions),
    );
    speech(page, cx, all);
    let buffers = [
        ("out", all.gauge(|shard| shard.outbound_bytes)),
        ("in", all.gauge(|shard| shard.inbound_bytes)),
    ];
    page.by(
        "prism_buffer_bytes",
        "Bytes held for connections.",
        "direction",
        buffers,
    );
    owners(page, all);
    page.by(
        "prism_shard_sessions",
        "Live user sessions by core.",
        "core",
        all.reports()
            .map(|report| (report.shard.0, report.sessions)),
    );
    page.by(
        "prism_io_driver",
        "1 for the I/O driver that the shards run on.",
        "driver",
        [(escape(cx.shared.driver()), 1)],
    );
}

/// Empty until the shards have made their first memory report.
fn owners(page: &mut Page, all: &Aggregate) {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for owner in all.owners() {
        *sums.entry(owner.name).or_default() += owner.bytes;
    }
    page.by(
        "prism_memory_owner_bytes",
        "Bytes by owner, of the shards' last memory report.",
        "owner",
        sums,
    );
}

fn lag(page: &mut Page, cx: &Services, all: &Aggregate) {
    let beats = cx.shared.beats.iter().enumerate();
    page.by(
        "mentra_event_loop_lag_ms",
        "Scheduling delay of the last turn (ms).",
        "core",
        beats.map(|(core, beat)| (core, beat.lag_us() as f64 / 1000.0)),
    );
    page.one(
        "mentra_event_loop_lag_avg_ms",
        "gauge",
        "Mean of the scheduling delay samples (ms).",
        all.lags.mean_ms(),
    );
    page.one(
        "mentra_event_loop_lag_p99_ms",
        "gauge",
        "99th percentile of the scheduling delay samples (ms).",
        all.lags.p99_ms(),
    );
    let window = all.window();
    page.head(
        "prism_turn_seconds",
        "gauge",
        "Length of one turn of work in the last minute.",
    );
    page.quantiles("prism_turn_seconds", "", window.timing(Timing::TurnLength));
    page.head(
        "mentra_message_latency_quantile_seconds",
        "gauge",
        "Receipt to last write, of the last minute.",
    );
    for (side, label) in [(Side::Phone, "glasses"), (Side::App, "app")] {
        for (kind, latency) in kinds(side).iter().zip(window.latencies(side)) {
            if latency.histogram().is_some() {
                let labels = format!("side=\"{label}\",type=\"{}\"", escape(kind));
                page.quantiles("mentra_message_latency_quantile_seconds", &labels, latency);
            }
        }
    }
}

fn counters(page: &mut Page, all: &Aggregate) {
    let mut last = "";
    for counter in Counter::ALL {
        if counter.name() != last {
            last = counter.name();
            page.head(last, "counter", counter.help());
        }
        page.sample(last, counter.labels(), all.counter(*counter));
    }
}

fn messages(page: &mut Page, all: &Aggregate) {
    page.head("mentra_messages_total", "counter", "Messages by type.");
    for (side, label) in [(Side::Phone, "glasses"), (Side::App, "app")] {
        for (kind, count) in kinds(side).iter().zip(all.messages(side)) {
            let labels = format!(
                "side=\"{label}\",direction=\"in\",type=\"{}\"",
                escape(kind)
            );
            page.sample("mentra_messages_total", &labels, count);
        }
    }
    for (side, label, types) in [
        (Side::Phone, "glasses", &TO_PHONE[..]),
        (Side::App, "app", &TO_APP[..]),
    ] {
        for (kind, count) in places(types).iter().zip(all.frames_sent(side)) {
            let labels = format!("side=\"{label}\",direction=\"out\",type=\"{kind}\"");
            page.sample("mentra_messages_total", &labels, count);
        }
    }
    page.head(
        "mentra_message_latency_seconds",
        "histogram",
        "Receipt of a message to its last write.",
    );
    for (side, label) in [(Side::Phone, "glasses"), (Side::App, "app")] {
        for (kind, buckets) in kinds(side).iter().zip(&all.latencies[side as usize]) {
            if buckets.count() > 0 {
                let labels = format!("side=\"{label}\",type=\"{}\"", escape(kind));
                page.buckets("mentra_message_latency_seconds", &labels, buckets);
            }
        }
    }
}

fn timings(page: &mut Page, all: &Aggregate) {
    let start = |outcome| {
        let help = "Accepted start to its end, by outcome: ok or the stage that failed.";
        ("mentra_app_start_seconds", outcome, help)
    };
    let downtime = |kind| {
        let help = "Loss of a socket to its return.";
        ("mentra_reconnect_downtime_seconds", kind, help)
    };
    let ping = |kind| {
        let help = "Protocol ping to its pong.";
        ("mentra_ping_rtt_seconds", kind, help)
    };
    let stt = |labels| {
        let help = "From the end of what was said to its recognised text.";
        ("mentra_stt_latency_seconds", labels, help)
    };
    let name_of = |timing: Timing| match timing {
        Timing::AppStartOk => start("outcome=\"ok\""),
        Timing::AppStartWebhook => start("outcome=\"WEBHOOK\""),
        Timing::AppStartConnection => start("outcome=\"CONNECTION\""),
        Timing::AppStartAuthentication => start("outcome=\"AUTHENTICATION\""),
        Timing::AppStartPermission => start("outcome=\"PERMISSION\""),
        Timing::AppStartTimeout => start("outcome=\"TIMEOUT\""),
        Timing::AppStartHardware => start("outcome=\"HARDWARE_CHECK\""),
        Timing::AppStartDisposed => start("outcome=\"DISPOSED\""),
        Timing::PhoneDowntime => downtime("kind=\"glasses\""),
        Timing::AppDowntime => downtime("kind=\"app\""),
        Timing::PingPhone => ping("kind=\"glasses\""),
        Timing::PingApp => ping("kind=\"app\""),
        Timing::AudioFanout => (
            "mentra_audio_fanout_seconds",
            "transport=\"ws\"",
            "Receipt of an audio frame to its last write.",
        ),
        Timing::SttSonioxTranscription => stt("provider=\"soniox\",kind=\"transcription\""),
        Timing::SttSonioxTranslation => stt("provider=\"soniox\",kind=\"translation\""),
        Timing::SttAlibabaTranscription => stt("provider=\"alibaba\",kind=\"transcription\""),
        Timing::SttAlibabaTranslation => stt("provider=\"alibaba\",kind=\"translation\""),
        Timing::TurnLag => ("prism_turn_lag_seconds", "", "Scheduling delay of shards."),
        Timing::TurnLength => (
            "prism_turn_length_seconds",
            "",
            "Length of one turn of work.",
        ),
    };
    let mut last = "";
    for (timing, buckets) in Timing::ALL.iter().zip(&all.timings) {
        let (name, labels, help) = name_of(*timing);
        if name != last {
            page.head(name, "histogram", help);
            last = name;
        }
        page.buckets(name, labels, buckets);
    }
}

fn outside(page: &mut Page, cx: &Services) {
    page.head(
        "mentra_webhook_seconds",
        "histogram",
        "Outbound HTTP attempts, waiting included.",
    );
    for ((kind, result), latency) in cx.webhooks.timings() {
        let mut buckets = Buckets::default();
        buckets.add(&latency);
        page.buckets(
            "mentra_webhook_seconds",
            &format!("kind=\"{kind}\",result=\"{result}\""),
            &buckets,
        );
    }
    let figures = cx.writes.figures();
    let store = "Store: commits, failed commits, changes written, coalesced, refused (too many wait), dropped (can never be stored).";
    page.head("prism_store_total", "counter", store);
    for (event, figure) in [
        ("commit", &figures.commits),
        ("failure", &figures.failures),
        ("written", &figures.written),
        ("coalesced", &figures.coalesced),
        ("refused", &figures.refused),
        ("dropped", &figures.dropped),
    ] {
        page.sample(
            "prism_store_total",
            &format!("event=\"{event}\""),
            figure.load(Relaxed),
        );
    }
    page.one(
        "prism_store_waiting",
        "gauge",
        "Changes that are not durable yet.",
        cx.writes.depth(),
    );
    page.one(
        "prism_apps_known",
        "gauge",
        "App records.",
        cx.registry().len(),
    );
    let dropped = (cx.dropped_log_lines)();
    page.one(
        "prism_log_lines_dropped_total",
        "counter",
        "Log lines that the log's reader was too slow for, or that standard output refused.",
        dropped,
    );
}

fn memory(page: &mut Page, cx: &Services) {
    let memory = process::memory();
    let buffers = lock(&cx.aggregate).gauge(|shard| shard.outbound_bytes + shard.inbound_bytes);
    page.one(
        "mentra_heap_used_bytes",
        "gauge",
        "Private resident memory.",
        memory.heap_used,
    );
    page.one(
        "mentra_heap_total_bytes",
        "gauge",
        "Memory mapped for data.",
        memory.heap_total,
    );
    page.one("mentra_rss_bytes", "gauge", "Resident memory.", memory.rss);
    page.one(
        "mentra_external_bytes",
        "gauge",
        "Resident file pages.",
        memory.external,
    );
    page.one(
        "mentra_array_buffers_bytes",
        "gauge",
        "Bytes in connection buffers.",
        buffers,
    );
    page.one(
        "mentra_uptime_seconds",
        "gauge",
        "Since the start of the process.",
        cx.clock.now().mono_ms / 1000,
    );
    let stalled = u8::from(cx.shared.is_stalled(
        cx.clock.now().mono_ms,
        cx.settings().observability.livez_stall_ms,
    ));
    page.one(
        "prism_stalled",
        "gauge",
        "1 while some shard does not turn.",
        stalled,
    );
}
