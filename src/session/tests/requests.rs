//! Starts that end: what becomes of their session requests (behaviour.md §2.3, invariant 11), and how they are counted.

use crate::base::ids::{CallId, ConnId};
use crate::base::metrics::{Counter, Timing};
use crate::session::effects::{Effect, HttpKind, UnderWay};
use crate::session::event::Sdk;
use crate::session::managers::apps::AppState;
use crate::session::managers::device::Source;
use crate::session::testkit::{Kit, SCRIBE, needs, record, session_end};
use crate::wire::records::{AppType, Registry};

/// Calls whose connections are cut.
fn cuts(kit: &mut Kit) -> Vec<CallId> {
    let effects = kit.effects(|effect| matches!(effect, Effect::CancelHttp { .. }));
    let cut = |effect: &Effect| match effect {
        Effect::CancelHttp { call, under_way } => (*under_way == UnderWay::Cut).then_some(*call),
        _ => None,
    };
    effects.iter().filter_map(cut).collect()
}

/// Invariant 11: app servers answer when they have connected, and some long after that.
#[test]
fn no_two_session_requests_are_under_way() {
    let (mut kit, _) = Kit::connected();
    let mut asked = Vec::new();
    for comes in [false, true, false] {
        kit.start(SCRIBE);
        assert_eq!(cuts(&mut kit), asked);
        let request = kit.webhook(HttpKind::SessionRequest).call;
        if comes {
            kit.init(SCRIBE, Sdk::V2);
            assert_eq!(cuts(&mut kit), [], "it did its work");
        }
        kit.stop(SCRIBE);
        // Unanswered by an app that runs it is no trouble before the next one.
        asked = if comes { vec![request] } else { Vec::new() };
        let at_the_stop = if comes { vec![] } else { vec![request] };
        assert_eq!(cuts(&mut kit), at_the_stop);
        let stop = kit.webhook(HttpKind::StopRequest).call;
        kit.answer_webhook(stop, 200);
        kit.stored_all();
    }
}

#[test]
fn the_answer_of_an_app_that_connected_first_is_expected() {
    let (mut kit, _) = Kit::connected();
    kit.start(SCRIBE);
    let request = kit.webhook(HttpKind::SessionRequest).call;
    kit.init(SCRIBE, Sdk::V2);
    kit.answer_webhook(request, 200);
    assert_eq!(kit.metrics.get(Counter::CorrelationOrphans), 0);
    kit.answer_webhook(request, 200);
    assert_eq!(kit.metrics.get(Counter::CorrelationOrphans), 1, "once");
}

#[test]
fn a_session_that_ends_leaves_no_session_request_behind() {
    let (mut kit, _) = Kit::connected();
    kit.start(SCRIBE);
    let request = kit.webhook(HttpKind::SessionRequest).call;
    kit.init(SCRIBE, Sdk::V2);
    kit.event(session_end());
    assert_eq!(cuts(&mut kit), [request]);
}

/// How starts end is counted and timed also where they are refused before anything is asked (behaviour.md §10.3).
#[test]
fn refused_starts_and_restarts_are_counted_by_their_stage() {
    let (mut kit, phone) = Kit::connected();
    let timed = |kit: &Kit, timing| {
        let histogram = kit.metrics.timing(timing).histogram();
        histogram.map_or(0, |histogram| histogram.len())
    };
    kit.phone_text(
        phone,
        r#"{"type":"start_app","packageName":"com.acme.nowhere"}"#,
    );
    assert_eq!(kit.metrics.get(Counter::AppStartsWebhook), 1);
    assert_eq!(timed(&kit, Timing::AppStartWebhook), 1);
    let app = kit.running(SCRIBE, Sdk::V3);
    kit.app_closes(app);
    let mut record = record(SCRIBE, AppType::Background);
    record.hardware_requirements = vec![needs("CAMERA", "REQUIRED")];
    kit.apps = Registry::new([record], 2);
    let wears = [("modelName".to_owned(), "Vuzix Z100".into())];
    kit.run(|s, _| {
        s.m.device
            .apply(wears.into_iter().collect(), Source::Preference)
    });
    kit.advance(5_000);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    assert_eq!(kit.metrics.get(Counter::ResurrectionsFailed), 1);
    assert_eq!(timed(&kit, Timing::AppStartHardware), 1);
}

const NOTHING: &str = r#"{"type":"subscription_update","subscriptions":[]}"#;
const BUTTON: &str = r#"{"type":"subscription_update","subscriptions":["button_press"]}"#;

/// A lost app whose server answers the restart's request with `status`; half a second later its socket comes by itself.
fn back_by_itself(sdk: Sdk, status: u16) -> (Kit, ConnId) {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, sdk);
    kit.app_closes(conn);
    kit.advance(5_000);
    if sdk == Sdk::V2 {
        let stop = kit.webhook(HttpKind::StopRequest).call;
        kit.answer_webhook(stop, 200);
    }
    let request = kit.webhook(HttpKind::SessionRequest).call;
    kit.answer_webhook(request, status);
    kit.advance(500);
    let conn = kit.init(SCRIBE, sdk);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    (kit, conn)
}

/// 2.1, 3.0: a session whose first connection failed was given up by its server, but its socket connects again by its own
/// timer and subscribes to nothing; `onSession` runs only after another request.
#[test]
fn an_app_that_came_for_nobody_is_asked_again_once() {
    for sdk in [Sdk::V2, Sdk::V3] {
        let (mut kit, conn) = back_by_itself(sdk, 500);
        kit.app_text(conn, NOTHING);
        kit.advance(499);
        assert!(kit.webhooks(HttpKind::SessionRequest).is_empty(), "{sdk:?}");
        kit.advance(1);
        let again = kit.webhook(HttpKind::SessionRequest);
        assert_eq!(kit.state(SCRIBE), AppState::Running);
        let newer = kit.init(SCRIBE, sdk);
        kit.app_text(newer, NOTHING);
        kit.app_text(newer, BUTTON);
        kit.answer_webhook(again.call, 200);
        kit.advance(30_000);
        assert!(kit.webhooks(HttpKind::SessionRequest).is_empty(), "{sdk:?}");
        assert_eq!(kit.state(SCRIBE), AppState::Running);
    }
}

/// Behaviour.md §2.4: no retry once the start has completed.
#[test]
fn an_app_that_came_although_its_server_refused_and_works_is_left_alone() {
    for lists in [&[][..], &[BUTTON], &[BUTTON, NOTHING], &[NOTHING, BUTTON]] {
        let (mut kit, conn) = back_by_itself(Sdk::V3, 500);
        for list in lists {
            kit.app_text(conn, list);
        }
        kit.advance(20_000);
        assert!(
            kit.webhooks(HttpKind::SessionRequest).is_empty(),
            "{lists:?}"
        );
    }
    // Its server never said that it failed.
    let (mut kit, _) = Kit::connected();
    kit.start(SCRIBE);
    let request = kit.webhook(HttpKind::SessionRequest).call;
    let conn = kit.init(SCRIBE, Sdk::V3);
    kit.app_text(conn, NOTHING);
    kit.answer_webhook(request, 200);
    kit.advance(20_000);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
}

/// The time to ask again may go by while the socket is lost. The first list after its return may name nothing yet.
#[test]
fn an_app_that_came_for_nobody_is_asked_again_when_its_socket_is_back() {
    for (lists, asked) in [(&[NOTHING][..], 1), (&[NOTHING, BUTTON], 0)] {
        let (mut kit, conn) = back_by_itself(Sdk::V3, 500);
        kit.app_text(conn, NOTHING);
        kit.app_closes(conn);
        kit.advance(1_000);
        let conn = kit.reconnect(SCRIBE);
        assert_eq!(kit.state(SCRIBE), AppState::Running);
        for list in lists {
            kit.app_text(conn, list);
            kit.advance(100);
        }
        kit.advance(30_000);
        let requests = kit.webhooks(HttpKind::SessionRequest);
        assert_eq!(requests.len(), asked, "{lists:?}");
    }
}

#[test]
fn an_app_that_came_for_nobody_and_is_stopped_or_lost_is_not_asked() {
    let (mut kit, conn) = back_by_itself(Sdk::V3, 500);
    kit.app_text(conn, NOTHING);
    kit.stop(SCRIBE);
    kit.advance(20_000);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    let (mut kit, conn) = back_by_itself(Sdk::V3, 500);
    kit.app_text(conn, NOTHING);
    kit.app_closes(conn);
    kit.advance(4_999);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    kit.advance(1);
    assert_eq!(
        kit.webhooks(HttpKind::SessionRequest).len(),
        1,
        "its restart"
    );
    kit.advance(2_000);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
}
