//! One self-contained page per run: summary, percentile curves, timelines. No scripts, nothing loaded.

use std::fmt::Write as _;

use super::svg::{Chart, DARK, Line, Scale, draw, escape};
use super::text::{duration, mega, summary};
use super::{ClassResult, RunResult};
use crate::engine::Second;
use crate::hist::Class;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#111;background:#fff;max-width:920px;\
margin:24px auto;padding:0 16px;overflow-wrap:anywhere}h1{font-size:22px;margin:0 0 2px}h2{font-size:16px;margin:26px 0 6px}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}td,th{padding:3px 8px;\
text-align:right;border-bottom:1px solid #ccc;white-space:nowrap}td:first-child,th:first-child{text-align:left}\
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:#222}\
.bad{border:2px solid #991b1b;padding:6px 10px;margin:8px 0}.dim{color:#444}\
pre{white-space:pre-wrap;font-size:12px;border:1px solid #ccc;padding:8px}section{break-inside:avoid}\
@media screen and (prefers-color-scheme:dark){body{color:#e6e6e6;background:#16191d}td,th{border-color:#3a3f47}\
svg text{fill:#d0d4da}.bad{border-color:#f08080}.dim{color:#b4b9c0}pre{border-color:#3a3f47}}\
@media(max-width:640px){table{display:block;overflow-x:auto}svg{min-width:600px}section{overflow-x:auto}}\
@media print{body{margin:0;max-width:none;font-size:12px}svg{width:92%}\
h2{margin:12px 0 2px}td,th{padding:2px 5px}svg text{font-size:12.5px}pre{font-size:9.5px}@page{margin:14mm}}";

/// The page.
pub(crate) fn page(run: &RunResult) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{0} against {1}</title><meta name=\"color-scheme\" content=\"light dark\"><style>{STYLE}{DARK}</style></head><body>\
         <h1>{0} against {1}</h1><p class=\"dim\">{2}. {3}, {4} with {5} each, {6:.0} s measured, \
         commit {7}. {8}.</p><p>{9}</p>",
        escape(&run.scenario.name),
        escape(&run.label),
        escape(&run.started),
        escape(&run.machine),
        counted(u64::from(run.scenario.users), "user"),
        counted(run.scenario.apps_per_user as u64, "app"),
        run.seconds,
        escape(&run.commit),
        escape(&run.driver),
        escape(&run.scenario.about)
    );
    verdict(run, &mut out);
    latency_table(run, &mut out);
    message_table(run, &mut out);
    causes(run, &mut out);
    section(&mut out, "Latency by percentile", &percentiles(run));
    section(&mut out, "Messages over time", &throughput(run));
    for class in Class::ALL {
        let title = format!("Latency over time: {}", class.name());
        section(&mut out, &title, &latency_course(run, class));
    }
    section(&mut out, "CPU over time", &cpu(run));
    section(&mut out, "Server memory over time", &memory(run));
    section(&mut out, "Connections over time", &connections(run));
    let _ = write!(
        out,
        "<h2>All figures</h2><pre>{}</pre></body></html>",
        escape(&summary(run))
    );
    out
}

fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// What to know before the figures.
fn verdict(run: &RunResult, out: &mut String) {
    let own = &run.verdict;
    if own.word() == "ok" {
        out.push_str("<p><b>ok</b>: valid, and every expectation held</p>");
    }
    for (word, lines) in [("INVALID", &own.invalid), ("FAILED", &own.failed)] {
        for line in lines {
            let _ = write!(out, "<p class=\"bad\"><b>{word}</b> {}</p>", escape(line));
        }
    }
    for line in &own.notes {
        let _ = write!(out, "<p class=\"dim\">Note: {}</p>", escape(line));
    }
}

/// What became of the messages of each stream.
fn message_table(run: &RunResult, out: &mut String) {
    if run.classes.iter().all(|class| class.tally.is_none()) {
        return;
    }
    out.push_str(
        "<section><h2>Messages, with warm-up and drain</h2><table><tr><th>class</th><th>sent</th><th>expected</th><th>delivered</th>\
         <th>lost</th><th>missed offline</th><th>twice</th><th>out of order</th><th>damaged</th><th>misrouted</th></tr>",
    );
    for class in &run.classes {
        let Some(tally) = &class.tally else { continue };
        let _ = write!(out, "<tr><td>{}</td>", class.class.name());
        for count in [
            class.sent,
            tally.expected,
            tally.delivered,
            tally.lost,
            tally.missed_offline,
            tally.duplicated,
            tally.out_of_order,
            tally.damaged,
            tally.misrouted,
        ] {
            let _ = write!(out, "<td>{count}</td>");
        }
        out.push_str("</tr>");
    }
    out.push_str("</table></section>");
}

/// Connection errors and closes by the server, by cause.
fn causes(run: &RunResult, out: &mut String) {
    if run.errors.is_empty() && run.closes.is_empty() {
        return;
    }
    out.push_str("<section><h2>Connection errors and closes by the server</h2><table><tr><th>cause</th><th>times</th></tr>");
    for (title, causes) in [("", &run.errors), ("closed: ", &run.closes)] {
        for (cause, count) in causes {
            let cause = escape(cause);
            let _ = write!(out, "<tr><td>{title}{cause}</td><td>{count}</td></tr>");
        }
    }
    out.push_str("</table></section>");
}

/// A time as text, for readers who have all letters.
fn time(us: f64) -> String {
    duration(us).replace(" us", " µs")
}

fn section(out: &mut String, title: &str, svg: &str) {
    if !svg.is_empty() {
        let _ = write!(out, "<section><h2>{}</h2>{svg}</section>", escape(title));
    }
}

fn latency_table(run: &RunResult, out: &mut String) {
    out.push_str(
        "<table><tr><th>class</th><th>delivered/s</th><th>samples</th><th>P50</th><th>P90</th><th>P99</th>\
         <th>P99.9</th><th>max</th></tr>",
    );
    for class in &run.classes {
        let _ = write!(out, "<tr><td>{}</td>", class.class.name());
        let samples = class.latency.as_ref().map_or(0, |latency| latency.count);
        let _ = match &class.tally {
            Some(_) => write!(out, "<td>{:.0}</td>", class.delivered_per_s),
            None => write!(out, "<td></td>"),
        };
        let _ = write!(out, "<td>{samples}</td>");
        if let Some(latency) = &class.latency {
            for us in [
                latency.p50_us,
                latency.p90_us,
                latency.p99_us,
                latency.p999_us,
                latency.max_us,
            ] {
                let _ = write!(out, "<td>{}</td>", time(us));
            }
        }
        out.push_str("</tr>");
    }
    out.push_str("</table>");
    if let Some(server) = &run.server {
        let cost = server.cpu_us_per_delivered.map_or_else(String::new, |us| {
            format!(", {us:.2} µs per delivered message")
        });
        let _ = write!(
            out,
            "<p>Server: {:.2} cores{cost}; memory {} at the end, {} at most. Generator: busy {:.0} %.</p>",
            server.cores_used,
            mega(server.rss_after),
            mega(server.rss_peak),
            run.generator.busy * 100.0
        );
    }
}

/// Distance from 100 % in powers of ten: 90 % is 1, 99 % is 2.
fn nines(percentile: f64, count: u64) -> f64 {
    let rest = (100.0 - percentile) / 100.0;
    let least = 1.0 / (count.max(1) as f64);
    -(rest.max(least)).log10()
}

fn percentiles(run: &RunResult) -> String {
    let line = |class: &ClassResult| {
        let count = class.latency.as_ref()?.count;
        Some(Line {
            name: class.class.name().to_owned(),
            points: class
                .curve
                .iter()
                .map(|(percentile, us)| (nines(*percentile, count), us.max(1.0)))
                .collect(),
        })
    };
    let nines = [
        "0", "90", "99", "99.9", "99.99", "99.999", "99.9999", "99.99999",
    ];
    let ticks = (nines.into_iter().enumerate()).map(|(index, text)| (index as f64, text));
    // The median stands between the first two.
    let median = (2_f64.log10(), "50");
    draw(&Chart {
        y_title: "latency",
        x_title: "percentile",
        scale: Scale::Log,
        x_span: None,
        window: None,
        x_ticks: ticks
            .chain([median])
            .map(|(place, text)| (place, text.to_owned()))
            .collect(),
        gap_max: f64::INFINITY,
        lines: run.classes.iter().filter_map(line).collect(),
        marks: Vec::new(),
    })
}

fn course(run: &RunResult, name: &str, pick: impl Fn(&Second) -> Option<f64>) -> Line {
    Line {
        name: name.to_owned(),
        points: run
            .timeline
            .iter()
            .filter_map(|point| Some((point.at_s, pick(point)?)))
            .collect(),
    }
}

/// Seconds between two points of the timeline.
fn interval_of(run: &RunResult) -> f64 {
    match run.timeline.as_slice() {
        [first, second, ..] => second.at_s - first.at_s,
        _ => 1.0,
    }
}

fn timeline(run: &RunResult, y_title: &str, scale: Scale, lines: Vec<Line>) -> String {
    let marks = run
        .timeline
        .iter()
        .flat_map(|point| point.notes.iter().map(|note| (point.at_s, note.clone())))
        .collect();
    draw(&Chart {
        y_title,
        x_title: "seconds since the measured window began (grey: warm-up and drain)",
        scale,
        x_span: (run.timeline.first().zip(run.timeline.last()))
            .map(|(first, last)| (first.at_s - interval_of(run), last.at_s)),
        window: Some((0.0, run.seconds)),
        x_ticks: Vec::new(),
        gap_max: interval_of(run) * 2.5,
        lines: lines
            .into_iter()
            .filter(|line| !line.points.is_empty())
            .collect(),
        marks,
    })
}

fn throughput(run: &RunResult) -> String {
    let sent = course(run, "sent", |point| Some(point.sent_per_s));
    let delivered = course(run, "delivered", |point| Some(point.delivered_per_s));
    timeline(
        run,
        "messages per second",
        Scale::Linear,
        vec![delivered, sent],
    )
}

fn latency_course(run: &RunResult, class: Class) -> String {
    let of = |name: &str, pick: fn(&crate::hist::Latency) -> f64| {
        course(run, name, |point| {
            let found = point.latency.iter().find(|(own, _)| *own == class);
            found.map(|(_, latency)| pick(latency).max(1.0))
        })
    };
    let lines = vec![
        of("P50", |latency| latency.p50_us),
        of("P99", |latency| latency.p99_us),
        of("max", |latency| latency.max_us),
    ];
    timeline(run, "latency", Scale::Log, lines)
}

fn cpu(run: &RunResult) -> String {
    let server = course(run, "server", |point| point.server_cores);
    let generator = course(run, "generator", |point| Some(point.generator_cores));
    timeline(run, "cores used", Scale::Linear, vec![server, generator])
}

fn memory(run: &RunResult) -> String {
    let rss = course(run, "resident", |point| {
        point.server_rss.map(|bytes| bytes as f64 / 1_048_576.0)
    });
    timeline(run, "MB", Scale::Linear, vec![rss])
}

fn connections(run: &RunResult) -> String {
    let phones = course(run, "phones", |point| Some(point.phones as f64));
    let apps = course(run, "apps", |point| Some(point.apps as f64));
    timeline(run, "connected", Scale::Linear, vec![phones, apps])
}
