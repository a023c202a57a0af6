//! Invariants 26–28 and 43: what is needed of the microphone, what the phone was told, and what says nothing.

use super::super::net::Down;
use super::records::granted_of;
use super::{Seen, View, Watch};
use prism::base::ids::ConnId;
use prism::base::settings::Settings;
use prism::session::State;
use prism::session::event::Sdk;
use serde_json::Value;
use std::collections::BTreeSet;

/// Tiers from weakest to strongest, as far as this world knows them.
pub(super) const TIERS: [&str; 4] = ["reduced", "kilometer", "standard", "high"];

/// The place of the last location stream's rate among the tiers; none and an unknown one count as `standard`.
fn rate_of(list: &[Value]) -> usize {
    let mut streams = list
        .iter()
        .filter(|item| item["stream"] == "location_stream");
    let rate = streams.next_back().and_then(|item| item["rate"].as_str());
    let place = TIERS.iter().position(|tier| Some(*tier) == rate);
    place.unwrap_or(2)
}

/// A turn of the shard beside the hold-down and both debounces (ms).
const SLACK_MS: u64 = 200;

fn settling_ms(cfg: &Settings) -> u64 {
    let own = &cfg.microphone;
    own.mic_off_holddown_ms + own.mic_debounce_ms + own.mic_subscription_debounce_ms
}

impl Watch {
    /// Remembers what the phone was told of its microphone.
    pub(super) fn note_microphone(&mut self, conn: ConnId, frame: &Down, view: &View<'_>) {
        let Down::Text(message) = frame else {
            return;
        };
        let Some(sock) = view.net.get(conn) else {
            return;
        };
        if message["type"] != "microphone_state_change" {
            return;
        }
        let on = message["isMicrophoneEnabled"] == true;
        let own = self.socks.entry(conn).or_default();
        let changed = own.mic.replace(on).is_some_and(|old| old != on);
        if changed && view.is_timely(conn) {
            self.invariant_28_changes_are_apart(&sock.user.clone(), view);
        }
    }

    /// 28: two changes of mind are at least the debounce apart, unless something forces the second.
    fn invariant_28_changes_are_apart(&mut self, user: &str, view: &View<'_>) {
        let Some(known) = self.users.get(user) else {
            return;
        };
        let last_ms = known.mic_changes.last().copied().unwrap_or(0);
        let debounce_ms = self.least(last_ms, |cfg| cfg.microphone.mic_debounce_ms);
        let Some(known) = self.users.get_mut(user) else {
            return;
        };
        known.mic_changes.push(view.now_ms);
        let gap_ms = view.now_ms - last_ms;
        let forced = known.forced_ms + 200 >= last_ms;
        if gap_ms < debounce_ms && !forced {
            let text = format!("the microphone changed twice within {gap_ms} ms");
            self.broken(28, "microphone debounce", user, text);
        }
    }

    pub(super) fn look_at_media(&mut self, user: &str, view: &View<'_>) {
        let Some(session) = view.session(user) else {
            return;
        };
        let Some(known) = self.users.get_mut(user) else {
            return;
        };
        let mut counting = known.pairs.values().filter(|pair| pair.counts());
        let need = counting.any(|pair| {
            pair.subs.iter().any(|name| {
                name == "audio_chunk"
                    || name.starts_with("transcription")
                    || name.starts_with("translation")
            })
        });
        let since_ms = known.need_since_ms.max(known.current_since_ms);
        let current = known.current;
        let settled_ms = since_ms + self.most(since_ms, settling_ms) + SLACK_MS;
        let computed = session.m.microphone.need().media();
        if session.state == State::Connected
            && let Some(conn) = current.filter(|conn| view.is_timely(*conn))
        {
            self.invariant_41_tier(user, conn);
        }
        if session.state == State::Connected && view.now_ms > settled_ms {
            self.invariant_26_need_is_recomputed(user, need, computed);
            if let Some(conn) = current.filter(|conn| view.is_timely(*conn)) {
                self.invariant_27_phone_knows(user, conn, need, view);
            }
        }
        if let Some(conn) = current {
            self.invariant_46_dead_sockets_go(user, conn, view);
        }
    }

    /// Any change of any set starts the hold-down anew (§4.2), but a list that says the same again does not (§2.6).
    pub(super) fn sets_changed(&mut self, user: &str) {
        let now_ms = self.now_ms;
        if let Some(known) = self.users.get_mut(user) {
            known.need_since_ms = now_ms;
        }
    }

    /// 26: the cached need is what the stored sets say.
    fn invariant_26_need_is_recomputed(&mut self, user: &str, need: bool, computed: bool) {
        if need != computed {
            let text = format!("the microphone is needed: {need}, cached: {computed}");
            self.broken(26, "needs are recomputed", user, text);
        }
    }

    /// 27: at rest, the phone was told what is needed.
    fn invariant_27_phone_knows(&mut self, user: &str, conn: ConnId, need: bool, view: &View<'_>) {
        let told = self
            .socks
            .get(&conn)
            .and_then(|own| own.mic)
            .unwrap_or(false);
        let open = view.net.get(conn).is_some_and(|sock| sock.is_open());
        if told != need && open && !self.draining {
            let text = format!("{conn:?} was told {told}, needed is {need}");
            self.broken(27, "the phone knows", user, text);
        }
    }

    /// A subscription list reached the server: what must be stored afterwards.
    pub(super) fn model_subscriptions(&mut self, conn: ConnId, message: &Value, view: &View<'_>) {
        let Some(list) = message["subscriptions"].as_array() else {
            return;
        };
        let Some(sock) = view.net.get(conn).filter(|sock| sock.is_open()) else {
            return;
        };
        let attached = view
            .session(&sock.user)
            .and_then(|session| session.m.apps.by_conn(conn));
        let Some(app) = attached else {
            return;
        };
        let record = view.apps.last_known(&sock.package);
        let asked: BTreeSet<String> = list
            .iter()
            .filter_map(|item| item.as_str().or_else(|| item["stream"].as_str()))
            .map(|name| match name {
                "transcription" => "transcription:en-US".to_owned(),
                other => other.to_owned(),
            })
            .collect();
        let wanted = granted_of(&asked, record.map(AsRef::as_ref));
        let young = view.now_ms - app.attached_ms <= view.cfg.apps.subscription_grace_ms;
        let guarded = list.is_empty() && app.sdk == Sdk::V2 && young;
        let (user, package) = (sock.user.clone(), sock.package.clone());
        if !list.is_empty() {
            self.came_for_somebody(&(user.clone(), package.clone()));
        }
        let pair = self.pair(&user, &package);
        let ignored = guarded && !pair.subs.is_empty();
        if !ignored {
            pair.rate = rate_of(list);
            pair.asked = asked;
        }
        if !ignored && pair.subs != wanted {
            pair.subs = wanted;
            self.sets_changed(&user);
        }
    }

    /// 43: the same device state again says nothing to anybody.
    pub(super) fn invariant_43_same_state_is_silent(
        &mut self,
        user: &str,
        body: &[u8],
        seen: &[Seen],
    ) {
        let key = format!("{user} {}", String::from_utf8_lossy(body));
        let last = self
            .device
            .insert(user.to_owned(), (self.now_ms, key.clone()));
        let same = last.is_some_and(|(at_ms, old)| at_ms == self.now_ms && old == key);
        let said = seen.iter().find_map(|one| match one {
            Seen::Sent(conn, frame) if !frame.kind().is_empty() => Some((conn, frame.kind())),
            _ => None,
        });
        if let Some((conn, kind)) = said.filter(|_| same) {
            let text = format!("{kind} was sent on {conn:?} for a state that did not change");
            self.broken(43, "same device state", user, text);
        }
    }
}
