//! Line charts as inline SVG: black on white in print, told apart by dashes as well as by colour.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 165.0;
/// Room that the name of a mark takes; names closer than this would be written over each other.
const MARK_WIDTH: f64 = 150.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 40.0;

/// Dashes that tell the lines apart.
const DASHES: [&str; 8] = ["none", "7 3", "2 3", "9 3 2 3", "5 5", "1 2", "12 4", "3 1"];

/// Colours with enough contrast on white. They stand in the charts themselves, so that these survive without the page's style:
/// copied out of it, or in the hands of a converter.
const STROKES: [&str; 8] = [
    "#0b5394", "#b45309", "#166534", "#9d174d", "#4c1d95", "#0f766e", "#7c2d12", "#374151",
];

/// The colours of a dark screen.
pub(super) const DARK: &str = "@media screen and (prefers-color-scheme:dark){.g{stroke:#3a3f47}.h{stroke:#2b3037}.a{stroke:#aaa}\
.m{stroke:#ddd}.w{fill:#20252b}.s0{stroke:#6cb2f5}.s1{stroke:#f5a04a}.s2{stroke:#6fd08c}.s3{stroke:#f080b0}\
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
    /// Powers of ten, of microseconds.
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
    /// Where the horizontal axis begins and ends at the latest and at the earliest: charts of one run share it.
    pub(super) x_span: Option<(f64, f64)>,
    /// From where to where it was measured; what lies before and after is shaded.
    pub(super) window: Option<(f64, f64)>,
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

/// Microseconds in the unit in which the number is shortest.
fn time(us: f64) -> String {
    let (value, unit) = if us < 1e3 {
        (us, "µs")
    } else if us < 1e6 {
        (us / 1e3, "ms")
    } else {
        (us / 1e6, "s")
    };
    format!("{} {unit}", trim(value))
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
        let span = chart.x_span.unwrap_or(x);
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
        let x = (x.0.min(span.0), x.1.max(span.1));
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
        let stroke = STROKES[class];
        let path = path(line, chart.gap_max, &axes);
        let legend = TOP + 14.0 + index as f64 * 17.0;
        let from = WIDTH - RIGHT + 10.0;
        let _ = write!(
            out,
            r#"<path d="{path}" fill="none" class="s{class}" stroke="{stroke}" stroke-width="1.6" stroke-linecap="round" stroke-dasharray="{dash}"/><path d="M{from} {legend}h24" class="s{class}" stroke="{stroke}" stroke-width="2" stroke-dasharray="{dash}"/><text x="{}" y="{}">{}</text>"#,
            from + 29.0,
            legend + 4.0,
            escape(&line.name)
        );
    }
    out.push_str("</svg>");
    out
}

/// The line as a path. A point far from its neighbours is a short dash: without it a moment that stands alone would not be seen.
fn path(line: &Line, gap_max: f64, axes: &Axes) -> String {
    let mut path = String::new();
    let points = &line.points;
    let near = |a: usize, b: usize| match (points.get(a), points.get(b)) {
        (Some(a), Some(b)) => b.0 - a.0 <= gap_max,
        _ => false,
    };
    for (index, (x, y)) in points.iter().enumerate() {
        let (x, y) = (axes.px(*x), axes.py(*y));
        let joined = index > 0 && near(index - 1, index);
        let _ = if joined {
            write!(path, "L{x:.1} {y:.1}")
        } else if near(index, index + 1) {
            write!(path, "M{x:.1} {y:.1}")
        } else {
            write!(path, "M{:.1} {y:.1}h5", x - 2.5)
        };
    }
    path
}

fn grid(chart: &Chart<'_>, axes: &Axes, out: &mut String) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    if let Some((from, to)) = chart.window {
        shade((LEFT, axes.px(from)), out);
        shade((axes.px(to), right), out);
    }
    for value in axes.y_ticks() {
        let y = axes.py(value);
        let _ = write!(
            out,
            r##"<path d="M{LEFT} {y:.1}H{right}" class="g" stroke="#d4d4d4"/><text x="{}" y="{:.1}" text-anchor="end">{}</text>"##,
            LEFT - 6.0,
            y + 4.0,
            match axes.scale {
                Scale::Linear => label(value),
                Scale::Log => time(value),
            }
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
            r##"<path d="M{x:.1} {TOP}V{bottom}" class="h" stroke="#eee"/><text x="{x:.1}" y="{}" text-anchor="middle">{}</text>"##,
            bottom + 15.0,
            escape(text)
        );
    }
    marks(chart, axes, out);
    let _ = write!(
        out,
        r##"<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" class="a" stroke="#444"/><text x="{:.1}" y="{}" text-anchor="middle">{}</text><text transform="translate(14 {:.1}) rotate(-90)" text-anchor="middle">{}</text>"##,
        (LEFT + right) / 2.0,
        HEIGHT - 6.0,
        escape(chart.x_title),
        (TOP + bottom) / 2.0,
        escape(chart.y_title)
    );
}

/// Tells what was not measured from what was.
fn shade((from, to): (f64, f64), out: &mut String) {
    let (from, to) = (from.max(LEFT), to.min(WIDTH - RIGHT));
    if to - from >= 1.0 {
        let _ = write!(
            out,
            r##"<path d="M{from:.1} {TOP}H{to:.1}V{}H{from:.1}z" class="w" fill="#efefef"/>"##,
            HEIGHT - BOTTOM
        );
    }
}

fn marks(chart: &Chart<'_>, axes: &Axes, out: &mut String) {
    let mut named_at = f64::NEG_INFINITY;
    let inside = |mark: &&(f64, String)| axes.x.0 <= mark.0 && mark.0 <= axes.x.1;
    for (value, text) in chart.marks.iter().filter(inside) {
        let x = axes.px(*value);
        let _ = write!(
            out,
            r##"<path d="M{x:.1} {TOP}V{}" class="m" stroke="#111" stroke-dasharray="2 2"/>"##,
            HEIGHT - BOTTOM
        );
        if x - named_at < MARK_WIDTH {
            continue;
        }
        named_at = x;
        let _ = write!(
            out,
            r##"<text x="{:.1}" y="{}" font-style="italic">{}</text>"##,
            x + 3.0,
            TOP + 10.0,
            escape(text)
        );
    }
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
            x_span: None,
            window: None,
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
        assert!(svg.contains(">100 µs</text>") && svg.contains(">1 ms</text>"));
        assert!(svg.contains("&lt;x&gt;") && !svg.contains("<x>") && !svg.contains("NaN"));
    }

    #[test]
    fn charts_of_one_run_share_their_axis_and_a_moment_that_stands_alone_is_seen() {
        let mark = |at: f64| (at, format!("at {at}"));
        let svg = draw(&Chart {
            y_title: "a",
            x_title: "b",
            scale: Scale::Linear,
            x_span: Some((0.0, 100.0)),
            window: Some((0.0, 90.0)),
            x_ticks: Vec::new(),
            gap_max: 2.0,
            lines: vec![Line {
                name: "x".into(),
                points: vec![(10.0, 1.0), (50.0, 1.0), (51.0, 1.0)],
            }],
            marks: vec![mark(5.0), mark(6.0), mark(200.0)],
        });
        assert_eq!(svg.matches("h5M").count(), 1, "one dash, one line");
        assert!(svg.contains(">100</text>"), "the axis goes to the end");
        assert_eq!(svg.matches("class=\"w\"").count(), 1, "the drain is shaded");
        assert!(
            svg.contains("at 5") && !svg.contains("at 6"),
            "names do not cover each other"
        );
        assert!(!svg.contains("at 200"), "what is outside is not drawn");
        assert!(svg.contains(STROKES[0]), "visible without the page's style");
    }
}
