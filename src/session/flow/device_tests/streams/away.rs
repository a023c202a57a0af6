//! How an unmanaged stream ends while its owner or the phone is away for a moment (behaviour.md §7.6).

use super::*;

/// SDK 2.x starts no other stream before it heard of the end of the last.
#[test]
fn an_owner_that_was_away_when_its_stream_ended_hears_of_it_when_it_is_back() {
    let mut kit = Kit::with_glasses();
    kit.app(SCRIBE, ASK_RTMP).expect("taken");
    let id = stream_id(&kit);
    status(&mut kit, &id, "streaming");
    kit.app_away(SCRIBE);
    status(&mut kit, &id, "error");
    kit.sent();
    for heard in [1, 0] {
        kit.run_app(SCRIBE, 10, Sdk::V2);
        kit.with(|s, cx| requests::app_attached(s, SCRIBE, cx));
        let sent = kit.sent();
        assert_eq!(sent.scribe().len(), heard, "once");
        for told in sent.scribe().into_iter().map(value) {
            assert_eq!(told["type"], "rtmp_stream_status");
            assert_eq!(told["status"], "stopped");
        }
    }
}

/// behaviour.md §7.6.2: what its owner leaves behind stops. Nobody would stop it afterwards.
#[test]
fn glasses_whose_phone_was_away_when_the_owner_stopped_stop_when_it_is_back() {
    for stops in [
        |kit: &mut Kit| kit.with(|s, cx| requests::app_stopped(s, OTHER, cx)),
        |kit: &mut Kit| kit.app(OTHER, r#"{"type":"stream_stop"}"#).expect("taken"),
    ] {
        let (mut kit, id) = active();
        kit.phone_away();
        stops(&mut kit);
        back_and_told_to_stop(&mut kit, &id);
    }
}
