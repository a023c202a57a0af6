//! Audio output streams (protocol.md §10.3, §9.12, §18.11; behaviour.md §7.9).

use super::*;
use crate::session::flow::{audio_output, requests};
use bytes::Bytes;

const ID: &str = "0d6c0f5e-8a0b-4f0a-9b51-3f3b6c1d2e4f";
const URL: &str =
    "https://rt.example.net/api/audio/stream/nadia%40lumen.io/0d6c0f5e-8a0b-4f0a-9b51-3f3b6c1d2e4f";

fn start(kit: &mut Kit) {
    kit.app(
        OTHER,
        &format!(r#"{{"type":"audio_stream_start","streamId":"{ID}"}}"#),
    )
    .expect("taken");
}

fn started() -> Kit {
    let mut kit = Kit::new();
    start(&mut kit);
    kit.sent();
    kit
}

fn write(kit: &mut Kit, audio: &str) {
    let frame = Bytes::from(format!("{ID}{audio}"));
    kit.with(|s, cx| requests::app_binary(s, &Package::new(OTHER), frame, cx));
}

fn fetch(kit: &mut Kit) -> ReplyTo {
    kit.call(Call::AudioStream {
        stream_id: ID.into(),
        peek: false,
    })
}

fn end(kit: &mut Kit) {
    kit.app(
        OTHER,
        &format!(r#"{{"type":"audio_stream_end","streamId":"{ID}"}}"#),
    )
    .expect("taken");
}

/// What a reader got: `head`, audio, `end`.
fn heard(kit: &mut Kit, by: ReplyTo) -> Vec<String> {
    let sent = kit.sent();
    sent.fx
        .list()
        .iter()
        .filter_map(|effect| match effect {
            Effect::ReplyStream {
                reply,
                content_type,
            } if *reply == by => Some(content_type.clone()),
            Effect::ReplyChunk { reply, data } if *reply == by => {
                Some(String::from_utf8_lossy(data).into_owned())
            }
            Effect::ReplyEnd { reply } if *reply == by => Some("end".to_owned()),
            Effect::ReplyAbort { reply } if *reply == by => Some("broken off".to_owned()),
            _ => None,
        })
        .collect()
}

#[test]
fn the_app_learns_the_url() {
    let mut kit = Kit::new();
    start(&mut kit);
    assert_eq!(
        kit.sent().other(),
        [format!(
            r#"{{"type":"audio_stream_ready","streamId":"{ID}","streamUrl":"{URL}","timestamp":"2026-03-14T09:26:53.589Z"}}"#
        )]
    );
}

#[test]
fn a_stream_that_cannot_be_created_has_its_text() {
    let mut kit = started();
    let wanted = (
        "STREAM_CREATE_FAILED".to_owned(),
        "Failed to create audio stream relay".to_owned(),
    );
    let again = format!(r#"{{"type":"audio_stream_start","streamId":"{ID}"}}"#);
    assert_eq!(kit.refused(OTHER, &again), wanted);
    assert_eq!(kit.refused(SCRIBE, &again), wanted);
    assert_eq!(
        kit.refused(OTHER, r#"{"type":"audio_stream_start","streamId":"X"}"#),
        wanted
    );
    kit.cfg.audio.audio_out_streams_max = 1;
    assert_eq!(kit.refused(OTHER, &again.replace("0d6c", "0d6d")), wanted);
}

#[test]
fn what_came_before_the_fetch_is_flushed_and_the_rest_is_live() {
    let mut kit = started();
    write(&mut kit, "one");
    let reader = fetch(&mut kit);
    write(&mut kit, "two");
    end(&mut kit);
    assert_eq!(heard(&mut kit, reader), ["audio/mpeg", "one", "two", "end"]);
    assert!(kit.waits());
    kit.pass(1000);
    assert!(!kit.waits() && kit.s.m.audio_output.ids().is_empty());
}

#[test]
fn a_stream_that_is_over_makes_room_for_the_next() {
    let mut kit = started();
    kit.cfg.audio.audio_out_streams_max = 1;
    fetch(&mut kit);
    end(&mut kit);
    kit.sent();
    let next = format!(r#"{{"type":"audio_stream_start","streamId":"{ID}"}}"#);
    kit.app(OTHER, &next.replace("0d6c", "0d6d"))
        .expect("taken");
    assert_eq!(types(&kit.sent().other()), ["audio_stream_ready"]);
    kit.pass(1000);
    assert_eq!(kit.s.m.audio_output.ids(), [ID.replace("0d6c", "0d6d")]);
}

#[test]
fn bad_frames_are_dropped() {
    let mut kit = started();
    let reader = fetch(&mut kit);
    for frame in [
        ID.to_owned(),
        format!("{}x", ID.to_uppercase()),
        format!("{}x", ID.replace('0', "1")),
        "short".into(),
    ] {
        kit.with(|s, cx| requests::app_binary(s, &Package::new(OTHER), frame.into(), cx));
    }
    kit.with(|s, cx| {
        requests::app_binary(s, &Package::new(SCRIBE), format!("{ID}foreign").into(), cx)
    });
    assert_eq!(heard(&mut kit, reader), ["audio/mpeg"]);
}

#[test]
fn an_unknown_or_ended_stream_is_404() {
    let mut kit = Kit::new();
    let wanted = (
        404,
        r#"{"error":"Stream not found or already ended"}"#.to_owned(),
    );
    let (status, body) = kit.rest(Call::AudioStream {
        stream_id: ID.into(),
        peek: false,
    });
    assert_eq!((status, body), wanted);
    start(&mut kit);
    fetch(&mut kit);
    end(&mut kit);
    assert_eq!(
        kit.rest(Call::AudioStream {
            stream_id: ID.into(),
            peek: false,
        }),
        wanted
    );
}

#[test]
fn nobody_fetches_for_fifteen_seconds() {
    let mut kit = started();
    kit.pass(14_999);
    assert_eq!(kit.s.m.audio_output.ids().len(), 1);
    kit.pass(1);
    assert!(kit.s.m.audio_output.ids().is_empty() && !kit.waits());
}

#[test]
fn nobody_writes_for_a_minute() {
    let mut kit = started();
    let reader = fetch(&mut kit);
    kit.pass(50_000);
    write(&mut kit, "x");
    kit.pass(59_999);
    assert_eq!(heard(&mut kit, reader), ["audio/mpeg", "x"]);
    kit.pass(1);
    assert_eq!(heard(&mut kit, reader), ["broken off"]);
    assert!(!kit.waits());
}

#[test]
fn a_second_fetch_replaces_the_first() {
    let mut kit = started();
    let first = fetch(&mut kit);
    let second = fetch(&mut kit);
    let sent_to_first = kit
        .fx
        .list()
        .iter()
        .any(|effect| matches!(effect, Effect::ReplyEnd { reply } if *reply == first));
    assert!(sent_to_first);
    write(&mut kit, "x");
    assert_eq!(heard(&mut kit, second), ["audio/mpeg", "x"]);
    kit.with(|s, cx| audio_output::reader_gone(s, first, cx));
    write(&mut kit, "y");
    assert_eq!(
        heard(&mut kit, second),
        ["y"],
        "the first one's end does not concern the second"
    );
}

#[test]
fn a_lost_reader_may_come_back_within_ten_seconds() {
    let mut kit = started();
    let reader = fetch(&mut kit);
    kit.with(|s, cx| audio_output::reader_gone(s, reader, cx));
    kit.phone_away();
    write(&mut kit, "kept");
    kit.pass(9_999);
    let again = fetch(&mut kit);
    assert_eq!(heard(&mut kit, again), ["audio/mpeg", "kept"]);
    kit.with(|s, cx| audio_output::reader_gone(s, again, cx));
    write(&mut kit, "lost");
    kit.pass(10_000);
    let late = fetch(&mut kit);
    assert_eq!(heard(&mut kit, late), ["audio/mpeg"]);
}

#[test]
fn what_nobody_fetched_yet_waits_for_a_phone_as_long_as_its_stream() {
    let mut kit = started();
    kit.phone_away();
    write(&mut kit, "x");
    kit.pass(14_000);
    kit.phone_back();
    let sent = kit.sent();
    let asked = sent
        .phone()
        .iter()
        .filter(|text| text.contains(URL))
        .count();
    assert_eq!(asked, 1);
    let reader = fetch(&mut kit);
    assert_eq!(heard(&mut kit, reader), ["audio/mpeg", "x"]);
}

#[test]
fn the_server_asks_the_phone_once_and_not_before_two_seconds() {
    let mut kit = started();
    write(&mut kit, "x");
    kit.pass(1_999);
    write(&mut kit, "y");
    assert!(kit.sent().phone().is_empty());
    kit.pass(1);
    assert_eq!(
        kit.sent().phone(),
        [format!(
            r#"{{"type":"audio_play_request","sessionId":"nadia@lumen.io","requestId":"{ID}","packageName":"com.acme.other","audioUrl":"{URL}","stopOtherAudio":false,"timestamp":"2026-03-14T09:26:55.589Z"}}"#
        )]
    );
    write(&mut kit, "z");
    kit.pass(9_999);
    assert!(kit.sent().phone().is_empty(), "one attempt at a time");
    let reader = fetch(&mut kit);
    assert_eq!(heard(&mut kit, reader), ["audio/mpeg", "x", "y", "z"]);
}

#[test]
fn the_apps_own_unanswered_request_holds_the_servers_back_for_ten_seconds() {
    let mut kit = started();
    kit.app(
        OTHER,
        &format!(r#"{{"type":"audio_play_request","requestId":"stream_{ID}","audioUrl":"{URL}"}}"#),
    )
    .expect("taken");
    kit.sent();
    write(&mut kit, "x");
    kit.pass(9_999);
    assert!(kit.sent().phone().is_empty());
    kit.pass(1);
    assert_eq!(types(&kit.sent().phone()), ["audio_play_request"]);
}

#[test]
fn an_ended_stream_with_a_rest_is_offered_once_and_then_removed() {
    let mut kit = started();
    write(&mut kit, "tail");
    end(&mut kit);
    kit.pass(2_000);
    assert_eq!(types(&kit.sent().phone()), ["audio_play_request"]);
    let reader = fetch(&mut kit);
    assert_eq!(heard(&mut kit, reader), ["audio/mpeg", "tail", "end"]);
    kit.pass(1_000);
    assert!(!kit.waits());
    start(&mut kit);
    write(&mut kit, "tail");
    end(&mut kit);
    kit.pass(12_000);
    assert!(kit.s.m.audio_output.ids().is_empty() && !kit.waits());
}

#[test]
fn the_buffer_drops_its_oldest_bytes() {
    let mut kit = started();
    kit.cfg.audio.audio_out_pending_bytes = 6;
    for audio in ["aaa", "bbb", "ccc"] {
        write(&mut kit, audio);
    }
    let reader = fetch(&mut kit);
    assert_eq!(heard(&mut kit, reader), ["audio/mpeg", "bbb", "ccc"]);
}

#[test]
fn a_content_type_cannot_end_a_header() {
    let mut kit = Kit::new();
    kit.app(
        OTHER,
        &format!(
            r#"{{"type":"audio_stream_start","streamId":"{ID}","contentType":"a/b\r\nx: y"}}"#
        ),
    )
    .expect("taken");
    let reader = fetch(&mut kit);
    assert_eq!(heard(&mut kit, reader), ["audio/mpeg"]);
}

#[test]
fn a_stopped_app_ends_its_streams() {
    let mut kit = started();
    let reader = fetch(&mut kit);
    kit.with(|s, cx| requests::app_stopped(s, OTHER, cx));
    assert_eq!(heard(&mut kit, reader), ["audio/mpeg", "end"]);
    assert!(!kit.waits());
}

#[test]
fn a_look_at_a_stream_takes_nothing_from_its_reader() {
    let mut kit = started();
    write(&mut kit, "one");
    kit.sent();
    let look = |kit: &mut Kit| {
        kit.call(Call::AudioStream {
            stream_id: ID.into(),
            peek: true,
        })
    };
    let first = look(&mut kit);
    assert_eq!(heard(&mut kit, first), ["audio/mpeg", "end"]);
    let reader = fetch(&mut kit);
    assert_eq!(heard(&mut kit, reader), ["audio/mpeg", "one"]);
    look(&mut kit);
    write(&mut kit, "two");
    assert_eq!(heard(&mut kit, reader), ["two"], "it goes on");
}
