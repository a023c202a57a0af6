//! Two sessions of one user in one app server, as SDKs before 2.1.29 run them after a restart that the server asked for while their
//! own retry was on its way: the replaced socket stays (behaviour.md §2.13 would close it; those SDKs then forget the user).

use crate::base::ids::ConnId;
use crate::session::effects::Effect;
use crate::session::event::{Event, Sdk};
use crate::session::managers::apps::AppState;
use crate::session::managers::apps::sockets::BESIDE_MAX;
use crate::session::rest::Call;
use crate::session::testkit::{Kit, MAPS, SCRIBE, user_running};
use bytes::Bytes;

const BUTTONS: &str = r#"{"type":"subscription_update","subscriptions":["button_press"]}"#;

/// Scribe, restarted as its user's session began, on its second socket; the first is the one that the webhook asked for.
fn came_back(sdk: Sdk) -> (Kit, ConnId, ConnId, ConnId) {
    let (mut kit, phone) = Kit::connected_with(user_running(&[SCRIBE]));
    let body = Bytes::from_static(br#"{"connected":true,"modelName":"Even Realities G1"}"#);
    kit.rest(Call::DeviceState { body });
    let asked = kit.init(SCRIBE, sdk);
    kit.app_text(asked, BUTTONS);
    let own = kit.init(SCRIBE, sdk);
    kit.advance(2_000);
    kit.forget();
    (kit, phone, asked, own)
}

fn wall(text: &str) -> String {
    format!(
        r#"{{"type":"display_event","view":"main","layout":{{"layoutType":"text_wall","text":"{text}"}}}}"#
    )
}

fn shown(kit: &mut Kit, phone: ConnId) -> Vec<String> {
    kit.texts(phone)
        .iter()
        .filter(|message| message["type"] == "display_event")
        .map(|message| message["layout"]["text"].as_str().unwrap_or("?").to_owned())
        .collect()
}

#[test]
fn both_sockets_of_a_restarted_2x_app_stay_and_draw() {
    let (mut kit, phone, asked, own) = came_back(Sdk::V2);
    kit.advance(20_000);
    assert_eq!(kit.close_of(asked), None);
    assert!(!kit.types(asked).contains(&"app_stopped".to_owned()));
    kit.forget();
    kit.app_text(asked, &wall("from the web view"));
    kit.advance(1_000);
    kit.app_text(own, &wall("from a handler"));
    kit.advance(1_000);
    assert_eq!(
        shown(&mut kit, phone),
        ["from the web view", "from a handler"]
    );
}

#[test]
fn events_go_to_the_newer_socket_and_it_alone_says_which() {
    let (mut kit, phone, asked, own) = came_back(Sdk::V2);
    kit.app_text(
        asked,
        r#"{"type":"subscription_update","subscriptions":[]}"#,
    );
    kit.advance(10_000);
    kit.app_text(
        asked,
        r#"{"type":"subscription_update","subscriptions":[]}"#,
    );
    kit.app_text(asked, r#"{"type":"ownership_release"}"#);
    kit.forget();
    kit.phone_text(
        phone,
        r#"{"type":"button_press","buttonId":"a","pressType":"short"}"#,
    );
    assert_eq!(kit.texts(own)[0]["streamType"], "button_press");
    assert!(kit.texts(asked).is_empty());
    kit.app_closes(own);
    assert_eq!(
        kit.state(SCRIBE),
        AppState::GracePeriod,
        "nothing was released"
    );
}

#[test]
fn the_end_of_the_app_ends_the_socket_that_stayed() {
    let (mut kit, phone, asked, own) = came_back(Sdk::V2);
    kit.advance(10_000);
    kit.forget();
    kit.stop(SCRIBE);
    kit.app_text(asked, &wall("late"));
    kit.advance(10_000);
    for conn in [own, asked] {
        assert_eq!(kit.close_of(conn), Some((1000, "App stopped")));
        let told = kit.texts(conn);
        assert_eq!(told[0]["type"], "app_stopped");
        assert_eq!(told[0]["reason"], "user_disabled");
    }
    assert!(shown(&mut kit, phone).iter().all(|text| text != "late"));
    assert!(kit.s.m.apps.sockets.replaced.is_empty());
}

#[test]
fn a_restart_that_fails_ends_the_socket_that_stayed() {
    let (mut kit, _, asked, own) = came_back(Sdk::V2);
    kit.app_closes(own);
    kit.advance(60_000);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped, "nobody answered");
    assert_eq!(kit.close_of(asked), Some((1000, "App stopped")));
}

#[test]
fn the_end_of_the_session_ends_the_socket_that_stayed() {
    let (mut kit, phone, asked, _) = came_back(Sdk::V2);
    kit.advance(10_000);
    kit.phone_closes(phone);
    kit.advance(120_000);
    assert_eq!(kit.close_of(asked), Some((1000, "User session ended")));
}

#[test]
fn a_socket_that_stayed_may_go_or_die_without_its_app() {
    let (mut kit, _, asked, own) = came_back(Sdk::V2);
    kit.app_closes(asked);
    kit.advance(6_000);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    assert!(kit.s.m.apps.sockets.replaced.is_empty());
    kit.init(SCRIBE, Sdk::V2);
    kit.advance(6_000);
    assert_eq!(
        kit.close_of(own),
        Some((1000, "Replaced by new connection")),
        "no session request brought it"
    );

    let (mut kit, phone, asked, own) = came_back(Sdk::V2);
    for _ in 0..30 {
        kit.advance(10_000);
        answer_pings(&mut kit, &[phone, own]);
    }
    assert_eq!(
        kit.close_of(asked),
        Some((1001, "Connection timeout detected"))
    );
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    assert_eq!(kit.close_of(own), None);
}

fn answer_pings(kit: &mut Kit, of: &[ConnId]) {
    for effect in kit.effects(|effect| matches!(effect, Effect::Ping { .. })) {
        if let Effect::Ping { conn, id } = effect
            && of.contains(&conn)
        {
            let payload = Bytes::copy_from_slice(&id);
            kit.event(Event::Pong { conn, payload });
        }
    }
}

/// The retry may also come while the session request is under way.
#[test]
fn a_retry_that_overtakes_the_session_request_stays_too() {
    let (mut kit, _) = Kit::connected_with(user_running(&[SCRIBE]));
    let own = kit.init(SCRIBE, Sdk::V2);
    let asked = kit.init(SCRIBE, Sdk::V2);
    kit.advance(60_000);
    assert_eq!(kit.close_of(own), None);
    assert_eq!(kit.s.m.apps.open_conn(SCRIBE), Some(asked));
}

#[test]
fn more_sockets_than_an_sdk_has_sessions_do_not_stay() {
    let (mut kit, _, first, second) = came_back(Sdk::V2);
    let mut conns = vec![first, second];
    for _ in 0..BESIDE_MAX + 2 {
        conns.push(kit.init(SCRIBE, Sdk::V2));
    }
    kit.advance(60_000);
    let open = conns.iter().filter(|conn| kit.close_of(**conn).is_none());
    assert_eq!(open.count(), BESIDE_MAX + 1);
    assert_eq!(kit.s.m.apps.sockets.replaced.len(), BESIDE_MAX);
}

#[test]
fn other_replaced_sockets_leave_as_always() {
    let (mut kit, _) = Kit::connected();
    let old = kit.running(MAPS, Sdk::V2);
    kit.init(MAPS, Sdk::V2);
    kit.advance(5_000);
    assert_eq!(
        kit.close_of(old),
        Some((1000, "Replaced by new connection")),
        "the user started it: no older session can come back"
    );
    let (mut kit, _, asked, _) = came_back(Sdk::V3);
    kit.advance(5_000);
    assert_eq!(
        kit.close_of(asked),
        Some((1000, "Replaced by new connection")),
        "3.x ends its older session itself"
    );
}
