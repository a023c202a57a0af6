//! Line charts as inline SVG: black on white in print, told apart by dashes as well as by colour.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 40.0;

/// Dashes that tell the lines apart; the colours are classes `s0` to `s7` of [`COLOURS`].
const DASHES: [&str; 8] = ["none", "7 3", "2 3", "9 3 2 3", "5 5", "1 2", "12 4", "3 1"];

/// Style of all charts: colours with enough contrast on white, and others on a dark screen.
pub(super) const COLOURS: &str = ".g{stroke:#d4d4d4}.h{stroke:#eee}.a{stroke:#444}.m{stroke:#111}\
.s0{stroke:#0b5394}.s1{stroke:#b45309}.s2{stroke:#166534}.s3{stroke:#9d174d}\
.s4{stroke:#4c1d95}.s5{stroke:#0f766e}.s6{stroke:#7c2d12}.s7{stroke:#374151}\
@media screen and (prefers-color-scheme:dark){.g{stroke:#3a3f47}.h{stroke:#2b3037}.a{stroke:#aaa}.m{stroke:#ddd}\
.s0{stroke:#6cb2f5}.s1{stroke:#f5a04a}.s2{stroke:#6fd08c}.s3{stroke:#f080b0}\
.s4{stroke:#b69cf5}.s5{stroke:#5fd3c6}.s6{stroke:#e59a7b}.s7{stroke:#b8c0cc}}";

/// One line of a chart.
pub(super) struct Line {
    /// Name, written beside its end.
    pub(super) name: String,
    /// Points, ascending in x.
    pub(super) points: Vec<(f64, f64)>,
}

/// How values map to the vertical axis.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// From zero, evenly.
    Linear,
    /// Powers of ten.
    Log,
}

/// A chart to be drawn.
pub(super) struct Chart<'a> {
    /// What the vertical axis shows, with unit.
    pub(super) y_title: &'a str,
    /// What the horizontal axis shows, with unit.
    pub(super) x_title: &'a str,
    /// Its scale.
    pub(super) scale: Scale,
    /// Places and labels of the horizontal axis; empty chooses some.
    pub(super) x_ticks: Vec<(f64, String)>,
    /// Points further apart than this are not joined.
    pub(super) gap_max: f64,
    /// The lines.
    pub(super) lines: Vec<Line>,
    /// Moments marked by a vertical line.
    pub(super) marks: Vec<(f64, String)>,
}

/// A round step that divides `span` into about five.
fn step(span: f64) -> f64 {
    let raw = (span / 5.0).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| raw <= factor * power)
        .unwrap_or(10.0);
    factor * power
}

fn label(value: f64) -> String {
    if value >= 1e6 {
        format!("{}M", trim(value / 1e6))
    } else if value >= 1e3 {
        format!("{}k", trim(value / 1e3))
    } else {
        trim(value)
    }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text that is safe inside HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

struct Axes {
    x: (f64, f64),
    y: (f64, f64),
    scale: Scale,
}

impl Axes {
    fn of(chart: &Chart<'_>) -> Option<Self> {
        let points = || chart.lines.iter().flat_map(|line| &line.points);
        let fold = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let x = fold(&mut points().map(|point| point.0));
        let y = fold(&mut points().map(|point| point.1));
        if !x.0.is_finite() || !y.0.is_finite() {
            return None;
        }
        let y = match chart.scale {
            Scale::Linear => (0.0, if y.1 > 0.0 { y.1 * 1.08 } else { 1.0 }),
            Scale::Log => {
                let low = 10_f64.powf(y.0.max(1.0).log10().floor());
                let high = 10_f64.powf(y.1.max(low * 10.0).log10().ceil());
                (low, high)
            }
        };
        let x = if x.1 > x.0 { x } else { (x.0, x.0 + 1.0) };
        Some(Self {
            x,
            y,
            scale: chart.scale,
        })
    }

    fn px(&self, x: f64) -> f64 {
        LEFT + (x - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn py(&self, y: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (y - self.y.0) / (self.y.1 - self.y.0),
            Scale::Log => (y.max(self.y.0) / self.y.0).log10() / (self.y.1 / self.y.0).log10(),
        };
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    fn y_ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = step(self.y.1);
                (0..)
                    .map(|index| f64::from(index) * step)
                    .take_while(|value| *value <= self.y.1)
                    .collect()
            }
            Scale::Log => {
                let first = self.y.0.log10().round() as i32;
                let last = self.y.1.log10().round() as i32;
                // Few decades have room for more than their ends.
                let steps: &[f64] = if last - first <= 2 {
                    &[1.0, 2.0, 5.0]
                } else {
                    &[1.0]
                };
                (first..=last)
                    .flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)))
                    .filter(|value| *value <= self.y.1 * 1.001)
                    .collect()
            }
        }
    }
}

/// The chart as an `<svg>` element; empty when it has no points.
pub(super) fn draw(chart: &Chart<'_>) -> String {
    let Some(axes) = Axes::of(chart) else {
        return String::new();
    };
    let mut out = format!(
        r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#,
        escape(chart.y_title)
    );
    grid(chart, &axes, &mut out);
    for (index, line) in chart.lines.iter().enumerate() {
        let class = index % DASHES.len();
        let dash = DASHES[class];
        let mut path = String::new();
        for (index, (x, y)) in line.points.iter().enumerate() {
            let joined = index > 0 && *x - line.points[index - 1].0 <= chart.gap_max;
            let command = if joined { 'L' } else { 'M' };
            let _ = write!(path, "{command}{:.1} {:.1}", axes.px(*x), axes.py(*y));
        }
        let legend = TOP + 14.0 + index as f64 * 17.0;
        let from = WIDTH - RIGHT + 10.0;
        let _ = write!(
            out,
            r#"<path d="{path}" fill="none" class="s{class}" stroke-width="1.6" stroke-dasharray="{dash}"/><path d="M{from} {legend}h24" class="s{class}" stroke-width="2" stroke-dasharray="{dash}"/><text x="{}" y="{}">{}</text>"#,
            from + 29.0,
            legend + 4.0,
            escape(&line.name)
        );
    }
    out.push_str("</svg>");
    out
}

fn grid(chart: &Chart<'_>, axes: &Axes, out: &mut String) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for value in axes.y_ticks() {
        let y = axes.py(value);
        let _ = write!(
            out,
            r##"<path d="M{LEFT} {y:.1}H{right}" class="g"/><text x="{}" y="{:.1}" text-anchor="end">{}</text>"##,
            LEFT - 6.0,
            y + 4.0,
            label(value)
        );
    }
    let ticks = if chart.x_ticks.is_empty() {
        let step = step(axes.x.1 - axes.x.0);
        let first = (axes.x.0 / step).ceil() as i64;
        let last = (axes.x.1 / step).floor() as i64;
        (first..=last)
            .map(|index| (index as f64 * step, trim(index as f64 * step)))
            .collect()
    } else {
        chart.x_ticks.clone()
    };
    for (value, text) in ticks.iter().filter(|tick| tick.0 <= axes.x.1) {
        let x = axes.px(*value);
        let _ = write!(
            out,
            r##"<path d="M{x:.1} {TOP}V{bottom}" class="h"/><text x="{x:.1}" y="{}" text-anchor="middle">{}</text>"##,
            bottom + 15.0,
            escape(text)
        );
    }
    for (value, text) in &chart.marks {
        let x = axes.px(*value);
        let _ = write!(
            out,
            r##"<path d="M{x:.1} {TOP}V{bottom}" class="m" stroke-dasharray="2 2"/><text x="{:.1}" y="{}" font-style="italic">{}</text>"##,
            x + 3.0,
            TOP + 10.0,
            escape(text)
        );
    }
    let _ = write!(
        out,
        r##"<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" class="a"/><text x="{:.1}" y="{}" text-anchor="middle">{}</text><text transform="translate(14 {:.1}) rotate(-90)" text-anchor="middle">{}</text>"##,
        (LEFT + right) / 2.0,
        HEIGHT - 6.0,
        escape(chart.x_title),
        (TOP + bottom) / 2.0,
        escape(chart.y_title)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_without_points_draws_nothing_and_names_are_escaped() {
        let mut chart = Chart {
            y_title: "a",
            x_title: "b",
            scale: Scale::Log,
            x_ticks: Vec::new(),
            gap_max: f64::INFINITY,
            lines: Vec::new(),
            marks: Vec::new(),
        };
        assert_eq!(draw(&chart), "");
        chart.lines.push(Line {
            name: "<x>".into(),
            points: vec![(0.0, 5.0), (1.0, 500.0)],
        });
        let svg = draw(&chart);
        assert!(svg.contains("&lt;x&gt;") && !svg.contains("<x>") && !svg.contains("NaN"));
    }
}
