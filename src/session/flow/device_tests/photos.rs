//! Photos (protocol.md §8.15, §9.10, §18.8; invariant 42).

use super::*;
use crate::session::flow::requests;
use crate::wire::records::Registry;

const ASK: &str = r#"{"type":"photo_request","requestId":"p1","size":"large","sound":false,"exposureTimeNs":5,"authToken":"t"}"#;

fn text(code: &str, message: &str) -> (String, String) {
    (code.to_owned(), message.to_owned())
}

fn report(kit: &mut Kit, body: &str) -> (u16, String) {
    kit.rest(Call::PhotoResponse {
        body: body.to_owned().into(),
    })
}

#[test]
fn a_request_reaches_the_phone_and_its_result_the_asker() {
    let mut kit = Kit::with_glasses();
    kit.app(OTHER, ASK).expect("taken");
    assert_eq!(
        kit.sent().phone(),
        [
            r#"{"type":"photo_request","sessionId":"nadia@lumen.io","requestId":"p1","appId":"com.acme.other","webhookUrl":"https://other.dev/photo-upload","authToken":"t","size":"large","compress":"none","flash":true,"sound":false,"exposureTimeNs":5,"timestamp":"2026-03-14T09:26:53.589Z"}"#
        ]
    );
    let (status, body) = report(
        &mut kit,
        r#"{"requestId":"p1","success":true,"photoUrl":"https://x/1.jpg","savedToGallery":true}"#,
    );
    assert_eq!(
        (status, body.as_str()),
        (
            200,
            r#"{"success":true,"message":"Photo response processed","timestamp":"2026-03-14T09:26:53.589Z"}"#
        )
    );
    assert_eq!(
        kit.sent().other(),
        [
            r#"{"type":"photo_response","requestId":"p1","success":true,"photoUrl":"https://x/1.jpg","savedToGallery":true}"#
        ]
    );
    assert!(!kit.waits());
    report(&mut kit, r#"{"requestId":"p1","success":false}"#);
    assert!(kit.sent().texts.is_empty(), "one outcome only");
}

#[test]
fn failures_keep_their_code_and_have_defaults() {
    for (body, error) in [
        (
            r#"{"requestId":"p1","success":false,"errorCode":"CAMERA_BUSY","errorMessage":"Camera in use"}"#,
            r#"{"code":"CAMERA_BUSY","message":"Camera in use"}"#,
        ),
        (
            r#"{"requestId":"p1","success":false}"#,
            r#"{"code":"UNKNOWN_ERROR","message":"Unknown error"}"#,
        ),
    ] {
        let mut kit = Kit::with_glasses();
        kit.app(OTHER, ASK).expect("taken");
        kit.sent();
        report(&mut kit, body);
        let wanted = format!(
            r#"{{"type":"photo_response","requestId":"p1","success":false,"error":{error}}}"#
        );
        assert_eq!(kit.sent().other(), [wanted]);
    }
}

#[test]
fn silence_of_thirty_seconds_is_a_phone_timeout() {
    let mut kit = Kit::with_glasses();
    kit.app(OTHER, ASK).expect("taken");
    kit.sent();
    kit.pass(29_999);
    assert!(kit.sent().texts.is_empty());
    kit.pass(1);
    assert_eq!(
        value(kit.sent().other()[0])["error"]["code"],
        "PHONE_TIMEOUT"
    );
    assert!(!kit.waits());
}

#[test]
fn a_custom_webhook_is_answered_at_once_and_nothing_waits() {
    let mut kit = Kit::with_glasses();
    kit.app(
        OTHER,
        r#"{"type":"photo_request","requestId":"p1","customWebhookUrl":"https://c/up"}"#,
    )
    .expect("taken");
    let sent = kit.sent();
    assert!(sent.phone()[0].contains(r#""webhookUrl":"https://c/up","size":"medium""#));
    assert_eq!(
        sent.other(),
        [
            r#"{"type":"photo_response","requestId":"p1","success":true,"photoUrl":"https://c/up","savedToGallery":false,"timestamp":"2026-03-14T09:26:53.589Z"}"#
        ]
    );
    report(&mut kit, r#"{"requestId":"p1","success":false}"#);
    assert!(kit.sent().texts.is_empty() && !kit.waits());
}

/// As in the replaced server: what runs on after its record was taken out keeps what it hears, and takes no pictures.
#[test]
fn an_app_without_a_record_takes_no_pictures() {
    let mut kit = Kit::with_glasses();
    let before = kit.apps.clone();
    kit.apps = Registry::new([], 2).after(&before);
    for (ask, what) in [
        (ASK, "to take photos"),
        (
            r#"{"type":"stream_request","streamUrl":"rtmp://a/b"}"#,
            "to start video streams",
        ),
    ] {
        let (code, said) = kit.refused(OTHER, ask);
        assert_eq!(code, "PERMISSION_DENIED");
        assert!(said.ends_with(what), "{said}");
    }
    assert!(kit.sent().phone().is_empty());
}

#[test]
fn a_refused_request_has_its_text() {
    let mut kit = Kit::new();
    kit.run_app(PLAIN, 12, Sdk::V2);
    assert_eq!(
        kit.refused(PLAIN, ASK),
        text(
            "PERMISSION_DENIED",
            "Camera permission required to take photos"
        )
    );
    assert_eq!(
        kit.refused(OTHER, ASK),
        text(
            "INTERNAL_ERROR",
            "Cannot process photo request - smart glasses are not connected"
        )
    );
    kit.s.m.phone.current = None;
    assert_eq!(
        kit.refused(OTHER, ASK),
        text(
            "INTERNAL_ERROR",
            "Cannot process photo request - phone is not connected (no WebSocket)"
        )
    );
    kit.phone_away();
    assert_eq!(
        kit.refused(OTHER, ASK),
        text(
            "INTERNAL_ERROR",
            "Cannot process photo request - phone WebSocket is not open (state: 3)"
        )
    );
    assert_eq!(
        kit.refused(OTHER, r#"{"type":"photo_request"}"#),
        text("MALFORMED_MESSAGE", "requestId is required")
    );
    assert!(kit.sent().texts.is_empty() && !kit.waits());
}

#[test]
fn an_id_that_waits_belongs_to_its_app() {
    let mut kit = Kit::with_glasses();
    kit.app(OTHER, ASK).expect("taken");
    assert_eq!(
        kit.refused(SCRIBE, ASK),
        text("INTERNAL_ERROR", "Duplicate requestId")
    );
    kit.pass(20_000);
    kit.app(OTHER, ASK).expect("replaces");
    kit.sent();
    kit.pass(29_999);
    assert!(
        kit.sent().texts.is_empty(),
        "the replacement has its own thirty seconds"
    );
}

/// behaviour.md §7.5: a request that is never answered waits for half a minute.
#[test]
fn one_app_cannot_keep_others_from_photos() {
    let mut kit = Kit::with_glasses();
    kit.cfg.device.photo_requests_max = 8;
    let ask = |id: &str| format!(r#"{{"type":"photo_request","requestId":"{id}"}}"#);
    let many = text("INTERNAL_ERROR", "Too many pending photo requests");
    for id in ["o1", "o2", "o3", "o4"] {
        kit.app(OTHER, &ask(id)).expect("half of all");
    }
    assert_eq!(kit.refused(OTHER, &ask("o5")), many);
    kit.app(OTHER, &ask("o4")).expect("replaces its own");
    for id in ["s1", "s2"] {
        kit.app(SCRIBE, &ask(id)).expect("half of the rest");
    }
    assert_eq!(kit.refused(SCRIBE, &ask("s3")), many);
    let of_phone = |kit: &mut Kit, id: &str| {
        let call = Call::MiniappPhoto {
            body: r#"{"packageName":"local.cam"}"#.into(),
            request_id: id.to_owned(),
            upload_url: "https://x/upload".into(),
            token: "t".into(),
        };
        kit.rest(call).0
    };
    assert_eq!(of_phone(&mut kit, "m1"), 200);
    assert_eq!(of_phone(&mut kit, "m2"), 503, "one is left for others");
    for id in ["o1", "o2"] {
        let failed = format!(r#"{{"requestId":"{id}","success":false}}"#);
        report(&mut kit, &failed);
    }
    kit.app(SCRIBE, &ask("s3")).expect("there is room again");
}

#[test]
fn a_result_over_the_socket_counts_only_for_a_pending_id() {
    let mut kit = Kit::with_glasses();
    kit.subscribe(SCRIBE, "photo_response");
    kit.app(OTHER, ASK).expect("taken");
    kit.sent();
    let result =
        r#"{"type":"photo_response","requestId":"p1","success":true,"photoUrl":"https://x/1.jpg"}"#;
    kit.phone(result).expect("taken");
    let sent = kit.sent();
    assert_eq!(
        (types(&sent.other()), sent.scribe().len()),
        (vec!["photo_response".to_owned()], 0)
    );
    kit.phone(result).expect("taken");
    assert_eq!(types(&kit.sent().scribe()), ["data_stream"]);
}

#[test]
fn stop_forgets_and_disposal_tells() {
    let mut kit = Kit::with_glasses();
    kit.app(OTHER, ASK).expect("taken");
    kit.app(SCRIBE, r#"{"type":"photo_request","requestId":"p2"}"#)
        .expect("taken");
    kit.sent();
    kit.with(|s, cx| requests::app_stopped(s, OTHER, cx));
    assert!(kit.sent().texts.is_empty());
    kit.with(requests::disposing);
    assert_eq!(value(kit.sent().scribe()[0])["success"], false);
}

#[test]
fn bad_reports_have_their_texts() {
    let mut kit = Kit::new();
    for (body, wanted) in [
        ("{}", "requestId is required and must be a non-empty string"),
        (
            r#"{"requestId":"p1"}"#,
            "success is required and must be a boolean",
        ),
        (
            r#"{"requestId":"p1","success":true}"#,
            "photoUrl is required for success responses",
        ),
        (
            r#"{"requestId":"p1","success":true,"photoUrl":" "}"#,
            "photoUrl is required for success responses",
        ),
    ] {
        let (status, answer) = report(&mut kit, body);
        assert_eq!(
            (status, value(&answer)["message"].as_str()),
            (400, Some(wanted))
        );
        assert_eq!(value(&answer)["success"], false);
    }
}

fn miniapp(kit: &mut Kit, body: &str) -> (u16, String) {
    kit.rest(Call::MiniappPhoto {
        body: body.to_owned().into(),
        request_id: "m1".into(),
        upload_url: "https://rt.example.net/up/m1".into(),
        token: "tok".into(),
    })
}

#[test]
fn a_mini_app_photo_ends_with_the_upload_or_a_timeout() {
    let mut kit = Kit::with_glasses();
    let (status, body) = miniapp(&mut kit, r#"{"packageName":"local.app","size":"small"}"#);
    assert_eq!(
        (status, value(&body)),
        (
            200,
            serde_json::json!({"accepted": true, "requestId": "m1"})
        )
    );
    let sent = kit.sent();
    assert!(sent.phone()[0].contains(r#""appId":"local.app","webhookUrl":"https://rt.example.net/up/m1","authToken":"tok","size":"small""#));
    let upload = || Call::MiniappPhotoUploaded {
        request_id: "m1".into(),
        result: Ok(("https://f/p".into(), "image/jpeg".into(), 183_022)),
    };
    kit.rest(upload());
    assert_eq!(
        kit.sent().phone(),
        [
            r#"{"type":"phone_photo_ready","requestId":"m1","photoUrl":"https://f/p","mimeType":"image/jpeg","size":183022,"timestamp":"2026-03-14T09:26:53.589Z"}"#
        ]
    );
    miniapp(&mut kit, r#"{"packageName":"local.app"}"#);
    kit.sent();
    kit.pass(30_000);
    assert_eq!(
        kit.sent().phone(),
        [
            r#"{"type":"phone_photo_ready","requestId":"m1","error":"TIMEOUT","timestamp":"2026-03-14T09:27:23.589Z"}"#
        ]
    );
    kit.rest(upload());
    assert!(kit.sent().texts.is_empty(), "too late");
}

/// An app of the same name has asked the phone for nothing.
#[test]
fn a_mini_app_photo_is_the_phones_own_request_whatever_its_name() {
    use crate::session::effects::Effect;
    let mut kit = Kit::with_glasses();
    let body = format!(r#"{{"packageName":"{OTHER}"}}"#);
    assert_eq!(miniapp(&mut kit, &body).0, 200);
    let sent = kit.sent();
    assert!(sent.phone()[0].contains(OTHER));
    let mut effects = sent.fx.list().iter();
    assert!(!effects.any(|effect| matches!(effect, Effect::Asked { .. })));
}

/// The glasses upload by Wi-Fi, whether the phone has its socket or not.
#[test]
fn a_mini_app_photo_that_comes_while_the_phone_is_away_is_told_when_it_is_back() {
    for (result, wanted) in [
        (
            Ok(("https://f/p".into(), "image/jpeg".into(), 7)),
            "photoUrl",
        ),
        (Err("CAMERA_BUSY".into()), "error"),
    ] {
        let mut kit = Kit::with_glasses();
        miniapp(&mut kit, r#"{"packageName":"local.app"}"#);
        kit.phone_away();
        kit.rest(Call::MiniappPhotoUploaded {
            request_id: "m1".into(),
            result,
        });
        kit.sent();
        kit.phone_back();
        let sent = kit.sent();
        let told = value(sent.phone()[0]);
        assert_eq!(
            (&told["type"], &told["requestId"]),
            (&"phone_photo_ready".into(), &"m1".into())
        );
        assert!(told[wanted].is_string());
        kit.phone_back();
        assert!(kit.sent().texts.is_empty(), "once");
    }
}

#[test]
fn an_app_that_was_away_when_its_photo_came_hears_of_it_while_it_still_waits() {
    for (away_ms, heard) in [(29_999, 1), (30_000, 0)] {
        let mut kit = Kit::with_glasses();
        kit.app(OTHER, ASK).expect("taken");
        kit.app_away(OTHER);
        report(
            &mut kit,
            r#"{"requestId":"p1","success":true,"photoUrl":"https://x/1.jpg"}"#,
        );
        kit.sent();
        kit.pass(away_ms);
        kit.run_app(OTHER, 11, Sdk::V3);
        kit.with(|s, cx| requests::app_attached(s, OTHER, cx));
        assert_eq!(kit.sent().other().len(), heard, "{away_ms}");
    }
}

#[test]
fn a_refused_mini_app_photo_has_its_text() {
    let mut kit = Kit::new();
    assert_eq!(
        miniapp(&mut kit, "{}"),
        (400, r#"{"error":"Missing packageName"}"#.into())
    );
    let wanted = r#"{"error":"Cannot process photo request - smart glasses are not connected"}"#;
    assert_eq!(
        miniapp(&mut kit, r#"{"packageName":"x"}"#),
        (503, wanted.into())
    );
}

#[test]
fn an_uploaded_photo_is_broadcast_in_the_reduced_envelope() {
    let mut kit = Kit::new();
    kit.subscribe(SCRIBE, "photo_taken");
    kit.rest(Call::PhotoUploaded {
        data: "AA==".into(),
        mime_type: "image/png".into(),
        filename: "a.png".into(),
    });
    assert_eq!(
        kit.sent().scribe(),
        [
            r#"{"type":"data_stream","streamType":"photo_taken","data":{"photoData":"AA==","mimeType":"image/png","timestamp":"2026-03-14T09:26:53.589Z","filename":"a.png"}}"#
        ]
    );
}

#[test]
fn a_button_without_listener_takes_a_photo() {
    let mut kit = Kit::new();
    let press = || Call::ButtonPress {
        body: r#"{"buttonId":"main","pressType":"short"}"#.into(),
    };
    assert_eq!(value(&kit.rest(press()).1)["action"], "take_photo");
    kit.subscribe(SCRIBE, "button_press");
    assert_eq!(kit.rest(press()), (200, r#"{"success":true}"#.into()));
    assert!(kit.sent().texts.is_empty(), "the press is not relayed");
}

#[test]
fn a_photo_that_a_button_asked_for_is_known_for_half_a_minute() {
    let mut kit = Kit::with_glasses();
    let (_, body) = kit.rest(Call::ButtonPress { body: "{}".into() });
    let pressed = value(&body);
    assert_eq!(pressed["action"], "take_photo");
    let id = pressed["requestId"].as_str().expect("an id").to_owned();
    let asked = |kit: &mut Kit, id: &str| {
        kit.rest(Call::SystemPhoto {
            request_id: id.to_owned(),
        })
    };
    let known = (200, r#"{"success":true,"action":"take_photo"}"#.to_owned());
    let unknown = (
        404,
        r#"{"success":false,"message":"Photo request not found"}"#.to_owned(),
    );
    assert_eq!(asked(&mut kit, &id), known);
    assert_eq!(asked(&mut kit, "p1"), unknown);
    kit.pass(29_999);
    assert_eq!(asked(&mut kit, &id), known);
    kit.pass(1);
    assert_eq!(asked(&mut kit, &id), unknown);
}
