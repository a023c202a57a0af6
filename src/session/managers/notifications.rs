//! Layer 2, manager: the phone's notifications as the dashboard shows them (behaviour.md §6.2.1). Newest first; no language
//! model ranks them here.

use crate::base::footprint::owns;
use crate::base::settings::Dashboard as Config;

owns! {
    Notification: id, app, title, content;
    Notifications: list;
}

/// One cached notification.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification {
    /// The phone's id.
    pub id: String,
    /// App name as the phone says it.
    pub app: String,
    /// Title.
    pub title: String,
    /// Body.
    pub content: String,
    views: u64,
}

/// The cache, newest last.
#[derive(Default)]
pub struct Notifications {
    list: Vec<Notification>,
}

impl Notifications {
    /// Adds one, or replaces the one with its id. Beyond `notif_cache` the oldest goes.
    pub fn add(&mut self, id: &str, app: &str, title: &str, content: &str, cfg: &Config) {
        self.list.retain(|known| known.id != id);
        self.list.push(Notification {
            id: id.to_owned(),
            app: app.to_owned(),
            title: title.to_owned(),
            content: content.to_owned(),
            views: 0,
        });
        let over = self.list.len().saturating_sub(cfg.notif_cache as usize);
        self.list.drain(..over);
    }

    /// The user dismissed it; says whether it was there.
    pub fn dismiss(&mut self, id: &str) -> bool {
        let before = self.list.len();
        self.list.retain(|known| known.id != id);
        self.list.len() < before
    }

    /// The lines to show.
    #[must_use]
    pub fn lines(&self, cfg: &Config) -> Vec<String> {
        let shown = self.list.iter().rev().take(cfg.notif_top as usize);
        shown
            .map(|one| {
                let text = match (one.title.trim(), one.content.trim()) {
                    ("", content) => content.to_owned(),
                    (title, "") => title.to_owned(),
                    (title, content) => format!("{title}: {content}"),
                };
                let text = one_line(&text, cfg.notif_chars as usize);
                format!("[{}] {text}", short_name(&one.app))
            })
            .collect()
    }

    /// The user looked at what [`Self::lines`] shows: what was seen too often goes.
    pub fn viewed(&mut self, cfg: &Config) {
        for one in self.list.iter_mut().rev().take(cfg.notif_top as usize) {
            one.views += 1;
        }
        self.list.retain(|one| one.views <= cfg.notif_max_views);
    }

    /// How many are cached.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether none is cached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Line breaks become spaces; what is longer than `max` characters is cut, without dots: they would cost three more.
fn one_line(text: &str, max: usize) -> String {
    let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    flat.chars().take(max).collect()
}

fn short_name(app: &str) -> &str {
    match app {
        "Google Messages" | "Messages" => "Msg",
        "Google Chat" => "Chat",
        "Google Calendar" => "Cal",
        "Google Maps" => "Maps",
        "Google Drive" => "Drive",
        "Google Meet" => "Meet",
        "Microsoft Teams" => "Teams",
        "Microsoft Outlook" => "Outlook",
        "WhatsApp" => "WA",
        "Facebook Messenger" => "Msgr",
        "Instagram" => "IG",
        "LinkedIn" => "In",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(count: usize) -> (Notifications, Config) {
        let cfg = crate::base::settings::Settings::default().dashboard;
        let mut cache = Notifications::default();
        for index in 0..count {
            cache.add(
                &format!("n{index}"),
                "Mail",
                &format!("T{index}"),
                "body",
                &cfg,
            );
        }
        (cache, cfg)
    }

    #[test]
    fn the_two_newest_are_shown() {
        let (cache, cfg) = with(3);
        assert_eq!(cache.lines(&cfg), ["[Mail] T2: body", "[Mail] T1: body"]);
    }

    #[test]
    fn twenty_are_kept_and_a_repeat_replaces() {
        let (mut cache, cfg) = with(25);
        assert_eq!(cache.len(), 20);
        cache.add("n10", "Google Messages", "Ines", "late", &cfg);
        assert_eq!(cache.len(), 20);
        assert_eq!(cache.lines(&cfg)[0], "[Msg] Ines: late");
    }

    #[test]
    fn a_summary_fits_35_characters_on_one_line() {
        let (mut cache, cfg) = with(0);
        cache.add(
            "x",
            "WhatsApp",
            "Ines",
            "I am running\nlate, start without me please",
            &cfg,
        );
        let line = cache.lines(&cfg).remove(0);
        assert_eq!(line, "[WA] Ines: I am running late, start with");
        assert_eq!(line.chars().count() - "[WA] ".len(), 35);
    }

    #[test]
    fn dismissed_and_often_seen_ones_go() {
        let (mut cache, cfg) = with(3);
        assert!(cache.dismiss("n2") && !cache.dismiss("n2"));
        for _ in 0..10 {
            cache.viewed(&cfg);
        }
        assert_eq!(cache.len(), 2);
        cache.viewed(&cfg);
        assert!(cache.is_empty());
    }
}
