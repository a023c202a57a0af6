//! Layer 1: what the frame codec must accept, refuse and write; no socket is opened.

use bytes::{Buf, Bytes, BytesMut};
use proptest::prelude::*;

use super::mask::unmask;
use super::*;

/// Where no limit is meant.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client frame: first byte as given, payload masked, shortest length form.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&KEY);
    out.extend(
        payload
            .iter()
            .enumerate()
            .map(|(i, byte)| byte ^ KEY[i % 4]),
    );
    out
}

fn decode_all(bytes: &[u8], max: usize) -> (Vec<Message>, Option<ProtocolError>) {
    decode_split(bytes, max, bytes.len().max(1))
}

/// Binary messages up to here are taken in place, larger ones by reference.
const SMALL: usize = 90;

/// Feeds `bytes` in pieces of `step` and collects what comes out until an error.
fn decode_split(bytes: &[u8], max: usize, step: usize) -> (Vec<Message>, Option<ProtocolError>) {
    let mut decoder = Decoder::new(max);
    let mut buf = BytesMut::new();
    let mut messages = Vec::new();
    for piece in bytes.chunks(step) {
        buf.extend_from_slice(piece);
        loop {
            let mut small = None;
            let lent = decoder.next_lent(&mut buf, SMALL + 1, |lent| {
                small = Some(match lent {
                    Lent::Text(text) => Message::Text(text.into()),
                    Lent::Binary(data) => Message::Binary(Bytes::copy_from_slice(data)),
                });
            });
            match lent {
                Ok(0) => {}
                Ok(used) => {
                    buf.advance(used);
                    messages.extend(small);
                    continue;
                }
                Err(error) => return (messages, Some(error)),
            }
            match decoder.next(&mut buf) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

fn text(s: &str) -> Message {
    Message::Text(s.into())
}

fn only_error(bytes: &[u8]) -> ProtocolError {
    let (messages, error) = decode_all(bytes, MESSAGE_BYTES_MAX);
    assert_eq!(messages, []);
    error.expect("refused")
}

#[test]
fn whole_messages_of_every_length_form() {
    for len in [0, 1, 7, 8, 125, 126, 127, 128, 65_535, 65_536, 70_001] {
        let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let (messages, error) = decode_all(&client(0x82, &payload), MESSAGE_BYTES_MAX);
        assert_eq!(error, None);
        assert_eq!(messages, [Message::Binary(payload.into())], "length {len}");
    }
}

#[test]
fn an_unfragmented_payload_is_not_copied() {
    let mut buf = BytesMut::from(&client(0x82, &[7; 640])[..]);
    let payload_at = buf[8..].as_ptr();
    let Ok(Some(Message::Binary(payload))) = Decoder::new(1 << 20).next(&mut buf) else {
        panic!("a binary message");
    };
    assert_eq!(payload.as_ptr(), payload_at);
    assert_eq!(payload, [7; 640][..]);
    assert!(buf.is_empty());
}

#[test]
fn a_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 32);
}

#[test]
fn fragments_join_and_control_frames_pass_between_them() {
    let stream = [
        client(0x01, b"frag"),
        client(0x89, b"still there?"),
        client(0x00, b""),
        client(0x8A, b""),
        client(0x80, b"ment"),
        client(0x81, b"next"),
    ]
    .concat();
    let expected = [
        Message::Ping(Bytes::from_static(b"still there?")),
        Message::Pong(Bytes::new()),
        text("fragment"),
        text("next"),
    ];
    assert_eq!(
        decode_all(&stream, MESSAGE_BYTES_MAX),
        (expected.to_vec(), None)
    );
}

#[test]
fn protocol_errors_close_with_1002() {
    use ProtocolError::*;
    let mut unmasked = vec![0x81, 0x02];
    unmasked.extend_from_slice(b"hi");
    let mut endless = vec![0x82, 0xFF, 0x80];
    endless.extend_from_slice(&[0; 12]);
    let cases: [(Vec<u8>, ProtocolError); 16] = [
        (client(0xC1, b"x"), ReservedBits),
        (client(0xA1, b"x"), ReservedBits),
        (client(0x91, b"x"), ReservedBits),
        (client(0xF9, b""), ReservedBits),
        (client(0x83, b"x"), ReservedOpcode),
        (client(0x87, b""), ReservedOpcode),
        (client(0x8B, b"x"), ReservedOpcode),
        (client(0x8F, b""), ReservedOpcode),
        (client(0x89, &[0; 126]), ControlTooLong),
        (client(0x88, &[3; 126]), ControlTooLong),
        (client(0x09, b"x"), ControlFragmented),
        (client(0x08, b"x"), ControlFragmented),
        (client(0x80, b"x"), UnexpectedContinuation),
        (unmasked, Unmasked),
        (endless, LengthRange),
        (client(0x88, b"\x03"), ClosePayload),
    ];
    for (bytes, expected) in cases {
        let error = only_error(&bytes);
        assert_eq!((error, error.close_reason().code()), (expected, 1002));
    }
    let interleaved = [client(0x01, b"a"), client(0x81, b"b")].concat();
    assert_eq!(only_error(&interleaved), ExpectedContinuation);
    let again = [client(0x01, b"a"), client(0x80, b"b"), client(0x80, b"c")].concat();
    let (messages, error) = decode_all(&again, MESSAGE_BYTES_MAX);
    assert_eq!(
        (messages, error),
        (vec![text("ab")], Some(UnexpectedContinuation))
    );
}

#[test]
fn close_codes() {
    for code in [
        1000u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice("bye ✓".as_bytes());
        let expected = Message::Close(Some((code, Bytes::from("bye ✓"))));
        let (messages, error) = decode_all(&client(0x88, &payload), MESSAGE_BYTES_MAX);
        assert_eq!((messages, error), (vec![expected], None));
    }
    for code in [
        0u16, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        let error = only_error(&client(0x88, &code.to_be_bytes()));
        assert_eq!(error, ProtocolError::ClosePayload, "code {code}");
    }
    let (messages, _) = decode_all(&client(0x88, b""), MESSAGE_BYTES_MAX);
    assert_eq!(messages, [Message::Close(None)]);
    let error = only_error(&client(0x88, b"\x03\xe8\xce\xba\xe1\xbd"));
    assert_eq!(
        (error, error.close_reason().code()),
        (ProtocolError::Utf8, 1007)
    );
}

#[test]
fn text_must_be_utf8() {
    for bad in [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..],
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"\xe1\xbd",
        b"\xfe",
    ] {
        let error = only_error(&client(0x81, bad));
        assert_eq!(
            (error, error.close_reason().code()),
            (ProtocolError::Utf8, 1007)
        );
    }
    // The same bytes are nothing to a binary message.
    let (messages, _) = decode_all(&client(0x82, b"\xf4\x90\x80\x80"), MESSAGE_BYTES_MAX);
    assert_eq!(
        messages,
        [Message::Binary(Bytes::from_static(b"\xf4\x90\x80\x80"))]
    );
}

#[test]
fn characters_may_be_cut_between_fragments() {
    let word = "κόσμε 𝄞 ✓";
    let mut stream = Vec::new();
    for (i, byte) in word.as_bytes().iter().enumerate() {
        stream.extend(client(u8::from(i == 0), &[*byte]));
    }
    stream.extend(client(0x80, b""));
    assert_eq!(
        decode_all(&stream, MESSAGE_BYTES_MAX),
        (vec![text(word)], None)
    );
}

#[test]
fn fragmented_text_fails_at_the_first_wrong_fragment() {
    let stream = [client(0x01, b"fine \xf4"), client(0x00, b"\x90")].concat();
    assert_eq!(only_error(&stream), ProtocolError::Utf8);
    let cut = [client(0x01, b"fine \xe1"), client(0x80, b"\xbd")].concat();
    assert_eq!(only_error(&cut), ProtocolError::Utf8);
}

#[test]
fn too_big_is_seen_in_the_header() {
    let mut head = vec![0x82, 0xFF];
    head.extend_from_slice(&(MESSAGE_BYTES_MAX as u64 + 1).to_be_bytes());
    let error = only_error(&head);
    assert_eq!(
        (error, error.close_reason().code()),
        (ProtocolError::TooBig, 1009)
    );

    let at_limit = client(0x82, &[1; 1000]);
    assert_eq!(decode_all(&at_limit, 1000).1, None);
    assert_eq!(decode_all(&at_limit, 999).1, Some(ProtocolError::TooBig));
    let parts = [
        client(0x02, &[1; 600]),
        client(0x89, &[2; 100]),
        client(0x80, &[1; 401]),
    ]
    .concat();
    assert_eq!(decode_all(&parts, 1000).1, Some(ProtocolError::TooBig));
    assert_eq!(decode_all(&parts, 1001).1, None);
}

#[test]
fn the_extent_says_what_is_missing() {
    let frame = client(0x82, &[9; 3200]);
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
    let mut buf = BytesMut::from(&frame[..5]);
    assert_eq!(decoder.next(&mut buf), Ok(None));
    assert_eq!(
        decoder.extent(&buf),
        Ok(Extent::Unknown),
        "header incomplete"
    );
    buf.extend_from_slice(&frame[5..1000]);
    assert_eq!(decoder.next(&mut buf), Ok(None));
    assert_eq!(decoder.extent(&buf), Ok(Extent::Part(frame.len() - 1000)));
    buf.extend_from_slice(&frame[1000..]);
    assert_eq!(decoder.extent(&buf), Ok(Extent::Whole(frame.len())));
    assert!(decoder.next(&mut buf).unwrap().is_some());
    assert_eq!(decoder.extent(&buf), Ok(Extent::Unknown));
}

#[test]
fn close_reasons_are_cut_between_characters() {
    let mut out = Vec::new();
    encode_close(1008, &"é".repeat(80), &mut out);
    assert_eq!(out[..4], [0x88, 124, 0x03, 0xF0]);
    assert_eq!(std::str::from_utf8(&out[4..]), Ok("é".repeat(61).as_str()));
    out.clear();
    encode_close(1000, "App stopped", &mut out);
    assert_eq!(out, b"\x88\x0d\x03\xe8App stopped");
}

/// A stream that plays back bytes and swallows what is written to it.
struct Replay<'a>(&'a [u8]);

impl std::io::Read for Replay<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(out)
    }
}

impl std::io::Write for Replay<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Frames that a correct client may send, as (first byte, payload) in order.
fn stream() -> impl Strategy<Value = (Vec<u8>, Vec<Message>)> {
    let data = proptest::collection::vec(any::<u8>(), 0..300);
    let item = prop_oneof![
        data.clone()
            .prop_map(|b| (client(0x82, &b), Message::Binary(b.into()))),
        ".{0,60}".prop_map(|s| (client(0x81, s.as_bytes()), text(&s))),
        proptest::collection::vec(any::<u8>(), 0..125)
            .prop_map(|b| (client(0x89, &b), Message::Ping(b.into()))),
        (".{1,40}", any::<prop::sample::Index>()).prop_map(|(s, at)| {
            let at = at.index(s.len());
            let (head, tail) = s.as_bytes().split_at(at);
            ([client(0x01, head), client(0x80, tail)].concat(), text(&s))
        }),
        (data.clone(), data).prop_map(|(a, b)| {
            let bytes = [client(0x02, &a), client(0x00, b""), client(0x80, &b)].concat();
            (bytes, Message::Binary([a, b].concat().into()))
        }),
    ];
    proptest::collection::vec(item, 0..12).prop_map(|items| {
        let (bytes, messages): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        (bytes.concat(), messages)
    })
}

proptest! {
    #[test]
    fn any_split_gives_the_same_messages((bytes, messages) in stream(), step in 1usize..400) {
        prop_assert_eq!(decode_split(&bytes, 1 << 16, step), (messages, None));
    }

    #[test]
    fn random_bytes_never_panic_and_splits_agree(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        step in 1usize..50,
    ) {
        prop_assert_eq!(decode_split(&bytes, 4096, step), decode_all(&bytes, 4096));
    }

    #[test]
    fn a_damaged_stream_never_panics(
        (bytes, _) in stream(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        step in 1usize..50,
    ) {
        let mut bytes = bytes;
        bytes.push(0);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        prop_assert_eq!(decode_split(&bytes, 4096, step), decode_all(&bytes, 4096));
    }

    #[test]
    fn unmasking_twice_restores(bytes in proptest::collection::vec(any::<u8>(), 0..100), key: [u8; 4]) {
        let mut masked = bytes.clone();
        unmask(&mut masked, key);
        for (i, byte) in masked.iter().enumerate() {
            prop_assert_eq!(*byte, bytes[i] ^ key[i % 4]);
        }
        unmask(&mut masked, key);
        prop_assert_eq!(masked, bytes);
    }

    /// What we encode is what an independent client reads.
    #[test]
    fn an_independent_client_reads_what_is_encoded(
        texts in proptest::collection::vec(".{0,200}", 0..5),
        sizes in proptest::collection::vec(0usize..70_000, 0..3),
    ) {
        use tungstenite::protocol::{Role, WebSocket};
        let mut out = Vec::new();
        for text in &texts {
            encode(Opcode::Text, text.as_bytes(), &mut out);
        }
        for size in &sizes {
            encode(Opcode::Binary, &vec![5; *size], &mut out);
        }
        encode(Opcode::Ping, b"p", &mut out);
        encode_close(1001, "Server shutting down", &mut out);
        let mut client = WebSocket::from_raw_socket(Replay(&out), Role::Client, None);
        for text in &texts {
            let read = client.read().unwrap().into_text().unwrap();
            prop_assert_eq!(read.as_str(), text);
        }
        for size in &sizes {
            prop_assert_eq!(client.read().unwrap().into_data().len(), *size);
        }
        prop_assert!(client.read().unwrap().is_ping());
        let tungstenite::Message::Close(Some(close)) = client.read().unwrap() else {
            return Err(TestCaseError::fail("a close frame"));
        };
        prop_assert_eq!(u16::from(close.code), 1001);
        prop_assert_eq!(close.reason.as_str(), "Server shutting down");
    }
}
