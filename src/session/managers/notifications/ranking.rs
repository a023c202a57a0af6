//! Layer 2, manager part: what a language model makes of the notifications (behaviour.md §6.2.1). Writes the request (OpenAI's
//! chat completions) and reads the answer; never calls it.

use super::Notification;
use crate::base::footprint::owns;
use crate::base::ids::CallId;
use crate::base::settings::Dashboard as Config;
use serde::Deserialize;
use serde_json::json;

owns! {
    Ranked: id, summary;
    Ranking: order;
}

/// Of one notification the model reads no more than this (characters).
const PREVIEW_CHARS: usize = 200;

/// One notification as the model sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ranked {
    pub(super) id: String,
    pub(super) summary: String,
}

/// The last ranking, and the request for the next.
#[derive(Default)]
pub(super) struct Ranking {
    /// Most important first; only of notifications that are cached.
    pub(super) order: Vec<Ranked>,
    pending: Option<CallId>,
    /// Something changed while a request was under way.
    again: bool,
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: String,
}

#[derive(Deserialize)]
struct Answer {
    notification_ranking: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    uuid: Option<String>,
    summary: Option<String>,
    rank: Option<f64>,
}

impl Ranking {
    /// The body of a request for these, or `None` while no model is configured, nothing is to be ranked or a request is under way.
    pub(super) fn wanted(&mut self, list: &[Notification], cfg: &Config) -> Option<String> {
        if cfg.llm_url.is_empty() || cfg.llm_api_key.is_empty() || list.is_empty() {
            return None;
        }
        if self.pending.is_some() {
            self.again = true;
            return None;
        }
        Some(request(list, cfg))
    }

    pub(super) fn started(&mut self, call: CallId) {
        self.pending = Some(call);
        self.again = false;
    }

    /// The call is over. `None`: it is not ours; else whether another is wanted.
    pub(super) fn ends(&mut self, call: CallId) -> Option<bool> {
        self.pending.take_if(|pending| *pending == call)?;
        Some(std::mem::take(&mut self.again))
    }

    /// Takes the model's answer; says whether it made sense. One that does not leaves the last ranking.
    pub(super) fn read(&mut self, body: &[u8], list: &[Notification], cfg: &Config) -> bool {
        let Some(entries) = entries(body) else {
            return false;
        };
        let mut ranked: Vec<(f64, Ranked)> = entries
            .into_iter()
            .filter_map(|entry| {
                let (id, summary, rank) = (entry.uuid?, entry.summary?, entry.rank?);
                let summary = super::one_line(&summary, cfg.notif_chars as usize);
                let known = list.iter().any(|one| one.id == id);
                (known && !summary.is_empty()).then_some((rank, Ranked { id, summary }))
            })
            .collect();
        ranked.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        self.order.clear();
        for (_, one) in ranked {
            if self.order.iter().all(|known| known.id != one.id) {
                self.order.push(one);
            }
        }
        true
    }
}

fn entries(body: &[u8]) -> Option<Vec<Entry>> {
    let completion: Completion = serde_json::from_slice(body).ok()?;
    let content = &completion.choices.first()?.message.content;
    let answer: Answer = serde_json::from_str(content).ok()?;
    Some(answer.notification_ranking)
}

fn request(list: &[Notification], cfg: &Config) -> String {
    let task = format!(
        "Someone reads notifications on smart glasses, one short line each; the app's name is printed before the line, so leave it \
         out. Put all notifications given in order of importance: first what people write to them directly, then what is urgent \
         or due, what waits for an action of theirs, groups, news, and last advertising. Write a line of at most {} characters for \
         each that begins with who or what it is about. Answer with JSON alone, rank 1 being the most important: \
         {{\"notification_ranking\":[{{\"uuid\":\"…\",\"summary\":\"…\",\"rank\":1}}]}}",
        cfg.notif_chars
    );
    let lines: Vec<String> = list
        .iter()
        .map(|one| {
            let preview = format!("{}: {}", one.title, one.content);
            let preview: String = preview.chars().take(PREVIEW_CHARS).collect();
            json!({"uuid": one.id, "appName": one.app, "preview": preview, "viewCount": one.views})
                .to_string()
        })
        .collect();
    json!({
        "model": cfg.llm_model,
        "messages": [
            {"role": "system", "content": task},
            {"role": "user", "content": format!("Oldest first:\n{}", lines.join("\n"))},
        ],
        "response_format": {"type": "json_object"},
    })
    .to_string()
}
