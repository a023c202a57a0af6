//! Outside thread, speech: one recogniser: its connection to the provider, one after the other, until it ends. One task per
//! recogniser, which sends its reports one after the other.

use super::classify::{self, KeyTrouble, ProviderError};
use super::health::Kind;
use super::keys::{Key, NoKey};
use super::provider::{End, Out, Provider, Takes, Talk, kind};
use super::queue::{Item, Queue};
use super::socket::{Sink, Source};
use crate::base::ids::UserId;
use crate::services::context::Services;
use crate::session::event::Event;
use crate::shard::mailbox::ToShard;
use crate::wire::speech::{SpeechFailure, SpeechFailureClass, SpeechId, SpeechOpen, SpeechReport};
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

/// Pause before a connection is made again (ms), multiplied by the number of the attempt.
const RECONNECT_MS: u64 = 1000;
/// After a connection that held this long (ms) attempts are counted from one again.
const STEADY_MS: u64 = 60_000;
/// The provider's last words are waited for this long (ms).
const CLOSE_MS: u64 = 3000;
/// Close code of a connection that ended without one.
const ABNORMAL: u16 = 1006;
/// Bytes of a millisecond of audio.
const BYTES_PER_MS: u64 = 32;
/// Attempts to tell a session that a recogniser has ended; its shard may be behind.
const END_ATTEMPTS: u32 = 100;

/// A recogniser.
pub(super) struct Stream {
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

impl Stream {
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
            stream: self,
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

/// An open connection.
struct Connection<'a> {
    stream: &'a Stream,
    talk: &'a mut dyn Talk,
    key: &'a Key,
    history: &'a mut History,
    progress: &'a mut Progress,
    sink: Sink,
    unsent_since: Option<u64>,
    warned_ms: Option<u64>,
    last_sent_ms: u64,
    start_deadline: Option<u64>,
    close_deadline: Option<u64>,
    replay_max: usize,
}

impl Connection<'_> {
    async fn run(&mut self, mut source: Source) -> Finish {
        let queue = Arc::clone(&self.stream.queue);
        let mut out = Out::default();
        self.talk
            .begin(&self.key.secret, self.history.audio_ms(), &mut out);
        loop {
            if let Some(finish) = self.act(&mut out).await {
                return finish;
            }
            let now = self.stream.now();
            let wait = self.due(now).saturating_sub(now);
            let takes = self.talk.takes() != Takes::Nothing;
            let open = takes && !self.sink.is_unsent() && self.close_deadline.is_none();
            let unsent = self.sink.is_unsent();
            tokio::select! {
                message = source.next() => match message {
                    Some(Ok(Message::Text(text))) => self.talk.message(&text, self.stream.now(), &mut out),
                    Some(Ok(Message::Close(frame))) => {
                        return Finish::Lost(frame.map_or(ABNORMAL, |frame| frame.code.into()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Finish::Lost(ABNORMAL),
                },
                flushed = self.sink.flush(), if unsent => match flushed {
                    Ok(()) => self.flushed(),
                    Err(_) => return Finish::Lost(ABNORMAL),
                },
                () = queue.filled(), if open => self.order(&queue, &mut out),
                () = sleep(Duration::from_millis(wait)) => {
                    if let Some(finish) = self.tick(&mut out) {
                        return finish;
                    }
                }
            }
        }
    }

    /// Carries out what follows from the last step.
    async fn act(&mut self, out: &mut Out) -> Option<Finish> {
        let now = self.stream.now();
        for frame in out.frames.drain(..) {
            self.unsent_since.get_or_insert(now);
            self.last_sent_ms = now;
            self.sink.put(frame);
        }
        if std::mem::take(&mut out.answered) && !self.progress.answered {
            self.progress.answered = true;
            self.progress.sent = VecDeque::new();
            let (speech, stream) = (&self.stream.cx.speech, self.stream);
            let began_ms = self.progress.began_ms;
            speech.worked(stream.provider, stream.kind(), self.key, began_ms);
        }
        self.stream.tell(out).await;
        if std::mem::take(&mut out.ready) {
            self.progress.ready = true;
            let lost = &self.stream.cx.speech.audio_lost;
            self.stream.queue.ready(now, lost);
            if !std::mem::replace(&mut self.history.ready, true) {
                self.stream.report(SpeechReport::Ready).await;
            }
        }
        // While the provider has not said that it started, it must do so in time.
        self.start_deadline = match self.talk.takes() {
            Takes::Nothing => self.start_deadline.or_else(|| {
                let settings = self.stream.cx.settings();
                let begin = if self.progress.ready {
                    now
                } else {
                    self.progress.began_ms
                };
                Some(begin + settings.speech.stt_connect_timeout_ms)
            }),
            _ => None,
        };
        match out.end.take()? {
            End::Finished => Some(Finish::Done),
            End::Failed(error) => Some(Finish::Failed(error)),
        }
    }

    fn order(&mut self, queue: &Queue, out: &mut Out) {
        let now = self.stream.now();
        if self.talk.takes() == Takes::AfterResume && queue.next_is_audio() {
            return self.talk.resume(self.history.audio_ms(), out);
        }
        match queue.take() {
            Some(Item::Audio(pcm)) => {
                self.history.audio_bytes += pcm.len() as u64;
                if !self.progress.answered {
                    self.progress.sent.push_back(pcm.clone());
                    if self.progress.sent.len() > self.replay_max {
                        self.progress.sent.pop_front();
                    }
                }
                self.talk.audio(pcm, out);
            }
            Some(Item::Pause) => self.talk.pause(out),
            Some(Item::Close) => self.close(now, out),
            None => {}
        }
    }

    fn close(&mut self, now: u64, out: &mut Out) {
        if self.close_deadline.is_none() {
            self.close_deadline = Some(now + CLOSE_MS);
            self.talk.close(now, out);
        }
    }

    /// Everything went out.
    fn flushed(&mut self) {
        let now = self.stream.now();
        let settings = self.stream.cx.settings();
        let speech = &settings.speech;
        let took_ms = now.saturating_sub(self.unsent_since.take().unwrap_or(now));
        let recent = |at: u64| now.saturating_sub(at) < speech.stt_slow_send_warn_ms;
        if took_ms > speech.stt_slow_send_ms && !self.warned_ms.is_some_and(recent) {
            self.warned_ms = Some(now);
            let (user, provider) = (self.stream.user.log_tag(), self.stream.provider.name());
            tracing::warn!(user, provider, took_ms, "slow-speech-send");
        }
    }

    /// When something is due, though nobody sends anything.
    fn due(&self, now: u64) -> u64 {
        let settings = self.stream.cx.settings();
        let speech = &settings.speech;
        let times = [
            self.talk.due(),
            self.start_deadline,
            self.close_deadline,
            // Nobody has asked for anything for long: the end of its session got lost.
            Some(self.stream.queue.last_order_ms() + 2 * speech.dead_stream_idle_ms),
            self.keepalive_at(speech.stt_keepalive_ms),
            // A connection that takes nothing wakes nobody: look again in a second.
            self.unsent_since.map(|_| now + 1000),
        ];
        times.into_iter().flatten().min().unwrap_or(now + 1000)
    }

    /// When a keepalive is due; never while the connection takes nothing.
    fn keepalive_at(&self, every_ms: u64) -> Option<u64> {
        self.unsent_since
            .is_none()
            .then_some(self.last_sent_ms + every_ms)
    }

    fn tick(&mut self, out: &mut Out) -> Option<Finish> {
        let now = self.stream.now();
        let settings = self.stream.cx.settings();
        let speech = &settings.speech;
        let is_over = |at: Option<u64>| at.is_some_and(|at| at <= now);
        if is_over(self.close_deadline) {
            return Some(Finish::Done);
        }
        if is_over(self.start_deadline) {
            let error = ProviderError::new(408, "the provider did not start in time");
            return Some(Finish::Failed(error));
        }
        // The session wants the end, but the connection takes nothing that stands before it.
        let stuck = self.unsent_since.is_some_and(|at| at + CLOSE_MS <= now);
        if stuck && self.stream.queue.closing() {
            return Some(Finish::Done);
        }
        let lost = self.stream.queue.lost_in_row();
        if self.unsent_since.is_some() && lost >= speech.dead_stream_failures {
            let error = ProviderError::new(None, "the provider takes no audio");
            return Some(Finish::Failed(error));
        }
        if self.stream.queue.last_order_ms() + 2 * speech.dead_stream_idle_ms <= now {
            let orphan = Item::Close;
            let lost = &self.stream.cx.speech.audio_lost;
            self.stream.queue.push(orphan, now, lost);
        }
        if self.talk.due().is_some_and(|at| at <= now) {
            self.talk.tick(now, out);
        }
        if is_over(self.keepalive_at(speech.stt_keepalive_ms)) {
            self.talk.keepalive(out);
        }
        None
    }
}
