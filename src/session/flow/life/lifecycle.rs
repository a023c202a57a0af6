//! Layer 2, flow: session creation, loading, phone adoption, swap, close and grace (behaviour.md §1.3–1.8).

use crate::base::close::CloseReason;
use crate::base::ids::{ConnId, Package};
use crate::base::metrics::{Counter, Timing};
use crate::session::effects::{Class, Effect};
use crate::session::event::{CloseInfo, Event, HelloKind, PhoneFlags};
use crate::session::flow::{
    answers, attach, churn, device, hello, late_record, location, lost, notices, phone_in, restart,
    returned, screen, start, user_settings,
};
use crate::session::lines::Line;
use crate::session::managers::apps::intent::Wanted;
use crate::session::managers::apps::start::StartOrigin;
use crate::session::managers::apps::{AppSession, AppState};
use crate::session::managers::health::{EndReason, Peer};
use crate::session::managers::phone::{Held, SentSoFar};
use crate::session::timers::Timer;
use crate::session::{Cx, Session, State, rest};
use crate::wire::json::ObjectWriter;
use crate::wire::records::UserRecord;
use base64::Engine as _;
use bytes::Bytes;
use std::collections::VecDeque;

/// How long after the store's own limit a session stops waiting for its user record (ms).
pub(crate) const LOAD_SLACK_MS: u64 = 1000;

/// A new session: asks for the user record.
pub(crate) fn created(s: &mut Session, cx: &mut Cx<'_>) {
    let now_ms = cx.now.mono_ms;
    cx.fx.push(Effect::LoadUser);
    device::profiles_changed(s, cx);
    s.m.health.last_check_ms = now_ms;
    s.timers.set(
        Timer::UserLoad,
        now_ms + cx.cfg.store.db_timeout_ms + LOAD_SLACK_MS,
    );
    s.timers.set(
        Timer::Heartbeat,
        now_ms + cx.cfg.health.heartbeat_interval_ms,
    );
    s.timers.set(
        Timer::HealthStats,
        now_ms + cx.cfg.health.health_stats_log_ms,
    );
    tracing::info!(user = %s.user, correlation_id = %s.correlation(cx.now), epoch = s.epoch, "session created");
}

/// A phone socket arrived: the first, a returning one, or one that takes over (behaviour.md §1.6).
pub(crate) fn phone_connected(
    s: &mut Session,
    conn: ConnId,
    mut flags: PhoneFlags,
    cx: &mut Cx<'_>,
) {
    // A socket keeps what it was told: a reload must not turn sealed audio into noise, or plain audio into forgeries.
    flags.udp_encryption &= cx.cfg.udp.udp_encryption_enabled;
    adopt(s, conn, flags, cx);
    s.m.health.register(conn, Peer::Phone, cx.now.mono_ms);
    if s.state == State::Initializing {
        s.m.phone.unacked.push(conn);
        return;
    }
    send_ack(s, conn, &flags, cx);
    screen::phone_connected(s);
    phone_is_back(s, cx);
    location::ask_again(s, cx);
}

/// A superseded socket takes the place of the current one (behaviour.md §1.6 step 5). No ack: it got its own before.
pub(crate) fn promote(s: &mut Session, conn: ConnId, cx: &mut Cx<'_>) {
    if s.m.phone.current.is_some() {
        s.m.phone.swap_roles(conn);
    } else {
        let row = s.m.phone.superseded.iter().find(|row| row.0 == conn);
        let flags = row.map(|row| row.1).unwrap_or_default();
        s.m.phone.superseded.retain(|row| row.0 != conn);
        adopt(s, conn, flags, cx);
        s.m.phone.sent_so_far = SentSoFar::More;
    }
    tracing::debug!(user = %s.user, correlation_id = %s.correlation(cx.now), conn = %conn.tag(), "superseded phone socket took over");
    // Before the record is there nothing was said to any socket.
    if s.state != State::Initializing {
        s.m.display.may_show_wiped();
        phone_is_back(s, cx);
        location::ask_again(s, cx);
        location::socket_promoted(s, cx);
    }
}

fn adopt(s: &mut Session, conn: ConnId, flags: PhoneFlags, cx: &mut Cx<'_>) {
    s.timers.cancel(&Timer::PhoneGrace);
    let phone = &mut s.m.phone;
    if let Some(since_ms) = phone.disconnected_ms.take() {
        let downtime_ms = cx.now.mono_ms.saturating_sub(since_ms);
        phone.reconnects += 1;
        phone.last_downtime_ms = downtime_ms;
        cx.metrics.inc(Counter::PhoneReconnects);
        cx.metrics
            .time(Timing::PhoneDowntime, downtime_ms * 1_000_000);
        churn::reconnected(s, conn, downtime_ms, cx);
    } else if s.m.phone.current.is_some() {
        cx.metrics.inc(Counter::PhoneTakeovers);
    }
    let keep = cx.cfg.connections.superseded_sockets_max as usize;
    for old in s.m.phone.install(conn, flags, keep) {
        s.m.phone.drop_superseded(old);
        s.m.health
            .unregister(old, EndReason::Superseded, cx.now.mono_ms);
        cx.fx.push(Effect::Terminate { conn: old });
    }
    ensure_udp_key(s, &flags);
}

/// A socket that asked for encryption finds a key in its ack, also after an `udp_unregister` (protocol.md §7.1, 11.6).
fn ensure_udp_key(s: &mut Session, flags: &PhoneFlags) {
    if flags.udp_encryption && flags.secret.is_usable() && s.m.phone.udp_key.is_none() {
        s.m.phone.udp_key = Some(flags.secret);
    }
}

/// What follows the ack of a phone that returned or took over.
fn phone_is_back(s: &mut Session, cx: &mut Cx<'_>) {
    s.state = State::Connected;
    returned::phone_returned(s, cx);
    restart::restart_dormant(s, cx);
    start::start_dashboard(s, cx);
}

/// `connection_init` on an open socket: the same initialisation again, as a reconnection (protocol.md §6.3). It may have waited
/// for the user record, and its socket be gone or superseded by now: then there is nothing to initialise.
pub(crate) fn reinitialise(s: &mut Session, conn: ConnId, cx: &mut Cx<'_>) {
    if s.m.phone.open() != Some(conn) {
        return;
    }
    let flags = s.m.phone.flags;
    ensure_udp_key(s, &flags);
    send_ack(s, conn, &flags, cx);
    phone_is_back(s, cx);
}

/// Logs a user record that took longer than `slow_phase_ms` to read: the phone waited for its ack that long.
fn say_if_slow(s: &Session, cx: &mut Cx<'_>) {
    let took_ms = cx.now.mono_ms.saturating_sub(s.created_ms);
    if took_ms >= cx.cfg.observability.slow_phase_ms {
        cx.metrics.inc(Counter::SlowUserLoad);
        if let Some(more) = cx.lines.may(Line::RecordSlow, cx.now.mono_ms) {
            tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), phase = "user_load", took_ms, more, "slow-phase");
        }
    }
}

/// The user record is there (or the store failed: `None`): ack first, then everything that waited.
pub(crate) fn user_loaded(s: &mut Session, record: Option<Box<UserRecord>>, cx: &mut Cx<'_>) {
    if s.state != State::Initializing {
        late_record::answered(s, record, cx);
        return;
    }
    s.timers.cancel(&Timer::UserLoad);
    say_if_slow(s, cx);
    if record.is_none() {
        cx.metrics.inc(Counter::SessionsWithoutRecord);
        if let Some(more) = cx.lines.may(Line::RecordMissing, cx.now.mono_ms) {
            tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), more, "user record not readable; going on with defaults");
        }
    }
    if record.is_none() || !cx.apps.loaded {
        late_record::missed(s, cx);
    }
    take_record(s, record.unwrap_or_default(), cx);
    s.state = State::Connecting;
    for conn in std::mem::take(&mut s.m.phone.unacked) {
        let superseded = s.m.phone.superseded.iter().find(|row| row.0 == conn);
        let flags = superseded.map_or(s.m.phone.flags, |row| row.1);
        send_ack(s, conn, &flags, cx);
    }
    s.state = match s.m.phone.open() {
        Some(_) => State::Connected,
        None => State::Disconnected,
    };
    device::acked(s, cx);
    start_apps(s, cx);
    release_held(s, cx);
}

/// What the record says holds from now on, where the session does not know better.
pub(crate) fn take_record(s: &mut Session, mut record: Box<UserRecord>, cx: &mut Cx<'_>) {
    drop_deprecated(s, &mut record, cx);
    let installed = record.installed_apps.clone();
    s.m.apps.intent.load(&record.running_apps, installed);
    device::user_loaded(s, &record, cx);
    screen::user_loaded(s, &record.onboarded);
    user_settings::dashboard_changed(s, cx);
}

/// Deprecated packages leave the stored list (behaviour.md §2.11).
fn drop_deprecated(s: &mut Session, record: &mut UserRecord, cx: &mut Cx<'_>) {
    let (dropped, kept): (Vec<String>, Vec<String>) = std::mem::take(&mut record.running_apps)
        .into_iter()
        .partition(|name| start::is_deprecated(cx.cfg, name));
    record.running_apps = kept;
    for name in dropped {
        answers::store_intent(s, &Package::new(&name), Wanted::No, Vec::new(), cx);
    }
}

/// Sockets that asked to come back are parked before the starts, so that these find them; inits are looked at after them,
/// when their apps are expected.
fn start_apps(s: &mut Session, cx: &mut Cx<'_>) {
    let waiting = std::mem::take(&mut s.m.apps.sockets.waiting);
    let (reconnects, inits): (Vec<_>, Vec<_>) = waiting
        .into_iter()
        .partition(|row| row.hello.kind == HelloKind::Reconnect);
    for row in reconnects {
        hello::said(s, row.conn, row.hello, cx);
    }
    start_listed(s, cx);
    start::start_dashboard(s, cx);
    for row in inits {
        hello::said(s, row.conn, row.hello, cx);
    }
}

/// Apps of the stored list that do not run: started, or expected once the phone is there. A foreground app that the user
/// started before the list was known is a later word than the list.
pub(crate) fn start_listed(s: &mut Session, cx: &mut Cx<'_>) {
    let is_busy = |app: &AppSession| app.state != AppState::Stopped || app.start.is_some();
    let apps = cx.apps;
    let is_standard = |package: &str| apps.is_standard(package);
    let is_foreground = |app: &AppSession| is_busy(app) && is_standard(&app.package);
    let taken = s.m.apps.iter().any(is_foreground);
    let is_idle = |package: &&Package| {
        let runs = s.m.apps.get(package).is_some_and(is_busy);
        let must_wait = taken && is_standard(package);
        !runs && !must_wait
    };
    let idle = s.m.apps.intent.running().filter(is_idle);
    let idle: Vec<Package> = idle.cloned().collect();
    // Of several foreground apps the last is left where each start stops the one before; where nothing is started, only that one
    // may come.
    let foreground = idle.iter().rfind(|package| is_standard(package)).cloned();
    for package in idle {
        if s.m.phone.open().is_some() {
            start::request(s, &package, StartOrigin::Automatic, None, cx);
        } else if !is_standard(&package) || foreground.as_ref() == Some(&package) {
            lost::expect_later(s, &package);
            // One that asked to come back meanwhile is there, and need not wait for the phone.
            attach::attach_parked(s, &package, cx);
        }
    }
}

fn release_held(s: &mut Session, cx: &mut Cx<'_>) {
    if let Some(byte) = s.m.phone.take_half()
        && let Some(conn) = s.m.phone.open()
    {
        let half = Bytes::copy_from_slice(&[byte]);
        phone_in::release(s, Held::Audio(conn, half), cx);
    }
    while let Some(frame) = s.m.phone.held.pop_front() {
        if s.state == State::Disposed {
            return;
        }
        phone_in::release(s, frame, cx);
    }
    s.m.phone.held = VecDeque::new();
    while let Some((reply, call)) = s.m.phone.next_call() {
        if s.state == State::Disposed {
            answers::no_session(reply, cx);
        } else {
            rest::call(s, reply, call, cx);
        }
    }
}

/// `connection_ack` (protocol.md §7.1): the address where UDP is offered, the key to every socket that asked for one.
fn send_ack(s: &Session, conn: ConnId, flags: &PhoneFlags, cx: &mut Cx<'_>) {
    let udp = &cx.cfg.udp;
    let offered = udp.udp_enabled && !udp.udp_host.is_empty();
    let port = match udp.udp_advertised_port {
        0 => udp.udp_port,
        port => port,
    };
    let key =
        s.m.phone
            .udp_key
            .filter(|_| flags.udp_encryption && udp.udp_enabled)
            .map(|key| base64::engine::general_purpose::STANDARD.encode(key.0));
    let env = &cx.cfg.server.env;
    let now = cx.now.iso();
    cx.fx.text(conn, Class::Control, |out| {
        let mut message = ObjectWriter::begin(out);
        message
            .str("type", "connection_ack")
            .str("sessionId", &s.user)
            .str("timestamp", now.as_str())
            .str("env", env);
        if offered {
            message.str("udpHost", &udp.udp_host).num("udpPort", port);
        }
        if let Some(key) = &key {
            message.object("udpEncryption", |encryption| {
                encryption
                    .str("key", key)
                    .str("algorithm", "xsalsa20-poly1305");
            });
        }
        message.end();
    });
}

/// A phone socket is gone. Only the current one matters (behaviour.md §1.8).
pub(crate) fn phone_closed(s: &mut Session, conn: ConnId, info: &CloseInfo, cx: &Cx<'_>) {
    s.m.health
        .unregister(conn, EndReason::from_close(info), cx.now.mono_ms);
    if s.m.phone.current != Some(conn) {
        s.m.phone.drop_superseded(conn);
        return;
    }
    let now_ms = cx.now.mono_ms;
    let phone = &mut s.m.phone;
    phone.last_close_code = Some(info.code);
    phone.last_close_reason.clone_from(&info.reason);
    phone.lose_current(now_ms);
    churn::closed(s, conn, info, cx);
    if s.state != State::Initializing {
        s.state = State::Disconnected;
    }
    if cx.cfg.connections.grace_period_cleanup_enabled {
        let at_ms = now_ms + cx.cfg.connections.reconnect_grace_ms;
        s.timers.set(Timer::PhoneGrace, at_ms);
    }
}

/// Events that still arrive after disposal: refuse what waits for an answer, ignore the rest.
pub(crate) fn after_disposal(event: &Event, cx: &mut Cx<'_>) {
    match event {
        Event::Rest { reply, .. } => answers::no_session(*reply, cx),
        Event::AppHello { conn, .. } | Event::AppParked { conn, .. } => {
            notices::app_error(*conn, "SESSION_NOT_FOUND", "Session not found", cx);
            cx.fx.close(*conn, CloseReason::SessionEnded);
        }
        Event::PhoneConnected { conn, .. } => {
            // The phone comes back and finds a new session.
            cx.fx.close(*conn, CloseReason::UserSessionEnded);
        }
        Event::Http { .. } | Event::Stored { .. } | Event::UserLoaded { .. } => {
            cx.metrics.inc(Counter::CorrelationOrphans);
        }
        _ => {}
    }
}
