//! Layer 1, tests of LC3 decoding: against the reference implementation, on speech, and on garbage.

use super::{BadFrame, Decoder, PACKET_FRAMES_MAX, PCM_BYTES, UnsupportedSize};
use bytes::BytesMut;
use lc3_codec::common::complex::Complex;
use lc3_codec::common::config::{FrameDuration, SamplingFrequency};
use lc3_codec::encoder::lc3_encoder::Lc3Encoder;
use proptest::prelude::*;

const SIZES: [usize; 3] = [20, 40, 60];
const SPEECH: &[u8] = include_bytes!("../../../assets/speech-16k.wav");

/// Frames and samples of the reference implementation; `tests/golden/lc3/README.md` says how they were made.
const REFERENCE: [(usize, &[u8], &[u8]); 3] = [
    (
        20,
        include_bytes!("../../../tests/golden/lc3/20.lc3"),
        include_bytes!("../../../tests/golden/lc3/20.pcm"),
    ),
    (
        40,
        include_bytes!("../../../tests/golden/lc3/40.lc3"),
        include_bytes!("../../../tests/golden/lc3/40.pcm"),
    ),
    (
        60,
        include_bytes!("../../../tests/golden/lc3/60.lc3"),
        include_bytes!("../../../tests/golden/lc3/60.pcm"),
    ),
];

fn samples(pcm: &[u8]) -> Vec<i16> {
    pcm.chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

fn decoder(frame_bytes: usize) -> Decoder {
    Decoder::new(frame_bytes).expect("a supported size")
}

/// All of a stream, a packet at a time.
fn decode<'a>(frame_bytes: usize, packets: impl Iterator<Item = &'a [u8]>) -> BytesMut {
    let (mut decoder, mut pcm) = (decoder(frame_bytes), BytesMut::new());
    for packet in packets {
        decoder.decode(packet, &mut pcm).expect("good frames");
    }
    pcm
}

fn encode(frame_bytes: usize, pcm: &[i16]) -> Vec<u8> {
    let (duration, rate) = (FrameDuration::TenMs, SamplingFrequency::Hz16000);
    let (integers, scalers, complexes) = Lc3Encoder::calc_working_buffer_lengths(1, duration, rate);
    let mut integers = vec![0; integers];
    let mut scalers = vec![0.0; scalers];
    let mut complexes = vec![Complex::default(); complexes];
    let mut encoder = Lc3Encoder::new(
        1,
        duration,
        rate,
        &mut integers,
        &mut scalers,
        &mut complexes,
    );
    let mut out = Vec::new();
    for frame in pcm.chunks_exact(PCM_BYTES / 2) {
        let mut bytes = vec![0; frame_bytes];
        encoder
            .encode_frame(0, frame, &mut bytes)
            .expect("a frame of speech");
        out.extend_from_slice(&bytes);
    }
    out
}

#[test]
fn samples_are_those_of_the_reference_to_one_step() {
    for (size, frames, expected) in REFERENCE {
        let pcm = decode(size, frames.chunks(size));
        assert_eq!(pcm.len(), expected.len());
        let apart = samples(&pcm)
            .iter()
            .zip(samples(expected))
            .map(|(own, reference)| own.abs_diff(reference))
            .max();
        assert!(apart <= Some(1), "{size} bytes: {apart:?} apart");
    }
}

/// A bit more per sample lowers the noise of a plain quantiser by 6 dB. LC3 trades a part of that for what ears cannot hear, so
/// 5 dB per bit must remain; a wrong decoder does not come above 0 dB.
#[test]
fn speech_survives_encoding_and_decoding() {
    // The codec delays by 2.5 ms.
    const DELAY: usize = 40;
    let original = samples(&SPEECH[44..]);
    for size in SIZES {
        let heard = samples(&decode(size, encode(size, &original).chunks(size)));
        let (mut signal, mut noise) = (0.0, 0.0);
        for (original, heard) in original.iter().zip(&heard[DELAY..]) {
            let (original, heard) = (f64::from(*original), f64::from(*heard));
            signal += original * original;
            noise += (original - heard) * (original - heard);
        }
        let ratio = 10.0 * (signal / noise).log10();
        let bits_per_sample = (size * 8) as f64 / 160.0;
        assert!(ratio > 5.0 * bits_per_sample, "{size} bytes: {ratio:.1} dB");
    }
}

#[test]
fn the_way_frames_are_packed_does_not_matter() {
    for (size, frames, _) in REFERENCE {
        let single = decode(size, frames.chunks(size));
        assert_eq!(single.len(), frames.len() / size * PCM_BYTES);
        for together in [2, 3, 7, 40] {
            assert_eq!(decode(size, frames.chunks(together * size)), single);
        }
    }
}

#[test]
fn a_partial_frame_at_the_end_is_dropped_and_told() {
    let (_, frames, _) = REFERENCE[2];
    let (mut decoder, mut pcm) = (decoder(60), BytesMut::new());
    let decoded = decoder.decode(&frames[..179], &mut pcm).expect("good");
    assert_eq!((decoded.frames, decoded.left_over), (2, 59));
    assert_eq!(pcm.len(), 2 * PCM_BYTES);
    let decoded = decoder.decode(&frames[..59], &mut pcm).expect("nothing");
    assert_eq!((decoded.frames, decoded.left_over), (0, 59));
    assert_eq!(pcm.len(), 2 * PCM_BYTES);
}

#[test]
fn one_bad_frame_spoils_its_packet_and_nothing_else() {
    let (_, frames, _) = REFERENCE[2];
    let (mut decoder, mut pcm) = (decoder(60), BytesMut::new());
    decoder.decode(&frames[..180], &mut pcm).expect("good");
    let mut spoiled = frames[180..360].to_vec();
    spoiled[120..].fill(0xFF);
    assert_eq!(decoder.decode(&spoiled, &mut pcm), Err(BadFrame));
    assert_eq!(pcm.len(), 3 * PCM_BYTES);
    decoder.decode(&frames[180..360], &mut pcm).expect("good");
    assert_eq!(pcm, decode(60, frames[..360].chunks(60)));
}

#[test]
fn a_packet_has_a_largest_size() {
    let frames = encode(20, &vec![0; (PACKET_FRAMES_MAX + 1) * 160]);
    let (mut decoder, mut pcm) = (decoder(20), BytesMut::new());
    assert_eq!(decoder.decode(&frames, &mut pcm), Err(BadFrame));
    assert!(pcm.is_empty());
    let most = &frames[..PACKET_FRAMES_MAX * 20];
    let decoded = decoder.decode(most, &mut pcm).expect("as many as may be");
    assert_eq!(decoded.frames, PACKET_FRAMES_MAX);
}

#[test]
fn a_reset_decoder_is_a_new_one() {
    let (size, frames, _) = REFERENCE[1];
    let (mut decoder, mut pcm) = (decoder(size), BytesMut::new());
    decoder.decode(&frames[..200], &mut pcm).expect("good");
    pcm.clear();
    decoder.reset();
    decoder.decode(frames, &mut pcm).expect("good");
    assert_eq!(pcm, decode(size, frames.chunks(size)));
}

#[test]
fn other_sizes_have_no_decoder() {
    for size in [0, 1, 19, 21, 30, 50, 61, 80, 400, usize::MAX] {
        assert_eq!(Decoder::new(size).err(), Some(UnsupportedSize(size)));
    }
}

/// Feeds anything in the middle of a good stream.
fn endure(size: usize, anything: &[u8]) -> Result<(), TestCaseError> {
    let (_, good, _) = REFERENCE[SIZES.iter().position(|s| *s == size).expect("listed")];
    let (mut decoder, mut pcm) = (decoder(size), BytesMut::new());
    decoder.decode(&good[..3 * size], &mut pcm).expect("good");
    let before = pcm.len();
    match decoder.decode(anything, &mut pcm) {
        Ok(decoded) => {
            prop_assert_eq!(decoded.frames, anything.len() / size);
            prop_assert_eq!(pcm.len(), before + decoded.frames * PCM_BYTES);
            // What happened to decode may sound like anything, but the silence after it is silent again soon.
            let silence = encode(size, &[0; 160 * 60]);
            pcm.clear();
            decoder.decode(&silence, &mut pcm).expect("silence");
            let last = samples(&pcm[50 * PCM_BYTES..]);
            prop_assert!(last.iter().all(|sample| sample.abs() <= 1));
        }
        Err(BadFrame) => {
            prop_assert_eq!(pcm.len(), before);
            decoder.decode(&good[3 * size..], &mut pcm).expect("good");
            prop_assert_eq!(&pcm, &decode(size, good.chunks(size)));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn garbage_never_panics_and_leaves_no_trace(
        size in proptest::sample::select(&SIZES[..]),
        garbage in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        endure(size, &garbage)?;
    }

    #[test]
    fn damaged_frames_never_panic_and_leave_no_trace(
        which in 0..3_usize,
        frame in 0..38_usize,
        damage in proptest::collection::vec((0..960_usize, any::<u8>()), 1..6),
    ) {
        let (size, frames, _) = REFERENCE[which];
        let mut packet = frames[frame * size..(frame + 2) * size].to_vec();
        for (at, with) in damage {
            let at = at % packet.len();
            packet[at] ^= with;
        }
        endure(size, &packet)?;
    }
}
