//! Layer 2, flow: frames of app sockets: `ping` first and always, then the handler table for the app that the socket
//! authenticated as; refusals are answered and keep the socket (behaviour.md §2.20).

use crate::base::close::CloseReason;
use crate::base::ids::{ConnId, Package};
use crate::base::metrics::{Counter, Side};
use crate::session::event::HelloKind;
use crate::session::flow::{hello, lost, notices, requests};
use crate::session::handlers::app::APP;
use crate::session::handlers::{AppMessage, ErrorCode, Reject, app_message_fits, contained};
use crate::session::{Cx, Session};
use crate::wire::json::{self, KindError};
use crate::wire::kinds::AppKind;
use bytes::Bytes;
use serde::Deserialize;

/// As much of what a peer made up as a log line shows.
const UNKNOWN_CHARS: usize = 48;
/// An app whose requests the phone takes no more hears so at most once in this time (ms).
const FULL_AGAIN_MS: u64 = 1000;
const PHONE_FULL: &str = "Too many requests wait for the phone";

/// One text frame (or binary frame with JSON in it).
pub(crate) fn text(s: &mut Session, conn: ConnId, text: &str, cx: &mut Cx<'_>) {
    s.m.health.seen(conn, cx.now.mono_ms, text.len());
    let name = json::kind(text);
    let kind = name.as_ref().ok().and_then(|name| AppKind::from_wire(name));
    let text = text.as_bytes();
    let Some(package) = s.m.apps.by_conn(conn).map(|app| app.package.clone()) else {
        match (&name, kind) {
            (Ok(name), Some(kind)) if speaks_beside(s, conn, kind) => {
                beside(s, conn, kind, name, text, cx);
            }
            _ => unattached(s, conn, name.map(|_| kind), text, cx),
        }
        return;
    };
    let index = kind.map_or(AppKind::COUNT, |kind| kind as usize);
    cx.metrics.message(Side::App, index);
    match (name, kind) {
        (Err(error), _) => unparsable(s, conn, &package, &error, cx),
        (Ok(name), None) => {
            settle(s, &package);
            cx.metrics.inc(Counter::AppUnknownType);
            warn_unknown(s, &package, &name, cx);
        }
        (Ok(name), Some(kind)) => run(s, conn, &package, kind, &name, text, cx),
    }
}

/// A warning for the first message of a type that nobody knows (behaviour.md §2.20); all are counted.
fn warn_unknown(s: &mut Session, package: &Package, name: &str, cx: &Cx<'_>) {
    let shown = match name.char_indices().nth(UNKNOWN_CHARS) {
        Some((end, _)) => &name[..end],
        None => name,
    };
    if s.m.apps.note_unknown(package, shown) {
        tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %package, kind = shown, "unknown app message");
    }
}

/// One binary frame that is no JSON: audio output.
pub(crate) fn binary(s: &mut Session, conn: ConnId, data: Bytes, cx: &mut Cx<'_>) {
    s.m.health.seen(conn, cx.now.mono_ms, data.len());
    if let Some(package) = s.m.apps.by_conn(conn).map(|app| app.package.clone()) {
        requests::app_binary(s, &package, data, cx);
    }
}

fn run(
    s: &mut Session,
    conn: ConnId,
    package: &Package,
    kind: AppKind,
    name: &str,
    text: &[u8],
    cx: &mut Cx<'_>,
) {
    if names_another(package, text) {
        warn_named_another(s, package, text, cx);
    }
    let message = AppMessage {
        conn,
        package,
        text,
    };
    let handler = APP[kind as usize].run;
    let outcome = app_message_fits(kind, text.len())
        .and_then(|()| contained(name, s, cx, |s, cx| handler(s, &message, cx)));
    let Err(reject) = outcome else {
        settle(s, package);
        return;
    };
    cx.metrics.inc(Counter::AppHandlerFailed);
    tracing::debug!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %package, kind = %name, %reject, "app message refused");
    refuse(s, conn, package, &reject, cx);
}

/// Whether a text may name another app than `package`: only its first `packageName` is looked at, wherever that stands.
fn names_another(package: &str, text: &[u8]) -> bool {
    const KEY: &[u8] = b"\"packageName\"";
    let Some(at) = memchr::memmem::find(text, KEY) else {
        return false;
    };
    let value = text[at + KEY.len()..].trim_ascii_start();
    let value = value.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
    let own = value
        .and_then(|value| value.strip_prefix(b"\"")?.strip_prefix(package.as_bytes()))
        .is_some_and(|rest| rest.starts_with(b"\""));
    !own
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    package_name: Option<serde_json::Value>,
}

/// Whatever a body names, it counts for the app of its socket; the first of a socket is worth a warning (behaviour.md §1.1.2).
#[cold]
fn warn_named_another(s: &mut Session, package: &Package, text: &[u8], cx: &mut Cx<'_>) {
    let Some(app) = s.m.apps.get_mut(package).filter(|app| !app.named_another) else {
        return;
    };
    let named = match cx.scratch.parse::<Named>(text) {
        Ok(named) => named.package_name,
        Err(_) => return,
    };
    if let Some(serde_json::Value::String(named)) = named
        && !named.is_empty()
        && named != package.as_str()
    {
        app.named_another = true;
        let named: String = named.chars().take(UNKNOWN_CHARS).collect();
        tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %package, named, "app message names another app");
    }
}

/// What an app asked of the phone was dropped, as more of it waits there than may. The app hears of it, but not of each; its
/// user's phone is not closed for it.
pub(crate) fn phone_full(s: &mut Session, by: ConnId, cx: &mut Cx<'_>) {
    let Some(app) = s.m.apps.by_conn(by) else {
        return;
    };
    let (package, told_ms) = (app.package.clone(), app.told_full_ms);
    if told_ms.is_some_and(|at_ms| cx.now.mono_ms < at_ms + FULL_AGAIN_MS) {
        return;
    }
    if told_ms.is_none() {
        tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %package, "app asks more of the phone than it takes");
    }
    if let Some(app) = s.m.apps.get_mut(&package) {
        app.told_full_ms = Some(cx.now.mono_ms);
    }
    notices::app_error(by, ErrorCode::Refused.as_str(), PHONE_FULL, cx);
}

fn refuse(s: &mut Session, conn: ConnId, package: &Package, reject: &Reject, cx: &mut Cx<'_>) {
    notices::app_error(conn, reject.code.as_str(), &reject.message, cx);
    match reject.code {
        ErrorCode::InternalError => count_failure(s, conn, package, cx),
        _ => settle(s, package),
    }
}

fn unparsable(
    s: &mut Session,
    conn: ConnId,
    package: &Package,
    error: &KindError,
    cx: &mut Cx<'_>,
) {
    let code = ErrorCode::MalformedMessage.as_str();
    notices::app_error(conn, code, &error.to_string(), cx);
    count_bad_json(s, conn, package, cx);
}

fn count_bad_json(s: &mut Session, conn: ConnId, package: &Package, cx: &mut Cx<'_>) {
    cx.metrics.inc(Counter::AppBadJson);
    let Some(app) = s.m.apps.get_mut(package) else {
        return;
    };
    app.bad_json += 1;
    if u64::from(app.bad_json) >= cx.cfg.connections.invalid_json_before_close {
        drop_socket(s, conn, CloseReason::InvalidJson, cx);
    }
}

fn count_failure(s: &mut Session, conn: ConnId, package: &Package, cx: &mut Cx<'_>) {
    let limits = &cx.cfg.connections;
    let now_ms = cx.now.mono_ms;
    let Some(app) = s.m.apps.get_mut(package) else {
        return;
    };
    app.bad_json = 0;
    app.failures.push_back(now_ms);
    while app
        .failures
        .front()
        .is_some_and(|at_ms| now_ms.saturating_sub(*at_ms) >= limits.handler_failure_window_ms)
    {
        app.failures.pop_front();
    }
    if app.failures.len() as u64 >= limits.handler_failures_before_close {
        drop_socket(s, conn, CloseReason::Internal, cx);
    }
}

/// A parsable message ends a row of unparsable ones.
fn settle(s: &mut Session, package: &str) {
    if let Some(app) = s.m.apps.get_mut(package) {
        app.bad_json = 0;
    }
}

/// We close an attached socket; for the app it is an unexpected loss.
fn drop_socket(s: &mut Session, conn: ConnId, reason: CloseReason, cx: &mut Cx<'_>) {
    cx.fx.close(conn, reason);
    lost::closed(s, conn, &reason.into(), cx);
}

/// Whether a socket that stays beside the attached one of its running app is obeyed in this. What its app wants to hear is not its
/// business: that goes to the attached one.
fn speaks_beside(s: &Session, conn: ConnId, kind: AppKind) -> bool {
    let row = s.m.apps.sockets.replaced(conn).filter(|row| row.stays);
    row.is_some_and(|row| s.m.apps.is_running(&row.package)) && kind != AppKind::SubscriptionUpdate
}

#[cold]
fn beside(s: &mut Session, conn: ConnId, kind: AppKind, name: &str, text: &[u8], cx: &mut Cx<'_>) {
    if let Some(package) =
        s.m.apps
            .sockets
            .replaced(conn)
            .map(|row| row.package.clone())
    {
        cx.metrics.message(Side::App, kind as usize);
        run(s, conn, &package, kind, name, text, cx);
    }
}

/// A socket that is not the app's current one: `ping` is answered while it may still become or has been one; an init may
/// follow a rejected reconnect; anything else has no effect.
fn unattached(
    s: &mut Session,
    conn: ConnId,
    kind: Result<Option<AppKind>, KindError>,
    text: &[u8],
    cx: &mut Cx<'_>,
) {
    let sockets = &s.m.apps.sockets;
    if !sockets.contains(conn) {
        return;
    }
    let lingers = sockets.lingering(conn).is_some();
    let has_named_itself = lingers || sockets.is_waiting(conn);
    let outcome = match kind {
        Err(error) => Err(error.to_string()),
        Ok(Some(AppKind::TpaConnectionInit | AppKind::ConnectionInit)) if lingers => {
            hello::said_again(s, conn, HelloKind::Init, text, cx).map_err(|e| e.to_string())
        }
        Ok(Some(AppKind::Reconnect)) if lingers => {
            hello::said_again(s, conn, HelloKind::Reconnect, text, cx).map_err(|e| e.to_string())
        }
        Ok(kind) => {
            match kind {
                Some(AppKind::Ping) => notices::app_pong(conn, cx),
                Some(AppKind::Pong) => {}
                _ if has_named_itself => {
                    let code = ErrorCode::SessionNotFound.as_str();
                    notices::app_error(conn, code, "Session not found", cx);
                }
                _ => {}
            }
            Ok(())
        }
    };
    match outcome {
        Ok(()) => {
            if let Some(row) = s.m.apps.sockets.invalid_json(conn) {
                *row = 0;
            }
        }
        Err(error) => unattached_unparsable(s, conn, &error, cx),
    }
}

/// What is no JSON is answered and counted as such wherever the socket stands, unless it was replaced.
fn unattached_unparsable(s: &mut Session, conn: ConnId, error: &str, cx: &mut Cx<'_>) {
    let Some(row) = s.m.apps.sockets.invalid_json(conn) else {
        return;
    };
    *row += 1;
    let is_over = u64::from(*row) >= cx.cfg.connections.invalid_json_before_close;
    cx.metrics.inc(Counter::AppBadJson);
    notices::app_error(conn, ErrorCode::MalformedMessage.as_str(), error, cx);
    if is_over {
        drop_socket(s, conn, CloseReason::InvalidJson, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::event::Sdk;
    use crate::session::managers::apps::AppState;
    use crate::session::testkit::{Kit, SCRIBE};

    fn fail(kit: &mut Kit, conn: ConnId) {
        let package = Package::new(SCRIBE);
        let reject = Reject::new(ErrorCode::InternalError, "Internal server error");
        kit.run(|s, cx| refuse(s, conn, &package, &reject, cx));
    }

    #[test]
    fn five_failures_of_ours_within_a_minute_close_the_socket() {
        let (mut kit, _) = Kit::connected();
        let conn = kit.running(SCRIBE, Sdk::V3);
        for _ in 0..4 {
            fail(&mut kit, conn);
        }
        kit.event(crate::session::event::Event::Activity { conn });
        kit.now = kit.now.plus(60_000); // the first four no longer count
        fail(&mut kit, conn);
        assert_eq!(kit.close_of(conn), None);
        for _ in 0..4 {
            fail(&mut kit, conn);
        }
        assert_eq!(kit.close_of(conn), Some((1011, "Internal server error")));
        assert_eq!(kit.state(SCRIBE), AppState::TransportDown);
        assert_eq!(kit.types(conn).len(), 9);
    }

    #[test]
    fn requests_that_find_no_phone_keep_the_socket() {
        let (mut kit, phone) = Kit::connected();
        let conn = kit.running(SCRIBE, Sdk::V3);
        kit.phone_closes(phone);
        for _ in 0..10 {
            kit.app_text(conn, r#"{"type":"audio_stop_request"}"#);
        }
        let told = kit.texts(conn);
        let refused: Vec<_> = told
            .iter()
            .filter(|text| text["message"] == "Glasses not connected")
            .collect();
        assert_eq!(refused.len(), 10);
        assert_eq!(refused[0]["code"], "INTERNAL_ERROR");
        assert_eq!(kit.close_of(conn), None);
    }

    #[test]
    fn an_unknown_type_is_warned_of_once_per_app_and_always_counted() {
        let (mut kit, _) = Kit::connected();
        let conn = kit.running(SCRIBE, Sdk::V3);
        let lines = crate::base::log_capture::lines_of(|| {
            for _ in 0..3 {
                kit.app_text(conn, r#"{"type":"from_the_future"}"#);
            }
            kit.app_text(conn, r#"{"type":"from_elsewhere"}"#);
            for number in 0..100 {
                let text = format!(r#"{{"type":"{number}{}"}}"#, "é".repeat(100));
                kit.app_text(conn, &text);
            }
        });
        assert_eq!(kit.metrics.get(Counter::AppUnknownType), 104);
        assert_eq!(kit.close_of(conn), None);
        let warned = |name: &str| lines.iter().filter(|line| line.contains(name)).count();
        assert!(lines[0].starts_with("WARN") && lines[0].contains("unknown app message"));
        assert!(lines[0].contains(SCRIBE), "{}", lines[0]);
        assert_eq!(
            (warned("from_the_future"), warned("from_elsewhere")),
            (1, 1)
        );
        assert_eq!(lines.len(), 32, "however many types an app invents");
        assert!(lines.iter().all(|line| line.len() < 400), "or how long");
    }

    #[test]
    fn a_text_of_an_unknown_type_that_is_no_json_is_refused_like_any_other() {
        let (mut kit, _) = Kit::connected();
        let conn = kit.running(SCRIBE, Sdk::V2);
        for _ in 0..9 {
            kit.app_text(conn, r#"{"type":"from_the_future","x":}"#);
        }
        let told = kit.texts(conn);
        assert_eq!(told.len(), 9);
        assert_eq!(told[8]["code"], "MALFORMED_MESSAGE");
        assert_eq!(kit.metrics.get(Counter::AppUnknownType), 0);
        assert_eq!(kit.close_of(conn), None);
        kit.app_text(conn, r#"{"type":"from_the_future","x":}"#);
        assert_eq!(kit.close_of(conn), Some((1007, "Invalid JSON")));
    }

    #[test]
    fn a_body_that_names_another_app_is_warned_of_once_per_socket() {
        let (mut kit, _) = Kit::connected();
        let conn = kit.running(SCRIBE, Sdk::V2);
        let own = format!(r#"{{"type":"pong","packageName" : "{SCRIBE}"}}"#);
        let nested = format!(
            r#"{{"type":"pong","payload":{{"packageName":"x"}},"packageName":"{SCRIBE}"}}"#
        );
        let foreign = format!(r#"{{"type":"pong","packageName":"{SCRIBE}2"}}"#);
        let mut warned = |texts: &[&str]| {
            crate::base::log_capture::lines_of(|| {
                for text in texts {
                    kit.app_text(conn, text);
                }
            })
        };
        let none = r#"{"type":"pong","packageName":""}"#;
        assert!(warned(&[&own, &nested, none, r#"{"type":"pong"}"#]).is_empty());
        let lines = warned(&[&foreign, &foreign]);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("WARN") && lines[0].contains("names another app"));
        assert_eq!(kit.close_of(conn), None);
    }

    #[test]
    fn a_refused_request_keeps_the_socket() {
        let (mut kit, _) = Kit::connected();
        let conn = kit.running(SCRIBE, Sdk::V3);
        let package = Package::new(SCRIBE);
        let text = "Camera permission required to take photos";
        for _ in 0..100 {
            let reject = Reject::new(ErrorCode::PermissionDenied, text);
            kit.run(|s, cx| refuse(s, conn, &package, &reject, cx));
        }
        assert_eq!(kit.texts(conn)[0]["message"], text);
        assert_eq!(kit.close_of(conn), None);
    }
}
