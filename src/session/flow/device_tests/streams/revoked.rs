//! What runs for an app whose record does not grant it any more (behaviour.md §7.1, 7.6.2, 7.6.3).

use super::*;
use crate::session::event::Event;
use crate::session::testkit::device::record;

/// New records: `package` has these permissions.
fn grants(kit: &mut Kit, package: &str, permissions: &[&str]) {
    let others = kit.apps.iter().filter(|(name, _)| ***name != *package);
    let mut records: Vec<_> = others.map(|(_, other)| other.as_ref().clone()).collect();
    records.push(record(package, permissions));
    kit.apps = Registry::new(records, 2).after(&kit.apps);
    kit.with(|s, cx| s.on_event(Event::RegistryChanged, cx));
}

#[test]
fn the_stream_of_an_app_without_the_camera_ends() {
    let (mut kit, id) = active();
    grants(&mut kit, OTHER, &["CAMERA"]);
    assert!(kit.sent().texts.is_empty(), "it may go on");
    grants(&mut kit, OTHER, &["LOCATION"]);
    let sent = kit.sent();
    assert_eq!(types(&sent.phone()), ["stop_stream"]);
    assert_eq!(value(sent.phone()[0])["streamId"], id.as_str());
    assert_eq!(value(sent.other()[0])["status"], "stopped");
    grants(&mut kit, OTHER, &[]);
    assert!(kit.sent().texts.is_empty(), "once");
}

#[test]
fn the_stream_of_an_app_whose_record_is_gone_goes_on() {
    let (mut kit, id) = active();
    kit.apps = Registry::new([], 2).after(&kit.apps);
    kit.with(|s, cx| s.on_event(Event::RegistryChanged, cx));
    assert!(kit.sent().texts.is_empty());
    assert_eq!(stream_id(&kit), id);
}

#[test]
fn a_poll_of_an_app_without_the_location_is_forgotten() {
    let mut kit = Kit::new();
    let poll = r#"{"type":"location_poll_request","accuracy":"high","correlationId":"p1"}"#;
    for app in [OTHER, SCRIBE] {
        kit.app(app, poll).expect("taken");
    }
    grants(&mut kit, OTHER, &["CAMERA"]);
    kit.sent();
    kit.phone(r#"{"type":"location_update","lat":1,"lng":2,"correlationId":"p1"}"#)
        .expect("taken");
    let sent = kit.sent();
    assert_eq!((sent.other().len(), sent.scribe().len()), (0, 1));
    assert!(!kit.waits());
}
