//! Layer 1, LC3: spectrum → samples. Holds all that one frame leaves to the next: the overlap of the transform and the memory
//! of the pitch filter. Reads no bits.

use super::tables::{LINES, POST_BACKWARD, POST_FORWARD, WINDOW};
use super::transform;

/// Samples before the frame that its window does not reach.
const UNREACHED: usize = 60;
/// Samples that the next frame overlaps.
const OVERLAP: usize = LINES - UNREACHED;
/// Samples over which a pitch filter comes and goes: 2.5 ms.
const FADE: usize = 40;
/// Longest lag of the pitch filter with its taps.
const HISTORY: usize = 288;

/// What a stream of frames has left behind. Fresh = after silence.
#[derive(Clone)]
pub(super) struct Synthesis {
    overlap: [f32; OVERLAP],
    /// Results: [`HISTORY`] samples, then the frame.
    out: [f32; HISTORY + LINES],
    /// Last two samples before the pitch filter.
    unfiltered: [f32; 2],
    filter: Option<Filter>,
}

impl Synthesis {
    pub(super) fn new() -> Self {
        Self {
            overlap: [0.0; OVERLAP],
            out: [0.0; HISTORY + LINES],
            unfiltered: [0.0; 2],
            filter: None,
        }
    }

    /// The next 160 samples, in units of 16-bit sound, not yet limited to them.
    pub(super) fn run(
        &mut self,
        mut spectrum: [f32; LINES],
        pitch: Option<usize>,
        frame_bytes: usize,
    ) -> &[f32] {
        transform::cosine(&mut spectrum);
        let mut sound = [0.0; LINES + 2];
        sound[..2].copy_from_slice(&self.unfiltered);
        self.overlap_add(&spectrum, &mut sound[2..]);
        self.unfiltered.copy_from_slice(&sound[LINES..]);
        self.out.copy_within(LINES.., 0);
        self.post_filter(&sound, pitch.map(|index| Filter::new(index, frame_bytes)));
        &self.out[HISTORY..]
    }

    /// The transform's two frames of output are its 160 values, unfolded; windowed they start 60 samples early.
    fn overlap_add(&mut self, folded: &[f32; LINES], sound: &mut [f32]) {
        const HALF: usize = LINES / 2;
        let scale = (2.0 / LINES as f32).sqrt();
        let mut unfolded = [0.0; 2 * LINES];
        unfolded[..HALF].copy_from_slice(&folded[HALF..]);
        for (to, from) in unfolded[HALF..HALF + LINES]
            .iter_mut()
            .zip(folded.iter().rev())
        {
            *to = -from;
        }
        for (to, from) in unfolded[HALF + LINES..].iter_mut().zip(folded) {
            *to = -from;
        }
        for (value, window) in unfolded.iter_mut().zip(WINDOW.iter().rev()) {
            *value *= window * scale;
        }
        let (own, next) = unfolded[UNREACHED..].split_at(LINES);
        sound.copy_from_slice(own);
        for (sound, overlap) in sound.iter_mut().zip(&self.overlap) {
            *sound += overlap;
        }
        self.overlap.copy_from_slice(next);
    }

    fn post_filter(&mut self, sound: &[f32; LINES + 2], filter: Option<Filter>) {
        const RISING: (f32, f32) = (0.0, 1.0 / FADE as f32);
        const FALLING: (f32, f32) = (1.0, -1.0 / FADE as f32);
        const FULL: (f32, f32) = (1.0, 0.0);
        let before = std::mem::replace(&mut self.filter, filter);
        let start = match (before, filter) {
            (None, None) => {
                self.out[HISTORY..].copy_from_slice(&sound[2..]);
                return;
            }
            (Some(before), Some(filter)) if before == filter => 0,
            (None, Some(filter)) => {
                filter.run(&mut self.out, 0, &sound[..FADE + 2], RISING);
                FADE
            }
            (Some(before), after) => {
                before.run(&mut self.out, 0, &sound[..FADE + 2], FALLING);
                if let Some(after) = after {
                    let mut faded = [0.0; FADE + 2];
                    faded.copy_from_slice(&self.out[HISTORY - 2..HISTORY + FADE]);
                    after.run(&mut self.out, 0, &faded, RISING);
                }
                FADE
            }
        };
        match filter {
            Some(filter) => filter.run(&mut self.out, start, &sound[start..], FULL),
            None => self.out[HISTORY + start..].copy_from_slice(&sound[start + 2..]),
        }
    }
}

/// A comb at the pitch of the voice.
#[derive(Clone, Copy, PartialEq)]
struct Filter {
    lag: usize,
    forward: [f32; 3],
    backward: [f32; 5],
}

impl Filter {
    /// `index`: as transmitted, below 512.
    fn new(index: usize, frame_bytes: usize) -> Self {
        // In quarters of a sample at 12.8 kHz: by quarters, then halves, then wholes.
        let quarters = match index {
            0..380 => index + 128,
            380..440 => 2 * index - 252,
            _ => 4 * (index.min(511) - 283),
        };
        let quarters = (5 * quarters + 2) / 4;
        let (gain, rate) = match frame_bytes {
            0..50 => (0.4, 0),
            50..60 => (0.35, 1),
            60..70 => (0.3, 2),
            _ => (0.25, 3),
        };
        Self {
            lag: quarters / 4,
            forward: POST_FORWARD[rate].map(|tap| 0.85 * gain * tap),
            backward: POST_BACKWARD[quarters % 4].map(|tap| gain * tap),
        }
    }

    /// Filters a piece of a frame from its sample `start`; `sound`: two samples, then the piece. The filter's share grows as
    /// `at + slope · sample`.
    fn run(&self, out: &mut [f32], start: usize, sound: &[f32], (at, slope): (f32, f32)) {
        let [f0, f1, f2] = self.forward;
        let [b0, b1, b2, b3, b4] = self.backward;
        // A piece shorter than the lag depends on earlier results only, so that its samples can be computed at once.
        let piece_max = self.lag - 2;
        let mut done = 0;
        while done < sound.len() - 2 {
            let count = piece_max.min(sound.len() - 2 - done);
            let begin = HISTORY + start + done;
            let (past, piece) = out.split_at_mut(begin);
            let past = &past[begin - self.lag - 2..][..count + 4];
            let sound = &sound[done..][..count + 2];
            for (n, out) in piece[..count].iter_mut().enumerate() {
                let forward = f0 * sound[n + 2] + f1 * sound[n + 1] + f2 * sound[n];
                let backward = b0 * past[n + 4]
                    + b1 * past[n + 3]
                    + b2 * past[n + 2]
                    + b3 * past[n + 1]
                    + b4 * past[n];
                let share = at + slope * (done + n) as f32;
                *out = sound[n + 2] - share * (forward - backward);
            }
            done += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pitch_stays_inside_the_history() {
        for index in 0..512 {
            let filter = Filter::new(index, 60);
            assert!(filter.lag >= FADE && filter.lag + 2 <= HISTORY, "{index}");
        }
    }
}
