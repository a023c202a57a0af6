//! Outside thread: what every service shares, and the ways back to the shards. It decides nothing.

use super::Reload;
use super::lasting;
use super::lines::{Line, may};
use super::lock::lock;
use super::metrics::memory::Bodies;
use super::metrics::{Aggregate, Rounds};
use super::registry::AppRecords;
use super::removals::Removals;
use super::rest::RestMemory;
use super::speech::Speech;
use super::store::writes::Writes;
use super::upstream::Upstream;
use super::weather::Forecasts;
use super::webhooks::Webhooks;
use crate::base::clock::Clock;
use crate::base::ids::{Origin, ReplyTo, ShardId, UserId};
use crate::base::settings::Settings;
use crate::session::effects::RestAnswer;
use crate::session::rest::Call;
use crate::shard::mailbox::{Answer, Mailboxes, ToShard, Undelivered};
use crate::shard::shared::Shared;
use crate::wire::auth::TokenKeys;
use crate::wire::records::Registry;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// Time in which a session must answer a call.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// The same for slow calls: a start waits for its own timer and perhaps for another app's stop, a restream output for its provider.
const SLOW_CALL_LIMIT: Duration = Duration::from_secs(40);
/// Calls into sessions at a time.
const CALLS_MAX: usize = 65_536;
/// Attempts to deliver to a full shard inbox, and the pause between them.
const DELIVERIES: u32 = 20;
const DELIVERY_PAUSE: Duration = Duration::from_millis(10);

/// A place in [`Services::calls`]; given back when nobody waits any more.
struct Expected<'a> {
    cx: &'a Services,
    id: u64,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        lock(&self.cx.calls).remove(&self.id);
    }
}

/// Shared by all tasks of the outside thread.
pub(crate) struct Services {
    pub(crate) settings: RwLock<Arc<Settings>>,
    /// The settings at the start: keys that need a restart keep these values.
    pub(crate) started_with: Arc<Settings>,
    pub(crate) config_dir: PathBuf,
    pub(crate) reload: Reload,
    pub(crate) dropped_log_lines: fn() -> u64,
    pub(crate) shards: Mailboxes,
    pub(crate) clock: Clock,
    pub(crate) shared: Arc<Shared>,
    pub(crate) tokens: TokenKeys,
    pub(crate) writes: Writes,
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) removals: Removals,
    pub(crate) upstream: Upstream,
    pub(crate) weather: Forecasts,
    pub(crate) speech: Speech,
    pub(crate) apps: AppRecords,
    pub(crate) aggregate: Mutex<Aggregate>,
    pub(crate) rounds: Rounds,
    pub(crate) bodies: Bodies,
    pub(crate) memory: RestMemory,
    pub(crate) calls: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    pub(crate) next_call: AtomicU64,
}

impl Services {
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts a task that lasts as long as the process.
    pub(crate) fn keep<F>(
        self: &Arc<Self>,
        task: &'static str,
        run: impl Fn(Arc<Self>) -> F + Send + 'static,
    ) -> tokio::task::JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let cx = Arc::clone(self);
        lasting::keep(task, move || run(Arc::clone(&cx)))
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.apps.current()
    }

    pub(crate) fn unix_ms(&self) -> u64 {
        self.clock.now().unix_ms
    }

    /// `timestamp` of an answer.
    pub(crate) fn iso(&self) -> String {
        self.clock.now().iso().to_string()
    }

    /// Sends to a user's shard, waiting a little for room.
    pub(crate) async fn deliver_home(&self, user: &UserId, message: ToShard) -> bool {
        let shard = crate::base::ids::home_shard(user, self.shards.shards());
        self.deliver(shard, message).await
    }

    /// Sends to a shard, waiting a little for room. Says whether it was taken.
    pub(crate) async fn deliver(&self, shard: ShardId, mut message: ToShard) -> bool {
        for _ in 0..DELIVERIES {
            match self.shards.send(shard, message) {
                Ok(()) => return true,
                Err(Undelivered(back)) => message = back,
            }
            sleep(DELIVERY_PAUSE).await;
        }
        if let Some(more) = may(Line::InboxFull) {
            tracing::warn!(shard = shard.0, more, "shard-inbox-full");
        }
        false
    }

    /// Sends the same to every shard. Says whether all took it.
    pub(crate) async fn broadcast(&self, message: impl Fn() -> ToShard) -> bool {
        let mut all = true;
        for shard in 0..self.shards.shards() {
            all &= self.deliver(ShardId(shard), message()).await;
        }
        all
    }

    /// Answers an HTTP request. Says whether the answer was taken.
    pub(crate) async fn answer(&self, reply: ReplyTo, answer: Answer) -> bool {
        match reply.origin {
            Origin::Shard(shard) => {
                let id = reply.id;
                self.deliver(shard, ToShard::Reply { id, answer }).await
            }
            Origin::Outside => {
                self.resolve(reply.id, answer);
                true
            }
        }
    }

    /// A session answered a call of ours; late answers find nobody.
    pub(crate) fn resolve(&self, id: u64, answer: Answer) {
        if let Some(waiter) = lock(&self.calls).remove(&id) {
            let _ = waiter.send(answer);
        }
    }

    /// A place for one answer that a session or service will send.
    pub(crate) fn expect_answer(&self) -> Option<(ReplyTo, oneshot::Receiver<Answer>)> {
        let (sender, receiver) = oneshot::channel();
        let id = self.next_call.fetch_add(1, Ordering::Relaxed);
        let mut calls = lock(&self.calls);
        if calls.len() >= CALLS_MAX {
            return None;
        }
        calls.insert(id, sender);
        Some((
            ReplyTo {
                origin: Origin::Outside,
                id,
            },
            receiver,
        ))
    }

    /// Asks a user's live session; 503 `NO_ACTIVE_SESSION` when there is none or it does not answer.
    pub(crate) async fn call_session(&self, user: &UserId, call: Call) -> RestAnswer {
        let slow = matches!(
            call,
            Call::StartApp { .. }
                | Call::StopApp { .. }
                | Call::Outputs { .. }
                | Call::Recover { .. }
        );
        let Some((reply, answer)) = self.expect_answer() else {
            return RestAnswer::no_session();
        };
        let _expected = Expected {
            cx: self,
            id: reply.id,
        };
        let sent = self
            .deliver_home(
                user,
                ToShard::Call {
                    user: user.clone(),
                    reply,
                    call,
                },
            )
            .await;
        let limit = if slow { SLOW_CALL_LIMIT } else { CALL_LIMIT };
        let answered = if sent {
            timeout(limit, answer).await.ok().and_then(Result::ok)
        } else {
            None
        };
        match answered {
            Some(Answer::Whole(answer) | Answer::WithHeaders(answer, _)) => answer,
            _ => RestAnswer::no_session(),
        }
    }

    /// As [`Services::call_session`], where only success matters; `false` without a live session.
    pub(crate) async fn tell_session(&self, user: &UserId, call: Call) -> bool {
        (200..300).contains(&self.call_session(user, call).await.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::rest::testkit::{Kit, SILENCE};

    #[test]
    fn a_call_that_is_given_up_keeps_no_place() {
        Kit::run(|kit| async move {
            kit.session(|_| Some(SILENCE));
            let user = Kit::user();
            let call = kit.cx.call_session(&user, Call::Snapshot);
            let given_up = timeout(Duration::from_millis(1), call).await;
            assert!(given_up.is_err());
            assert!(lock(&kit.cx.calls).is_empty());
        });
    }
}
