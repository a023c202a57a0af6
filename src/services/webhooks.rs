//! Outside thread: the HTTP client for webhooks, tools and providers. One attempt a call: retries belong to the caller. It
//! follows no redirect, reads at most 256 KiB of an answer, and bounds what runs and what waits, in all, per origin and per user.

use super::addresses::{REFUSED, Reach, is_public};
use super::lock::lock;
use super::outbound;
use crate::base::clock::Clock;
use crate::base::ids::{CallId, UserId};
use crate::base::metrics::Latency;
use crate::base::settings::Settings;
use crate::session::effects::{HttpCall, HttpKind, HttpMethod, UnderWay};
use crate::session::event::HttpOutcome;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Bytes of an answer that are read; the rest is left on the socket, which is then closed.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Idle connections kept per origin.
const IDLE_PER_HOST: usize = 16;
/// One origin may hold this part of all running calls, so that a hanging app server does not stop the others.
const ORIGIN_SHARE: usize = 4;
/// Calls for one user may hold this part of all running calls, which is half of an origin's, so that a user whose app servers all
/// hang does not stop those of others.
const USER_SHARE: usize = 8;
/// They may always hold so many, if there are as many: so many apps a session restarts at a time.
const USER_LEAST: usize = 4;
/// Beyond so many origins, or users, those without a call are forgotten.
const SHARES_KEPT: usize = 4096;
/// Calls that anybody's request causes may hold this part of a user's and an origin's places, and of all: apps start however many are
/// asked for.
const ASKED_SHARE: usize = 2;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("invalid URL or header")]
    Invalid,
    #[error("{REFUSED}")]
    Blocked,
    #[error("timed out")]
    Timeout,
    #[error("too many outbound calls are waiting")]
    Full,
    #[error("{0}")]
    Failed(String),
}

impl FetchError {
    fn label(&self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Blocked => "blocked",
            Self::Timeout => "timeout",
            Self::Full => "full",
            Self::Failed(_) => "failed",
        }
    }
}

type CallKey = (UserId, u64, CallId);
/// A place among the calls for one user, among those to one origin, and among all; of calls that were asked for, those among their kind
/// too.
type Places = SmallVec<[OwnedSemaphorePermit; 6]>;

/// Places of one origin, or of one user.
#[derive(Clone)]
struct Share {
    all: Arc<Semaphore>,
    asked: Arc<Semaphore>,
}

impl Share {
    fn new(places: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(places)),
            asked: Arc::new(Semaphore::new(asked_share(places))),
        }
    }

    /// Whether somebody has a place, or waits for one: they hold it.
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.all) > 1 || Arc::strong_count(&self.asked) > 1
    }
}

/// Places by whose they are.
struct Shares<K> {
    places: usize,
    known: Mutex<Known<K>>,
}

struct Known<K> {
    of: HashMap<K, Share>,
    /// At so many those without a call are forgotten.
    sweep_at: usize,
}

impl<K: Eq + Hash> Shares<K> {
    fn new(places: usize) -> Self {
        let known = Known {
            of: HashMap::new(),
            sweep_at: SHARES_KEPT,
        };
        Self {
            places,
            known: Mutex::new(known),
        }
    }

    fn of(&self, whose: K) -> Share {
        let mut known = lock(&self.known);
        if known.of.len() >= known.sweep_at {
            known.of.retain(|_, share| share.is_used());
            // When all are in use, not at every call anew.
            known.sweep_at = SHARES_KEPT.max(2 * known.of.len());
        }
        let share = known.of.entry(whose);
        share.or_insert_with(|| Share::new(self.places)).clone()
    }
}

fn asked_share(places: usize) -> usize {
    (places / ASKED_SHARE).max(1)
}

/// A call that may be cancelled.
struct Open {
    task: AbortHandle,
    started: bool,
    /// Held from its start; given back at its end, or sooner when nobody needs its answer.
    places: Option<Places>,
}

/// Cumulative durations by kind and result.
type Timings = BTreeMap<(&'static str, &'static str), Latency>;

/// The client; one per process.
pub(crate) struct Webhooks {
    client: outbound::Client<Full<Bytes>>,
    reach: Reach,
    clock: Clock,
    running: Arc<Semaphore>,
    /// Of them those that were asked for.
    asked: Arc<Semaphore>,
    origins: Shares<String>,
    users: Shares<UserId>,
    queue_max: u64,
    waiting: AtomicU64,
    open: Mutex<HashMap<CallKey, Open>>,
    timings: Mutex<Timings>,
}

impl Webhooks {
    pub(crate) fn new(settings: &Settings, clock: Clock) -> Self {
        let apps = &settings.apps;
        let reach = if apps.webhook_private_addresses {
            Reach::All
        } else {
            Reach::Public
        };
        let limit = Duration::from_millis(apps.webhook_timeout_ms);
        let client = outbound::client(outbound::connector(reach, Some(limit)), IDLE_PER_HOST);
        let concurrency = apps.webhook_concurrency as usize;
        Self {
            client,
            reach,
            clock,
            running: Arc::new(Semaphore::new(concurrency)),
            asked: Arc::new(Semaphore::new(asked_share(concurrency))),
            origins: Shares::new((concurrency / ORIGIN_SHARE).max(1)),
            users: Shares::new((concurrency / USER_SHARE).max(USER_LEAST)),
            queue_max: apps.webhook_queue_max,
            waiting: AtomicU64::new(0),
            open: Mutex::default(),
            timings: Mutex::default(),
        }
    }

    /// Remembers how to cancel a call; [`Webhooks::forget`] is due when it is over.
    pub(crate) fn track(&self, key: CallKey, task: AbortHandle) {
        if !task.is_finished() {
            let call = Open {
                task,
                started: false,
                places: None,
            };
            lock(&self.open).insert(key, call);
        }
    }

    /// Stops a call, unless it has started and may go on. One that goes on gives its permits back: app servers answer only when the
    /// developer's code for the new session has run, and other calls wait.
    pub(crate) fn cancel(&self, key: &CallKey, under_way: UnderWay) {
        let mut open = lock(&self.open);
        let Some(call) = open.get_mut(key) else {
            return;
        };
        if call.started && under_way == UnderWay::GoesOn {
            call.places = None;
        } else if let Some(call) = open.remove(key) {
            call.task.abort();
        }
    }

    /// Forgets a call that is over.
    pub(crate) fn forget(&self, key: &CallKey) {
        lock(&self.open).remove(key);
    }

    /// One attempt for a session; what cancels it by `key` learns when it starts. Without a key it is nobody's.
    pub(crate) async fn call(&self, call: HttpCall, key: Option<CallKey>) -> HttpOutcome {
        let user = key.as_ref().map(|(user, ..)| user.clone());
        self.run(call, user, key).await
    }

    /// One attempt for a user, which nothing cancels.
    pub(crate) async fn call_for(&self, call: HttpCall, user: &UserId) -> HttpOutcome {
        self.run(call, Some(user.clone()), None).await
    }

    async fn run(&self, call: HttpCall, user: Option<UserId>, key: Option<CallKey>) -> HttpOutcome {
        let kind = call.kind;
        let limit = Duration::from_millis(call.timeout_ms);
        let request = request_of(call);
        let started = |places| {
            if let Some(key) = &key
                && let Some(call) = lock(&self.open).get_mut(key)
            {
                call.started = true;
                call.places = Some(places);
                return None;
            }
            Some(places)
        };
        let result = match request {
            Some(request) => self.fetch((kind, user), request, limit, started).await,
            None => Err(FetchError::Invalid),
        };
        match result {
            Ok(answer) => HttpOutcome::Answer {
                status: answer.status().as_u16(),
                retry_after_s: answer
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|value| value.to_str().ok()?.trim().parse().ok()),
                body: answer.into_body(),
            },
            Err(error) => HttpOutcome::Failed {
                error: error.to_string(),
            },
        }
    }

    /// One request with its whole time limit, waiting for a free place included. `started` may keep its places.
    async fn fetch(
        &self,
        (kind, user): (HttpKind, Option<UserId>),
        request: Request<Full<Bytes>>,
        limit: Duration,
        started: impl FnOnce(Places) -> Option<Places>,
    ) -> Result<Response<Bytes>, FetchError> {
        let begun = self.clock.mono_ns();
        let attempt = self.attempt((kind, user), request, started);
        let result = match timeout(limit, attempt).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::Timeout),
        };
        let outcome = match &result {
            Ok(answer) if answer.status().is_success() => "ok",
            Ok(_) => "http_error",
            Err(error) => error.label(),
        };
        lock(&self.timings)
            .entry((label(kind), outcome))
            .or_default()
            .record(self.clock.mono_ns() - begun);
        result
    }

    async fn attempt(
        &self,
        (kind, user): (HttpKind, Option<UserId>),
        request: Request<Full<Bytes>>,
        started: impl FnOnce(Places) -> Option<Places>,
    ) -> Result<Response<Bytes>, FetchError> {
        self.check(request.uri())?;
        let _places = started(self.place(kind, user, request.uri()).await?);
        let answer = self
            .client
            .request(request)
            .await
            .map_err(|error| cause(&error))?;
        let (head, mut body) = answer.into_parts();
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| FetchError::Failed(error.to_string()))?;
            if let Some(data) = frame.data_ref() {
                let room = ANSWER_BYTES_MAX - read.len();
                read.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() >= room {
                    break;
                }
            }
        }
        Ok(Response::from_parts(head, read.freeze()))
    }

    fn check(&self, uri: &Uri) -> Result<(), FetchError> {
        let host = uri.host().ok_or(FetchError::Invalid)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(FetchError::Invalid);
        }
        // The connector does not ask the resolver about address literals.
        let literal = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok();
        match literal {
            Some(address) if self.reach == Reach::Public && !is_public(address) => {
                Err(FetchError::Blocked)
            }
            _ => Ok(()),
        }
    }

    /// Places of a user come first: who waits for one of those holds no place of others.
    async fn place(
        &self,
        kind: HttpKind,
        user: Option<UserId>,
        uri: &Uri,
    ) -> Result<Places, FetchError> {
        let asked_for = is_asked_for(kind);
        let authority = uri.authority().map(ToString::to_string);
        let of_user = user.map(|user| self.users.of(user));
        let of_origin = self.origins.of(authority.unwrap_or_default());
        let of_all = Share {
            all: Arc::clone(&self.running),
            asked: Arc::clone(&self.asked),
        };
        let waiting = Waiting::enter(&self.waiting, self.queue_max).ok_or(FetchError::Full)?;
        let mut places = Places::new();
        let mut enter = async |among: Arc<Semaphore>| {
            let place = among.acquire_owned().await.map_err(|_| FetchError::Full)?;
            places.push(place);
            Ok(())
        };
        if let Some(of_user) = of_user {
            if asked_for {
                enter(of_user.asked).await?;
            }
            enter(of_user.all).await?;
        }
        if asked_for {
            enter(of_origin.asked).await?;
            enter(of_all.asked).await?;
        }
        enter(of_origin.all).await?;
        enter(of_all.all).await?;
        drop(waiting);
        Ok(places)
    }

    /// Durations so far, by kind and result.
    pub(crate) fn timings(&self) -> Timings {
        lock(&self.timings).clone()
    }
}

/// One waiting call in the count; leaves it when dropped, cancelled calls included.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicU64, max: u64) -> Option<Self> {
        let entered = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < max).then_some(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn label(kind: HttpKind) -> &'static str {
    match kind {
        HttpKind::SessionRequest => "session_request",
        HttpKind::StopRequest => "stop_request",
        HttpKind::Settings => "settings",
        HttpKind::Tool => "tool",
        HttpKind::Provider | HttpKind::Removal => "provider",
        HttpKind::Weather => "weather",
        HttpKind::Ranking => "ranking",
        HttpKind::Health => "health",
    }
}

/// Whether a call is made because somebody asked by REST, as often as they like.
fn is_asked_for(kind: HttpKind) -> bool {
    matches!(kind, HttpKind::Tool | HttpKind::Settings | HttpKind::Health)
}

fn request_of(call: HttpCall) -> Option<Request<Full<Bytes>>> {
    let method = match call.method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Delete => Method::DELETE,
    };
    let mut request = Request::builder().method(method).uri(call.url.as_str());
    if !call.body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let mut request = request
        .header(USER_AGENT, concat!("prism/", env!("CARGO_PKG_VERSION")))
        .header("traceparent", traceparent())
        .body(Full::new(call.body))
        .ok()?;
    for (name, value) in call.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        request
            .headers_mut()
            .insert(name, HeaderValue::from_str(&value).ok()?);
    }
    Some(request)
}

/// A fresh W3C trace context, not sampled: it lets an app server's log name the call.
fn traceparent() -> String {
    let (trace, span) = (fastrand::u128(1..), fastrand::u64(1..));
    format!("00-{trace:032x}-{span:016x}-00")
}

fn cause(error: &hyper_util::client::legacy::Error) -> FetchError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if inner_text.contains(REFUSED) {
            return FetchError::Blocked;
        }
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    FetchError::Failed(text)
}

#[cfg(test)]
mod tests;
