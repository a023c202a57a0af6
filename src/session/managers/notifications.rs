//! Layer 2, manager: the phone's notifications as the dashboard shows them (behaviour.md §6.2.1): in the order of a language model
//! where one is configured, else newest first.

mod ranking;

use crate::base::footprint::owns;
use crate::base::ids::CallId;
use crate::base::settings::Dashboard as Config;
use crate::wire::members::cut;

/// Longest id; a notification with a longer one is not kept (bytes).
const ID_BYTES_MAX: usize = 1024;
/// What is kept of each of its texts (bytes): a line of the dashboard and what a model ranks by.
const TEXT_BYTES_MAX: usize = 4096;

owns! {
    Notification: id, app, title, content;
    Notifications: list, ranking;
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
    /// When the phone showed it.
    unix_ms: u64,
    views: u64,
}

/// The cache, newest last by the phone's clock: one that comes back lists what it still shows in any order.
#[derive(Default)]
pub struct Notifications {
    list: Vec<Notification>,
    ranking: ranking::Ranking,
}

impl Notifications {
    /// Adds one, or replaces the one with its id. Beyond `notif_cache` the oldest goes.
    pub fn add(&mut self, id: &str, [app, title, content]: [&str; 3], unix_ms: u64, cfg: &Config) {
        if id.len() > ID_BYTES_MAX {
            return;
        }
        let [app, title, content] = [app, title, content].map(|text| cut(text, TEXT_BYTES_MAX));
        let same = |known: &Notification| known.title == title && known.content == content;
        if !self.list.iter().any(|known| known.id == id && same(known)) {
            // The model's words belong to the earlier text.
            self.ranking.order.retain(|ranked| ranked.id != id);
        }
        self.list.retain(|known| known.id != id);
        let at = self.list.partition_point(|known| known.unix_ms <= unix_ms);
        let added = Notification {
            id: id.to_owned(),
            app: app.to_owned(),
            title: title.to_owned(),
            content: content.to_owned(),
            unix_ms,
            views: 0,
        };
        self.list.insert(at, added);
        let over = self.list.len().saturating_sub(cfg.notif_cache as usize);
        self.list.drain(..over);
        self.forget_unknown();
    }

    /// The user dismissed it; says whether it was there.
    pub fn dismiss(&mut self, id: &str) -> bool {
        let before = self.list.len();
        self.list.retain(|known| known.id != id);
        self.forget_unknown();
        self.list.len() < before
    }

    fn forget_unknown(&mut self) {
        let list = &self.list;
        let is_known = |id: &str| list.iter().any(|one| one.id == id);
        self.ranking.order.retain(|ranked| is_known(&ranked.id));
    }

    /// What to ask the language model now, if anything.
    pub fn ranking_wanted(&mut self, cfg: &Config) -> Option<String> {
        self.ranking.wanted(&self.list, cfg)
    }

    /// It was asked.
    pub fn ranking_started(&mut self, call: CallId) {
        self.ranking.started(call);
    }

    /// A call is over. `None`: it is not a ranking; else whether something changed since it began.
    pub fn ranking_ends(&mut self, call: CallId) -> Option<bool> {
        self.ranking.ends(call)
    }

    /// Takes the model's answer; says whether it made sense.
    pub fn ranked(&mut self, body: &[u8], cfg: &Config) -> bool {
        self.ranking.read(body, &self.list, cfg)
    }

    /// Places in the list of what is shown, with the model's words where it has some: those that it knows, then the newest.
    fn shown(&self, cfg: &Config) -> Vec<(usize, Option<&str>)> {
        let place = |id: &str| self.list.iter().position(|one| one.id == id);
        let order = &self.ranking.order;
        let ranked = order
            .iter()
            .filter_map(|one| Some((place(&one.id)?, Some(one.summary.as_str()))));
        let others = (0..self.list.len())
            .rev()
            .filter(|at| order.iter().all(|one| one.id != self.list[*at].id))
            .map(|at| (at, None));
        ranked.chain(others).take(cfg.notif_top as usize).collect()
    }

    /// The lines to show.
    #[must_use]
    pub fn lines(&self, cfg: &Config) -> Vec<String> {
        self.shown(cfg)
            .into_iter()
            .map(|(at, summary)| {
                let one = &self.list[at];
                let tag = match short_name(&one.app) {
                    "" => String::new(),
                    app => format!("[{app}] "),
                };
                if let Some(summary) = summary {
                    return format!("{tag}{summary}");
                }
                let text = match (one.title.trim(), one.content.trim()) {
                    ("", content) => content.to_owned(),
                    (title, "") => title.to_owned(),
                    (title, content) => format!("{title}: {content}"),
                };
                let text = one_line(&text, cfg.notif_chars as usize);
                format!("{tag}{text}")
            })
            .collect()
    }

    /// The user looked at what [`Self::lines`] shows: what was seen too often goes.
    pub fn viewed(&mut self, cfg: &Config) {
        let shown: Vec<usize> = self.shown(cfg).into_iter().map(|(at, _)| at).collect();
        for at in shown {
            self.list[at].views += 1;
        }
        self.list.retain(|one| one.views <= cfg.notif_max_views);
        self.forget_unknown();
    }

    /// How many are cached.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.list.len()
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

    const NOW_MS: u64 = 1_773_480_413_000;

    fn with(count: usize) -> (Notifications, Config) {
        let cfg = crate::base::settings::Settings::default().dashboard;
        let mut cache = Notifications::default();
        for index in 0..count {
            let (id, title) = (format!("n{index}"), format!("T{index}"));
            cache.add(&id, ["Mail", &title, "body"], NOW_MS, &cfg);
        }
        (cache, cfg)
    }

    #[test]
    fn the_two_newest_are_shown() {
        let (cache, cfg) = with(3);
        assert_eq!(cache.lines(&cfg), ["[Mail] T2: body", "[Mail] T1: body"]);
    }

    #[test]
    fn the_phones_clock_says_which_are_the_newest() {
        let (mut cache, cfg) = with(0);
        for (id, at_ms) in [("a", 3), ("b", 1), ("c", 2), ("d", 2)] {
            cache.add(id, ["Mail", id, "x"], NOW_MS + at_ms, &cfg);
        }
        assert_eq!(cache.lines(&cfg), ["[Mail] a: x", "[Mail] d: x"]);
        cache.add("b", ["Mail", "b", "again"], NOW_MS + 9, &cfg);
        assert_eq!(cache.lines(&cfg)[0], "[Mail] b: again");
        for index in 0..30 {
            let id = format!("old{index}");
            cache.add(&id, ["Mail", &id, "x"], NOW_MS, &cfg);
        }
        assert_eq!(cache.lines(&cfg), ["[Mail] b: again", "[Mail] a: x"]);
    }

    #[test]
    fn without_an_app_there_is_no_tag() {
        let (mut cache, cfg) = with(0);
        cache.add("x", ["", "Ines", "late"], NOW_MS, &cfg);
        assert_eq!(cache.lines(&cfg), ["Ines: late"]);
    }

    #[test]
    fn twenty_are_kept_and_a_repeat_replaces() {
        let (mut cache, cfg) = with(25);
        assert_eq!(cache.len(), 20);
        cache.add("n10", ["Google Messages", "Ines", "late"], NOW_MS, &cfg);
        assert_eq!(cache.len(), 20);
        assert_eq!(cache.lines(&cfg)[0], "[Msg] Ines: late");
    }

    #[test]
    fn a_summary_fits_35_characters_on_one_line() {
        let (mut cache, cfg) = with(0);
        let long = "I am running\nlate, start without me please";
        cache.add("x", ["WhatsApp", "Ines", long], NOW_MS, &cfg);
        let line = cache.lines(&cfg).remove(0);
        assert_eq!(line, "[WA] Ines: I am running late, start with");
        assert_eq!(line.chars().count() - "[WA] ".len(), 35);
    }

    #[test]
    fn the_models_order_and_words_come_first_then_what_it_does_not_know() {
        let (mut cache, mut cfg) = with(3);
        assert_eq!(cache.ranking_wanted(&cfg), None, "no model");
        cfg.llm_api_key = "k".into();
        assert!(cache.ranking_wanted(&cfg).is_some());
        cache.ranking_started(CallId(7));
        cache.add("n9", ["Mail", "T9", "body"], NOW_MS, &cfg);
        assert_eq!(cache.ranking_wanted(&cfg), None, "one at a time");
        let content = r#"{"notification_ranking":[{"uuid":"n1","summary":"less","rank":2},{"uuid":"n0","summary":"more","rank":1},
            {"uuid":"gone","summary":"x","rank":0},{"uuid":"n2","rank":3}]}"#;
        let answer =
            serde_json::json!({"choices": [{"message": {"content": content}}]}).to_string();
        assert_eq!(cache.ranking_ends(CallId(8)), None);
        assert_eq!(cache.ranking_ends(CallId(7)), Some(true), "one more");
        assert!(cache.ranked(answer.as_bytes(), &cfg));
        assert_eq!(cache.lines(&cfg), ["[Mail] more", "[Mail] less"]);
        assert!(cache.dismiss("n1"));
        assert_eq!(cache.lines(&cfg), ["[Mail] more", "[Mail] T9: body"]);
        assert!(!cache.ranked(b"{}", &cfg));
        assert_eq!(cache.lines(&cfg)[0], "[Mail] more", "the last one holds");
        cache.add("n0", ["Mail", "T0", "body"], NOW_MS, &cfg);
        assert_eq!(cache.lines(&cfg)[0], "[Mail] more", "said again");
        cache.add("n0", ["Mail", "T0", "cancelled"], NOW_MS, &cfg);
        assert_eq!(cache.lines(&cfg)[0], "[Mail] T0: cancelled");
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
        assert_eq!(cache.len(), 0);
    }
}
