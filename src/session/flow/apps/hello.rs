//! Layer 2, flow: the checks of init and reconnect, in the order and with the texts of protocol.md §3.2 and §3.4.

use crate::base::close::CloseReason;
use crate::base::ids::{ConnId, Package};
use crate::base::metrics::Counter;
use crate::session::event::{AppHello, HelloKind, Sdk};
use crate::session::flow::{attach, lost, notices, start};
use crate::session::lines::Line;
use crate::session::managers::apps::AppState;
use crate::session::managers::apps::sockets::{EarlyHello, Lingering};
use crate::session::managers::apps::start::{StartError, StartStage};
use crate::session::timers::Timer;
use crate::session::{Cx, Session, State};
use crate::wire::auth::api_key_matches;
use crate::wire::hello::{HelloFields, KEY_NEEDED, V3_ONLY};
use crate::wire::ids::parse_app_session_id;
use crate::wire::json::JsonError;
use crate::wire::records::AppRecord;
use std::sync::Arc;

/// A refusal with its answer and close.
struct Refusal {
    code: &'static str,
    text: String,
    reason: CloseReason,
}

impl Refusal {
    fn new(code: &'static str, text: impl Into<String>, reason: CloseReason) -> Self {
        Self {
            code,
            text: text.into(),
            reason,
        }
    }

    fn send(&self, conn: ConnId, cx: &mut Cx<'_>) {
        if self.reason == CloseReason::AddressNotAllowed {
            cx.metrics.inc(Counter::AppAddressRefused);
        }
        notices::app_error(conn, self.code, &self.text, cx);
        cx.fx.close(conn, self.reason);
    }
}

/// A socket named itself (or did so again).
pub(crate) fn said(s: &mut Session, conn: ConnId, hello: AppHello, cx: &mut Cx<'_>) {
    if s.state == State::Initializing {
        wait(s, conn, hello, cx);
        return;
    }
    if s.m.apps.by_conn(conn).is_some() {
        repeated(s, conn, hello, cx);
        return;
    }
    let detached = s.m.apps.sockets.replaced(conn).is_some()
        || s.m.apps.sockets.parked.iter().any(|row| row.conn == conn)
        || s.m.apps.stopping_by_conn(conn).is_some();
    if detached {
        return;
    }
    match hello.kind {
        HelloKind::Init => init(s, conn, hello, cx),
        HelloKind::Reconnect => reconnect(s, conn, hello, cx),
    }
}

/// Waits for the user record; bounded, beyond the bound the socket may come back later.
fn wait(s: &mut Session, conn: ConnId, hello: AppHello, cx: &mut Cx<'_>) {
    let waiting = &mut s.m.apps.sockets.waiting;
    if let Some(row) = waiting.iter_mut().find(|row| row.conn == conn) {
        row.hello = hello;
    } else if waiting.len() < cx.cfg.connections.pending_frames_max as usize {
        waiting.push(EarlyHello {
            conn,
            hello,
            invalid_json: 0,
        });
    } else {
        cx.fx.close(conn, CloseReason::Overloaded);
    }
}

fn init(s: &mut Session, conn: ConnId, hello: AppHello, cx: &mut Cx<'_>) {
    match check_init(s, &hello, cx) {
        Ok(()) => attach::attach(s, conn, hello, cx),
        Err(refusal) => {
            cx.metrics.inc(Counter::AppInitsRefused);
            if let Some(more) = cx.lines.may(Line::InitRefused, cx.now.mono_ms) {
                tracing::info!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %hello.package, conn = %conn.tag(), code = refusal.code, more, "app init refused");
            }
            attach::forget_unattached(s, conn);
            refusal.send(conn, cx);
            match refusal.reason {
                CloseReason::AppNotStarted => start::came_too_early(s, &hello.package, cx),
                reason => fail_start(s, &hello.package, reason, cx),
            }
        }
    }
}

/// A pending start ends with the refusal of an app that came with a wrong key or from a wrong address: no other will come.
fn fail_start(s: &mut Session, package: &Package, refused: CloseReason, cx: &mut Cx<'_>) {
    let error = match refused {
        CloseReason::InvalidApiKey => {
            StartError::new(StartStage::Authentication, "Invalid API key")
        }
        CloseReason::AddressNotAllowed => {
            StartError::new(StartStage::Permission, "Address not allowed")
        }
        _ => return,
    };
    start::fail(s, package, &error, cx);
}

fn check_init(s: &Session, hello: &AppHello, cx: &mut Cx<'_>) -> Result<(), Refusal> {
    let package = &hello.package;
    if start::is_deprecated(cx.cfg, package) {
        let text = format!("App {package} is deprecated and no longer accepted");
        return Err(Refusal::new(
            "APP_DEPRECATED",
            text,
            CloseReason::AppDeprecated,
        ));
    }
    let record = check_key(hello, cx)?;
    check_address(s, &record, hello, cx)?;
    let app = s.m.apps.get(package);
    let expected = app.is_some_and(|app| app.state.accepts_socket() && !app.user_stopped);
    if expected {
        Ok(())
    } else {
        Err(Refusal::new(
            "APP_NOT_STARTED",
            "App not started for this session",
            CloseReason::AppNotStarted,
        ))
    }
}

fn check_key(hello: &AppHello, cx: &Cx<'_>) -> Result<Arc<AppRecord>, Refusal> {
    let record = cx.apps.get(&hello.package);
    if record.is_none() && !cx.apps.loaded {
        // An unread store must never look like a wrong key: 1008 ends a v2 app for good.
        return Err(Refusal::new(
            "INTERNAL_ERROR",
            "Internal server error",
            CloseReason::Internal,
        ));
    }
    let key = hello.api_key.as_deref().unwrap_or("");
    record
        .filter(|record| api_key_matches(key, &record.key_sha256))
        .cloned()
        .ok_or_else(|| {
            Refusal::new(
                "INVALID_API_KEY",
                "Invalid API key",
                CloseReason::InvalidApiKey,
            )
        })
}

fn check_address(
    s: &Session,
    record: &AppRecord,
    hello: &AppHello,
    cx: &mut Cx<'_>,
) -> Result<(), Refusal> {
    if !cx.cfg.apps.app_ip_validation_enabled || record.admits(hello.address) {
        return Ok(());
    }
    if let Some(more) = cx.lines.may(Line::AddressRefused, cx.now.mono_ms) {
        tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %hello.package, address = ?hello.address, more, "app address not allowed");
    }
    Err(Refusal::new(
        "PERMISSION_DENIED",
        "Address not allowed",
        CloseReason::AddressNotAllowed,
    ))
}

fn reconnect(s: &mut Session, conn: ConnId, hello: AppHello, cx: &mut Cx<'_>) {
    if hello.sdk != Sdk::V3 {
        reject_old_sdk(s, conn, hello, cx);
        return;
    }
    if hello.api_key.is_none() {
        let reason = CloseReason::ReconnectUnauthenticated;
        let refusal = Refusal::new("SESSION_NOT_FOUND", KEY_NEEDED, reason);
        reject_later(s, conn, hello, &refusal, cx);
        return;
    }
    let checked = check_key(&hello, cx).and_then(|record| check_address(s, &record, &hello, cx));
    if let Err(refusal) = checked {
        attach::forget_unattached(s, conn);
        refusal.send(conn, cx);
        fail_start(s, &hello.package, refusal.reason, cx);
        return;
    }
    let expires_ms = cx.now.mono_ms + cx.cfg.apps.deferred_timeout_ms;
    checked_reconnect(s, conn, hello, expires_ms, Deferral::Announce, cx);
}

/// Whether a socket that gets parked is still to be told so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deferral {
    Announce,
    Known,
}

/// A socket that was parked before this session existed.
pub(crate) fn parked_before(
    s: &mut Session,
    conn: ConnId,
    hello: AppHello,
    expires_ms: u64,
    cx: &mut Cx<'_>,
) {
    if s.state == State::Initializing {
        attach::park(s, conn, hello, expires_ms, cx);
    } else {
        checked_reconnect(s, conn, hello, expires_ms, Deferral::Known, cx);
    }
}

/// Rows 6 to 9 of protocol.md §3.4.
fn checked_reconnect(
    s: &mut Session,
    conn: ConnId,
    hello: AppHello,
    expires_ms: u64,
    deferral: Deferral,
    cx: &mut Cx<'_>,
) {
    let package = hello.package.clone();
    let app = s.m.apps.get(&package);
    let being_started = app.is_some_and(|app| {
        app.state == AppState::Stopped && app.start.is_some() && app.stop.is_none()
    });
    // A list that could not be read yet may name it.
    let intent = &s.m.apps.intent;
    let listed = app.is_none() && (intent.is_running(&package) || intent.unread.is_some());
    if being_started || listed {
        attach::park(s, conn, hello, expires_ms, cx);
        if deferral == Deferral::Announce {
            notices::reconnect_deferred(conn, expires_ms.saturating_sub(cx.now.mono_ms), cx);
        }
        return;
    }
    if app.is_some() && hello.session_id.as_deref() != Some(&s.app_session_id(&package)) {
        reject_expired(s, conn, hello, cx);
        return;
    }
    if app.is_none_or(|app| !app.state.accepts_socket() || app.user_stopped) {
        const TEXT: &str = "App is not expected to run for this user session";
        attach::forget_unattached(s, conn);
        notices::reconnect_rejected(conn, "NOT_RUNNING", TEXT, cx);
        cx.fx.close(conn, CloseReason::AppNotRunning);
        return;
    }
    attach::attach(s, conn, hello, cx);
}

/// Row 1 of protocol.md §3.4.
fn reject_old_sdk(s: &mut Session, conn: ConnId, hello: AppHello, cx: &mut Cx<'_>) {
    let reason = CloseReason::ReconnectUnsupported;
    let refusal = Refusal::new("SESSION_NOT_FOUND", V3_ONLY, reason);
    reject_later(s, conn, hello, &refusal, cx);
}

/// Row 7.
fn reject_expired(s: &mut Session, conn: ConnId, hello: AppHello, cx: &mut Cx<'_>) {
    const TEXT: &str = "Reconnect session identity does not match the active app session";
    let refusal = Refusal::new("SESSION_EXPIRED", TEXT, CloseReason::SessionExpired);
    reject_later(s, conn, hello, &refusal, cx);
}

/// Rejects, and closes after `reject_linger_ms` unless an init on the same socket is accepted meanwhile.
fn reject_later(
    s: &mut Session,
    conn: ConnId,
    hello: AppHello,
    refusal: &Refusal,
    cx: &mut Cx<'_>,
) {
    notices::reconnect_rejected(conn, refusal.code, &refusal.text, cx);
    let sockets = &mut s.m.apps.sockets;
    if let Some(row) = sockets.lingering.iter_mut().find(|row| row.conn == conn) {
        // Its close is due already; saying it again does not keep the socket.
        row.hello = hello;
        return;
    }
    sockets.forget(conn);
    sockets.lingering.push(Lingering {
        conn,
        hello,
        reason: refusal.reason,
        invalid_json: 0,
    });
    let at_ms = cx.now.mono_ms + cx.cfg.connections.reject_linger_ms;
    s.timers.set(Timer::RejectLinger(conn), at_ms);
}

/// No init came on a rejected socket.
pub(crate) fn reject_linger_ended(s: &mut Session, conn: ConnId, cx: &mut Cx<'_>) {
    if let Some(row) = s.m.apps.sockets.take_lingering(conn) {
        cx.fx.close(conn, row.reason);
        lost::closed(s, conn, &row.reason.into(), cx);
    }
}

/// A second hello on an attached socket: the same identity gets its ack again, another one is a breach. A `reconnect` is judged
/// as on any other socket (rows 1 and 7 of protocol.md §3.4).
fn repeated(s: &mut Session, conn: ConnId, hello: AppHello, cx: &mut Cx<'_>) {
    let Some(app) = s.m.apps.by_conn(conn) else {
        return;
    };
    let package = app.package.clone();
    let is_init = hello.kind == HelloKind::Init;
    if hello.package != package || (is_init && names_another_user(s, &hello)) {
        mismatch(s, conn, cx);
        return;
    }
    if let Err(refusal) = check_key(&hello, cx) {
        // The socket is authenticated already; a wrong key changes nothing (invariant 20).
        notices::app_error(conn, refusal.code, &refusal.text, cx);
        return;
    }
    if !is_init && hello.sdk != Sdk::V3 {
        reject_old_sdk(s, conn, hello, cx);
        return;
    }
    if !is_init && hello.session_id.as_deref() != Some(&s.app_session_id(&package)) {
        reject_expired(s, conn, hello, cx);
        return;
    }
    if s.m.apps.sockets.take_lingering(conn).is_some() {
        s.timers.cancel(&Timer::RejectLinger(conn));
    }
    attach::send_ack(s, &package, conn, hello.kind, cx);
}

fn mismatch(s: &mut Session, conn: ConnId, cx: &mut Cx<'_>) {
    if let Some(more) = cx.lines.may(Line::IdentityChanged, cx.now.mono_ms) {
        tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), conn = %conn.tag(), more, "app socket changed its identity");
    }
    cx.fx.close(conn, CloseReason::IdentityMismatch);
    let info = CloseReason::IdentityMismatch.into();
    lost::closed(s, conn, &info, cx);
}

fn names_another_user(s: &Session, hello: &AppHello) -> bool {
    let Some(id) = hello.session_id.as_deref().filter(|id| !id.is_empty()) else {
        return false;
    };
    if id == s.app_session_id(&hello.package) {
        return false;
    }
    parse_app_session_id(id, |user| user == s.user.as_str())
        .is_some_and(|(user, _)| *user != *s.user)
}

/// An init or reconnect as a text on a socket that said hello before: what it leaves out is taken from that hello.
pub(crate) fn said_again(
    s: &mut Session,
    conn: ConnId,
    kind: HelloKind,
    text: &[u8],
    cx: &mut Cx<'_>,
) -> Result<(), JsonError> {
    let fields = HelloFields::read(text, cx.scratch)?;
    let earlier = match s.m.apps.by_conn(conn) {
        Some(app) => app.hello.as_deref(),
        None => s.m.apps.sockets.lingering(conn),
    };
    let Some(earlier) = earlier.cloned() else {
        return Ok(());
    };
    let version = fields.sdk_version.as_deref();
    let hello = AppHello {
        kind,
        package: match fields.package_name {
            Some(name) => Package::new(&name),
            None => earlier.package,
        },
        api_key: fields.api_key.or(earlier.api_key),
        session_id: fields.session_id,
        sdk: match (kind, version) {
            (HelloKind::Reconnect, None) => earlier.sdk,
            _ => Sdk::from_version(version),
        },
        address: earlier.address,
    };
    said(s, conn, hello, cx);
    Ok(())
}
