//! Outside thread, speech: one recogniser, from its start over one connection after another to its last report. One task per
//! recogniser, which sends its reports one after the other.

mod connection;

use super::classify::{self, KeyTrouble, ProviderError};
use super::health::Kind;
use super::keys::{Key, NoKey};
use super::provider::{Out, Provider, Takes, Talk, kind};
use super::queue::Queue;
use crate::base::ids::UserId;
use crate::services::context::Services;
use crate::session::event::Event;
use crate::shard::mailbox::ToShard;
use crate::wire::speech::{SpeechFailure, SpeechFailureClass, SpeechId, SpeechOpen, SpeechReport};
use bytes::Bytes;
use connection::Connection;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Pause before a connection is made again (ms), multiplied by the number of the attempt.
const RECONNECT_MS: u64 = 1000;
/// After a connection that held this long (ms) attempts are counted from one again.
const STEADY_MS: u64 = 60_000;
/// Bytes of a millisecond of audio.
const BYTES_PER_MS: u64 = 32;
/// Attempts to tell a session that a recogniser has ended; its shard may be behind.
const END_ATTEMPTS: u32 = 100;

/// One recogniser of a session.
pub(super) struct Recogniser {
    pub(super) cx: Arc<Services>,
    pub(super) user: UserId,
    pub(super) epoch: u64,
    pub(super) open: SpeechOpen,
    pub(super) queue: Arc<Queue>,
    pub(super) provider: &'static dyn Provider,
}

/// How a conversation ended.
enum Finish {
    /// As wished, or by the provider's own wish.
    Done,
    Failed(ProviderError),
    /// The connection is gone.
    Lost(u16),
}

/// What is known of the present connection.
#[derive(Default)]
struct Progress {
    began_ms: u64,
    ready: bool,
    answered: bool,
    /// Sent since it began, until the provider answers: audio to send again when it does not.
    sent: VecDeque<Bytes>,
}

/// What is known over all connections.
#[derive(Default)]
struct History {
    ready: bool,
    reconnects: u64,
    other_keys: usize,
    audio_bytes: u64,
}

impl History {
    fn audio_ms(&self) -> u64 {
        self.audio_bytes / BYTES_PER_MS
    }
}

pub(super) fn failed(class: SpeechFailureClass, cause: &str, retry_after_ms: u64) -> SpeechReport {
    SpeechReport::Failed(SpeechFailure {
        class,
        cause: cause.to_owned(),
        retry_after_ms,
    })
}

/// Reports once; says whether the shard took it.
async fn tell(
    cx: &Services,
    user: &UserId,
    epoch: u64,
    id: SpeechId,
    report: SpeechReport,
) -> bool {
    let event = Event::Speech { id, report };
    let message = ToShard::Result {
        user: user.clone(),
        epoch,
        event,
    };
    cx.deliver_home(user, message).await
}

/// The last report of a recogniser: must arrive.
pub(super) async fn end(
    cx: &Services,
    user: &UserId,
    epoch: u64,
    id: SpeechId,
    report: SpeechReport,
) {
    for _ in 0..END_ATTEMPTS {
        if tell(cx, user, epoch, id, report.clone()).await {
            return;
        }
    }
}

impl Recogniser {
    fn now(&self) -> u64 {
        self.cx.clock.now().mono_ms
    }

    fn kind(&self) -> Kind {
        kind(&self.open.stream)
    }

    async fn report(&self, report: SpeechReport) {
        tell(&self.cx, &self.user, self.epoch, self.open.id, report).await;
    }

    /// Runs to the end; what is returned is the last report.
    pub(super) async fn run(&self) -> SpeechReport {
        let settings = self.cx.settings();
        let ids = format!("utt_{}_{}", self.cx.unix_ms(), self.open.id.0);
        let mut talk = self.provider.talk(&self.open, ids, &settings);
        let mut history = History::default();
        loop {
            if self.queue.only_close() {
                return SpeechReport::Closed(None);
            }
            let (settings, now) = (self.cx.settings(), self.now());
            let key = match self.cx.speech.key(self.provider, &settings, now) {
                Ok(key) => key,
                Err(NoKey::Never) => {
                    let cause = "no key of the provider is accepted";
                    return failed(SpeechFailureClass::Permanent, cause, 0);
                }
                Err(NoKey::Until(at)) => {
                    let cause = "every key of the provider rests";
                    let wait = at.saturating_sub(now);
                    return failed(SpeechFailureClass::Capacity, cause, wait);
                }
            };
            let mut progress = Progress {
                began_ms: now,
                ..Progress::default()
            };
            let finish = self
                .converse(&mut *talk, &key, &mut history, &mut progress)
                .await;
            let was_idle = talk.takes() == Takes::AfterResume;
            let mut out = Out::default();
            talk.gone(&mut out);
            self.tell(&mut out).await;
            if was_idle && matches!(finish, Finish::Lost(_)) {
                // Nothing was being said: the next audio starts another.
                return SpeechReport::Closed(Some(1000));
            }
            if let Some(report) = self.after(finish, &key, &mut history, progress).await {
                return report;
            }
        }
    }

    /// What follows from the end of a connection: the last report, or another connection.
    async fn after(
        &self,
        finish: Finish,
        key: &Key,
        history: &mut History,
        progress: Progress,
    ) -> Option<SpeechReport> {
        let (settings, now) = (self.cx.settings(), self.now());
        if progress.answered {
            history.other_keys = 0;
        }
        if progress.ready && now.saturating_sub(progress.began_ms) >= STEADY_MS {
            history.reconnects = 0;
        }
        let (error, code) = match finish {
            Finish::Done if self.queue.closing() => return Some(SpeechReport::Closed(None)),
            Finish::Done => return Some(SpeechReport::Closed(Some(1000))),
            Finish::Failed(error) => (error.without(&key.secret), None),
            Finish::Lost(code) => {
                let error = ProviderError::new(None, &format!("closed with {code}"));
                (error, Some(code))
            }
        };
        let speech = &self.cx.speech;
        if code != Some(1000) {
            speech.failed(self.provider, self.kind(), &error, key, &settings, now);
        }
        if self.queue.closing() {
            return Some(SpeechReport::Closed(None));
        }
        // A failing provider fails with every key.
        let trouble = classify::key_trouble(&error).filter(|one| *one != KeyTrouble::Transient);
        if trouble.is_some() && history.other_keys + 1 < speech.key_count() && speech.has_key(now) {
            history.other_keys += 1;
            self.send_again(progress.sent, history, now);
            return None;
        }
        let reconnects = self.provider.reconnects(self.kind(), &settings);
        if error.code.is_none() && history.ready && history.reconnects < reconnects {
            history.reconnects += 1;
            self.send_again(progress.sent, history, now);
            sleep(Duration::from_millis(RECONNECT_MS * history.reconnects)).await;
            return None;
        }
        if let Some(code) = code.filter(|_| history.ready) {
            return Some(SpeechReport::Closed(Some(code)));
        }
        let wait_ms = speech.key_wait_ms(now);
        let age_ms = now.saturating_sub(progress.began_ms);
        let class = match classify::class(&error, progress.answered, age_ms) {
            // Another key will be back.
            SpeechFailureClass::Permanent if trouble.is_some() && wait_ms > 0 => {
                SpeechFailureClass::Capacity
            }
            class => class,
        };
        let wait_ms = match class {
            SpeechFailureClass::Permanent => 0,
            _ => wait_ms,
        };
        Some(failed(class, &error.cause(), wait_ms))
    }

    /// Audio that a connection swallowed goes over the next one, and counts there.
    fn send_again(&self, sent: VecDeque<Bytes>, history: &mut History, now: u64) {
        let bytes: u64 = sent.iter().map(|chunk| chunk.len() as u64).sum();
        history.audio_bytes = history.audio_bytes.saturating_sub(bytes);
        self.queue.put_back(sent, now);
    }

    async fn tell(&self, out: &mut Out) {
        for heard in out.heard.drain(..) {
            self.report(SpeechReport::Heard(Box::new(heard))).await;
        }
    }

    /// One connection, from connecting to its end.
    async fn converse(
        &self,
        talk: &mut dyn Talk,
        key: &Key,
        history: &mut History,
        progress: &mut Progress,
    ) -> Finish {
        let settings = self.cx.settings();
        let speech = &settings.speech;
        let too_late = || ProviderError::new(408, "the provider did not answer in time");
        let limit = Duration::from_millis(speech.stt_connect_timeout_ms);
        let address = self.provider.address(&settings);
        let headers = self.provider.headers(&key.secret, &settings);
        let connecting = self.cx.speech.connector().connect(address, headers);
        let (sink, source) = match timeout(limit, connecting).await {
            Ok(Ok(halves)) => halves,
            Ok(Err(error)) => return Finish::Failed(error),
            Err(_) => return Finish::Failed(too_late()),
        };
        let mut connection = Connection {
            recogniser: self,
            talk,
            key,
            history,
            progress,
            sink,
            unsent_since: None,
            warned_ms: None,
            last_sent_ms: self.now(),
            start_deadline: None,
            close_deadline: None,
            replay_max: speech.stt_start_buffer_chunks as usize,
        };
        let finish = connection.run(source).await;
        if !matches!(finish, Finish::Lost(_)) {
            let goodbye = connection.sink.close();
            let _ = timeout(Duration::from_millis(500), goodbye).await;
        }
        finish
    }
}
