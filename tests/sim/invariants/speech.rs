//! Invariants 30 and 31: which recognisers run, and what apps get of what they heard.

use super::super::net::Down;
use super::{Seen, View, Watch};
use prism::base::ids::ConnId;
use prism::session::event::Event;
use prism::wire::speech::{SpeechId, SpeechOrder, SpeechReport};
use prism::wire::streams::{LangOrAuto, Sub};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One recogniser as the outside may know it.
#[derive(Debug)]
struct Run {
    stream: Sub,
    /// The session told it to end.
    closed: bool,
    /// The session heard its end, or abandoned it.
    over: bool,
}

/// All that was seen of recognisers.
#[derive(Default, Debug)]
pub(crate) struct SpeechView {
    runs: BTreeMap<(String, u64, u32), Run>,
    /// A final text that the session hears in this event: user, stream name, utterance.
    hears: Option<(String, String, String)>,
    /// Utterances whose final a socket got.
    finals: BTreeSet<(ConnId, String)>,
    /// Opened so far.
    pub(crate) opened: u64,
    /// Envelopes with speech that apps got.
    pub(crate) delivered: u64,
}

impl Watch {
    pub(crate) fn speech_ordered(&mut self, user: &str, epoch: u64, order: &SpeechOrder) {
        let key = |id: SpeechId| (user.to_owned(), epoch, id.0);
        match order {
            SpeechOrder::Open(open) => {
                let rival = self.speech.runs.iter().find(|(key, run)| {
                    key.0 == user && !run.closed && !run.over && run.stream == open.stream
                });
                if let Some((rival, _)) = rival {
                    let text = format!("{:?} is opened beside {rival:?}", open.id);
                    self.broken(30, "one recogniser per key", user, text);
                }
                let run = Run {
                    stream: open.stream,
                    closed: false,
                    over: false,
                };
                self.speech.opened += 1;
                if self.speech.runs.insert(key(open.id), run).is_some() {
                    let text = format!("{:?} is used twice", open.id);
                    self.broken(30, "one recogniser per key", user, text);
                }
            }
            SpeechOrder::Audio { ids, pcm } => {
                self.note_fed(user, pcm);
                let open = |id: &SpeechId| {
                    let run = self.speech.runs.get(&key(*id));
                    run.is_some_and(|run| !run.closed && !run.over)
                };
                if !ids.iter().all(open) || ids.is_empty() || pcm.len() % 2 == 1 {
                    let text = format!("{} bytes of audio for {ids:?}", pcm.len());
                    self.broken(30, "audio for open recognisers", user, text);
                }
            }
            SpeechOrder::Pause(id) | SpeechOrder::Close(id) => {
                let is_close = matches!(order, SpeechOrder::Close(_));
                let run = self.speech.runs.get_mut(&key(*id));
                match run.filter(|run| !run.over) {
                    Some(run) => run.closed |= is_close,
                    None => {
                        let text = format!("{order:?} for one that is over");
                        self.broken(30, "orders for live recognisers", user, text);
                    }
                }
            }
            SpeechOrder::Abandon => {
                for (key, run) in &mut self.speech.runs {
                    run.over |= key.0 == user && key.1 == epoch;
                }
            }
        }
    }

    /// A report is about to reach the session.
    pub(crate) fn speech_reports(&mut self, user: &str, epoch: u64, event: &Event) {
        self.speech.hears = None;
        let Event::Speech { id, report } = event else {
            return;
        };
        let key = (user.to_owned(), epoch, id.0);
        let Some(run) = self.speech.runs.get_mut(&key).filter(|run| !run.over) else {
            return;
        };
        match report {
            SpeechReport::Failed(_) | SpeechReport::Closed(_) => run.over = true,
            SpeechReport::Heard(heard) if heard.is_final => {
                let name = match run.stream {
                    Sub::Transcription(LangOrAuto::Lang(language)) => {
                        format!("transcription:{language}")
                    }
                    Sub::Transcription(LangOrAuto::Auto) => "transcription:auto".to_owned(),
                    _ => return,
                };
                let hears = (user.to_owned(), name, heard.text.clone());
                self.speech.hears = Some(hears);
            }
            _ => {}
        }
    }

    /// After every event: what runs is wanted, and words are lost for nobody.
    pub(super) fn look_at_speech(&mut self, seen: &[Seen], view: &View<'_>) {
        self.invariant_30_only_what_is_wanted(view);
        if let Some((user, name, text)) = self.speech.hears.take() {
            self.invariant_31_no_final_is_lost(&user, &name, &text, seen, view);
        }
        let mut told: BTreeSet<(ConnId, String)> = BTreeSet::new();
        for one in seen {
            let Seen::Sent(conn, Down::Text(message)) = one else {
                continue;
            };
            let kind = message["data"]["type"].as_str().unwrap_or_default();
            if matches!(kind, "transcription" | "translation") {
                let text = message["data"]["text"].as_str().unwrap_or_default();
                self.invariant_31_one_event_once(*conn, message, view);
                if !told.insert((*conn, text.to_owned())) && view.is_timely(*conn) {
                    let user = view
                        .net
                        .get(*conn)
                        .map_or("", |sock| &*sock.user)
                        .to_owned();
                    let text = format!("{conn:?} got {text} twice");
                    self.broken(31, "each event once", &user, text);
                }
            }
        }
    }

    /// 30: a recogniser that nobody wants any more was told to end in the same breath.
    fn invariant_30_only_what_is_wanted(&mut self, view: &View<'_>) {
        let stray = self.speech.runs.iter().find_map(|(key, run)| {
            let session = view.session(&key.0).filter(|one| one.epoch == key.1);
            let wanted = session.is_some_and(|session| {
                let desired = session.m.speech.desired();
                desired.iter().any(|one| one.stream == run.stream)
            });
            (!run.closed && !run.over && !wanted).then(|| (key.0.clone(), format!("{key:?}")))
        });
        if let Some((user, key)) = stray.filter(|_| !self.draining) {
            let text = format!("{key} runs for nobody");
            self.broken(30, "only what is wanted runs", &user, text);
        }
    }

    /// 31: a final that was heard before the end reaches every app that asked for its language.
    fn invariant_31_no_final_is_lost(
        &mut self,
        user: &str,
        name: &str,
        text: &str,
        seen: &[Seen],
        view: &View<'_>,
    ) {
        let Some(session) = view.session(user) else {
            return;
        };
        let got = |conn: ConnId| {
            seen.iter().any(|one| match one {
                Seen::Sent(to, Down::Text(message)) => {
                    *to == conn && message["data"]["text"] == text
                }
                _ => false,
            })
        };
        let holders = session.m.subscriptions.iter().filter(|one| one.holds(name));
        let slow = holders.filter_map(|one| session.m.apps.open_conn(&one.package));
        for conn in slow.collect::<Vec<_>>() {
            self.owe_control(conn, text);
        }
        let missed = session.m.subscriptions.iter().find_map(|one| {
            let conn = session.m.apps.open_conn(&one.package)?;
            let open = view.net.get(conn).is_some_and(|sock| sock.is_open());
            let wants = one.holds(name) && open && view.is_timely(conn);
            (wants && !got(conn)).then(|| one.package.to_string())
        });
        if let Some(package) = missed {
            let text = format!("{package} was not told {text:?} of {name}");
            self.broken(31, "no final is lost", user, text);
        }
    }

    /// 31: only subscribers, under their own names; nothing of an utterance follows its final.
    fn invariant_31_one_event_once(&mut self, conn: ConnId, message: &Value, view: &View<'_>) {
        let Some(sock) = view.net.get(conn) else {
            return;
        };
        self.speech.delivered += 1;
        let stream = message["streamType"].as_str().unwrap_or_default();
        let text = message["data"]["text"].as_str().unwrap_or_default();
        if text == "ghost" {
            let text = format!("{conn:?} got what was said after the end");
            self.broken(31, "nothing after the end", &sock.user.clone(), text);
        }
        if view.is_timely(conn) && !sock.package.is_empty() {
            let (user, package) = (sock.user.clone(), sock.package.clone());
            let subs = &self.pair(&user, &package).subs;
            let asked = subs.iter().any(|own| own == stream || own == "*");
            if !asked {
                let text = format!("{package} got {stream}, it has {subs:?}");
                self.broken(31, "only subscribers", &user, text);
            }
        }
        let Some(utterance) = message["data"]["utteranceId"].as_str() else {
            return;
        };
        let key = (conn, utterance.to_owned());
        if self.speech.finals.contains(&key) {
            let text = format!("{conn:?} got {text} after the final text");
            self.broken(31, "nothing follows a final", &sock.user.clone(), text);
        }
        if message["data"]["isFinal"] == true {
            self.speech.finals.insert(key);
        }
    }

    /// With all sessions gone, every recogniser was told to end, ended, or was abandoned.
    pub(super) fn no_recogniser_is_left(&mut self) {
        let left = self
            .speech
            .runs
            .iter()
            .find(|(_, run)| !run.closed && !run.over);
        if let Some((key, _)) = left {
            let (user, text) = (key.0.clone(), format!("{key:?} still runs"));
            self.broken(48, "nothing is left", &user, text);
        }
    }
}
