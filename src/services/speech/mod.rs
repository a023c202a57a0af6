//! Outside thread: recognisers (behaviour.md §8.6). Takes the sessions' orders, holds the connections to the providers.
//!
//! A session decides which recognisers run; here each is a task with a bounded queue (`recogniser.rs`), which talks to a provider
//! in the provider's own way (`soniox.rs`, `alibaba.rs`: pure) and reports what was recognised.

mod alibaba;
mod classify;
mod dialogue;
mod health;
mod keys;
mod languages;
mod limits;
mod provider;
mod queue;
mod recogniser;
mod sentences;
mod socket;
mod soniox;
mod tokens;
mod translation;
mod utterances;

pub use dialogue::Dialogue;

use super::context::Services;
use super::lock::lock;
use crate::base::ids::UserId;
use crate::base::settings::Settings;
use crate::wire::speech::{SpeechFailureClass, SpeechId, SpeechOpen, SpeechOrder, SpeechReport};
use classify::ProviderError;
use futures_util::FutureExt as _;
use health::{Health, Kind};
use keys::{Key, KeyStates, Keys, NoKey};
use limits::{Limits, Place};
use provider::Provider;
use queue::{Item, Queue};
use recogniser::{Recogniser, failed};
use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::task::AbortHandle;

type SessionKey = (UserId, u64);

struct Running {
    queue: Arc<Queue>,
    task: AbortHandle,
}

/// All recognisers of this process.
#[derive(Default)]
pub(crate) struct Speech {
    /// No more than `stt_max_streams` in all.
    streams: Mutex<HashMap<SessionKey, HashMap<SpeechId, Running>>>,
    limits: Mutex<Limits>,
    keys: Mutex<Keys>,
    health: Mutex<BTreeMap<(&'static str, Kind), Health>>,
    connector: OnceLock<socket::Connector>,
    /// Chunks of audio that no recogniser took in time.
    pub(crate) audio_lost: AtomicU64,
}

/// One order of a session, in the order they were given.
pub(super) fn take(cx: &Arc<Services>, user: UserId, epoch: u64, order: SpeechOrder) {
    let now = cx.clock.now().mono_ms;
    let speech = &cx.speech;
    match order {
        SpeechOrder::Open(open) => speech.start(cx, user, epoch, *open, now),
        SpeechOrder::Audio { ids, pcm } => {
            let streams = lock(&speech.streams);
            if let Some(session) = streams.get(&(user, epoch)) {
                for running in ids.iter().filter_map(|id| session.get(id)) {
                    let item = Item::Audio(pcm.clone());
                    running.queue.push(item, now, &speech.audio_lost);
                }
            }
        }
        SpeechOrder::Pause(id) => speech.order(user, epoch, id, Item::Pause, now),
        SpeechOrder::Close(id) => speech.order(user, epoch, id, Item::Close, now),
        SpeechOrder::Abandon => {
            let session = lock(&speech.streams).remove(&(user, epoch));
            for running in session.into_iter().flat_map(HashMap::into_values) {
                running.task.abort();
            }
        }
    }
}

impl Speech {
    fn order(&self, user: UserId, epoch: u64, id: SpeechId, item: Item, now: u64) {
        let streams = lock(&self.streams);
        let session = streams.get(&(user, epoch));
        if let Some(running) = session.and_then(|session| session.get(&id)) {
            running.queue.push(item, now, &self.audio_lost);
        }
    }

    /// Provider and place for a recogniser, or why it cannot run.
    fn admit(
        &self,
        open: &SpeechOpen,
        own: usize,
        settings: &Settings,
        now: u64,
    ) -> Result<(&'static dyn Provider, Place), SpeechReport> {
        let providers = provider::configured(settings);
        if providers.is_empty() {
            return Err(failed(SpeechFailureClass::Permanent, "no provider", 0));
        }
        let kind = provider::kind(&open.stream);
        let is_healthy = |name| {
            let mut health = lock(&self.health);
            let health = health.entry((name, kind)).or_default();
            health.is_healthy(kind, settings, now)
        };
        let provider = provider::select(&providers, &open.stream, is_healthy);
        let Some(provider) = provider else {
            let cause = "no provider takes this language";
            return Err(failed(SpeechFailureClass::Unsupported, cause, 0));
        };
        match lock(&self.limits).admit(own, settings, now) {
            Ok(place) => Ok((provider, place)),
            Err(cause) => Err(failed(SpeechFailureClass::Resource, cause, 0)),
        }
    }

    fn start(&self, cx: &Arc<Services>, user: UserId, epoch: u64, open: SpeechOpen, now: u64) {
        let settings = cx.settings();
        let id = open.id;
        let key = (user.clone(), epoch);
        let mut streams = lock(&self.streams);
        let session = streams.get(&key);
        if session.is_some_and(|session| session.contains_key(&id)) {
            return;
        }
        let own = session.map_or(0, HashMap::len);
        let (provider, place) = match self.admit(&open, own, &settings, now) {
            Ok(found) => found,
            Err(report) => {
                // Its session says so in the log, once.
                tracing::debug!(user = user.log_tag(), ?report, "recogniser refused");
                let cx = Arc::clone(cx);
                tokio::spawn(async move { recogniser::end(&cx, &user, epoch, id, report).await });
                return;
            }
        };
        let speech = &settings.speech;
        let (chunks, keep_ms) = (
            speech.stt_start_buffer_chunks,
            speech.stt_start_buffer_timeout_ms,
        );
        let queue = Arc::new(Queue::new(chunks, keep_ms, now));
        let late = open.instead_of.as_ref();
        let late = late.and_then(|late| streams.get(&key)?.get(late));
        if let Some(late) = late {
            late.queue.hand_over(&queue);
        }
        let recogniser = Recogniser {
            cx: Arc::clone(cx),
            user,
            epoch,
            open,
            queue: Arc::clone(&queue),
            provider,
        };
        // The task waits for this lock before it leaves the table, so it is in it by then.
        let task = tokio::spawn(async move {
            let report = AssertUnwindSafe(recogniser.run()).catch_unwind().await;
            let report = report.unwrap_or_else(|_| {
                tracing::error!("a recogniser was lost to a defect");
                failed(SpeechFailureClass::Transport, "internal error", 0)
            });
            drop(place);
            recogniser.cx.speech.leave(&recogniser);
            let Recogniser {
                cx, user, epoch, ..
            } = &recogniser;
            recogniser::end(cx, user, *epoch, id, report).await;
        });
        let running = Running {
            queue,
            task: task.abort_handle(),
        };
        streams.entry(key).or_default().insert(id, running);
    }

    fn leave(&self, recogniser: &Recogniser) {
        let mut streams = lock(&self.streams);
        let key = (recogniser.user.clone(), recogniser.epoch);
        if let Some(session) = streams.get_mut(&key) {
            session.remove(&recogniser.open.id);
            if session.is_empty() {
                streams.remove(&key);
            }
        }
    }

    fn connector(&self) -> &socket::Connector {
        self.connector.get_or_init(socket::Connector::new)
    }

    /// The key to use, of the settings as they are now.
    fn key(&self, provider: &dyn Provider, settings: &Settings, now: u64) -> Result<Key, NoKey> {
        let mut keys = lock(&self.keys);
        keys.set(provider.keys(settings).into_iter());
        keys.pick(now)
    }

    fn key_count(&self) -> usize {
        lock(&self.keys).len()
    }

    fn has_key(&self, now: u64) -> bool {
        lock(&self.keys).any(now)
    }

    /// How long until some key is back; 0 = one can be used, or none ever.
    fn key_wait_ms(&self, now: u64) -> u64 {
        match lock(&self.keys).first_back(now) {
            Err(NoKey::Until(at)) => at.saturating_sub(now),
            _ => 0,
        }
    }

    fn failed(
        &self,
        provider: &dyn Provider,
        kind: Kind,
        error: &ProviderError,
        key: &Key,
        settings: &Settings,
        now: u64,
    ) {
        if let Some(trouble) = classify::key_trouble(error) {
            lock(&self.keys).failed(&key.id, trouble, settings, now);
        }
        let mut health = lock(&self.health);
        let health = health.entry((provider.name(), kind)).or_default();
        let before = health.is_healthy(kind, settings, now);
        health.failed(kind, settings, now);
        if before && !health.is_healthy(kind, settings, now) {
            tracing::error!(
                provider = provider.name(),
                kind = kind.name(),
                "speech-provider-unhealthy"
            );
        }
    }

    fn worked(&self, provider: &dyn Provider, kind: Kind, key: &Key, began_ms: u64) {
        lock(&self.keys).worked(&key.id, began_ms);
        let mut health = lock(&self.health);
        health
            .entry((provider.name(), kind))
            .or_default()
            .worked(kind);
    }

    /// For reports.
    pub(crate) fn key_states(&self, now: u64) -> KeyStates {
        lock(&self.keys).states(now)
    }

    /// For reports: every provider that was used, what for, and whether it is healthy.
    pub(crate) fn providers(
        &self,
        settings: &Settings,
        now: u64,
    ) -> Vec<(&'static str, Kind, bool)> {
        let mut health = lock(&self.health);
        let rows = health.iter_mut();
        let row = |((name, kind), health): (&(&'static str, Kind), &mut Health)| {
            (*name, *kind, health.is_healthy(*kind, settings, now))
        };
        rows.map(row).collect()
    }
}
