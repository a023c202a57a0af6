//! Every message that a phone or an app sends (`tests/golden/`, one JSON text a line) is understood by a live session.

use crate::base::metrics::Counter;
use crate::session::event::Sdk;
use crate::session::rest::Call;
use crate::session::testkit::{Kit, SCRIBE, trusted};
use crate::wire::records::{AppType, Registry};
use std::path::Path;

fn samples(direction: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(direction);
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the samples are there") {
        let path = entry.expect("readable").path();
        let name = path.file_stem().expect("named").to_string_lossy();
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        all.extend(text.lines().map(|line| (name.to_string(), line.to_owned())));
    }
    assert!(all.len() > 10, "samples of {direction}");
    all
}

#[test]
fn every_sample_of_a_phone_is_handled() {
    for (name, text) in samples("phone-to-cloud") {
        let (mut kit, phone) = Kit::connected();
        kit.running(SCRIBE, Sdk::V3);
        let glasses = r#"{"connected":true,"modelName":"Mentra Live","wifiConnected":true}"#;
        kit.rest(Call::DeviceState {
            body: glasses.into(),
        });
        kit.phone_text(phone, &text);
        assert_eq!(kit.metrics.get(Counter::PhoneBadJson), 0, "{name}");
        assert_eq!(kit.metrics.get(Counter::PhoneHandlerFailed), 0, "{name}");
    }
}

#[test]
fn no_sample_of_an_app_is_malformed_or_unknown() {
    for (name, text) in samples("app-to-cloud") {
        let (mut kit, _) = Kit::connected();
        kit.apps = Registry::new([trusted(SCRIBE, AppType::Background)], 1);
        let app = kit.running(SCRIBE, Sdk::V3);
        kit.app_text(app, &text);
        assert_eq!(kit.metrics.get(Counter::AppUnknownType), 0, "{name}");
        for answer in kit.texts(app) {
            assert_ne!(answer["code"], "MALFORMED_MESSAGE", "{name}: {answer}");
        }
    }
}
