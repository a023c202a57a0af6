//! Layer 1, LC3: one frame's bits → quantised spectral lines and side information. Checks everything that the bits claim and
//! keeps nothing from frame to frame.

use super::BadFrame;
use super::tables::{LINES, MODELS, PAIRS, TNS_COEFFICIENT, TNS_ORDER};

/// Pairs of lines; each has one symbol and perhaps escapes.
const PAIRS_MAX: usize = LINES / 2;
/// The symbol that says: one more bit plane.
const ESCAPE: usize = 16;
/// Bit planes below the symbol's own two bits; 16-bit sound needs no more.
const PLANES_MAX: usize = 14;

/// Scale factors as transmitted: a vector of two stages.
pub(super) struct Shape {
    /// First stage, both halves.
    pub coarse: [usize; 2],
    /// Which of the four kinds of second stage.
    pub kind: usize,
    /// Its gain.
    pub gain: usize,
    /// Lattice point and first sign.
    pub point: (usize, bool),
    /// The same for the upper dimensions; kind 0 only.
    pub upper: (usize, bool),
}

/// What a frame says besides its lines.
pub(super) struct Side {
    /// First line that carries nothing.
    pub stop: usize,
    /// Index of the gain common to all lines.
    pub gain: u32,
    /// See [`Shape`].
    pub shape: Shape,
    /// Pitch index while the pitch filter is on.
    pub pitch: Option<usize>,
    /// Level of the noise in gaps, 0 (loud) … 7.
    pub noise: u32,
    /// Coefficients of the temporal noise shaping, in use up to its order.
    pub tns: [u8; 8],
    /// Order; 0 = off.
    pub tns_order: usize,
    /// Start of the noise in gaps; `None` in a frame of silence.
    pub seed: Option<u32>,
}

/// Quantised lines of one frame.
pub(super) struct Lines {
    /// Whole steps.
    pub steps: [i32; LINES],
    /// Fractions of a step that the residual bits add.
    pub fraction: [f32; LINES],
}

/// Reads a frame of at least 16 bytes.
pub(super) fn read(frame: &[u8], lines: &mut Lines) -> Result<Side, BadFrame> {
    let mut fields = Fields::of(frame)?;
    let stop = if fields.take(1) == 1 {
        LINES
    } else {
        LINES / 2
    };
    let last = (fields.take(7) as usize + 1) * 2;
    if last > LINES {
        return Err(BadFrame);
    }
    let planes = if fields.take(1) == 1 {
        Lowest::Apart
    } else {
        Lowest::Inline
    };
    let gain = fields.take(8);
    let shaped_in_time = fields.take(1) == 1;
    let pitch_known = fields.take(1) == 1;
    let shape = read_shape(&mut fields)?;
    let pitch = if pitch_known {
        let on = fields.take(1) == 1;
        let index = fields.take(9) as usize;
        on.then_some(index)
    } else {
        None
    };
    let noise = fields.take(3);

    let mut bits = Bits::after(frame, fields.taken)?;
    let (mut tns, mut tns_order) = ([0; 8], 0);
    if shaped_in_time {
        let low_rate = frame.len() < 60;
        tns_order = bits.symbol(&TNS_ORDER[usize::from(low_rate)])? + 1;
        for (coefficient, borders) in tns.iter_mut().zip(&TNS_COEFFICIENT).take(tns_order) {
            *coefficient = bits.symbol(borders)? as u8;
        }
    }
    lines.steps.fill(0);
    lines.fraction.fill(0.0);
    let mut escapes = [0; PAIRS_MAX];
    bits.pairs(&mut lines.steps[..last], planes, &mut escapes)?;
    bits.refine(lines, last, planes, &escapes)?;

    let silent = last == 2 && lines.steps[..2] == [0, 0] && gain == 0 && noise == 7;
    Ok(Side {
        stop,
        gain,
        shape,
        pitch,
        noise,
        tns,
        tns_order,
        seed: (!silent).then(|| seed(&lines.steps)),
    })
}

fn read_shape(fields: &mut Fields) -> Result<Shape, BadFrame> {
    /// Points of the ten lower dimensions; then of 16 dimensions with eight pulses, and with six.
    const TEN: u32 = 2_390_004;
    const EIGHT: u32 = 15_158_272;
    const SIX: u32 = 774_912;
    let coarse = [fields.take(5) as usize, fields.take(5) as usize];
    let fine = fields.take(1) == 1;
    let gain = fields.take(if fine { 2 } else { 1 });
    let sign = fields.take(1) == 1;
    let index = fields.take(if fine { 24 } else { 25 });
    let shape = |kind, gain: u32, point: u32, upper: (u32, bool)| Shape {
        coarse,
        kind,
        gain: gain as usize,
        point: (point as usize, sign),
        upper: (upper.0 as usize, upper.1),
    };
    if fine {
        return match index.checked_sub(EIGHT) {
            None => Ok(shape(2, gain, index, (0, false))),
            Some(rest) if rest < 2 * SIX => {
                Ok(shape(3, gain * 2 + (rest & 1), rest / 2, (0, false)))
            }
            Some(_) => Err(BadFrame),
        };
    }
    let (point, above) = (index % TEN, index / TEN);
    match above {
        0 | 1 => Ok(shape(1, gain * 2 + above, point, (0, false))),
        2..14 => {
            let upper = above - 2;
            Ok(shape(0, gain, point, (upper / 2, upper & 1 == 1)))
        }
        _ => Err(BadFrame),
    }
}

fn seed(steps: &[i32; LINES]) -> u32 {
    steps.iter().zip(0..).fold(0_u32, |sum, (step, line)| {
        sum.wrapping_add(step.unsigned_abs().wrapping_mul(line))
    }) & 0xFFFF
}

/// Where the lowest bit plane of escaped pairs is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lowest {
    /// With the others.
    Inline,
    /// At the end, as far as bits are left.
    Apart,
}

/// The side information: fields from the frame's last bit backwards, 72 bits at most.
struct Fields {
    bits: u128,
    taken: usize,
}

impl Fields {
    fn of(frame: &[u8]) -> Result<Self, BadFrame> {
        let tail = frame.last_chunk::<16>().ok_or(BadFrame)?;
        Ok(Self {
            bits: u128::from_be_bytes(*tail),
            taken: 0,
        })
    }

    fn take(&mut self, count: usize) -> u32 {
        let value = self.bits & ((1 << count) - 1);
        self.bits >>= count;
        self.taken += count;
        value as u32
    }
}

/// The lines: symbols of an arithmetic code from the front, plain bits from the back.
struct Bits<'a> {
    frame: &'a [u8],
    /// Next byte of the code.
    head: usize,
    /// Plain bits taken from the back.
    taken: usize,
    low: u32,
    range: u32,
}

impl<'a> Bits<'a> {
    fn after(frame: &'a [u8], taken: usize) -> Result<Self, BadFrame> {
        let first = frame.first_chunk::<3>().ok_or(BadFrame)?;
        Ok(Self {
            frame,
            head: 3,
            taken,
            low: u32::from_be_bytes([0, first[0], first[1], first[2]]),
            range: 0x00FF_FFFF,
        })
    }

    /// The symbol whose borders hold the code's position.
    #[inline]
    fn symbol<const BORDERS: usize>(
        &mut self,
        borders: &[u16; BORDERS],
    ) -> Result<usize, BadFrame> {
        let step = self.range >> 10;
        let at = self.low / step;
        if at >= 1024 {
            return Err(BadFrame);
        }
        let at = at as u16;
        let symbol = borders[1..BORDERS - 1]
            .iter()
            .map(|&border| u16::from(border <= at))
            .sum::<u16>() as usize;
        let (from, to) = (u32::from(borders[symbol]), u32::from(borders[symbol + 1]));
        self.low -= step * from;
        self.range = step * (to - from);
        while self.range < 0x1_0000 {
            let next = *self.frame.get(self.head).ok_or(BadFrame)?;
            self.head += 1;
            self.low = (self.low << 8 | u32::from(next)) & 0x00FF_FFFF;
            self.range <<= 8;
        }
        Ok(symbol)
    }

    /// One plain bit.
    #[inline]
    fn bit(&mut self) -> Result<i32, BadFrame> {
        let back = self.taken / 8 + 1;
        let byte = *self
            .frame
            .len()
            .checked_sub(back)
            .and_then(|at| self.frame.get(at))
            .ok_or(BadFrame)?;
        let bit = byte >> (self.taken % 8) & 1;
        self.taken += 1;
        Ok(i32::from(bit))
    }

    #[inline]
    fn signed(&mut self, size: i32) -> Result<i32, BadFrame> {
        Ok(if size > 0 && self.bit()? == 1 {
            -size
        } else {
            size
        })
    }

    fn pairs(
        &mut self,
        steps: &mut [i32],
        lowest: Lowest,
        escapes: &mut [u8; PAIRS_MAX],
    ) -> Result<(), BadFrame> {
        let rate = if self.frame.len() > 40 { 512 } else { 0 };
        let mut context = 0;
        for (index, (pair, escaped)) in steps.chunks_exact_mut(2).zip(escapes).enumerate() {
            let half = if index * 2 > LINES / 2 { 256 } else { 0 };
            let model = context + rate + half;
            let (mut plane, mut value) = (0, [0, 0]);
            let symbol = loop {
                let model = MODELS[model + plane.min(3) * 1024];
                let symbol = self.symbol(&PAIRS[usize::from(model & 63)])?;
                if symbol < ESCAPE {
                    break symbol;
                }
                if lowest == Lowest::Inline || plane > 0 {
                    value[0] |= self.bit()? << plane;
                    value[1] |= self.bit()? << plane;
                }
                plane += 1;
                if plane == PLANES_MAX {
                    return Err(BadFrame);
                }
            };
            *escaped = plane as u8;
            let own = [symbol & 3, symbol >> 2];
            pair[0] = self.signed(value[0] | (own[0] as i32) << plane)?;
            pair[1] = self.signed(value[1] | (own[1] as i32) << plane)?;
            let seen = match plane {
                0 | 1 => 1 + (own[0] + own[1]) * (plane + 1),
                _ => 12 + plane.min(3),
            };
            context = (context & 15) * 16 + seen;
        }
        Ok(())
    }

    /// Bits that code and side information left over refine the lines.
    fn refine(
        &mut self,
        lines: &mut Lines,
        last: usize,
        lowest: Lowest,
        escapes: &[u8; PAIRS_MAX],
    ) -> Result<(), BadFrame> {
        let code = (self.head - 3) * 8 + 25 - self.range.ilog2() as usize;
        let mut left = (self.frame.len() * 8)
            .checked_sub(self.taken + code)
            .ok_or(BadFrame)?;
        if lowest == Lowest::Inline {
            let Lines { steps, fraction } = lines;
            for (step, fraction) in steps.iter().zip(fraction).filter(|(step, _)| **step != 0) {
                if left == 0 {
                    break;
                }
                left -= 1;
                let outward = 0.25 + if *step > 0 { 0.0625 } else { -0.0625 };
                *fraction = if self.bit()? == 1 {
                    outward
                } else {
                    outward - 0.5
                };
            }
            return Ok(());
        }
        let pairs = lines.steps[..last].chunks_exact_mut(2).zip(escapes);
        for step in pairs
            .filter(|(_, planes)| **planes > 0)
            .flat_map(|(pair, _)| pair)
        {
            if left == 0 {
                break;
            }
            left -= 1;
            if self.bit()? == 0 {
                continue;
            }
            if *step != 0 {
                *step += step.signum();
            } else if left > 0 {
                left -= 1;
                *step = 1 - 2 * self.bit()?;
            } else {
                break;
            }
        }
        Ok(())
    }
}
