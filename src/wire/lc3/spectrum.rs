//! Layer 1, LC3: quantised lines → the spectrum in units of samples: noise in gaps, temporal and spectral shape, gain. Keeps
//! nothing from frame to frame.

use super::frame::{Lines, Shape, Side};
use super::tables::{
    BAND_STARTS, BANDS, LINES, PULSES, SHAPE_GAINS, SHAPE_HIGH, SHAPE_LOW, SHAPE_TRANSFORM,
};
use std::f32::consts::LOG2_10;

/// Far above what 16-bit sound can make. Nonsense stays below 1e25 before it (eight reflections of at most 0.996) and is cut off
/// here, so that nothing infinite gets into the filters.
const LOUDEST: f32 = 1e7;

/// Sines of the 17 reflection coefficients, `sin((i - 8) · π/17)`.
const REFLECTIONS: [f32; 17] = [
    -0.995_734_2,
    -0.961_825_6,
    -0.895_163_3,
    -0.798_017_2,
    -0.673_695_6,
    -0.526_432_16,
    -0.361_241_66,
    -0.183_749_52,
    0.0,
    0.183_749_52,
    0.361_241_66,
    0.526_432_16,
    0.673_695_6,
    0.798_017_2,
    0.895_163_3,
    0.961_825_6,
    0.995_734_2,
];

/// Builds the spectrum of a frame of `frame_bytes`.
pub(super) fn build(frame_bytes: usize, side: &Side, lines: &Lines) -> [f32; LINES] {
    let mut spectrum = [0.0; LINES];
    for (line, (step, fraction)) in spectrum
        .iter_mut()
        .zip(lines.steps.iter().zip(&lines.fraction))
    {
        *line = *step as f32 + fraction;
    }
    if let Some(seed) = side.seed {
        fill_gaps(side, &lines.steps, seed, &mut spectrum);
    }
    if side.tns_order > 0 {
        shape_in_time(&side.tns[..side.tns_order], &mut spectrum[12..side.stop]);
    }
    let offset = (frame_bytes * 8 / 20).min(115) as f32 + 115.0;
    let gain = (side.gain as f32 - offset) * (LOG2_10 / 28.0);
    let factors = band_factors(&side.shape, gain);
    for (band, factor) in BAND_STARTS.windows(2).zip(factors) {
        for line in &mut spectrum[band[0]..band[1]] {
            *line = (*line * factor).clamp(-LOUDEST, LOUDEST);
        }
    }
    spectrum
}

/// A line whose neighbourhood is empty gets noise.
fn fill_gaps(side: &Side, steps: &[i32; LINES], mut seed: u32, spectrum: &mut [f32; LINES]) {
    const FIRST: usize = 24;
    const REACH: usize = 3;
    let level = (8.0 - side.noise as f32) / 16.0;
    // Zeros that end at the neighbourhood's upper end; beyond the last line counts as empty.
    let mut zeros = steps[FIRST - REACH..FIRST + REACH]
        .iter()
        .rev()
        .take_while(|step| **step == 0)
        .count();
    let gaps = spectrum.iter_mut().enumerate();
    for (at, line) in gaps.take(side.stop).skip(FIRST) {
        let ahead = at + REACH;
        zeros = if ahead >= side.stop || steps[ahead] == 0 {
            zeros + 1
        } else {
            0
        };
        if zeros > 2 * REACH {
            seed = (13_849 + seed * 31_821) & 0xFFFF;
            *line = if seed < 0x8000 { level } else { -level };
        }
    }
}

/// An all-pole lattice along the lines.
fn shape_in_time(coefficients: &[u8], spectrum: &mut [f32]) {
    let mut reflections = [0.0; 8];
    for (reflection, index) in reflections.iter_mut().zip(coefficients) {
        *reflection = REFLECTIONS[usize::from(*index).min(16)];
    }
    let order = coefficients.len().min(8);
    let mut state = [0.0; 9];
    for line in spectrum {
        let mut value = *line;
        for at in (0..order).rev() {
            value -= reflections[at] * state[at];
            state[at + 1] = reflections[at] * value + state[at];
        }
        *line = value;
        state[0] = value;
    }
}

/// Linear factor of each band; `gain` is a logarithm to base 2.
fn band_factors(shape: &Shape, gain: f32) -> [f32; BANDS] {
    let scale = scale_factors(shape);
    let mut factors = [0.0; BANDS];
    factors[..2].fill(scale[0]);
    for (four, ends) in factors[2..].chunks_exact_mut(4).zip(scale.windows(2)) {
        let step = (ends[1] - ends[0]) / 8.0;
        for (factor, eighths) in four.iter_mut().zip([1.0, 3.0, 5.0, 7.0]) {
            *factor = ends[0] + eighths * step;
        }
    }
    let slope = (scale[15] - scale[14]) / 8.0;
    factors[62] = scale[15] + slope;
    factors[63] = scale[15] + 3.0 * slope;
    for factor in &mut factors {
        *factor = exp2(*factor + gain);
    }
    factors
}

fn scale_factors(shape: &Shape) -> [f32; 16] {
    let mut pulses = [0; 16];
    match shape.kind {
        0 => {
            place_pulses(10, shape.point, &mut pulses[..10]);
            place_pulses(1, shape.upper, &mut pulses[10..]);
        }
        1 => place_pulses(10, shape.point, &mut pulses[..10]),
        2 => place_pulses(8, shape.point, &mut pulses),
        _ => place_pulses(6, shape.point, &mut pulses),
    }
    let pulses = pulses.map(|pulse| pulse as f32);
    let energy: f32 = pulses.iter().map(|pulse| pulse * pulse).sum();
    let gain = SHAPE_GAINS[shape.kind][shape.gain] / energy.max(1.0).sqrt();
    let mut scale = [0.0; 16];
    scale[..8].copy_from_slice(&SHAPE_LOW[shape.coarse[0]]);
    scale[8..].copy_from_slice(&SHAPE_HIGH[shape.coarse[1]]);
    for (factor, row) in scale.iter_mut().zip(&SHAPE_TRANSFORM) {
        let fine: f32 = row.iter().zip(&pulses).map(|(a, b)| a * b).sum();
        *factor += gain * fine;
    }
    scale
}

/// The lattice point with this index: `count` signed unit pulses on the dimensions of `out`.
fn place_pulses(count: usize, (mut index, mut negative): (usize, bool), out: &mut [i32]) {
    let mut left = count;
    let dimensions = out.len();
    for (at, pulses) in out.iter_mut().enumerate() {
        let own = if index == 0 {
            left
        } else {
            let row = &PULSES[dimensions - 1 - at];
            // The largest number of pulses further on whose points begin at or before the index; row[0] is 0.
            let further = (0..=left).rev().find(|k| row[*k] <= index).unwrap_or(0);
            index -= row[further];
            left - further
        };
        if own > 0 {
            *pulses = if negative { -(own as i32) } else { own as i32 };
            left -= own;
            if left == 0 {
                return;
            }
            negative = index & 1 == 1;
            index >>= 1;
        }
    }
}

/// `2^x` for |x| up to 60 to seven digits, without a call, so that 64 of them become vector code.
#[inline]
fn exp2(x: f32) -> f32 {
    /// Added and taken away again, it rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-60.0, 60.0);
    let whole = (x + ROUND) - ROUND;
    let t = (x - whole) * std::f32::consts::LN_2;
    let series = 1.0 / 120.0 + t * (1.0 / 720.0 + t * (1.0 / 5040.0));
    let series = 1.0 + t * (1.0 + t * (0.5 + t * (1.0 / 6.0 + t * (1.0 / 24.0 + t * series))));
    series * f32::from_bits(((whole as i32 + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_power_of_two_is_exact_to_seven_digits() {
        for thousandth in -30_000..30_000 {
            let x = thousandth as f32 / 1000.0;
            let exact = f64::from(x).exp2();
            assert!((f64::from(exp2(x)) / exact - 1.0).abs() < 4e-7, "{x}");
        }
    }

    #[test]
    fn reflections_are_sines() {
        for (index, value) in REFLECTIONS.iter().enumerate() {
            let exact = ((index as f64 - 8.0) * std::f64::consts::PI / 17.0).sin();
            assert!((f64::from(*value) - exact).abs() < 1e-6, "{index}");
        }
    }

    #[test]
    fn every_lattice_point_has_its_number_of_pulses() {
        for (dimensions, count, points) in [
            (10, 10, 2_390_004),
            (6, 1, 6),
            (16, 8, 15_158_272),
            (16, 6, 774_912),
        ] {
            for step in 0..2000 {
                let index = step * (points - 1) / 1999;
                let mut out = [0; 16];
                place_pulses(count, (index, false), &mut out[..dimensions]);
                let pulses: u32 = out.iter().map(|pulse: &i32| pulse.unsigned_abs()).sum();
                assert_eq!(pulses as usize, count, "point {index} of {points}");
            }
        }
    }
}
