//! The hot paths of the `wire` layer allocate nothing once their buffers have grown.

#[path = "support/counting.rs"]
mod counting;

use std::hint::black_box;

use bytes::{BufMut, BytesMut};
use prism::wire::frame::{Decoder, Message, Opcode, encode};
use prism::wire::json::{ObjectWriter, Scratch, kind};
use prism::wire::kinds::PhoneKind;
use prism::wire::lc3;
use prism::wire::streams::{StreamEvent, delivered_as, parse};

/// Allocations of a thousand runs, after a few that let buffers grow.
fn allocations(mut run: impl FnMut()) -> u64 {
    for _ in 0..10 {
        run();
    }
    let before = counting::allocations();
    for _ in 0..1000 {
        run();
    }
    counting::allocations() - before
}

fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first, 0x80 | 126];
    out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}

const TEXT: &str = r#"{"packageName":"com.acme.scribe","data":{"x":[1,2,{"y":null}],"t":"a\nb"},"type":"touch_event"}"#;

#[test]
fn decoding_frames_allocates_nothing() {
    let frame = client_frame(0x82, &[7; 640]);
    let mut decoder = Decoder::new(1 << 20);
    let mut buf = BytesMut::with_capacity(4096);
    let count = allocations(|| {
        // A reader's buffer is refilled in place once its frames are gone.
        buf.reserve(2048);
        buf.put_slice(&frame);
        buf.put_slice(&frame);
        while let Ok(Some(Message::Binary(payload))) = decoder.next(&mut buf) {
            black_box(&payload);
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn reading_json_allocates_nothing() {
    let mut scratch = Scratch::new();
    let count = allocations(|| {
        let kind = kind(TEXT).expect("a type");
        assert_eq!(PhoneKind::from_wire(&kind), Some(PhoneKind::TouchEvent));
        scratch.parse::<u8>(b"5").expect("a number");
    });
    assert_eq!(count, 0);
}

#[test]
fn writing_frames_allocates_nothing() {
    let (mut text, mut out) = (Vec::new(), Vec::new());
    let count = allocations(|| {
        text.clear();
        out.clear();
        ObjectWriter::begin(&mut text)
            .str("type", "data_stream")
            .raw("data", TEXT.as_bytes())
            .num("timestamp", 1_773_480_413_589u64)
            .end();
        encode(Opcode::Text, &text, &mut out);
        encode(Opcode::Binary, &[7; 640], &mut out);
        black_box(&out);
    });
    assert_eq!(count, 0);
}

#[test]
fn matching_streams_allocates_nothing() {
    let subs: Vec<_> = ["*", "touch_event", "transcription:en?hints=es"]
        .map(parse)
        .into();
    let count = allocations(|| {
        let event = StreamEvent::new("transcription:en-US");
        black_box(delivered_as(&subs, &event));
    });
    assert_eq!(count, 0);
}

/// A packet of 30 ms every time, its block let go of as a written socket does.
#[test]
fn decoding_lc3_allocates_nothing() {
    let packet = &include_bytes!("golden/lc3/60.lc3")[..180];
    let mut decoder = lc3::Decoder::new(60).expect("a supported size");
    let mut pcm = BytesMut::with_capacity(5 * 960);
    let count = allocations(|| {
        if pcm.capacity() < 960 {
            pcm.reserve(5 * 960);
        }
        decoder.decode(packet, &mut pcm).expect("good frames");
        let block = pcm.split().freeze();
        black_box(block.clone());
    });
    assert_eq!(count, 0);
}
