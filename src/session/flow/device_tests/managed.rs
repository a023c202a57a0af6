//! Managed video streams and their outputs (protocol.md §8.11, §8.12, §9.14, §18.15; behaviour.md §7.6.3).

mod away;
mod joining;
mod lasting;
mod outputs;
mod phone;

use super::*;
use crate::session::event::HttpOutcome;
use crate::session::flow::requests;

const ASK: &str = r#"{"type":"managed_stream_request","quality":"720p"}"#;
const STOP: &str = r#"{"type":"managed_stream_stop"}"#;
const MADE: &str = r#"{"success":true,"result":{"uid":"u1","webRTC":{"url":"https://in/whip"},"srt":{"url":"srt://in:778","streamId":"sid","passphrase":"pw"},"rtmps":{"url":"rtmps://in/live/","streamKey":"key"},"webRTCPlayback":{"url":"https://out/whep"}}}"#;
const LIVE: &str =
    r#"{"success":true,"result":{"uid":"u1","status":{"current":{"state":"connected"}}}}"#;
const URLS: &str = r#""hlsUrl":"https://v.example.net/u1/manifest/video.m3u8","dashUrl":"https://v.example.net/u1/manifest/video.mpd","webrtcUrl":"https://out/whep","previewUrl":"https://v.example.net/u1/iframe","thumbnailUrl":"https://v.example.net/u1/thumbnails/thumbnail.jpg""#;

fn kit() -> Kit {
    let mut kit = Kit::with_glasses();
    kit.cfg.streaming.managed_api_url = "https://api.example.net/v4/".into();
    kit.cfg.streaming.managed_account_id = "acc".into();
    kit.cfg.streaming.managed_api_token = "tok".into();
    kit.cfg.streaming.managed_customer_subdomain = "v.example.net".into();
    kit
}

fn id(kit: &Kit) -> String {
    kit.s
        .m
        .managed_streams
        .current
        .as_ref()
        .expect("streams")
        .id
        .clone()
}

/// Answers the one provider call that is under way; returns what else left.
fn answer(kit: &mut Kit, status: u16, body: &str) -> (String, Sent) {
    let sent = kit.sent();
    let call = sent.http().first().expect("a provider call").call;
    let url = sent.http()[0].url.clone();
    answer_call(kit, call, status, body);
    (url, sent)
}

fn answer_call(kit: &mut Kit, call: crate::base::ids::CallId, status: u16, body: &str) {
    let outcome = HttpOutcome::Answer {
        status,
        body: body.to_owned().into(),
        retry_after_s: None,
    };
    assert!(kit.with(|s, cx| requests::http_result(s, call, &outcome, cx)));
}

/// Made, told to the glasses, not yet live.
fn waiting() -> Kit {
    let mut kit = kit();
    kit.app(OTHER, ASK).expect("taken");
    answer(&mut kit, 200, MADE);
    kit.pass(3_000);
    kit
}

fn live() -> Kit {
    let mut kit = waiting();
    kit.pass(2_000);
    answer(&mut kit, 200, LIVE);
    kit.sent();
    kit
}

#[test]
fn a_stream_goes_from_the_provider_over_the_glasses_to_its_viewer() {
    let mut kit = kit();
    kit.app(OTHER, ASK).expect("taken");
    let (url, sent) = answer(&mut kit, 200, MADE);
    assert_eq!(
        url,
        "https://api.example.net/v4/accounts/acc/stream/live_inputs"
    );
    assert_eq!(
        sent.http()[0].headers,
        [("authorization", "Bearer tok".to_owned())]
    );
    assert!(sent.texts.is_empty());
    kit.pass(2_999);
    assert!(kit.sent().texts.is_empty());
    kit.pass(1);
    let id = id(&kit);
    let sent = kit.sent();
    assert!(sent.phone()[0].contains(&format!(r#""type":"start_stream","sessionId":"nadia@lumen.io","streamUrl":"https://in/whip","appId":"MANAGED_STREAM","streamId":"{id}""#)));
    assert_eq!(
        sent.other(),
        [format!(
            r#"{{"type":"managed_stream_status","status":"initializing","streamId":"{id}",{URLS},"message":"Waiting for stream to start..."}}"#
        )]
    );
    kit.pass(2_000);
    assert_eq!(
        answer(
            &mut kit,
            200,
            r#"{"result":{"status":{"current":{"state":"disconnected"}}}}"#
        )
        .0,
        "https://api.example.net/v4/accounts/acc/stream/live_inputs/u1"
    );
    kit.pass(2_000);
    answer(&mut kit, 200, LIVE);
    assert_eq!(
        kit.sent().other(),
        [format!(
            r#"{{"type":"managed_stream_status","status":"active","streamId":"{id}",{URLS},"message":"Stream is now live"}}"#
        )]
    );
    kit.pass(11_000);
    assert_eq!(types(&kit.sent().phone()), ["keep_stream_alive"]);
}

#[test]
fn without_a_provider_the_app_is_told() {
    let mut kit = Kit::with_glasses();
    kit.app(OTHER, ASK).expect("answered");
    assert_eq!(
        kit.sent().other(),
        [
            r#"{"type":"managed_stream_status","status":"error","message":"Managed streaming is not available on this server"}"#
        ]
    );
    assert!(!kit.waits());
}

#[test]
fn refusals_have_their_texts() {
    let mut kit = kit();
    kit.run_app(PLAIN, 12, Sdk::V2);
    assert_eq!(
        kit.refused(PLAIN, ASK),
        (
            "PERMISSION_DENIED".into(),
            "Camera permission required for managed streams".into()
        )
    );
    kit.device_state(r#"{"wifiConnected":false}"#);
    let no_wifi =
        "Cannot process request - smart glasses must be connected to WiFi for this operation";
    assert_eq!(
        kit.refused(OTHER, ASK),
        ("INTERNAL_ERROR".into(), no_wifi.into())
    );
    kit.device_state(r#"{"wifiConnected":true}"#);
    kit.app(
        SCRIBE,
        r#"{"type":"stream_request","streamUrl":"rtmp://x"}"#,
    )
    .expect("taken");
    let conflict = "Cannot start managed stream - unmanaged stream already active";
    assert_eq!(
        kit.refused(OTHER, ASK),
        ("INTERNAL_ERROR".into(), conflict.into())
    );
}

#[test]
fn two_requests_make_one_live_input_and_a_later_one_joins_at_once() {
    let mut kit = kit();
    kit.app(OTHER, ASK).expect("taken");
    kit.app(SCRIBE, ASK).expect("joins");
    assert_eq!(kit.sent().http().len(), 1);
    let mut kit = live();
    kit.app(SCRIBE, ASK).expect("joins");
    let sent = kit.sent();
    let status = value(sent.scribe()[0]);
    assert_eq!(
        (status["status"].as_str(), sent.http().len()),
        (Some("active"), 0)
    );
    assert!(status["hlsUrl"].is_string() && status["dashUrl"].is_string());
}

/// protocol.md §8.11: SDKs wait for an `active` with URLs, and the stream is there as soon as it has some.
#[test]
fn the_phone_is_told_to_stop_even_before_it_was_told_to_start() {
    let mut kit = kit();
    kit.app(OTHER, ASK).expect("taken");
    kit.sent();
    kit.app(OTHER, STOP).expect("leaves");
    let stop = value(kit.sent().phone()[0]);
    assert_eq!(
        (stop["type"].as_str(), stop["appId"].as_str()),
        (Some("stop_stream"), Some("MANAGED_STREAM"))
    );
}

#[test]
fn an_apps_own_stop_reaches_the_phone_beside_a_managed_stream() {
    let mut kit = live();
    kit.app(SCRIBE, r#"{"type":"stream_stop"}"#).expect("taken");
    assert_eq!(types(&kit.sent().phone()), ["stop_stream"]);
    assert!(kit.s.m.managed_streams.current.is_some());
}

#[test]
fn the_last_viewer_ends_the_stream() {
    let mut kit = live();
    kit.app(SCRIBE, ASK).expect("joins");
    kit.app(PLAIN, STOP).expect("nothing");
    kit.sent();
    kit.app(OTHER, STOP).expect("leaves");
    let sent = kit.sent();
    assert_eq!(
        (
            value(sent.other()[0])["status"].as_str(),
            sent.phone().len()
        ),
        (Some("stopped"), 0)
    );
    kit.with(|s, cx| requests::app_stopped(s, SCRIBE, cx));
    let sent = kit.sent();
    assert!(
        sent.phone()[0].contains(
            r#""type":"stop_stream","sessionId":"nadia@lumen.io","appId":"MANAGED_STREAM""#
        )
    );
    assert_eq!(
        sent.http()[0].method,
        crate::session::effects::HttpMethod::Delete
    );
    assert!(!kit.waits());
}

#[test]
fn a_provider_that_fails_is_asked_three_times() {
    let mut kit = kit();
    kit.app(OTHER, ASK).expect("taken");
    for pause in [1_000, 2_000] {
        answer(&mut kit, 503, "");
        kit.pass(pause - 1);
        assert!(kit.fx.is_empty());
        kit.pass(1);
    }
    answer(&mut kit, 503, "");
    let status = value(kit.sent().other()[0]);
    assert_eq!(
        (status["status"].as_str(), status["message"].as_str()),
        (Some("error"), Some("Failed to create live input"))
    );
    assert!(!kit.waits() && kit.s.m.managed_streams.current.is_none());
}

#[test]
fn a_refusal_of_the_provider_is_final() {
    let mut kit = kit();
    kit.app(OTHER, ASK).expect("taken");
    answer(&mut kit, 403, "{}");
    assert_eq!(value(kit.sent().other()[0])["status"], "error");
}

#[test]
fn a_live_input_made_for_nobody_is_removed() {
    let mut kit = kit();
    kit.app(OTHER, ASK).expect("taken");
    let sent = kit.sent();
    let call = sent.http()[0].call;
    kit.app(OTHER, STOP).expect("leaves");
    kit.sent();
    answer_call(&mut kit, call, 200, MADE);
    assert!(kit.sent().http()[0].url.ends_with("/live_inputs/u1"));
}

#[test]
fn a_minute_without_video_is_an_error() {
    let mut kit = waiting();
    kit.cfg.streaming.stream_max_missed_acks = 100;
    for _ in 0..29 {
        kit.pass(2_000);
        answer(&mut kit, 200, "{}");
    }
    kit.pass(2_000);
    let sent = kit.sent();
    assert_eq!(
        value(sent.other()[0])["message"],
        "Stream did not become live in time"
    );
    assert_eq!(
        types(&sent.phone()).last().map(String::as_str),
        Some("stop_stream")
    );
    assert!(!kit.waits());
}

#[test]
fn missed_acks_end_it_with_the_fixed_message() {
    let mut kit = live();
    kit.pass(53_000);
    let sent = kit.sent();
    let last = value(sent.other().last().expect("told"));
    assert_eq!(
        (last["status"].as_str(), last["message"].as_str()),
        (
            Some("error"),
            Some("Stream timed out waiting for keep-alive")
        )
    );
    assert_eq!(
        types(&sent.phone()).last().map(String::as_str),
        Some("stop_stream")
    );
}

#[test]
fn the_glasses_status_is_mapped_and_its_end_ends_all() {
    let mut kit = live();
    let id = id(&kit);
    let mut say = |word: &str| {
        kit.phone(&format!(
            r#"{{"type":"stream_status","streamId":"{id}","status":"{word}"}}"#
        ))
        .expect("taken");
        kit.sent()
    };
    for (word, wanted) in [
        ("connecting", "initializing"),
        ("streaming", "active"),
        ("stopping", "stopping"),
        ("odd", "active"),
    ] {
        assert_eq!(value(say(word).other()[0])["status"], wanted, "{word}");
    }
    let sent = say("stopped");
    assert_eq!(value(sent.other()[0])["status"], "stopped");
    assert_eq!(types(&sent.phone()), ["stop_stream"]);
    assert!(sent.http()[0].url.ends_with("/live_inputs/u1"), "deleted");
    assert!(kit.s.m.managed_streams.current.is_none() && !kit.waits());
}

#[test]
fn viewers_hear_why_the_glasses_failed() {
    for (details, wanted) in [
        (r#","errorDetails":"camera busy""#, "camera busy"),
        ("", "Stream error reported by glasses"),
    ] {
        let mut kit = live();
        let id = id(&kit);
        kit.phone(&format!(
            r#"{{"type":"stream_status","streamId":"{id}","status":"error"{details}}}"#
        ))
        .expect("taken");
        let sent = kit.sent();
        let heard = value(sent.other()[0]);
        assert_eq!(
            (heard["status"].as_str(), heard["message"].as_str()),
            (Some("error"), Some(wanted))
        );
        assert_eq!(types(&sent.phone()), ["stop_stream"]);
        assert!(kit.s.m.managed_streams.current.is_none() && !kit.waits());
    }
}

#[test]
fn an_unmanaged_stream_ends_the_managed_one() {
    let mut kit = live();
    kit.app(
        SCRIBE,
        r#"{"type":"stream_request","streamUrl":"rtmp://x"}"#,
    )
    .expect("taken");
    let sent = kit.sent();
    assert_eq!(value(sent.other()[0])["status"], "stopped");
    assert_eq!(types(&sent.phone()), ["stop_stream", "start_stream"]);
}

#[test]
fn a_v3_viewer_that_returns_is_told_where_it_is() {
    let mut kit = live();
    kit.with(|s, cx| requests::app_attached(s, OTHER, cx));
    let id = id(&kit);
    assert_eq!(
        kit.sent().other(),
        [format!(
            r#"{{"type":"managed_stream_status","status":"active","streamId":"{id}",{URLS},"activeViewers":1,"resumed":true,"timestamp":"2026-03-14T09:26:58.589Z"}}"#
        )]
    );
    kit.app(SCRIBE, ASK).expect("joins");
    kit.sent();
    kit.with(|s, cx| requests::app_attached(s, SCRIBE, cx));
    assert!(kit.sent().texts.is_empty(), "v2 would take it for its own");
}

#[test]
fn a_provider_that_asks_for_time_gets_it() {
    let mut kit = kit();
    kit.app(OTHER, ASK).expect("taken");
    let call = kit.sent().http()[0].call;
    let busy = HttpOutcome::Answer {
        status: 429,
        body: bytes::Bytes::new(),
        retry_after_s: Some(5),
    };
    kit.with(|s, cx| requests::http_result(s, call, &busy, cx));
    kit.pass(4_999);
    assert!(kit.sent().http().is_empty());
    kit.pass(1);
    assert_eq!(kit.sent().http().len(), 1);
}

#[test]
fn an_inactive_stream_ends_at_a_sweep_not_between_two() {
    let mut kit = kit();
    kit.cfg.streaming.managed_sweep_ms = 600_000;
    kit.cfg.streaming.managed_idle_ms = 900_000;
    kit.app(OTHER, ASK).expect("taken");
    answer(&mut kit, 200, MADE);
    kit.pass(3_000);
    kit.pass(2_000);
    answer(&mut kit, 200, LIVE);
    // Nobody answers for the glasses any more, and without a phone no keep-alive misses an answer.
    kit.s.m.phone.current = None;
    kit.pass(595_000);
    kit.sent();
    assert!(
        kit.s.m.managed_streams.current.is_some(),
        "the first sweep finds ten minutes of silence, less than it looks for"
    );
    kit.pass(599_999);
    assert!(
        kit.sent().other().is_empty(),
        "too long silent, not yet looked for"
    );
    kit.pass(1);
    let sent = kit.sent();
    let told = sent.other();
    assert!(
        told.last()
            .is_some_and(|last| last.contains(r#""status":"stopped""#)),
        "{told:?}"
    );
    assert!(!kit.waits());
}
