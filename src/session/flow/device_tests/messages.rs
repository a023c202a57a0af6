//! App-to-app messages (behaviour.md §7.10, protocol.md §8.21, §9.19; invariant 42).

use super::*;
use crate::session::flow::{app_messages, requests};
use crate::session::managers::app_messages::{
    Content, Incoming, Outgoing, Payload, RoomConfig, RoomRequest, RoomUpdate, To,
};

const DIRECT: &str = r#"{"type":"app_direct_message","targetUserId":"Ben@lumen.io","payload":{"t":"hi"},"messageId":"m2","senderUserId":"evil@x.io"}"#;

fn outgoing(kit: &mut Kit) -> Vec<Outgoing> {
    let sent = kit.sent();
    let boxed = |effect: &Effect| match effect {
        Effect::AppMessage(message) => Some((**message).clone()),
        _ => None,
    };
    sent.fx.list().iter().filter_map(boxed).collect()
}

fn payload(room_id: Option<&str>) -> Payload {
    Payload {
        json: r#"{"t":"hi"}"#.into(),
        message_id: "m1".into(),
        room_id: room_id.map(str::to_owned),
        sent_unix_ms: 1_773_480_413_589,
    }
}

fn arrive(kit: &mut Kit, from: &str, content: Content) {
    let incoming = Incoming {
        from: UserId::new(from),
        package: Package::new(OTHER),
        content,
    };
    kit.with(|s, cx| app_messages::arrived(s, &incoming, cx));
}

#[test]
fn a_payload_leaves_as_it_was_written() {
    let mut kit = Kit::new();
    let sent = |kit: &mut Kit, payload: &str| {
        let text =
            format!(r#"{{"type":"app_broadcast_message","messageId":"m1","payload":{payload}}}"#);
        kit.app(OTHER, &text).expect("taken");
        match outgoing(kit).remove(0).message.content {
            Content::Message(payload) => payload.json,
            other => panic!("{other:?}"),
        }
    };
    let whole =
        r#"{"b": 1.0, "a":[1e400,12345678901234567890123], "cut \ud83d":"\udc00", "\u0061":-0}"#;
    for payload in [whole, r#""\ud83d""#, "0", "[]", "null"] {
        assert_eq!(&*sent(&mut kit, payload), payload);
    }
    assert_eq!(&*sent(&mut kit, r#"1,"payload":2"#), "2", "the last counts");
}

#[test]
fn a_broadcast_leaves_under_the_servers_identity() {
    let mut kit = Kit::new();
    kit.app(OTHER, r#"{"type":"app_broadcast_message","payload":{"t":"hi"},"messageId":"m1","senderUserId":"evil@x.io"}"#).expect("taken");
    let message = Incoming {
        from: UserId::new("nadia@lumen.io"),
        package: Package::new(OTHER),
        content: Content::Message(payload(None)),
    };
    assert_eq!(
        outgoing(&mut kit),
        [Outgoing {
            to: To::Everybody,
            message
        }]
    );
    kit.app(
        OTHER,
        r#"{"type":"app_broadcast_message","payload":1,"messageId":"m1","roomId":"r1"}"#,
    )
    .expect("taken");
    assert_eq!(
        outgoing(&mut kit)[0].to,
        To::Rooms(RoomRequest::Send {
            room_id: "r1".into()
        })
    );
}

#[test]
fn a_message_arrives_with_its_sender_and_never_at_the_sender() {
    let mut kit = Kit::new();
    arrive(
        &mut kit,
        "ben@lumen.io",
        Content::Message(payload(Some("r1"))),
    );
    arrive(&mut kit, "nadia@lumen.io", Content::Message(payload(None)));
    assert_eq!(
        kit.sent().other(),
        [
            r#"{"type":"app_message_received","payload":{"t":"hi"},"messageId":"m1","senderUserId":"ben@lumen.io","senderSessionId":"ben@lumen.io-com.acme.other","timestamp":"2026-03-14T09:26:53.589Z","roomId":"r1"}"#
        ]
    );
}

#[test]
fn a_direct_message_is_confirmed_once() {
    let mut kit = Kit::new();
    kit.app(OTHER, DIRECT).expect("taken");
    let left = outgoing(&mut kit);
    assert_eq!(left[0].to, To::User(UserId::new("ben@lumen.io")));
    let done = || Content::Delivery {
        message_id: "m2".into(),
        error: None,
    };
    arrive(&mut kit, "ben@lumen.io", done());
    arrive(&mut kit, "ben@lumen.io", done());
    assert_eq!(
        kit.sent().other(),
        [
            r#"{"type":"app_direct_message_response","messageId":"m2","success":true,"targetUserId":"ben@lumen.io"}"#
        ]
    );
    assert!(!kit.waits());
}

#[test]
fn the_target_confirms_or_says_that_nobody_is_there() {
    let mut kit = Kit::new();
    arrive(&mut kit, "ben@lumen.io", Content::Direct(payload(None)));
    let sent = kit.sent();
    assert_eq!(types(&sent.other()), ["app_message_received"]);
    kit.s.m.apps.ensure(&Package::new(OTHER)).conn = None;
    arrive(&mut kit, "ben@lumen.io", Content::Direct(payload(None)));
    let left = outgoing(&mut kit);
    assert_eq!(left[0].to, To::User(UserId::new("ben@lumen.io")));
    let error = Some("Target user is not active");
    assert_eq!(
        left[0].message.content,
        Content::Delivery {
            message_id: "m1".into(),
            error
        }
    );
}

#[test]
fn ids_of_direct_messages_are_each_apps_own() {
    let mut kit = Kit::new();
    kit.app(OTHER, DIRECT).expect("taken");
    kit.app(SCRIBE, DIRECT).expect("taken");
    kit.app(OTHER, &DIRECT.replace("Ben", "eve"))
        .expect("taken");
    kit.sent();
    let done = Content::Delivery {
        message_id: "m2".into(),
        error: None,
    };
    arrive(&mut kit, "ben@lumen.io", done);
    let answered = |user: &str, rest: &str| {
        format!(
            r#"{{"type":"app_direct_message_response","messageId":"m2",{rest},"targetUserId":"{user}"}}"#
        )
    };
    let sent = kit.sent();
    assert_eq!(
        sent.other(),
        [answered("ben@lumen.io", r#""success":true"#)]
    );
    assert!(sent.scribe().is_empty());
    kit.pass(15_000);
    let late = r#""success":false,"error":"Delivery was not confirmed in time""#;
    let sent = kit.sent();
    assert_eq!(sent.other(), [answered("eve@lumen.io", late)]);
    assert_eq!(sent.scribe(), [answered("ben@lumen.io", late)]);
    assert!(!kit.waits());
}

#[test]
fn a_direct_message_that_nobody_confirms_fails_in_time() {
    let mut kit = Kit::new();
    kit.app(OTHER, DIRECT).expect("taken");
    kit.sent();
    kit.pass(14_999);
    assert!(kit.sent().texts.is_empty());
    kit.pass(1);
    assert_eq!(
        kit.sent().other(),
        [
            r#"{"type":"app_direct_message_response","messageId":"m2","success":false,"error":"Delivery was not confirmed in time","targetUserId":"ben@lumen.io"}"#
        ]
    );
    kit.cfg.messages.direct_messages_max = 0;
    kit.app(OTHER, DIRECT).expect("answered");
    assert_eq!(
        value(kit.sent().other()[0])["error"],
        "Too many unconfirmed messages"
    );
}

#[test]
fn unconfirmed_messages_of_one_app_leave_room_for_those_of_others() {
    let mut kit = Kit::new();
    kit.cfg.messages.direct_messages_max = 2;
    for app in [OTHER, SCRIBE] {
        kit.app(app, DIRECT).expect("taken");
        kit.app(app, DIRECT)
            .expect("the same again is the newer one");
        assert!(kit.sent().texts.is_empty(), "{app}");
        let another = DIRECT.replace("m2", "m3");
        kit.app(app, &another).expect("answered");
        let sent = kit.sent();
        let told = sent.texts.first().expect("told");
        assert_eq!(value(&told.1)["error"], "Too many unconfirmed messages");
    }
}

/// behaviour.md §13.1, invariant 42: the first of the two may have been delivered already.
#[test]
fn a_message_that_is_sent_again_has_room_however_many_wait() {
    let mut kit = Kit::new();
    kit.cfg.messages.direct_messages_max = 8;
    for (app, ids) in [
        (OTHER, &["m1", "m2", "m3", "m4"][..]),
        (SCRIBE, &["m1", "m2"]),
    ] {
        for id in ids {
            kit.app(app, &DIRECT.replace("m2", id)).expect("taken");
        }
    }
    assert!(kit.sent().texts.is_empty(), "as many as each may have");
    kit.app(OTHER, DIRECT).expect("the newer one");
    assert!(kit.sent().texts.is_empty());
    let done = Content::Delivery {
        message_id: "m2".into(),
        error: None,
    };
    arrive(&mut kit, "ben@lumen.io", done);
    assert_eq!(value(kit.sent().other()[0])["success"], true);
}

/// A room's host writes to each of its members at once; nobody can have confirmed yet.
#[test]
fn an_app_alone_may_wait_for_sixty_four_confirmations() {
    let mut kit = Kit::new();
    for n in 0..64 {
        kit.app(OTHER, &DIRECT.replace("Ben", &format!("ben{n}")))
            .expect("taken");
    }
    assert!(kit.sent().texts.is_empty());
}

#[test]
fn incomplete_messages_have_their_texts() {
    let mut kit = Kit::new();
    for (text, wanted) in [
        (
            r#"{"type":"app_broadcast_message","payload":1}"#,
            "messageId is required",
        ),
        (
            r#"{"type":"app_direct_message","targetUserId":"b@x.io"}"#,
            "messageId is required",
        ),
        (
            r#"{"type":"app_direct_message","messageId":"m"}"#,
            "targetUserId is required",
        ),
        (r#"{"type":"app_room_join"}"#, "roomId is required"),
        (r#"{"type":"app_room_leave"}"#, "roomId is required"),
    ] {
        assert_eq!(
            kit.refused(OTHER, text),
            ("MALFORMED_MESSAGE".into(), wanted.into())
        );
    }
}

#[test]
fn switched_off_nothing_leaves_and_nothing_arrives() {
    let mut kit = Kit::new();
    kit.cfg.messages.app_to_app_enabled = false;
    kit.app(OTHER, DIRECT).expect("ignored");
    kit.with(|s, cx| requests::app_attached(s, OTHER, cx));
    arrive(&mut kit, "ben@lumen.io", Content::Message(payload(None)));
    assert!(kit.fx.is_empty() && !kit.waits());
}

#[test]
fn only_those_who_use_the_feature_hear_who_comes_and_goes() {
    let mut kit = Kit::new();
    arrive(&mut kit, "ben@lumen.io", Content::Joined);
    assert!(kit.sent().texts.is_empty());
    kit.app(
        OTHER,
        r#"{"type":"app_broadcast_message","payload":1,"messageId":"m"}"#,
    )
    .expect("taken");
    kit.sent();
    arrive(&mut kit, "ben@lumen.io", Content::Joined);
    arrive(&mut kit, "ben@lumen.io", Content::Left);
    let sent = kit.sent();
    assert_eq!(types(&sent.other()), ["app_user_joined", "app_user_left"]);
    assert_eq!(value(sent.other()[0])["userId"], "ben@lumen.io");
    kit.with(|s, cx| requests::app_attached(s, OTHER, cx));
    kit.sent();
    arrive(&mut kit, "ben@lumen.io", Content::Joined);
    assert!(kit.sent().texts.is_empty(), "anew after each attach");
}

#[test]
fn rooms_are_entered_left_and_reported() {
    let mut kit = Kit::new();
    kit.with(|s, cx| requests::app_attached(s, OTHER, cx));
    kit.sent();
    kit.app(OTHER, r#"{"type":"app_room_join","roomId":"r1","roomConfig":{"maxUsers":4.0,"isPrivate":true,"metadata":{"a":1}}}"#).expect("taken");
    let config = RoomConfig {
        max_users: Some(4),
        is_private: true,
        metadata: r#"{"a":1}"#.into(),
    };
    assert_eq!(
        outgoing(&mut kit)[0].to,
        To::Rooms(RoomRequest::Join {
            room_id: "r1".into(),
            config: config.clone()
        })
    );
    let update = RoomUpdate {
        room_id: "r1".into(),
        change: "user_joined",
        members: 2,
        config,
    };
    arrive(&mut kit, "ben@lumen.io", Content::Room(update));
    assert_eq!(
        kit.sent().other(),
        [
            r#"{"type":"app_room_updated","roomId":"r1","updateType":"user_joined","roomData":{"isPrivate":true,"maxUsers":4,"memberCount":2,"metadata":{"a":1}},"timestamp":"2026-03-14T09:26:53.589Z"}"#
        ]
    );
    arrive(
        &mut kit,
        "nadia@lumen.io",
        Content::RoomRefused {
            message: "Cannot join room r1: it is full".into(),
        },
    );
    assert_eq!(
        value(kit.sent().other()[0])["message"],
        "Cannot join room r1: it is full"
    );
    kit.app(OTHER, r#"{"type":"app_room_leave","roomId":"r1"}"#)
        .expect("taken");
    assert_eq!(
        outgoing(&mut kit)[0].to,
        To::Rooms(RoomRequest::Leave {
            room_id: "r1".into()
        })
    );
    kit.with(|s, cx| requests::app_lost(s, OTHER, cx));
    let left: Vec<To> = outgoing(&mut kit)
        .into_iter()
        .map(|message| message.to)
        .collect();
    assert_eq!(left, [To::Rooms(RoomRequest::LeaveAll), To::Everybody]);
}

#[test]
fn a_stream_status_that_says_nothing_ends_no_stream() {
    let mut kit = Kit::with_glasses();
    kit.app(
        OTHER,
        r#"{"type":"stream_request","streamUrl":"rtmp://x/k"}"#,
    )
    .expect("taken");
    let id = kit
        .s
        .m
        .streams
        .current
        .as_ref()
        .expect("streams")
        .id
        .clone();
    kit.sent();
    for status in ["", r#","status":"""#, r#","status":null"#] {
        let text = format!(r#"{{"type":"stream_status","streamId":"{id}"{status}}}"#);
        kit.phone(&text).expect("taken");
        assert!(kit.sent().texts.is_empty(), "{status}");
    }
    let text = format!(r#"{{"type":"stream_status","streamId":"{id}","status":7}}"#);
    kit.phone(&text).expect("taken");
    assert_eq!(value(kit.sent().other()[0])["status"], "stopped");
}

#[test]
fn a_number_that_is_infinite_is_none_and_refuses_no_message() {
    let mut kit = Kit::with_glasses();
    let ask = r#"{"type":"photo_request","requestId":"p1","exposureTimeNs":1e400}"#;
    kit.app(OTHER, ask).expect("taken");
    let asked = value(kit.sent().phone()[0]);
    assert_eq!(asked["requestId"], "p1");
    assert_eq!(asked.get("exposureTimeNs"), None);
    let led =
        r#"{"type":"rgb_led_control","requestId":"l1","action":"on","ontime":1e400,"count":2}"#;
    kit.app(OTHER, led).expect("taken");
    let asked = value(kit.sent().phone()[0]);
    assert_eq!(
        (&asked["ontime"], &asked["count"]),
        (&Value::Null, &2.into())
    );
    assert!(asked.get("ontime").is_some(), "as every JSON writer has it");
    let play = r#"{"type":"audio_play_request","requestId":"a1","audioUrl":"https://x","volume":1e400,"stopOtherAudio":null}"#;
    kit.app(OTHER, play).expect("taken");
    let asked = value(kit.sent().phone()[0]);
    for member in ["volume", "stopOtherAudio"] {
        assert_eq!(asked.get(member), Some(&Value::Null), "{member}");
    }
    let fix = r#"{"type":"location_update","lat":1e400,"lng":2}"#;
    assert!(kit.phone(fix).is_err(), "nowhere");
}

#[test]
fn an_app_that_sends_to_others_without_end_is_refused_until_the_next_second() {
    let mut kit = Kit::new();
    let max = kit.cfg.messages.app_messages_per_s;
    let broadcast = r#"{"type":"app_broadcast_message","payload":1,"messageId":"m"}"#;
    for _ in 0..max {
        kit.app(OTHER, broadcast).expect("taken");
    }
    assert_eq!(outgoing(&mut kit).len() as u64, max);
    let join = r#"{"type":"app_room_join","roomId":"r1"}"#;
    for refused in [broadcast, join] {
        let reject = kit.app(OTHER, refused).expect_err("one too many");
        assert_eq!(reject.code.as_str(), "INTERNAL_ERROR");
        assert_eq!(reject.message, "Too many messages to other users");
    }
    // A direct message has an answer of its own, and leaving a room is always possible.
    kit.app(OTHER, DIRECT).expect("answered");
    let sent = kit.sent();
    assert_eq!(types(&sent.other()), ["app_direct_message_response"]);
    let error = value(sent.other()[0])["error"].clone();
    assert_eq!(error, "Too many messages to other users");
    kit.app(OTHER, r#"{"type":"app_room_leave","roomId":"r1"}"#)
        .expect("taken");
    assert_eq!(outgoing(&mut kit).len(), 1);
    assert_eq!(kit.metrics.get(Counter::AppToAppRefused), 3);
    kit.pass(1000);
    kit.app(OTHER, DIRECT).expect("taken");
    assert_eq!(outgoing(&mut kit).len(), 1);
}
