//! Invariant 42 where many ask at once: what waits for an answer is bounded, and nobody is refused, or has to give way, for what
//! others keep waiting: an app may have half of what they leave (config.yaml: `photo_requests_max`, `direct_messages_max`), or it
//! is the one with most that gives way (`audio_play_map_max`).

use super::super::net::Down;
use super::requests::Request;
use super::{Cause, Seen, View, Watch};
use prism::base::ids::ConnId;
use prism::session::rest::Call;
use std::collections::BTreeMap;

/// What was asked for longer ago is over (ms).
const OVER_MS: u64 = 31_000;

impl Watch {
    /// A photo for the phone itself, which counts beside those of apps.
    pub(super) fn note_own_photo(&mut self, user: &str, cause: &Cause) {
        if let Cause::Rest(_, _, Call::MiniappPhoto { .. } | Call::SystemPhoto { .. }) = cause {
            self.own_photos.push((user.to_owned(), self.now_ms));
        }
    }

    pub(super) fn invariant_42_shares(&mut self, seen: &[Seen], view: &View<'_>) {
        // Nothing that is asked for during a shutdown waits for anything.
        if self.draining {
            return;
        }
        for one in seen {
            let Seen::Sent(conn, Down::Text(message)) = one else {
                continue;
            };
            let text = message.to_string();
            let asked = self
                .before
                .asks
                .as_ref()
                .and_then(|id| self.requests.get_key_value(id));
            let asked = asked.filter(|(_, request)| request.conn == *conn);
            if text.contains("Too many pending photo") || text.contains("Too many unconfirmed") {
                let Some((id, request)) = asked else { continue };
                let (id, user) = (id.clone(), request.user.clone());
                let is_photo = request.kind == "photo_request";
                let most = if is_photo {
                    self.storms.seen.photos += 1;
                    view.cfg.device.photo_requests_max
                } else {
                    self.storms.seen.messages += 1;
                    view.cfg.messages.direct_messages_max
                };
                self.nobody_is_refused_too_early(&id, &user, most);
            } else if message["error"] == "Superseded" {
                let id = message["requestId"].as_str().unwrap_or_default().to_owned();
                self.storms.seen.plays += 1;
                self.who_has_most_gives_way(&id, view);
            }
        }
        self.never_more_than_the_bound(view);
    }

    /// Everything of a kind of a user that may still wait.
    fn waiting<'a>(&'a self, user: &'a str, kind: &'a str) -> impl Iterator<Item = &'a Request> {
        let all = self.requests.values();
        all.filter(move |one| one.user == user && one.kind == kind && one.outcomes == 0)
    }

    fn nobody_is_refused_too_early(&mut self, id: &str, user: &str, most: u64) {
        let Some(refused) = self.requests.get(id) else {
            return;
        };
        let unheard = |row: &(ConnId, u64)| row.0 == refused.conn && self.now_ms <= row.1 + OVER_MS;
        if self.unheard.iter().any(unheard) {
            return;
        }
        let own = self
            .waiting(user, &refused.kind)
            .filter(|one| one.package == refused.package);
        let own = own.count() as u64;
        let mut all = self.waiting(user, &refused.kind).count() as u64;
        if refused.kind == "photo_request" {
            let recent = |row: &&(String, u64)| row.0 == user && self.now_ms <= row.1 + OVER_MS;
            all += self.own_photos.iter().filter(recent).count() as u64;
        }
        if own < most.saturating_sub(all) {
            let text =
                format!("{id} was refused, though {own} of {all} that wait are its, of {most}");
            self.broken(42, "fair shares", user, text);
        }
    }

    fn who_has_most_gives_way(&mut self, id: &str, view: &View<'_>) {
        let Some(gone) = self.requests.get(id) else {
            return;
        };
        let user = gone.user.clone();
        let of = |package: &str| {
            let own = self
                .waiting(&user, &gone.kind)
                .filter(|one| one.package == package);
            own.count()
        };
        // It has its outcome already.
        let own = of(&gone.package) + 1;
        let stays = |one: &&Request| {
            let session = view.session(&one.user);
            session.is_some_and(|session| session.m.apps.by_conn(one.conn).is_some())
        };
        let others = self.waiting(&user, &gone.kind).filter(stays);
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for one in others.filter(|one| one.package != gone.package) {
            *counts.entry(&one.package).or_default() += 1;
        }
        let more = counts
            .into_iter()
            .map(|(package, count)| (count, package.to_owned()));
        if let Some((count, package)) = more.max().filter(|row| row.0 > own) {
            let text = format!("{id} gave way, one of {own}, though {package} has {count}");
            self.broken(42, "fair shares", &user, text);
        }
    }

    /// What was just accepted is within the bound.
    fn never_more_than_the_bound(&mut self, view: &View<'_>) {
        let asked = self
            .before
            .asks
            .as_ref()
            .and_then(|id| self.requests.get(id));
        let Some(asked) = asked.filter(|one| one.outcomes == 0 && one.waits) else {
            return;
        };
        let most = match asked.kind.as_str() {
            "photo_request" => view.cfg.device.photo_requests_max,
            "app_direct_message" => view.cfg.messages.direct_messages_max,
            _ => return,
        };
        let (user, kind) = (asked.user.clone(), asked.kind.clone());
        let package = asked.package.clone();
        let stays = |one: &&Request| {
            let session = view.session(&one.user);
            one.waits && session.is_some_and(|session| session.m.apps.by_conn(one.conn).is_some())
        };
        let all = self.waiting(&user, &kind).filter(stays).count() as u64;
        let own = self
            .waiting(&user, &kind)
            .filter(|one| one.package == package);
        let own = own.filter(stays).count() as u64;
        // With itself: no more than half of what the others leave.
        if all > most || own + all > most + 1 {
            let text = format!("{own} of {all} that wait are {package}'s, of {most}: {kind}");
            self.broken(42, "fair shares", &user, text);
        }
    }
}
