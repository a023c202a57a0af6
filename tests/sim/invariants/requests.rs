//! Invariants 41 and 42: the location tier, and the outcome of requests.

use super::super::net::Down;
use super::media::TIERS;
use super::{View, Watch};
use prism::base::ids::ConnId;
use serde_json::Value;

/// Polls and playback that are older are forgotten (ms).
const OLD_MS: u64 = 31_000;
/// A turn of the shard and what may be between (ms).
const SLACK_MS: u64 = 1000;

/// What an app asked for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) user: String,
    pub(super) package: String,
    pub(super) kind: String,
    pub(super) conn: ConnId,
    /// The phone was there: a photo or a message without an outcome waits for it.
    pub(super) waits: bool,
    asked_ms: u64,
    /// Until when there must be an outcome (`mono_ms`); none is due for polls and playback.
    due_ms: Option<u64>,
    pub(super) outcomes: u32,
}

impl Watch {
    /// An attached app asks for something that has one outcome.
    pub(super) fn note_request(&mut self, conn: ConnId, message: &Value, view: &View<'_>) {
        let (id, within_ms) = match message["type"].as_str() {
            Some("photo_request") => (
                &message["requestId"],
                Some(view.cfg.device.photo_request_timeout_ms),
            ),
            Some("app_direct_message") => (
                &message["messageId"],
                Some(view.cfg.messages.direct_message_timeout_ms),
            ),
            Some("audio_play_request") => (&message["requestId"], None),
            Some("location_poll_request") => (&message["correlationId"], None),
            _ => return,
        };
        let Some(sock) = view.net.get(conn) else {
            return;
        };
        let session = view.session(&sock.user);
        let attached = session.is_some_and(|session| session.m.apps.by_conn(conn).is_some());
        if attached && self.is_slow(conn) {
            self.unheard.push((conn, view.now_ms));
        }
        if let Some(id) = id.as_str().filter(|_| attached && !self.is_slow(conn)) {
            let request = Request {
                user: sock.user.clone(),
                package: sock.package.clone(),
                kind: message["type"].as_str().unwrap_or_default().to_owned(),
                waits: session.is_some_and(|one| one.m.phone.open().is_some()),
                conn,
                asked_ms: view.now_ms,
                due_ms: within_ms.map(|ms| view.now_ms + ms + SLACK_MS),
                outcomes: 0,
            };
            self.requests.insert(id.to_owned(), request);
            self.before.asks = Some(id.to_owned());
        }
    }

    /// 42: at most one outcome.
    pub(super) fn invariant_42_one_outcome(&mut self, conn: ConnId, frame: &Down) {
        let Down::Text(message) = frame else {
            return;
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let id = match frame.kind() {
            "photo_response" | "audio_play_response" => text(&message["requestId"]),
            "app_direct_message_response" => text(&message["messageId"]),
            "data_stream" => text(&message["data"]["correlationId"]),
            "tpa_connection_error" => {
                // A refusal names no request: it is the answer to the frame just handled.
                let asked = self.before.asks.clone();
                asked.filter(|id| self.requests[id].conn == conn)
            }
            _ => None,
        };
        let Some(id) = id else { return };
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        request.outcomes += 1;
        if request.outcomes > 1 {
            let (user, text) = (request.user.clone(), format!("{id} was answered twice"));
            self.broken(42, "one outcome", &user, text);
        }
    }

    /// 42: a photo or a direct message always has an outcome while its app stays.
    pub(super) fn invariant_42_requests_end(&mut self, view: &View<'_>) {
        let now_ms = view.now_ms;
        let late = |request: &Request| now_ms > request.due_ms.unwrap_or(request.asked_ms + OLD_MS);
        let forgotten = self.requests.iter().find(|(_, request)| {
            let session = view.session(&request.user);
            let stays = session.is_some_and(|one| one.m.apps.by_conn(request.conn).is_some());
            let stays = stays && !self.is_slow(request.conn);
            request.due_ms.is_some() && request.outcomes == 0 && late(request) && stays
        });
        if let Some((id, request)) = forgotten.filter(|_| !self.draining) {
            let (user, text) = (request.user.clone(), format!("{id} has no outcome"));
            self.broken(42, "one outcome", &user, text);
        }
        self.requests.retain(|_, request| !late(request));
    }

    /// Remembers the tier a phone was told.
    pub(super) fn note_tier(&mut self, conn: ConnId, frame: &Down) {
        if let (Down::Text(message), "set_location_tier") = (frame, frame.kind()) {
            let tier = message["tier"].as_str().unwrap_or_default().to_owned();
            self.socks.entry(conn).or_default().tier = Some(tier);
        }
    }

    /// 41: the phone was told the strongest rate that an app wants.
    pub(super) fn invariant_41_tier(&mut self, user: &str, conn: ConnId) {
        let Some(known) = self.users.get(user) else {
            return;
        };
        let wanting = known.pairs.values().filter(|pair| pair.counts());
        let wanting = wanting.filter(|pair| pair.subs.contains("location_stream"));
        let strongest = wanting.map(|pair| pair.rate).max();
        let effective = TIERS[strongest.unwrap_or(0)];
        let own = self.socks.entry(conn).or_default();
        let told = own.tier.as_deref().unwrap_or("reduced");
        if told != effective {
            let text = format!("{conn:?} was told {told}, effective is {effective}");
            self.broken(41, "location tier", user, text);
        }
    }
}
