//! LC3 decoding: nanoseconds per 10 ms frame of speech and the largest difference between decoders, in steps of 16 bits. Beside
//! ours: the decoder of the `lc3-codec` crate, and Google's liblc3 where it is installed (Debian: `liblc3-1`), which also encodes
//! then. `cargo bench --bench lc3`; it asserts nothing, the tests do.

#[path = "lc3/liblc3.rs"]
mod liblc3;

use bytes::BytesMut;
use lc3_codec::common::complex::Complex;
use lc3_codec::common::config::{FrameDuration, SamplingFrequency};
use lc3_codec::decoder::lc3_decoder::Lc3Decoder;
use lc3_codec::encoder::lc3_encoder::Lc3Encoder;
use liblc3::Library;
use prism::base::clock::Clock;
use prism::wire::lc3::Decoder;

const SPEECH: &[u8] = include_bytes!("../assets/speech-16k.wav");
const SAMPLES: usize = 160;
const ROUNDS: usize = 15;
const DURATION: FrameDuration = FrameDuration::TenMs;
const RATE: SamplingFrequency = SamplingFrequency::Hz16000;

fn main() {
    let speech = samples(&SPEECH[44..]);
    let library = Library::open();
    if library.is_none() {
        println!(
            "liblc3 is not installed: frames come from the crate's encoder and are not compared with it"
        );
    }
    println!("bytes  decoder      ns/frame median    best  largest difference from ours");
    for size in [20, 40, 60] {
        let stream = match &library {
            Some(library) => library.encode(size, &speech),
            None => encode(size, &speech),
        };
        let ours = report(size, "prism", None, || ours(size, &stream));
        report(size, "lc3-codec", Some(&ours), || theirs(size, &stream));
        if let Some(library) = &library {
            report(size, "liblc3", Some(&ours), || {
                library.decode(size, &stream)
            });
        }
    }
}

fn report(
    size: usize,
    name: &str,
    ours: Option<&[i16]>,
    mut run: impl FnMut() -> Vec<i16>,
) -> Vec<i16> {
    let clock = Clock::start();
    let mut out = run();
    let mut times: Vec<u64> = (0..ROUNDS)
        .map(|_| {
            let begun = clock.mono_ns();
            out = run();
            (clock.mono_ns() - begun) / (out.len() / SAMPLES) as u64
        })
        .collect();
    times.sort_unstable();
    let apart = ours.map_or(0, |ours| {
        let pairs = ours.iter().zip(&out);
        pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
    });
    let (median, best) = (times[ROUNDS / 2], times[0]);
    println!("{size:5}  {name:10} {median:18} {best:7}  {apart:6}");
    out
}

fn samples(pcm: &[u8]) -> Vec<i16> {
    pcm.chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

fn ours(size: usize, stream: &[u8]) -> Vec<i16> {
    let mut decoder = Decoder::new(size).expect("a supported size");
    let mut pcm = BytesMut::with_capacity(stream.len() / size * 2 * SAMPLES);
    for packet in stream.chunks(3 * size) {
        decoder.decode(packet, &mut pcm).expect("good frames");
    }
    samples(&pcm)
}

fn theirs(size: usize, stream: &[u8]) -> Vec<i16> {
    let (scalers, complexes) = Lc3Decoder::calc_working_buffer_lengths(1, DURATION, RATE);
    let mut scalers = vec![0.0; scalers];
    let mut complexes = vec![Complex::default(); complexes];
    let mut decoder = Lc3Decoder::new(1, DURATION, RATE, &mut scalers, &mut complexes);
    let mut out = vec![0; stream.len() / size * SAMPLES];
    for (frame, out) in stream.chunks(size).zip(out.chunks_mut(SAMPLES)) {
        decoder
            .decode_frame(16, 0, frame, out)
            .expect("good frames");
    }
    out
}

fn encode(size: usize, pcm: &[i16]) -> Vec<u8> {
    let (integers, scalers, complexes) = Lc3Encoder::calc_working_buffer_lengths(1, DURATION, RATE);
    let mut integers = vec![0; integers];
    let mut scalers = vec![0.0; scalers];
    let mut complexes = vec![Complex::default(); complexes];
    let mut encoder = Lc3Encoder::new(
        1,
        DURATION,
        RATE,
        &mut integers,
        &mut scalers,
        &mut complexes,
    );
    let mut out = vec![0; pcm.len() / SAMPLES * size];
    for (pcm, out) in pcm.chunks_exact(SAMPLES).zip(out.chunks_mut(size)) {
        encoder
            .encode_frame(0, pcm, out)
            .expect("a frame of speech");
    }
    out
}
