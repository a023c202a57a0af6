//! Layer 1, LC3: the cosine transform of type IV of 160 values, by a complex Fourier transform of 80. Keeps no state.

use super::tables::LINES;
use std::f64::consts::PI;
use std::sync::LazyLock;

/// Complex values of the inner transform: 4 · 4 · 5.
const POINTS: usize = LINES / 2;

/// Values with their real and imaginary parts apart, so that loops over them become vector code.
#[derive(Clone, Copy)]
struct Split {
    re: [f32; POINTS],
    im: [f32; POINTS],
}

impl Split {
    const ZERO: Self = Self {
        re: [0.0; POINTS],
        im: [0.0; POINTS],
    };

    #[inline]
    fn set(&mut self, at: usize, (re, im): (f32, f32)) {
        self.re[at] = re;
        self.im[at] = im;
    }

    #[inline]
    fn get(&self, at: usize) -> (f32, f32) {
        (self.re[at], self.im[at])
    }
}

/// Roots of unity; computed once in a process.
struct Roots {
    /// `exp(-iπ(n + 1/8)/160)`: before and after the Fourier transform.
    turn: Split,
    /// `exp(-2πi·pk/80)`, k = 1, 2, 3, for p of the first pass.
    first: [[(f32, f32); 3]; POINTS / 4],
    /// `exp(-2πi·pk/20)` for p of the second.
    second: [[(f32, f32); 3]; POINTS / 16],
}

static ROOTS: LazyLock<Roots> = LazyLock::new(|| {
    let unit = |turns: f64| {
        let (sin, cos) = (-2.0 * PI * turns).sin_cos();
        (cos as f32, sin as f32)
    };
    let mut turn = Split::ZERO;
    for at in 0..POINTS {
        turn.set(at, unit((at as f64 + 0.125) / (2 * LINES) as f64));
    }
    let row = |p: usize, points: usize| [1, 2, 3].map(|k| unit((p * k) as f64 / points as f64));
    Roots {
        turn,
        first: std::array::from_fn(|p| row(p, POINTS)),
        second: std::array::from_fn(|p| row(p, POINTS / 4)),
    }
});

/// `y[k] = Σ x[n] cos(π/160 (n + ½)(k + ½))`, in place.
pub(super) fn cosine(x: &mut [f32; LINES]) {
    let roots = &*ROOTS;
    let (mut a, mut b) = (Split::ZERO, Split::ZERO);
    for at in 0..POINTS {
        let (re, im) = (x[2 * at], x[LINES - 1 - 2 * at]);
        a.set(at, times((re, im), roots.turn.get(at)));
    }
    for (p, roots) in roots.first.iter().enumerate() {
        let four = [a.get(p), a.get(p + 20), a.get(p + 40), a.get(p + 60)];
        let [w, x, y, z] = by_four(four, roots);
        b.set(4 * p, w);
        b.set(4 * p + 1, x);
        b.set(4 * p + 2, y);
        b.set(4 * p + 3, z);
    }
    for (p, roots) in roots.second.iter().enumerate() {
        for q in 0..4 {
            let from = q + 4 * p;
            let four = [
                b.get(from),
                b.get(from + 20),
                b.get(from + 40),
                b.get(from + 60),
            ];
            let [w, x, y, z] = by_four(four, roots);
            let to = q + 16 * p;
            a.set(to, w);
            a.set(to + 4, x);
            a.set(to + 8, y);
            a.set(to + 12, z);
        }
    }
    for q in 0..16 {
        let five = [
            a.get(q),
            a.get(q + 16),
            a.get(q + 32),
            a.get(q + 48),
            a.get(q + 64),
        ];
        let [v, w, x, y, z] = by_five(five);
        b.set(q, v);
        b.set(q + 16, w);
        b.set(q + 32, x);
        b.set(q + 48, y);
        b.set(q + 64, z);
    }
    for at in 0..POINTS {
        let (re, im) = times(b.get(at), roots.turn.get(at));
        x[2 * at] = re;
        x[LINES - 1 - 2 * at] = -im;
    }
}

#[inline]
fn times((a, b): (f32, f32), (c, d): (f32, f32)) -> (f32, f32) {
    (a * c - b * d, a * d + b * c)
}

/// Four-point transform, each result but the first turned by its root.
#[inline]
fn by_four(x: [(f32, f32); 4], roots: &[(f32, f32); 3]) -> [(f32, f32); 4] {
    let even = (x[0].0 + x[2].0, x[0].1 + x[2].1);
    let even_less = (x[0].0 - x[2].0, x[0].1 - x[2].1);
    let odd = (x[1].0 + x[3].0, x[1].1 + x[3].1);
    let odd_less = (x[1].0 - x[3].0, x[1].1 - x[3].1);
    [
        (even.0 + odd.0, even.1 + odd.1),
        times(
            (even_less.0 + odd_less.1, even_less.1 - odd_less.0),
            roots[0],
        ),
        times((even.0 - odd.0, even.1 - odd.1), roots[1]),
        times(
            (even_less.0 - odd_less.1, even_less.1 + odd_less.0),
            roots[2],
        ),
    ]
}

/// Five-point transform.
#[inline]
fn by_five(x: [(f32, f32); 5]) -> [(f32, f32); 5] {
    // Cosines and sines of one and two fifths of a turn.
    const C: [f32; 2] = [0.309_017, -0.809_017];
    const S: [f32; 2] = [0.951_056_5, 0.587_785_25];
    let outer = (x[1].0 + x[4].0, x[1].1 + x[4].1);
    let outer_less = (x[1].0 - x[4].0, x[1].1 - x[4].1);
    let inner = (x[2].0 + x[3].0, x[2].1 + x[3].1);
    let inner_less = (x[2].0 - x[3].0, x[2].1 - x[3].1);
    let even = |a: f32, b: f32| {
        (
            x[0].0 + a * outer.0 + b * inner.0,
            x[0].1 + a * outer.1 + b * inner.1,
        )
    };
    let odd = |a: f32, b: f32| {
        (
            a * outer_less.0 + b * inner_less.0,
            a * outer_less.1 + b * inner_less.1,
        )
    };
    let (one, two) = (even(C[0], C[1]), even(C[1], C[0]));
    let (far, near) = (odd(S[0], S[1]), odd(S[1], -S[0]));
    [
        (x[0].0 + outer.0 + inner.0, x[0].1 + outer.1 + inner.1),
        (one.0 + far.1, one.1 - far.0),
        (two.0 + near.1, two.1 - near.0),
        (two.0 - near.1, two.1 + near.0),
        (one.0 - far.1, one.1 + far.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_that_it_stands_for() {
        let mut x: [f32; LINES] = std::array::from_fn(|n| ((n * 7919 % 641) as f32) - 320.0);
        let plain: Vec<f64> = (0..LINES)
            .map(|k| {
                let angle = |n: usize| PI / 160.0 * (n as f64 + 0.5) * (k as f64 + 0.5);
                (0..LINES).map(|n| f64::from(x[n]) * angle(n).cos()).sum()
            })
            .collect();
        cosine(&mut x);
        for (fast, plain) in x.iter().zip(&plain) {
            assert!((f64::from(*fast) - plain).abs() < 0.02, "{fast} {plain}");
        }
    }
}
