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
/// Requests that the fallback upstream answers; beyond it 503, and before it for an address that has as many as are free.
const UPSTREAM_MAX: u64 = 8192;
/// Logs of apps being stored (bytes), of which each counts as [`LOGS_LEAST`] at least; beyond it, and for an app that has as many as are
/// free, they are dropped. While the store is away each waits for `db_timeout_ms`.
const LOGS_BYTES_MAX: u64 = 32 << 20;
const LOGS_LEAST: u64 = 4096;
/// User records being read; beyond it the session starts with defaults.
const LOADS_MAX: usize = 16_384;
/// Messages taken before other tasks get their turn.
const TURN: u32 = 128;

struct Dispatcher {
    cx: Arc<Services>,
    requests: Crowd,
    upstream: Crowd,
    logs: Crowd,
    loads: Arc<Semaphore>,
}

/// Runs until all senders are gone.
pub(crate) async fn run(cx: Arc<Services>, inbox: flume::Receiver<ToOutside>) {
    let dispatcher = Dispatcher::new(cx);
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
    fn new(cx: Arc<Services>) -> Self {
        Self {
            cx,
            requests: Crowd::new(REQUESTS_MAX),
            upstream: Crowd::new(UPSTREAM_MAX),
            logs: Crowd::new(LOGS_BYTES_MAX),
            loads: Arc::new(Semaphore::new(LOADS_MAX)),
        }
    }

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

    /// Nobody waits for an answer; too much at once is dropped.
    fn incident_logs(&self, user: UserId, logs: IncidentLogs) {
        let (app, bytes) = (Asker::App(logs.package.clone()), logs.logs.len());
        let place = self.logs.enter_with(app, LOGS_LEAST.max(bytes as u64));
        let Some(place) = place else {
            if let Some(more) = may(Line::IncidentLogsDropped) {
                tracing::warn!(user = user.log_tag(), package = %logs.package, bytes, more, "incident-logs-dropped");
            }
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
        let Some(place) = self.upstream.enter(Asker::at(request.peer)) else {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Package;
    use crate::base::log_capture::lines_of;
    use crate::base::settings::Settings;
    use crate::services::rest::testkit::{APP, Kit, USER};
    use crate::services::store::DocKey;
    use crate::shard::mailbox::OutsideRoute as Route;
    use crate::wire::http::{HeadStatus, parse_head};
    use bytes::BytesMut;
    use serde_json::{Value, json};
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    /// Sources of the logs that are stored with an incident.
    async fn sources(kit: &Kit, id: &str) -> Vec<String> {
        let incident = kit.cx.writes.read::<Value>(DocKey::incident(id)).await;
        let incident = incident.expect("reads").expect("stored");
        let logs = incident["logs"].as_array().expect("a list").iter();
        logs.map(|entry| entry["source"].as_str().expect("a text").to_owned())
            .collect()
    }

    #[test]
    fn logs_of_one_app_take_no_memory_without_end_and_leave_room_for_those_of_others() {
        let lines = lines_of(|| {
            Kit::run(|kit| async move {
                let feedback = json!({"feedback": {"type": "bug"}});
                let (_, body) = kit.client(Route::Incident, "POST", &[], feedback).await;
                let id = body["incidentId"].as_str().expect("an id");
                let dispatcher = Dispatcher {
                    logs: Crowd::new(64 << 10),
                    ..Dispatcher::new(Arc::clone(&kit.cx))
                };
                let send = |package: &str| {
                    let logs = IncidentLogs {
                        incident_id: id.to_owned(),
                        package: Package::new(package),
                        logs: format!("[\"{}\"]", "x".repeat((8 << 10) - 4)),
                    };
                    let (user, logs) = (UserId::new(USER), Box::new(logs));
                    dispatcher.step(ToOutside::IncidentLogs { user, logs });
                };
                for _ in 0..10 {
                    send(APP);
                }
                send("com.acme.other");
                while sources(&kit, id).await.len() < 5 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                // What is stored makes room.
                send(APP);
                while sources(&kit, id).await.len() < 6 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let stored = sources(&kit, id).await;
                let others = stored.iter().filter(|from| *from == "app:com.acme.other");
                assert_eq!((stored.len(), others.count()), (6, 1), "{stored:?}");
            });
        });
        let dropped = lines
            .iter()
            .filter(|line| line.contains("incident-logs-dropped"));
        assert_eq!(dropped.count(), 1, "once a second: {lines:?}");
    }

    #[test]
    fn one_address_leaves_places_at_the_server_behind_to_others() {
        let hangs = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        hangs.set_nonblocking(true).expect("set");
        let upstream = format!("http://{}", hangs.local_addr().expect("bound"));
        let behind = |settings: &mut Settings| settings.http.fallback_upstream = upstream;
        Kit::run_with(behind, |kit| async move {
            let dispatcher = Dispatcher {
                upstream: Crowd::new(4),
                ..Dispatcher::new(Arc::clone(&kit.cx))
            };
            let door = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            let ask = async |peer: [u8; 4]| {
                let address = door.local_addr().expect("bound");
                let client = TcpStream::connect(address).await.expect("connects");
                let (accepted, _) = door.accept().await.expect("accepted");
                let connection = accepted.into_std().expect("a socket").into();
                let text = b"GET /old HTTP/1.1\r\nHost: x\r\n\r\n";
                let Ok(HeadStatus::Complete { head, .. }) = parse_head(text) else {
                    panic!("a head");
                };
                let request = ForUpstream {
                    connection,
                    head,
                    early: BytesMut::new(),
                    peer: peer.into(),
                    request_id: "test".into(),
                };
                dispatcher.step(ToOutside::Upstream(Box::new(request)));
                client
            };
            let refused = async |mut client: TcpStream| {
                let mut answer = Vec::new();
                client.read_to_end(&mut answer).await.expect("readable");
                answer.starts_with(b"HTTP/1.1 503 ")
            };
            let _first = (ask([10, 0, 0, 1]).await, ask([10, 0, 0, 1]).await);
            assert!(refused(ask([10, 0, 0, 1]).await).await, "it has half");
            let _second = ask([10, 0, 0, 2]).await;
            assert!(refused(ask([10, 0, 0, 2]).await).await, "half of the rest");
            // All others were passed on.
            let hangs = TcpListener::from_std(hangs).expect("a listener");
            for _ in 0..3 {
                hangs.accept().await.expect("asked");
            }
        });
    }
}
