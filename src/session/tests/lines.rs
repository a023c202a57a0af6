//! What an app server or a phone can repeat without end is told once in a while, and counted each time.

use crate::base::log_capture::lines_of;
use crate::base::metrics::Counter;
use crate::session::event::{HelloKind, Sdk};
use crate::session::testkit::{Kit, SCRIBE, hello, trusted};
use crate::wire::records::{AppType, Registry};

#[test]
fn an_app_server_that_comes_again_and_again_does_not_fill_the_log() {
    let (mut kit, _) = Kit::connected();
    let mut app = trusted(SCRIBE, AppType::Background);
    app.allowed_ips = vec!["10.1.0.0/16".into()];
    kit.apps = Registry::new([app], 2);
    let right = hello(HelloKind::Init, SCRIBE, Sdk::V3);
    let mut wrong = right.clone();
    wrong.api_key = Some("other".into());
    for (init, kinds) in [
        (wrong, &["app init refused"][..]),
        (right, &["app address not allowed", "app init refused"]),
    ] {
        let mut lines_of = |times: usize| {
            lines_of(|| {
                for _ in 0..times {
                    kit.hello(init.clone());
                }
                kit.now = kit.now.plus(1000);
            })
        };
        let first = lines_of(100);
        let second = lines_of(1);
        for (kind, index) in kinds.iter().zip(0..) {
            assert!(first[index].contains(kind), "{first:?}");
            assert!(second[index].contains("more=99"), "{second:?}");
        }
        assert_eq!((first.len(), second.len()), (kinds.len(), kinds.len()));
    }
    assert_eq!(kit.metrics.get(Counter::AppInitsRefused), 202);
    assert_eq!(kit.metrics.get(Counter::AppAddressRefused), 101);
}

#[test]
fn an_app_does_not_fill_the_log_with_what_it_says() {
    let (mut kit, _) = Kit::connected();
    kit.apps = Registry::new([trusted(SCRIBE, AppType::Background)], 2);
    kit.cfg.audio.audio_fanout_warn = 0;
    let conn = kit.running(SCRIBE, Sdk::V3);
    let lines = lines_of(|| {
        for _ in 0..100 {
            for text in [
                r#"{"type":"ownership_release","packageName":"com.acme.scribe"}"#,
                r#"{"type":"subscription_update","subscriptions":["audio_chunk"]}"#,
                r#"{"type":"subscription_update","subscriptions":[]}"#,
            ] {
                kit.app_text(conn, text);
            }
        }
    });
    let [released, receivers] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert!(released.contains("ownership released"), "{released}");
    assert!(receivers.contains("audio goes to many apps"), "{receivers}");
}

/// An app's server may come and go as often as it likes; a sound one does not three times a second for a minute.
#[test]
fn an_app_that_comes_and_goes_without_end_does_not_fill_the_log() {
    let (mut kit, _) = Kit::connected();
    kit.running(SCRIBE, Sdk::V3);
    let mut coming_and_going = |times: usize| {
        lines_of(|| {
            for _ in 0..times {
                let conn = kit.init(SCRIBE, Sdk::V3);
                kit.app_closes(conn);
            }
            kit.now = kit.now.plus(60_000);
        })
    };
    assert_eq!(coming_and_going(20).len(), 40, "each is told");
    let lines = coming_and_going(500);
    assert_eq!(lines.len(), 200);
    let lines = coming_and_going(1);
    assert!(lines[0].contains("more=800"), "{lines:?}");
}
