//! App records that change while their apps run (behaviour.md §13.1, invariant 29; docs/store.md): no numbered defect, but what an
//! operator expects of a permission that was taken away and of an app that was taken out.

use super::super::net::Down;
use super::super::records::Revision;
use super::{CHESS, MAPS, SCRIBE, USER, running};
use prism::session::event::Sdk;
use prism::session::managers::apps::AppState;
use serde_json::json;

#[test]
fn an_app_that_loses_a_permission_hears_nothing_more() {
    for sdk in [Sdk::V2, Sdk::V3] {
        let mut w = running(sdk, SCRIBE);
        w.run(3000);
        let (conn, phone, t) = (w.conn_of(SCRIBE), w.phone_conn(0), w.t());
        let asked = w.set_of(SCRIBE);
        w.revise(SCRIBE, &Revision::Permissions(0));
        w.run(6000);
        w.sound();
        assert_eq!(w.set_of(SCRIBE), ["button_press"]);
        let told = w.texts(conn, "permission_error", t);
        assert_eq!(told.len(), 1, "{told:?}");
        let heard = w.watch.log.iter().filter(|(at_ms, to, frame)| {
            *to == conn && *at_ms > w.now.mono_ms - 6000 && matches!(frame, Down::Binary(_))
        });
        assert_eq!(heard.count(), 0, "audio after the permission was gone");
        let off = w.texts(phone, "microphone_state_change", t);
        assert!(
            off.iter().any(|row| row.1["isMicrophoneEnabled"] == false),
            "nobody may hear it, and it stays on: {off:?}"
        );
        // What it may have again of that list, it has without a word.
        w.revise(SCRIBE, &Revision::Restored);
        w.run(1000);
        w.sound();
        assert_eq!(w.set_of(SCRIBE), asked);
        w.subscribe(SCRIBE, USER, vec![json!("audio_chunk")]);
        w.run(1000);
        w.sound();
        assert_eq!(w.set_of(SCRIBE), ["audio_chunk"]);
    }
}

#[test]
fn an_app_that_was_taken_out_gains_nothing_and_keeps_its_place() {
    for sdk in [Sdk::V2, Sdk::V3] {
        let mut w = running(sdk, CHESS);
        w.run(1000);
        let (conn, phone) = (w.conn_of(CHESS), w.phone_conn(0));
        w.revise(CHESS, &Revision::Gone);
        let t = w.t();
        w.subscribe(CHESS, USER, vec![json!("*"), json!("audio_chunk")]);
        w.run(300);
        let secret = json!({"type": "local_transcription", "text": "secret", "isFinal": true});
        w.say(phone, &secret);
        w.run(1000);
        w.sound();
        assert_eq!(w.state(CHESS), AppState::Running, "it runs on");
        assert_eq!(w.set_of(CHESS), ["*"]);
        let heard = w.texts(conn, "data_stream", t);
        assert!(!heard.iter().any(|row| row.1.to_string().contains("secret")));
        // It is still the foreground app, which another takes the place of.
        w.start(USER, MAPS);
        w.run(6000);
        w.sound();
        assert_eq!(w.state(MAPS), AppState::Running);
        assert_eq!(w.state(CHESS), AppState::Stopped);
    }
}
