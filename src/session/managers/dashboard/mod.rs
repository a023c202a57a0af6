//! Layer 2, manager: what the dashboard view shows (behaviour.md §6.2). Holds the inputs and composes the text; schedules and
//! sends nothing.

mod agenda;
mod glyphs;
mod sections;
mod weather;

#[cfg(test)]
mod tests;

pub use agenda::AgendaEvent;
pub use sections::{Mode, Section, Sections};
pub use weather::{Units, WEATHER_PAUSE_MS, Weather, distance_km, tells_weather};

use crate::base::footprint::owns;
use crate::base::ids::Package;
use crate::base::settings::Dashboard as Config;
use chrono_tz::Tz;
use serde_json::Value;

owns! {
    Widget: text;
    Dashboard: weather, sections, agenda, widgets, sent;
}

/// Resolved by the phone or the glasses; the server never inserts time or battery.
const HEADER: &str = "◌ $DATE$, $TIME12$, $GBATT$";
/// Measured width of the widest resolved header (px).
const HEADER_PX: u64 = 228;
/// Width of a space (px).
const SPACE_PX: u64 = 6;
/// Both events of one head movement come within this time (ms).
const HEAD_REPEAT_MS: u64 = 100;

/// What an app shows in the dashboard.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Widget {
    package: Package,
    text: String,
    /// When its app wrote it, by the message's own word.
    unix_ms: u64,
}

/// Replaces the app's widget in a list that has the newest first; an empty text only removes it. Of two written at once the
/// later to come is the newer.
fn put(list: &mut Vec<Widget>, widget: Widget) {
    list.retain(|known| known.package != widget.package);
    if !widget.text.is_empty() {
        let at = list.partition_point(|known| known.unix_ms > widget.unix_ms);
        list.insert(at, widget);
    }
}

/// State of the dashboard.
#[derive(Default)]
pub struct Dashboard {
    /// Weather line and when to fetch it anew.
    pub weather: Weather,
    /// Contents of `dashboard_mode: app`.
    pub sections: Sections,
    agenda: Vec<AgendaEvent>,
    /// Newest first.
    widgets: Vec<Widget>,
    rotation: usize,
    head_up_ms: Option<u64>,
    timezone: Option<Tz>,
    wide_px: Option<u64>,
    sent: Option<String>,
}

impl Dashboard {
    /// Replaces the calendar events.
    pub fn set_agenda(&mut self, mut events: Vec<AgendaEvent>) {
        events.sort_by_key(|event| event.start_ms);
        self.agenda = events;
    }

    /// Sets the user's IANA time zone; an unknown name is UTC.
    pub fn set_timezone(&mut self, name: &str) {
        self.timezone = name.parse().ok();
    }

    /// Sets the glasses model, whose display decides the composition.
    pub fn set_model(&mut self, model: Option<&str>) {
        let model = model.unwrap_or_default();
        let has = |part: &str| model.contains(part);
        self.wide_px = Some(if has("Z100") || has("Mach1") {
            390
        } else if has("Mentra Display") {
            440
        } else {
            576
        });
    }

    /// An app's content for the main dashboard, and when it was written; an empty text removes it.
    pub fn set_widget(&mut self, package: &Package, text: String, unix_ms: u64) {
        let package = package.clone();
        let widget = Widget {
            package,
            text,
            unix_ms,
        };
        put(&mut self.widgets, widget);
        self.bound_rotation();
    }

    /// An app's content of one mode of `dashboard_mode: app`, as [`Self::set_widget`]; beyond `max` apps the oldest goes.
    pub fn set_content(
        &mut self,
        mode: Mode,
        package: &Package,
        text: String,
        unix_ms: u64,
        max: usize,
    ) {
        let package = package.clone();
        let content = Widget {
            package,
            text,
            unix_ms,
        };
        self.sections.set_content(mode, content, max);
    }

    /// Removes everything of an app; says whether there was anything.
    pub fn remove_app(&mut self, package: &str) -> bool {
        let before = self.widgets.len();
        self.remove_widget(package);
        let sections_changed = self.sections.remove_app(package);
        self.widgets.len() < before || sections_changed
    }

    fn remove_widget(&mut self, package: &str) {
        self.widgets.retain(|widget| *widget.package != *package);
        self.bound_rotation();
    }

    fn bound_rotation(&mut self) {
        if self.rotation >= self.widgets.len() {
            self.rotation = 0;
        }
    }

    /// The head went up: the next widget's turn. `false`: the repeat of an event just counted.
    pub fn head_up(&mut self, now_ms: u64) -> bool {
        let repeat = self
            .head_up_ms
            .is_some_and(|at| now_ms < at + HEAD_REPEAT_MS);
        if repeat {
            return false;
        }
        self.head_up_ms = Some(now_ms);
        if self.widgets.len() > 1 {
            self.rotation = (self.rotation + 1) % self.widgets.len();
        }
        self.sections.rotate();
        true
    }

    /// Takes over a text about to be sent; `false`: the screen shows it already.
    pub fn is_news(&mut self, text: &str) -> bool {
        let news = self.sent.as_deref() != Some(text);
        if news {
            self.sent = Some(text.to_owned());
        }
        news
    }

    /// Forgets what was sent: phone or glasses were away.
    pub fn forget_sent(&mut self) {
        self.sent = None;
    }

    /// The text of the internal dashboard.
    #[must_use]
    pub fn compose(&self, unix_ms: u64, notifications: Vec<String>, cfg: &Config) -> String {
        let width = self.wide_px.unwrap_or(576);
        let mut lines = Vec::new();
        match self.weather.text() {
            None => lines.push(HEADER.to_owned()),
            Some(weather) if width >= cfg.dashboard_wide_min_px => {
                let free = (width / 2).saturating_sub(HEADER_PX) / SPACE_PX;
                let pad = free.max(cfg.dashboard_header_min_pad) as usize;
                let fits = glyphs::fitting(&weather, width - width / 2);
                lines.push(format!("{HEADER}{:pad$}{fits}", ""));
            }
            Some(weather) => {
                lines.push(HEADER.to_owned());
                lines.push(weather);
            }
        }
        let zone = self.timezone.unwrap_or(Tz::UTC);
        lines.extend(agenda::line(&self.agenda, unix_ms, zone, cfg));
        lines.extend(notifications);
        lines.extend(self.widget().map(str::to_owned));
        lines.retain(|line| !line.trim().is_empty());
        lines.join("\n")
    }

    fn widget(&self) -> Option<&str> {
        let index = self.rotation.checked_rem(self.widgets.len())?;
        Some(&self.widgets[index].text)
    }
}

/// Text of a content: a string, or a layout object.
#[must_use]
pub fn content_text(content: &Value) -> String {
    let Some(kind) = content.get("layoutType").and_then(Value::as_str) else {
        return content.as_str().unwrap_or_default().to_owned();
    };
    let part = |name: &str| {
        content
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let join = |parts: [&str; 2], by: &str| {
        let present: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        present.join(by)
    };
    match kind {
        "text_wall" => part("text").to_owned(),
        "double_text_wall" => join([part("topText"), part("bottomText")], "\n"),
        "dashboard_card" => join([part("leftText"), part("rightText")], " | "),
        "reference_card" => format!("{}\n{}", part("title"), part("text")),
        _ => String::new(),
    }
}
