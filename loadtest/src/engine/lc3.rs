//! Microphone audio as phones send it by default: LC3, which the server decodes to samples for the apps. No tag survives a codec
//! that loses, so every message is one of 32 tones in turn: which one an app hears is its number, and when that went is remembered.

use lc3_codec::common::complex::Complex;
use lc3_codec::common::config::{FrameDuration, SamplingFrequency};
use lc3_codec::encoder::lc3_encoder::Lc3Encoder;

use super::Engine;
use crate::hist::Class;
use crate::scenario::Kind;
use crate::tag::Tag;

/// Different messages; what arrives later than so many after it is taken for another.
pub(super) const TONES: usize = 32;
/// What phones tell the server about it.
pub(super) const FORMAT: &str =
    r#"{"format":"lc3","lc3Config":{"sampleRate":16000,"frameDurationMs":10,"frameSizeBytes":60}}"#;
/// Frames of a message, and bytes of each.
const FRAMES: usize = 10;
const FRAME_BYTES: usize = 60;
/// Bytes of a message.
pub(crate) const BYTES: usize = FRAMES * FRAME_BYTES;
/// Samples of a frame (16 kHz, 10 ms).
const SAMPLES: usize = 160;
const RATE: f64 = 16_000.0;
/// The lowest tone and the distance between two, Hz.
const LOWEST: f64 = 300.0;
const APART: f64 = 100.0;
/// Frames that are listened to: the first ones hold the end of the tone before.
const HEARD: std::ops::Range<usize> = 4..10;
/// Changes of sign by which a tone may be off.
const OFF_MAX: f64 = 3.0;

/// The messages, encoded.
pub(super) fn messages() -> Vec<Vec<u8>> {
    (0..TONES).map(message).collect()
}

fn frequency(tone: usize) -> f64 {
    LOWEST + APART * tone as f64
}

fn message(tone: usize) -> Vec<u8> {
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
    let mut out = vec![0; BYTES];
    for (number, frame) in out.chunks_exact_mut(FRAME_BYTES).enumerate() {
        let samples: Vec<i16> = (number * SAMPLES..(number + 1) * SAMPLES)
            .map(|at| {
                let turns = frequency(tone) * at as f64 / RATE;
                (8000.0 * (std::f64::consts::TAU * turns).sin()) as i16
            })
            .collect();
        encoder
            .encode_frame(0, &samples, frame)
            .expect("a frame of sound");
    }
    out
}

/// Which tone the samples of a message are; `None` for anything else.
fn heard(pcm: &[u8]) -> Option<usize> {
    if pcm.len() != FRAMES * SAMPLES * 2 {
        return None;
    }
    let steady = &pcm[HEARD.start * SAMPLES * 2..HEARD.end * SAMPLES * 2];
    // The sign stands in the upper byte.
    let negative = |pair: &[u8]| pair[1] & 0x80 != 0;
    let (mut changes, mut before) = (0_u32, negative(&steady[..2]));
    for pair in steady.chunks_exact(2) {
        changes += u32::from(negative(pair) != before);
        before = negative(pair);
    }
    let seconds = (HEARD.len() * SAMPLES) as f64 / RATE;
    let expected = |tone: usize| 2.0 * seconds * frequency(tone);
    let nearest = (f64::from(changes) / (2.0 * seconds) - LOWEST) / APART;
    let tone = nearest.round().max(0.0) as usize;
    let off = (f64::from(changes) - expected(tone)).abs();
    (tone < TONES && off <= OFF_MAX).then_some(tone)
}

impl Engine {
    /// The stream of LC3, where there is one.
    pub(super) fn lc3_stream(&self) -> Option<usize> {
        (self.streams.iter()).position(|stream| stream.spec.kind == Kind::Lc3)
    }

    /// Remembers when a message went.
    pub(super) fn spoke(&mut self, user: u32, seq: u64, due: u64) {
        let own = &mut self.users[user as usize];
        own.spoken.resize(TONES, 0);
        own.spoken[seq as usize % TONES] = due;
    }

    /// Samples arrived at an app.
    pub(super) fn on_samples(&mut self, index: usize, user: u32, app: u8, pcm: &[u8], now: u64) {
        let Some(tone) = heard(pcm) else {
            self.stats.of(Class::Audio).damaged += 1;
            return;
        };
        let own = &self.users[user as usize];
        let last = own.seq[index].wrapping_sub(1);
        let back = last.wrapping_sub(tone as u64) % TONES as u64;
        // Else it is of an earlier phase.
        if own.seq[index] > 0 && back <= last {
            let seq = last - back;
            let tag = Tag {
                stream: u8::try_from(index).unwrap_or(u8::MAX),
                phase: self.phase,
                user,
                seq,
                due: own.spoken[tone],
            };
            self.on_delivery(index, user, app, tag, now);
        }
    }
}

#[cfg(test)]
pub(in crate::engine) mod tests {
    use super::*;
    use lc3_codec::decoder::lc3_decoder::Lc3Decoder;

    /// What apps hear of the messages, one after another.
    pub(in crate::engine) fn decode(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let (duration, rate) = (FrameDuration::TenMs, SamplingFrequency::Hz16000);
        let (scalers, complexes) = Lc3Decoder::calc_working_buffer_lengths(1, duration, rate);
        let mut scalers = vec![0.0; scalers];
        let mut complexes = vec![Complex::default(); complexes];
        let mut decoder = Lc3Decoder::new(1, duration, rate, &mut scalers, &mut complexes);
        let mut sound = |message: &Vec<u8>| {
            let mut pcm = Vec::new();
            for frame in message.chunks_exact(FRAME_BYTES) {
                let mut samples = [0; SAMPLES];
                decoder.decode_frame(16, 0, frame, &mut samples).unwrap();
                pcm.extend(samples.iter().flat_map(|sample: &i16| sample.to_le_bytes()));
            }
            pcm
        };
        messages.iter().map(&mut sound).collect()
    }

    #[test]
    fn every_message_is_known_by_its_tone_whatever_was_heard_before() {
        let all = messages();
        assert!(all.iter().all(|message| message.len() == BYTES));
        for step in [1, 7, 13] {
            let turn: Vec<usize> = (0..3 * TONES).map(|at| at * step % TONES).collect();
            let sent: Vec<Vec<u8>> = turn.iter().map(|tone| all[*tone].clone()).collect();
            for (tone, pcm) in turn.iter().zip(decode(&sent)) {
                assert_eq!(heard(&pcm), Some(*tone), "step {step}");
            }
        }
    }

    #[test]
    fn silence_noise_and_other_lengths_are_no_message() {
        let noise: Vec<u8> = (0..3200_u32)
            .map(|at| ((at * at * 31) >> 3) as u8)
            .collect();
        let good = decode(&messages()[5..6]).remove(0);
        assert_eq!(heard(&good), Some(5));
        assert_eq!(heard(&good[..3198]), None);
        assert_eq!(heard(&[0; 3200]), None);
        assert_eq!(heard(&noise), None);
    }
}
