//! Outside thread: `GET /health` (behaviour.md §10.2), from the shards' last reports only.

use super::aggregate::{Aggregate, kinds, mean, quantile};
use super::lag::Lags;
use super::process;
use crate::base::metrics::{Counter, Latency, Metrics, Side};
use crate::services::context::Services;
use crate::services::lock::lock;
use crate::session::effects::RestAnswer;
use crate::shard::mailbox::ShardReport;
use crate::shard::shared::Beat;
use serde_json::{Map, Value, json};

const MIB: u64 = 1 << 20;

/// The answer: 200, or 503 while draining.
pub(crate) fn answer(cx: &Services) -> RestAnswer {
    if cx.shared.is_draining() {
        return RestAnswer::json(
            503,
            r#"{"status":"draining","message":"Server is shutting down"}"#,
        );
    }
    let begun_ms = cx.clock.now().mono_ms;
    let answer = RestAnswer::json(200, document(cx).to_string());
    let took_ms = cx.clock.now().mono_ms.saturating_sub(begun_ms);
    if took_ms >= cx.settings().observability.health_slow_ms {
        tracing::warn!(took_ms, "slow health answer");
    }
    answer
}

fn by_type(side: Side, counts: &[u64]) -> Value {
    let pairs = kinds(side)
        .into_iter()
        .zip(counts)
        .filter(|(_, count)| **count > 0);
    Value::Object(
        pairs
            .map(|(kind, count)| (kind.to_owned(), json!(count)))
            .collect::<Map<_, _>>(),
    )
}

fn quality(processed: u64, errors: u64) -> &'static str {
    match errors * 1000 {
        permille if permille > processed * 100 => "unhealthy",
        permille if permille > processed * 10 => "degraded",
        _ => "healthy",
    }
}

fn document(cx: &Services) -> Value {
    let memory = process::memory();
    let now = cx.clock.now();
    let all = lock(&cx.aggregate);
    let window = all.window();
    let lag = event_loop(cx, &all.lags);
    let messages = messages(&all, &window);
    let (opened, closed) = all.churn();
    let sessions = all.gauge(|shard| shard.sessions);
    let apps = all.gauge(|shard| shard.apps);
    let uptime = now.mono_ms / 1000;
    json!({
        "status": "ok",
        "quality": quality(number(&messages, "processed"), number(&messages, "errors")),
        "timestamp": now.iso().as_str(),
        "heapUsedMB": memory.heap_used / MIB,
        "heapTotalMB": memory.heap_total / MIB,
        "rssMB": memory.rss / MIB,
        "externalMB": memory.external / MIB,
        "eventLoopLagMs": lag["lagMs"],
        "activeSessions": sessions,
        "uptimeSeconds": uptime,
        "uptime": uptime,
        "ioDriver": cx.shared.driver(),
        "shards": shards(cx, &all, now.mono_ms),
        "eventLoop": lag,
        "sessions": { "userSessions": sessions, "miniappSessions": apps },
        "throughput": throughput(&all),
        "udp": udp(&all),
        "memory": {
            "heapUsed": memory.heap_used,
            "heapTotal": memory.heap_total,
            "rss": memory.rss,
            "external": memory.external,
            "arrayBuffers": all.gauge(|shard| shard.outbound_bytes + shard.inbound_bytes),
        },
        "connections": {
            "glassesConnections": all.gauge(|shard| shard.phones),
            "appConnections": apps,
            "totalSessions": sessions,
            "connectionsLastMinute": opened,
            "disconnectionsLastMinute": closed,
        },
        "messages": messages,
    })
}

/// One row a shard, in shard order, whether it reported or not.
fn shards(cx: &Services, all: &Aggregate, now_ms: u64) -> Vec<Value> {
    let row = |(id, beat): (usize, &Beat)| {
        let report = all
            .reports()
            .find(|report| usize::from(report.shard.0) == id);
        let of = |gauge: fn(&ShardReport) -> u64| report.map_or(0, gauge);
        json!({
            "id": id,
            "driver": beat.driver(),
            "sessions": of(|shard| shard.sessions),
            "phones": of(|shard| shard.phones),
            "apps": of(|shard| shard.apps),
            "pendingApps": of(|shard| shard.pending_apps),
            "http": of(|shard| shard.http),
            "micActive": of(|shard| shard.mic_active),
            "bufferBytes": of(|shard| shard.outbound_bytes + shard.inbound_bytes),
            "lagMs": beat.lag_us() as f64 / 1000.0,
            "lastTurnMs": now_ms.saturating_sub(beat.turned_ms()),
            "reportAgeMs": report.map(|report| now_ms.saturating_sub(report.at_ms)),
        })
    };
    cx.shared.beats.iter().enumerate().map(row).collect()
}

fn number(object: &Value, name: &str) -> u64 {
    object[name].as_u64().unwrap_or(0)
}

fn event_loop(cx: &Services, lags: &Lags) -> Value {
    let last_us = cx.shared.beats.iter().map(|beat| beat.lag_us()).max();
    json!({
        "lagMs": last_us.unwrap_or(0) as f64 / 1000.0,
        "lagAvgMs": lags.mean_ms(),
        "lagP99Ms": lags.p99_ms(),
        "samples": lags.len(),
    })
}

fn throughput(all: &Aggregate) -> Value {
    json!({
        "wsClientMessagesIn": all.counter(Counter::PhoneMessagesIn),
        "wsClientMessagesOut": all.counter(Counter::PhoneMessagesOut),
        "wsMiniappMessagesIn": all.counter(Counter::AppMessagesIn),
        "wsMiniappMessagesOut": all.counter(Counter::AppMessagesOut),
        "httpRequests": {
            "2xx": all.counter(Counter::Http2xx),
            "3xx": all.counter(Counter::Http3xx),
            "4xx": all.counter(Counter::Http4xx),
            "5xx": all.counter(Counter::Http5xx),
        },
    })
}

fn udp(all: &Aggregate) -> Value {
    json!({
        "received": all.counter(Counter::UdpReceived),
        "dropped": all.counter(Counter::UdpDropped),
        "pings": all.counter(Counter::UdpPings),
        "sessions": all.gauge(|shard| shard.udp_sessions),
        "decrypted": all.counter(Counter::UdpDecrypted),
        "decryptionFailures": all.counter(Counter::UdpDecryptionFailures),
    })
}

fn messages(all: &Aggregate, window: &Metrics) -> Value {
    let (phone, app) = (all.messages(Side::Phone), all.messages(Side::App));
    let error = |counter: &&Counter| counter.name() == "mentra_message_errors_total";
    let errors: u64 = Counter::ALL
        .iter()
        .filter(error)
        .map(|counter| all.counter(*counter))
        .sum();
    let mut latency = Latency::default();
    for side in [Side::Phone, Side::App] {
        window
            .latencies(side)
            .iter()
            .for_each(|of_kind| latency.merge(of_kind));
    }
    json!({
        "glassesTypes": by_type(Side::Phone, &phone),
        "appTypes": by_type(Side::App, &app),
        "processed": phone.iter().chain(&app).sum::<u64>(),
        "errors": errors,
        "avgLatencyMs": mean(&latency) / 1e6,
        "p99LatencyMs": quantile(&latency, 0.99) as f64 / 1e6,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_follows_the_error_rate() {
        assert_eq!(quality(0, 0), "healthy");
        assert_eq!(quality(1000, 10), "healthy");
        assert_eq!(quality(1000, 11), "degraded");
        assert_eq!(quality(1000, 101), "unhealthy");
    }
}
