//! Outside thread: takes messages of the shards in order and starts a bounded task for whatever must wait. A panic in a task
//! ends that task with an answer of 500, never the thread.

use super::context::Services;
use super::crowd::{Asker, Crowd};
use super::lines::{Line, may};
use super::rest;
use super::store::{Change, StoreError};
use super::upstream;
use crate::base::ids::{CallId, UserId};
use crate::session::effects::{HttpCall, HttpKind, IncidentLogs, RestAnswer, StoreOp};
use crate::session::event::{Event, HttpOutcome, StoreOutcome};
use crate::shard::mailbox::{Answer, ForUpstream, OutsideRequest, ToOutside, ToShard};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// REST requests being answered; beyond it 503.
const REQUESTS_MAX: u64 = 8192;
/// Requests that the fallback upstream answers, and logs of apps being stored; beyond it 503, or they are dropped.
const OTHERS_MAX: usize = 8192;
/// User records being read; beyond it the session starts with defaults.
const LOADS_MAX: usize = 16_384;
/// Messages taken before other tasks get their turn.
const TURN: u32 = 128;

struct Dispatcher {
    cx: Arc<Services>,
    requests: Crowd,
    others: Arc<Semaphore>,
    loads: Arc<Semaphore>,
}

/// Runs until all senders are gone.
pub(crate) async fn run(cx: Arc<Services>, inbox: flume::Receiver<ToOutside>) {
    let dispatcher = Dispatcher {
        cx,
        requests: Crowd::new(REQUESTS_MAX),
        others: Arc::new(Semaphore::new(OTHERS_MAX)),
        loads: Arc::new(Semaphore::new(LOADS_MAX)),
    };
    let mut taken = 0;
    while let Ok(message) = inbox.recv_async().await {
        dispatcher.step(message);
        taken += 1;
        if taken % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}

fn place(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(places).try_acquire_owned().ok()
}

/// What a message is about, for the log.
fn phase(message: &ToOutside) -> &'static str {
    match message {
        ToOutside::LoadUser { .. } => "user_load",
        ToOutside::Store { .. } => "store",
        ToOutside::Http { .. } | ToOutside::CancelHttp { .. } => "http",
        ToOutside::Request(_) | ToOutside::Reply { .. } => "rest",
        ToOutside::Report(_) => "report",
        ToOutside::AppLink(_) => "app_link",
        ToOutside::IncidentLogs { .. } => "incident_logs",
        ToOutside::Speech { .. } => "speech",
        ToOutside::Upstream(_) => "upstream",
    }
}

impl Dispatcher {
    /// One message. Everything else on this thread waits for it, so a slow one is logged.
    fn step(&self, message: ToOutside) {
        let phase = phase(&message);
        let begun_ns = self.cx.clock.mono_ns();
        if std::panic::catch_unwind(AssertUnwindSafe(|| self.take(message))).is_err() {
            tracing::error!(
                phase,
                "a message to the outside thread was lost to a defect"
            );
        }
        let took_ms = self.cx.clock.mono_ns().saturating_sub(begun_ns) / 1_000_000;
        if took_ms > 0 && took_ms >= self.cx.settings().observability.slow_phase_ms {
            tracing::warn!(phase, took_ms, "slow-phase");
        }
    }

    fn take(&self, message: ToOutside) {
        match message {
            ToOutside::LoadUser { user, epoch } => self.load(user, epoch),
            ToOutside::Store {
                user,
                epoch,
                op,
                ack,
            } => self.store(user, epoch, op, ack),
            ToOutside::Http { user, epoch, call } => self.http(user, epoch, call),
            ToOutside::CancelHttp {
                user,
                epoch,
                call,
                under_way,
            } => self.cx.webhooks.cancel(&(user, epoch, call), under_way),
            ToOutside::Request(request) => self.request(*request),
            ToOutside::Reply { id, answer } => self.cx.resolve(id, answer),
            ToOutside::Report(report) => super::metrics::take_report(&self.cx, *report),
            ToOutside::AppLink(link) => rest::registrations::sockets::note(&self.cx, &link),
            ToOutside::IncidentLogs { user, logs } => self.incident_logs(user, *logs),
            ToOutside::Speech { user, epoch, order } => {
                super::speech::take(&self.cx, user, epoch, order);
            }
            ToOutside::Upstream(request) => self.upstream(*request),
        }
    }

    fn result(&self, user: UserId, epoch: u64, event: Event) {
        let cx = Arc::clone(&self.cx);
        tokio::spawn(async move { tell(&cx, user, epoch, event).await });
    }

    fn load(&self, user: UserId, epoch: u64) {
        let Some(place) = place(&self.loads) else {
            return self.result(user, epoch, Event::UserLoaded { record: None });
        };
        let cx = Arc::clone(&self.cx);
        tokio::spawn(async move {
            let _place = place;
            let limit = Duration::from_millis(cx.settings().store.db_timeout_ms);
            // The read, and creating the user where there is none, together.
            let load = async {
                timeout(limit, rest::apps::user_record(&cx, &user))
                    .await
                    .unwrap_or(Err(StoreError::Timeout))
            };
            let loaded = AssertUnwindSafe(load).catch_unwind().await;
            let record = match loaded {
                Ok(Ok(record)) => Some(Box::new(record)),
                Ok(Err(error)) => {
                    if let Some(more) = may(Line::UserNotLoaded) {
                        tracing::error!(user = user.log_tag(), %error, more, "user record not loaded");
                    }
                    None
                }
                Err(_) => None,
            };
            tell(&cx, user, epoch, Event::UserLoaded { record }).await;
        });
    }

    fn store(&self, user: UserId, epoch: u64, op: StoreOp, ack: Option<CallId>) {
        let change = Change::Session(user.clone(), op);
        let Some(call) = ack else {
            if let Err(error) = self.cx.writes.submit(change)
                && let Some(more) = may(Line::WriteRefused)
            {
                tracing::warn!(user = user.log_tag(), %error, more, "store-write-refused");
            }
            return;
        };
        // Queued here, not in the task: order per user is the order of the inbox.
        let Ok(pending) = self.cx.writes.begin(change) else {
            let outcome = StoreOutcome::Failed;
            return self.result(user, epoch, Event::Stored { call, outcome });
        };
        let cx = Arc::clone(&self.cx);
        tokio::spawn(async move {
            let outcome = pending
                .wait()
                .await
                .map_or(StoreOutcome::Failed, |_| StoreOutcome::Done);
            tell(&cx, user, epoch, Event::Stored { call, outcome }).await;
        });
    }

    /// Nobody waits for an answer; too many at once are dropped like too many requests.
    fn incident_logs(&self, user: UserId, logs: IncidentLogs) {
        let Some(place) = place(&self.others) else {
            return;
        };
        let cx = Arc::clone(&self.cx);
        tokio::spawn(async move {
            let _place = place;
            if rest::incidents::from_socket(&cx, &user, &logs)
                .await
                .is_err()
            {
                tracing::debug!(user = user.log_tag(), package = %logs.package, "logs of no open incident");
            }
        });
    }

    fn http(&self, user: UserId, epoch: u64, call: HttpCall) {
        let cx = Arc::clone(&self.cx);
        let id = call.call;
        let key = (user.clone(), epoch, id);
        let removal = (call.kind == HttpKind::Removal).then(|| cx.removals.begin());
        let task = tokio::spawn({
            let key = key.clone();
            async move {
                let _removal = removal;
                let outcome = AssertUnwindSafe(outbound(&cx, call, key.clone()))
                    .catch_unwind()
                    .await;
                cx.webhooks.forget(&key);
                let outcome = outcome.unwrap_or_else(|_| HttpOutcome::Failed {
                    error: "internal error".into(),
                });
                tell(&cx, user, epoch, Event::Http { call: id, outcome }).await;
            }
        });
        self.cx.webhooks.track(key, task.abort_handle());
    }

    fn upstream(&self, request: ForUpstream) {
        let Some(place) = place(&self.others) else {
            tokio::spawn(upstream::refuse_busy(request));
            return;
        };
        let cx = Arc::clone(&self.cx);
        tokio::spawn(async move {
            let _place = place;
            upstream::serve(&cx, request).await;
        });
    }

    fn request(&self, request: OutsideRequest) {
        let cx = Arc::clone(&self.cx);
        let reply = request.reply;
        let asker = Asker::of(request.user.as_ref(), request.package.as_ref());
        let Some(place) = self.requests.enter(asker) else {
            let busy = RestAnswer {
                retry_after_s: Some(5),
                ..RestAnswer::json(503, r#"{"error":"Server is busy"}"#)
            };
            tokio::spawn(async move { cx.answer(reply, Answer::Whole(busy)).await });
            return;
        };
        tokio::spawn(async move {
            let _place = place;
            let _body = cx.bodies.hold(request.body.len());
            let answer = AssertUnwindSafe(rest::answer(&cx, &request)).catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(route = ?request.route, correlation_id = request.correlation_id, "a REST answer was lost to a defect");
                Answer::Whole(RestAnswer::json(500, r#"{"error":"Internal server error"}"#))
            });
            cx.answer(reply, answer).await;
        });
    }
}

/// Brings a session the result that it waits for.
async fn tell(cx: &Services, user: UserId, epoch: u64, event: Event) {
    let home = user.clone();
    cx.deliver_home(&home, ToShard::Result { user, epoch, event })
        .await;
}

/// One call of a session.
async fn outbound(cx: &Services, call: HttpCall, key: (UserId, u64, CallId)) -> HttpOutcome {
    match call.kind {
        HttpKind::Weather => {}
        HttpKind::Removal => {
            cx.webhooks.forget(&key);
            return cx.removals.run(cx, call).await;
        }
        _ => return cx.webhooks.call(call, Some(key)).await,
    }
    let (url, now_ms) = (call.url.clone(), cx.clock.now().mono_ms);
    let ask = cx.webhooks.call(call, None);
    let settings = cx.settings();
    cx.weather.ask(&url, &settings.dashboard, now_ms, ask).await
}
