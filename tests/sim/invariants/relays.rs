//! Invariants 8 and 25 where the phone says something: every app that wants it is told once, and nobody else is (behaviour.md §1.10);
//! and no app is sent data that it did not ask for, whatever it comes from.

use super::super::net::{Down, Up};
use super::counts::counts;
use super::{Cause, Seen, View, Watch};
use prism::base::ids::ConnId;
use prism::session::State;
use prism::session::managers::apps::AppState;
use prism::wire::streams::permission_for;
use serde_json::Value;

/// Messages of a phone that are passed on as they are, under their type.
const PASSED_ON: [&str; 4] = ["button_press", "head_position", "VAD", "no_such_type"];

counts! {
    /// Counts of a run.
    struct Relayed {
        /// Events that apps were told of, and that others did not want.
        told,
        spared,
        /// Data of any stream.
        data,
    }
}

impl Watch {
    pub(super) fn look_at_relays(&mut self, cause: &Cause, seen: &[Seen], view: &View<'_>) {
        if let Cause::Frame(conn, Up::Text(text)) = cause {
            self.invariant_08_events_reach_who_wants_them(*conn, text, seen, view);
        }
        for one in seen {
            if let Seen::Sent(conn, Down::Text(message)) = one
                && message["type"] == "data_stream"
            {
                self.invariant_25_nobody_hears_what_it_did_not_ask_for(*conn, message, view);
            }
        }
    }

    /// 8: once each, whoever asked for it.
    fn invariant_08_events_reach_who_wants_them(
        &mut self,
        from: ConnId,
        text: &str,
        seen: &[Seen],
        view: &View<'_>,
    ) {
        let event: Value = serde_json::from_str(text).unwrap_or_default();
        let kind = event["type"].as_str().unwrap_or_default();
        let Some(sock) = view.net.get(from) else {
            return;
        };
        let session = view.session(&sock.user);
        let is_here = session.is_some_and(|one| one.state == State::Connected);
        let counts = is_here && !self.before.loading && self.before.current == Some(from);
        if !PASSED_ON.contains(&kind) || !sock.package.is_empty() || !counts || self.draining {
            return;
        }
        let user = sock.user.clone();
        let may = |package: &str| {
            permission_for(kind).is_none_or(|needed| {
                let record = view.apps.last_known(package);
                record.is_some_and(|record| record.grants(needed))
            })
        };
        let mut wrong = None;
        for (package, pair) in &self.users[&user].pairs {
            let Some(conn) = pair.conn.filter(|conn| {
                pair.state == AppState::Running && view.is_timely(*conn) && !self.is_slow(*conn)
            }) else {
                continue;
            };
            let wants = |name: &String| name == kind || name == "*" && may(package);
            let due = usize::from(pair.subs.iter().any(wants));
            let told = seen.iter().filter(|one| match one {
                Seen::Sent(to, Down::Text(message)) => *to == conn && message["data"] == event,
                _ => false,
            });
            let told = told.count();
            self.relayed.told += told as u64;
            self.relayed.spared += 1 - due as u64;
            if told != due {
                let subs = &pair.subs;
                wrong = Some(format!(
                    "{package} was told {told} times of {kind}, wants {subs:?}"
                ));
            }
        }
        if let Some(text) = wrong {
            self.broken(8, "events reach who wants them", &user, text);
        }
    }

    /// 25: data comes under a name that the app asked for, or that it fits.
    fn invariant_25_nobody_hears_what_it_did_not_ask_for(
        &mut self,
        conn: ConnId,
        message: &Value,
        view: &View<'_>,
    ) {
        let Some(sock) = view.net.get(conn).filter(|sock| !sock.package.is_empty()) else {
            return;
        };
        // The answer to a poll needs no subscription, nor does word of one's own video. What waited for the user record happens with the
        // lists that came with it.
        let stream = message["streamType"].as_str().unwrap_or_default();
        let is_own = matches!(stream, "stream_status" | "rtmp_stream_status");
        if is_own || !message["data"]["correlationId"].is_null() || self.before.loading {
            return;
        }
        let (user, package) = (sock.user.clone(), sock.package.clone());
        self.relayed.data += 1;
        let stem = |name: &str| name.split([':', '?']).next().map(str::to_owned);
        let fits = |asked: &String| match asked.as_str() {
            "*" => true,
            "location_stream" => stream == "location_update",
            asked => asked == stream || stem(asked) == stem(stream),
        };
        let subs = &self.pair(&user, &package).subs;
        if !subs.iter().any(fits) {
            let text = format!("{package} was sent {stream} and has {subs:?}");
            self.broken(25, "nobody hears what it did not ask for", &user, text);
        }
    }
}
