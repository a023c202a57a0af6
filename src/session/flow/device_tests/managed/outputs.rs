//! Restream outputs of a managed stream (protocol.md §8.11, 18.15; behaviour.md §7.6.3).

use super::*;
use crate::session::rest::OutputAction;

#[test]
fn restream_destinations_choose_the_ingest_and_become_outputs() {
    for (url, ingest) in [
        (
            "rtmp://a/live/key",
            "srt://in:778?streamid=sid&passphrase=pw",
        ),
        ("rtmps://x.pscp.tv/k", "rtmps://in/live/key"),
    ] {
        let mut kit = kit();
        kit.app(OTHER, &format!(r#"{{"type":"managed_stream_request","restreamDestinations":[{{"url":"{url}","name":"main"}}]}}"#)).expect("taken");
        answer(&mut kit, 200, MADE);
        answer(&mut kit, 200, r#"{"result":{"uid":"o1"}}"#);
        kit.pass(3_000);
        let sent = kit.sent();
        assert_eq!(value(sent.phone()[0])["streamUrl"], ingest);
        assert_eq!(
            value(sent.other()[0])["outputs"],
            serde_json::json!([{"url": url, "status": "active", "name": "main"}])
        );
    }
}

/// The SDK of mini-apps has them as texts.
#[test]
fn a_mini_app_of_the_phone_restreams_to_urls_without_names() {
    let mut kit = kit();
    kit.phone(r#"{"type":"managed_stream_request","packageName":"__phone__","requestId":"r1","restreamDestinations":["rtmp://a/live/key"]}"#).expect("taken");
    answer(&mut kit, 200, MADE);
    let (url, _) = answer(&mut kit, 200, r#"{"result":{"uid":"o1"}}"#);
    assert!(url.ends_with("/u1/outputs"));
    kit.pass(3_000);
    let sent = kit.sent();
    assert_eq!(
        value(sent.phone()[0])["streamUrl"],
        "srt://in:778?streamid=sid&passphrase=pw"
    );
    assert_eq!(
        value(sent.phone()[1])["outputs"],
        serde_json::json!([{"url": "rtmp://a/live/key", "status": "active"}])
    );
}

#[test]
fn a_destination_that_rest_would_refuse_is_listed_as_failed() {
    let mut kit = kit();
    kit.app(OTHER, r#"{"type":"managed_stream_request","restreamDestinations":[{"url":"rtmp://a/k"},{"url":"https://a/k"},{"url":"rtmp://a/k"}]}"#).expect("taken");
    answer(&mut kit, 200, MADE);
    let (url, _) = answer(&mut kit, 200, r#"{"result":{"uid":"o1"}}"#);
    assert!(url.ends_with("/u1/outputs"));
    kit.pass(3_000);
    let sent = kit.sent();
    assert!(sent.http().is_empty(), "one output was asked for");
    assert_eq!(
        value(sent.other()[0])["outputs"],
        serde_json::json!([
            {"url": "rtmp://a/k", "status": "active"},
            {"url": "https://a/k", "status": "error", "error": "URL must start with rtmp:// or rtmps://"},
            {"url": "rtmp://a/k", "status": "error", "error": "This RTMP URL is already configured as an output"},
        ])
    );
}

fn outputs(kit: &mut Kit, package: &str, action: OutputAction) -> ReplyTo {
    let stream_id = id(kit);
    kit.call(Call::Outputs {
        stream_id,
        package: package.into(),
        action,
    })
}

fn add(url: &str) -> OutputAction {
    OutputAction::Add {
        url: url.into(),
        name: None,
    }
}

fn error(kit: &Kit, reply: ReplyTo) -> (u16, String) {
    let answer = kit.answer(reply).expect("answered");
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    (
        answer.status,
        body["error"].as_str().unwrap_or_default().to_owned(),
    )
}

#[test]
fn outputs_are_added_listed_and_removed_by_their_app() {
    let mut kit = live();
    let reply = outputs(&mut kit, OTHER, add("rtmp://a/live/key"));
    let call = kit.sent().http()[0].call;
    answer_call(&mut kit, call, 200, r#"{"result":{"uid":"o1"}}"#);
    assert_eq!(kit.answer(reply).map(|answer| answer.status), Some(200));
    let told = |kit: &mut Kit| {
        let status = value(kit.sent().other()[0]);
        let listed = status["outputs"].as_array().map_or(0, Vec::len);
        assert_eq!(status["message"], "Outputs updated");
        (status["status"].clone(), listed)
    };
    assert_eq!(told(&mut kit), ("active".into(), 1));
    let reply = outputs(&mut kit, OTHER, OutputAction::List);
    let listed: Value =
        serde_json::from_slice(&kit.answer(reply).expect("answered").body).expect("JSON");
    assert_eq!(
        (
            listed["total"].as_u64(),
            listed["maxPerStream"].as_u64(),
            listed["outputs"][0]["outputId"].as_str()
        ),
        (Some(1), Some(10), Some("o1"))
    );
    let remove = || OutputAction::Remove {
        output_id: "o1".into(),
    };
    let reply = outputs(&mut kit, SCRIBE, remove());
    assert_eq!(error(&kit, reply), (403, "NOT_AUTHORIZED".into()));
    kit.sent();
    let reply = outputs(&mut kit, OTHER, remove());
    let call = kit.sent().http()[0].call;
    answer_call(&mut kit, call, 200, "{}");
    assert_eq!(kit.answer(reply).map(|answer| answer.status), Some(200));
    assert_eq!(told(&mut kit), ("active".into(), 0));
    let reply = outputs(&mut kit, OTHER, remove());
    assert_eq!(error(&kit, reply), (404, "OUTPUT_NOT_FOUND".into()));
}

#[test]
fn refused_outputs_have_their_codes() {
    let mut kit = live();
    let cases = [
        (OTHER, "", 400, "INVALID_URL"),
        (OTHER, "http://a/b", 400, "INVALID_URL_FORMAT"),
        (SCRIBE, "rtmp://a/b", 403, "NOT_A_VIEWER"),
    ];
    for (package, url, status, code) in cases {
        let reply = outputs(&mut kit, package, add(url));
        assert_eq!(error(&kit, reply), (status, code.to_owned()));
    }
    let reply = outputs(&mut kit, SCRIBE, OutputAction::List);
    assert_eq!(error(&kit, reply), (403, "NOT_A_VIEWER".into()));
    outputs(&mut kit, OTHER, add("rtmp://a/b"));
    let reply = outputs(&mut kit, OTHER, add("rtmp://a/b"));
    assert_eq!(error(&kit, reply), (409, "DUPLICATE_URL".into()));
    kit.cfg.streaming.managed_outputs_per_app = 1;
    let reply = outputs(&mut kit, OTHER, add("rtmp://a/c"));
    assert_eq!(error(&kit, reply), (409, "MAX_APP_OUTPUTS_REACHED".into()));
    kit.cfg.streaming.managed_outputs_per_stream = 1;
    let reply = outputs(&mut kit, OTHER, add("rtmp://a/c"));
    assert_eq!(error(&kit, reply), (409, "MAX_OUTPUTS_REACHED".into()));
    let unknown = kit.call(Call::Outputs {
        stream_id: "m0".into(),
        package: OTHER.into(),
        action: OutputAction::List,
    });
    assert_eq!(error(&kit, unknown), (404, "STREAM_NOT_FOUND".into()));
}

#[test]
fn a_provider_that_refuses_an_output_is_502_and_disposal_answers_who_waits() {
    let mut kit = live();
    let reply = outputs(&mut kit, OTHER, add("rtmp://a/b"));
    let call = kit.sent().http()[0].call;
    answer_call(&mut kit, call, 400, "{}");
    assert_eq!(error(&kit, reply), (502, "CLOUDFLARE_ERROR".into()));
    let reply = outputs(&mut kit, OTHER, add("rtmp://a/b"));
    kit.with(requests::disposing);
    assert_eq!(error(&kit, reply), (404, "STREAM_NOT_FOUND".into()));
    assert!(!kit.waits());
}

#[test]
fn a_destination_that_failed_may_be_added_again() {
    let mut kit = kit();
    kit.cfg.streaming.managed_outputs_per_app = 1;
    kit.app(OTHER, r#"{"type":"managed_stream_request","restreamDestinations":[{"url":"rtmp://a/k","name":"main"}]}"#).expect("taken");
    answer(&mut kit, 200, MADE);
    answer(&mut kit, 503, "");
    let reply = outputs(&mut kit, OTHER, add("rtmp://a/k"));
    answer(&mut kit, 200, r#"{"result":{"uid":"o1"}}"#);
    assert_eq!(kit.answer(reply).map(|answer| answer.status), Some(200));
    let reply = outputs(&mut kit, OTHER, OutputAction::List);
    let listed =
        value(std::str::from_utf8(&kit.answer(reply).expect("answered").body).expect("text"));
    assert_eq!(listed["total"], 1);
    assert_eq!(listed["outputs"][0]["outputId"], "o1");
}
