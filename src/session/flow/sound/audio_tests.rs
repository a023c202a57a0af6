//! Layer 2, tests of what becomes of a chunk of microphone audio. Opens no socket.

use crate::base::ids::ConnId;
use crate::base::metrics::Counter;
use crate::session::event::{Chunk, PhoneFlags, Sdk};
use crate::session::flow::lifecycle;
use crate::session::managers::audio::Format;
use crate::session::testkit::media::{Kit, PHONE_CONN};
use bytes::Bytes;

/// An app that gets the phone's audio.
fn listening() -> Kit {
    let mut kit = Kit::new();
    kit.app("main", Sdk::V3);
    kit.subscribe("main", &["audio_chunk"]);
    kit
}

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

/// What a phone sends after it changed between WebSocket and datagrams begins with a whole sample.
#[test]
fn an_odd_byte_does_not_outlive_the_way_it_came() {
    let mut kit = listening();
    kit.audio(&[2, 2, 2]);
    kit.run(|s, cx| s.on_udp_audio(1, &mut [3, 3, 3], cx));
    kit.audio(&[4, 4]);
    let frames: Vec<Bytes> = kit.binary().into_iter().map(|frame| frame.1).collect();
    assert_eq!(
        frames,
        [b"\x02\x02", b"\x03\x03", b"\x04\x04"].map(|sound| &sound[..])
    );
}

#[test]
fn an_odd_byte_of_one_socket_does_not_begin_a_sample_of_the_next() {
    let mut kit = listening();
    kit.audio(&[1, 2, 3]);
    let next = ConnId(77);
    kit.run(|s, cx| lifecycle::phone_connected(s, next, PhoneFlags::default(), cx));
    kit.run(|s, cx| super::chunk(s, next, Chunk::Lent(&[4, 5, 6]), cx));
    // The older socket speaks although the newer one took over: they exchange their roles.
    kit.run(|s, cx| lifecycle::promote(s, PHONE_CONN, cx));
    kit.audio(&[7, 8]);
    assert_eq!(blocks(&mut kit), [&[1, 2][..], &[4, 5], &[7, 8]]);
}

/// The second half of a sample, sent while a newer socket was current that has said nothing yet: the two exchange their roles,
/// and no sample is shifted.
#[test]
fn a_socket_that_goes_on_after_another_came_continues_its_sample() {
    let mut kit = listening();
    kit.audio(&[1, 2, 3]);
    let next = ConnId(77);
    kit.run(|s, cx| lifecycle::phone_connected(s, next, PhoneFlags::default(), cx));
    kit.run(|s, cx| s.on_audio(PHONE_CONN, Chunk::Lent(&[4, 5, 6]), cx));
    assert_eq!(blocks(&mut kit), [&[1, 2][..], &[3, 4, 5, 6]]);
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
    let mut kit = listening();
    kit.run(|s, cx| super::chunk(s, ConnId(77), Chunk::Lent(&[0; 320]), cx));
    assert!(kit.binary().is_empty());
    kit.run(|s, cx| super::chunk(s, PHONE_CONN, Chunk::Lent(&[0; 320]), cx));
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

/// Forty frames of 60 bytes; `tests/golden/lc3/README.md`.
const LC3: &[u8] = include_bytes!("../../../../tests/golden/lc3/60.lc3");

fn configure(kit: &mut Kit, frame_bytes: u8) {
    let wanted = Format::Lc3 { frame_bytes };
    assert_eq!(kit.s.m.audio.configure(wanted), wanted);
}

/// A phone that sends LC3, and an app that hears it.
fn lc3_kit() -> Kit {
    let mut kit = listening();
    configure(&mut kit, 60);
    kit
}

fn blocks(kit: &mut Kit) -> Vec<Bytes> {
    kit.binary().into_iter().map(|(_, block)| block).collect()
}

/// protocol.md §20, scenario 11.
#[test]
fn a_packet_of_three_lc3_frames_is_one_block_of_pcm() {
    let mut kit = lc3_kit();
    let other = kit.app("back", Sdk::V3);
    kit.subscribe("back", &["*"]);
    kit.audio(&LC3[..180]);
    let frames = kit.binary();
    assert_eq!(frames.len(), 2);
    assert!(frames.iter().all(|(_, block)| block.len() == 960));
    assert_eq!(frames[0].1.as_ptr(), frames[1].1.as_ptr(), "decoded once");
    assert!(frames.iter().any(|(conn, _)| *conn == other));
    assert_eq!(kit.metrics.get(Counter::Lc3Frames), 3);
}

#[test]
fn ends_that_fill_no_frame_are_dropped_and_counted() {
    let mut kit = lc3_kit();
    kit.audio(&LC3[..200]);
    kit.audio(&LC3[180..230]);
    kit.audio(&LC3[180..240]);
    let lengths: Vec<usize> = blocks(&mut kit).iter().map(Bytes::len).collect();
    assert_eq!(lengths, [960, 320], "no empty frame, no carried bytes");
    assert_eq!(kit.metrics.get(Counter::Lc3Partial), 2);
}

#[test]
fn a_packet_that_does_not_decode_is_dropped_whole() {
    let mut kit = lc3_kit();
    let mut spoiled = LC3[..180].to_vec();
    spoiled[120..].fill(0xFF);
    kit.audio(&spoiled);
    assert!(blocks(&mut kit).is_empty());
    assert_eq!(kit.metrics.get(Counter::Lc3BadPackets), 1);
    assert_eq!(kit.metrics.get(Counter::Lc3Frames), 0);
    kit.audio(&LC3[..180]);
    let after = blocks(&mut kit);
    let mut fresh = lc3_kit();
    fresh.audio(&LC3[..180]);
    assert_eq!(after, blocks(&mut fresh));
}

#[test]
fn nothing_is_decoded_for_nobody_and_listening_starts_after_silence() {
    let mut kit = lc3_kit();
    kit.audio(&LC3[..180]);
    kit.subscribe("main", &["transcription:en-US"]);
    kit.audio(&LC3[180..360]);
    assert_eq!(kit.metrics.get(Counter::Lc3Frames), 3);
    kit.subscribe("main", &["audio_chunk"]);
    kit.forget();
    kit.audio(&LC3[360..540]);
    let later = blocks(&mut kit);
    let mut fresh = lc3_kit();
    fresh.audio(&LC3[360..540]);
    assert_eq!(later, blocks(&mut fresh), "nothing of the older sound");
}

#[test]
fn configuring_again_starts_anew() {
    let mut kit = lc3_kit();
    kit.audio(&LC3[..180]);
    configure(&mut kit, 60);
    kit.forget();
    kit.audio(&LC3[..180]);
    let again = blocks(&mut kit);
    let mut fresh = lc3_kit();
    fresh.audio(&LC3[..180]);
    assert_eq!(again, blocks(&mut fresh));

    configure(&mut kit, 20);
    kit.audio(include_bytes!("../../../../tests/golden/lc3/20.lc3"));
    assert_eq!(blocks(&mut kit)[0].len(), 40 * 320);

    assert_eq!(kit.s.m.audio.configure(Format::Pcm), Format::Pcm);
    kit.audio(&[1, 2, 3]);
    configure(&mut kit, 60);
    kit.s.m.audio.configure(Format::Pcm);
    kit.audio(&[4, 5]);
    assert_eq!(
        blocks(&mut kit),
        [&[1, 2][..], &[4, 5]],
        "no odd byte carried over"
    );
}

#[test]
fn the_format_outlives_the_phone_socket() {
    let mut kit = lc3_kit();
    let next = ConnId(2);
    kit.s.m.phone.current = Some(next);
    let data = Bytes::from_static(&LC3[..180]);
    kit.run(|s, cx| super::chunk(s, next, Chunk::Own(data), cx));
    assert_eq!(blocks(&mut kit)[0].len(), 960);
}
