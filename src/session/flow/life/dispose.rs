//! Layer 2, flow: the end of a session, in the order of behaviour.md §1.9. Every step is best effort and nothing after it has
//! an effect.

use crate::base::close::CloseReason;
use crate::base::ids::Package;
use crate::session::effects::Effect;
use crate::session::event::DisposeCause;
use crate::session::flow::{answers, churn, device, lost, notices, recognisers, requests, udp};
use crate::session::managers::apps::StopWhy;
use crate::session::managers::apps::intent::Wanted;
use crate::session::{Cx, Session, State};

/// Ends the session. Twice is once.
pub(crate) fn dispose(s: &mut Session, cause: DisposeCause, cx: &mut Cx<'_>) {
    if s.state == State::Disposed {
        return;
    }
    s.state = State::Disposed;
    churn::disposed(s, cause, cx);
    // While apps still have their sockets: whoever waits for something hears that it will not come.
    requests::disposing(s, cx);
    end_apps(s, cx);
    end_loose_sockets(s, cx);
    recognisers::disposing(s, cx);
    device::save_location(s, cx);
    udp::disposing(s, cx);
    end_calls(s, cx);
    end_phone(s, cx);
    s.m.health.clear();
    s.timers.clear();
    cx.fx.push(Effect::Disposed);
}

fn end_apps(s: &mut Session, cx: &mut Cx<'_>) {
    s.m.apps.restart_queue.clear();
    s.m.apps.restarting.clear();
    let packages: Vec<Package> = s.m.apps.iter().map(|app| app.package.clone()).collect();
    for package in packages {
        let (conns, stop) = lost::end_with_session(s, &package, cx);
        for conn in conns {
            notices::stop_app_socket(conn, None, CloseReason::UserSessionEnded, cx);
        }
        let Some(stop) = stop else { continue };
        // A deliberate stop in progress is the user's word; it is not lost with the session, and whoever waits for it hears as always
        // when it is durable.
        if stop.why.is_some_and(|why| why != StopWhy::Incompatible) {
            answers::store_intent(s, &package, Wanted::No, stop.waiters, cx);
        } else {
            answers::succeed(s, Wanted::No, &package, &stop.waiters, cx);
        }
    }
}

fn end_loose_sockets(s: &mut Session, cx: &mut Cx<'_>) {
    let sockets = std::mem::take(&mut s.m.apps.sockets);
    for row in sockets.replaced {
        notices::stop_app_socket(row.conn, None, CloseReason::UserSessionEnded, cx);
    }
    for row in sockets.lingering {
        cx.fx.close(row.conn, row.reason);
    }
    for row in sockets.waiting {
        notices::app_error(row.conn, "SESSION_NOT_FOUND", "Session not found", cx);
        cx.fx.close(row.conn, CloseReason::SessionEnded);
    }
    for parked in sockets.parked {
        cx.fx.push(Effect::ReturnParked {
            conn: parked.conn,
            hello: parked.hello,
            expires_ms: parked.expires_ms,
        });
    }
}

fn end_calls(s: &mut Session, cx: &mut Cx<'_>) {
    answers::disposing(s, cx);
    while let Some((reply, _)) = s.m.phone.next_call() {
        answers::no_session(reply, cx);
    }
}

fn end_phone(s: &mut Session, cx: &mut Cx<'_>) {
    let phone = std::mem::take(&mut s.m.phone);
    let superseded = phone.superseded.iter().map(|row| row.0);
    for conn in phone.current.into_iter().chain(superseded) {
        cx.fx.close(conn, CloseReason::UserSessionEnded);
    }
}
