//! Invariants 41 and 42: the location tier, and the outcome of requests.

use super::super::net::Down;
use super::{View, Watch};
use prism::base::ids::ConnId;
use serde_json::Value;

/// A photo without an answer fails after 30 s; a turn of the shard more (ms).
const PHOTO_MS: u64 = 31_000;

/// What an app asked for.
#[derive(Debug)]
pub(super) struct Request {
    user: String,
    conn: ConnId,
    asked_ms: u64,
    is_photo: bool,
    outcomes: u32,
}

impl Watch {
    /// An attached app asks for something that has one outcome.
    pub(super) fn note_request(&mut self, conn: ConnId, message: &Value, view: &View<'_>) {
        let (id, is_photo) = match message["type"].as_str() {
            Some("photo_request") => (&message["requestId"], true),
            Some("audio_play_request") => (&message["requestId"], false),
            Some("location_poll_request") => (&message["correlationId"], false),
            _ => return,
        };
        let Some(sock) = view.net.get(conn) else {
            return;
        };
        let session = view.session(&sock.user);
        let attached = session.is_some_and(|session| session.m.apps.by_conn(conn).is_some());
        if let Some(id) = id.as_str().filter(|_| attached) {
            let request = Request {
                user: sock.user.clone(),
                conn,
                asked_ms: view.now_ms,
                is_photo,
                outcomes: 0,
            };
            self.requests.insert(id.to_owned(), request);
        }
    }

    /// 42: at most one outcome.
    pub(super) fn invariant_42_one_outcome(&mut self, conn: ConnId, frame: &Down) {
        let Down::Text(message) = frame else {
            return;
        };
        let id = match frame.kind() {
            "photo_response" | "audio_play_response" => message["requestId"].as_str(),
            "data_stream" => message["data"]["correlationId"].as_str(),
            "tpa_connection_error" => {
                // A refusal names no request: it is the answer to the frame just handled.
                let now_ms = self.now_ms;
                let asked = self.requests.values_mut();
                let own = asked.filter(|one| one.conn == conn && one.asked_ms == now_ms);
                own.for_each(|one| one.outcomes += 1);
                return;
            }
            _ => None,
        };
        let Some((id, request)) = id.and_then(|id| Some((id, self.requests.get_mut(id)?))) else {
            return;
        };
        request.outcomes += 1;
        if request.outcomes > 1 {
            let (user, text) = (request.user.clone(), format!("{id} was answered twice"));
            self.broken(42, "one outcome", &user, text);
        }
    }

    /// 42: a photo always has an outcome while its app stays.
    pub(super) fn invariant_42_photos_end(&mut self, view: &View<'_>) {
        let now_ms = view.now_ms;
        let late = |request: &Request| now_ms > request.asked_ms + PHOTO_MS;
        let forgotten = self.requests.iter().find(|(_, request)| {
            let session = view.session(&request.user);
            let stays = session.is_some_and(|one| one.m.apps.by_conn(request.conn).is_some());
            request.is_photo && request.outcomes == 0 && late(request) && stays
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

    /// 41: the phone was told the strongest rate that an app wants; of this world's apps that is `high`.
    pub(super) fn invariant_41_tier(&mut self, user: &str, conn: ConnId) {
        let Some(known) = self.users.get(user) else {
            return;
        };
        let wanted = known
            .pairs
            .values()
            .any(|pair| pair.counts() && pair.subs.contains("location_stream"));
        let effective = if wanted { "high" } else { "reduced" };
        let own = self.socks.entry(conn).or_default();
        let told = own.tier.as_deref().unwrap_or("reduced");
        if told != effective {
            let text = format!("{conn:?} was told {told}, effective is {effective}");
            self.broken(41, "location tier", user, text);
        }
    }
}
