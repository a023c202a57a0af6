//! Outside thread, speech: one connection of a recogniser: frames go out, words come in, deadlines pass.

use super::{Finish, History, Progress, Recogniser};
use crate::services::speech::classify::ProviderError;
use crate::services::speech::keys::Key;
use crate::services::speech::provider::{End, Out, Takes, Talk};
use crate::services::speech::queue::{Item, Queue};
use crate::services::speech::socket::{Sink, Source};
use crate::wire::speech::SpeechReport;
use futures_util::StreamExt as _;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

/// The provider's last words are waited for this long (ms).
const CLOSE_MS: u64 = 3000;
/// Close code of a connection that ended without one.
const ABNORMAL: u16 = 1006;

/// An open connection. What is known of it outlives it in `progress`, what is known of the recogniser in `history`.
pub(super) struct Connection<'a> {
    pub(super) recogniser: &'a Recogniser,
    pub(super) talk: &'a mut dyn Talk,
    pub(super) key: &'a Key,
    pub(super) history: &'a mut History,
    pub(super) progress: &'a mut Progress,
    pub(super) sink: Sink,
    pub(super) unsent_since: Option<u64>,
    pub(super) warned_ms: Option<u64>,
    pub(super) last_sent_ms: u64,
    pub(super) start_deadline: Option<u64>,
    pub(super) close_deadline: Option<u64>,
    pub(super) replay_max: usize,
}

impl Connection<'_> {
    /// Carries the conversation until it ends or the connection is gone.
    pub(super) async fn run(&mut self, mut source: Source) -> Finish {
        let queue = Arc::clone(&self.recogniser.queue);
        let mut out = Out::default();
        self.talk
            .begin(&self.key.secret, self.history.audio_ms(), &mut out);
        loop {
            if let Some(finish) = self.act(&mut out).await {
                return finish;
            }
            let now = self.recogniser.now();
            let wait = self.due(now).saturating_sub(now);
            let takes = self.talk.takes() != Takes::Nothing;
            let open = takes && !self.sink.is_unsent() && self.close_deadline.is_none();
            let unsent = self.sink.is_unsent();
            tokio::select! {
                message = source.next() => match message {
                    Some(Ok(Message::Text(text))) => self.talk.message(&text, self.recogniser.now(), &mut out),
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
        let now = self.recogniser.now();
        for frame in out.frames.drain(..) {
            self.unsent_since.get_or_insert(now);
            self.last_sent_ms = now;
            self.sink.put(frame);
        }
        if std::mem::take(&mut out.answered) && !self.progress.answered {
            self.progress.answered = true;
            self.progress.sent = VecDeque::new();
            let (speech, recogniser) = (&self.recogniser.cx.speech, self.recogniser);
            let began_ms = self.progress.began_ms;
            speech.worked(recogniser.provider, recogniser.kind(), self.key, began_ms);
        }
        self.recogniser.tell(out).await;
        if std::mem::take(&mut out.ready) {
            self.progress.ready = true;
            let lost = &self.recogniser.cx.speech.audio_lost;
            self.recogniser.queue.ready(now, lost);
            if !std::mem::replace(&mut self.history.ready, true) {
                self.recogniser.report(SpeechReport::Ready).await;
            }
        }
        // While the provider has not said that it started, it must do so in time.
        self.start_deadline = match self.talk.takes() {
            Takes::Nothing => self.start_deadline.or_else(|| {
                let settings = self.recogniser.cx.settings();
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
        let now = self.recogniser.now();
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
        let now = self.recogniser.now();
        let settings = self.recogniser.cx.settings();
        let speech = &settings.speech;
        let took_ms = now.saturating_sub(self.unsent_since.take().unwrap_or(now));
        let recent = |at: u64| now.saturating_sub(at) < speech.stt_slow_send_warn_ms;
        if took_ms > speech.stt_slow_send_ms && !self.warned_ms.is_some_and(recent) {
            self.warned_ms = Some(now);
            let (user, provider) = (
                self.recogniser.user.log_tag(),
                self.recogniser.provider.name(),
            );
            tracing::warn!(user, provider, took_ms, "slow-speech-send");
        }
    }

    /// When something is due, though nobody sends anything.
    fn due(&self, now: u64) -> u64 {
        let settings = self.recogniser.cx.settings();
        let speech = &settings.speech;
        let times = [
            self.talk.due(),
            self.start_deadline,
            self.close_deadline,
            // Nobody has asked for anything for long: the end of its session got lost.
            Some(self.recogniser.queue.last_order_ms() + 2 * speech.dead_stream_idle_ms),
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
        let now = self.recogniser.now();
        let settings = self.recogniser.cx.settings();
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
        if stuck && self.recogniser.queue.closing() {
            return Some(Finish::Done);
        }
        let lost = self.recogniser.queue.lost_in_row();
        if self.unsent_since.is_some() && lost >= speech.dead_stream_failures {
            let error = ProviderError::new(None, "the provider takes no audio");
            return Some(Finish::Failed(error));
        }
        if self.recogniser.queue.last_order_ms() + 2 * speech.dead_stream_idle_ms <= now {
            let orphan = Item::Close;
            let lost = &self.recogniser.cx.speech.audio_lost;
            self.recogniser.queue.push(orphan, now, lost);
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
