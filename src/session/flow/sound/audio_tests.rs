//! Tests of the way of one audio chunk (behaviour.md §5.2).

use crate::base::ids::ConnId;
use crate::session::event::Sdk;
use crate::session::flow::media_kit::{Kit, PHONE_CONN};
use bytes::Bytes;

#[test]
fn two_odd_frames_arrive_whole_at_every_subscriber() {
    let mut kit = Kit::new();
    let (one, two) = (kit.app("main", Sdk::V3), kit.app("back", Sdk::V3));
    kit.subscribe("main", &["audio_chunk"]);
    kit.subscribe("back", &["*"]);
    let sound: Vec<u8> = (0..640).map(|i| i as u8).collect();
    kit.audio(&sound[..321]);
    kit.audio(&sound[321..]);
    let frames = kit.binary();
    for conn in [one, two] {
        let own: Vec<&Bytes> = frames
            .iter()
            .filter(|f| f.0 == conn)
            .map(|f| &f.1)
            .collect();
        assert!(
            own.iter()
                .all(|frame| frame.len() % 2 == 0 && !frame.is_empty())
        );
        let all: Vec<u8> = own.iter().flat_map(|frame| frame.to_vec()).collect();
        assert_eq!(all, sound);
    }
}

#[test]
fn audio_needs_the_permission_also_through_a_wildcard() {
    let mut kit = Kit::new();
    kit.app("poor", Sdk::V3);
    kit.subscribe("poor", &["audio_chunk", "*"]);
    kit.audio(&[0; 320]);
    assert!(kit.binary().is_empty());
}

#[test]
fn only_the_current_phone_socket_counts() {
    let mut kit = Kit::new();
    kit.app("main", Sdk::V3);
    kit.subscribe("main", &["audio_chunk"]);
    kit.run(|s, cx| super::chunk(s, ConnId(77), Bytes::from_static(&[0; 320]), cx));
    assert!(kit.binary().is_empty());
    kit.run(|s, cx| super::chunk(s, PHONE_CONN, Bytes::from_static(&[0; 320]), cx));
    assert_eq!(kit.binary().len(), 1);
}

#[test]
fn a_lost_or_stopped_app_gets_no_audio() {
    let mut kit = Kit::new();
    kit.app("main", Sdk::V3);
    kit.app("back", Sdk::V3);
    kit.subscribe("main", &["audio_chunk"]);
    kit.subscribe("back", &["audio_chunk"]);
    kit.lose("main");
    kit.stop("back");
    kit.audio(&[0; 320]);
    assert!(kit.binary().is_empty());
}
