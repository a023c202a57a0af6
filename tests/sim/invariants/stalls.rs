//! Invariant 8 where an app server does not read (behaviour.md §1.1, backpressure): audio goes first, the oldest of it; no control
//! message is lost; where there is no room for those the socket is closed with 1013.

use super::super::net::{Down, Up};
use super::counts::counts;
use super::{Cause, Seen, View, Watch};
use bytes::Bytes;
use prism::base::ids::ConnId;
use prism::session::State;
use prism::session::managers::apps::AppState;
use std::collections::BTreeMap;
use std::fmt::Debug;

counts! {
    /// Counts of a run.
    struct StormTally {
        /// Settings were read again, and the clock jumped.
        reloads,
        clocks,
        /// App sockets were read again.
        stalls,
        /// Chunks of audio that came late, and those that did not come.
        late,
        shed,
        /// Control messages that came late.
        kept,
        /// Sockets that were closed because even those had no room.
        overloads,
        /// Photos, direct messages that were refused, and playback that gave way, for other apps' sake.
        photos,
        messages,
        plays,
    }
}

/// What happens in storms.
#[derive(Default)]
pub(crate) struct Storms {
    pub(crate) presses: u64,
    pub(crate) seen: StormTally,
    stalls: BTreeMap<ConnId, Stall>,
    over: Vec<ConnId>,
    /// Since when the time of day has been so far ahead of the other clock.
    clocks: Vec<(u64, u64)>,
}

impl Storms {
    pub(super) fn note_clock(&mut self, view: &View<'_>) {
        if self.clocks.last().is_none_or(|row| row.1 != view.ahead_ms) {
            self.clocks.push((view.now_ms, view.ahead_ms));
        }
    }

    /// When something was written that bears this time of day (`mono_ms`): one answer, or more where the clock went back.
    pub(super) fn written_ms(&self, unix_ms: u64) -> Vec<u64> {
        let ends = self
            .clocks
            .iter()
            .skip(1)
            .map(|row| row.0)
            .chain([u64::MAX]);
        let all = self
            .clocks
            .iter()
            .zip(ends)
            .filter_map(|((from_ms, ahead_ms), end_ms)| {
                let at_ms = unix_ms.wrapping_sub(*ahead_ms);
                (*from_ms <= at_ms && at_ms <= end_ms).then_some(at_ms)
            });
        all.collect()
    }
}

/// What an app is owed that does not read.
#[derive(Default)]
struct Stall {
    /// Chunks in their order.
    audio: Vec<Bytes>,
    /// Nobody knows all of them.
    mixed: bool,
    /// Names of control messages.
    control: Vec<String>,
}

impl Watch {
    pub(crate) fn stops_reading(&mut self, conn: ConnId) {
        self.storms.stalls.insert(conn, Stall::default());
    }

    /// Sockets that have read everything since the last event.
    pub(crate) fn caught_up(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.storms.over)
    }

    pub(super) fn is_slow(&self, conn: ConnId) -> bool {
        self.storms.stalls.contains_key(&conn)
    }

    /// What was sent to those that did not read is looked at by itself: it is of another time.
    pub(super) fn late_ones(&self, seen: Vec<Seen>) -> (Vec<Seen>, Vec<Seen>) {
        let is_late = |one: &Seen| matches!(one, Seen::Sent(conn, _) if self.is_slow(*conn));
        seen.into_iter().partition(is_late)
    }

    /// Audio for the apps of a user that listen, the slow ones too.
    pub(super) fn owe_audio(&mut self, listeners: impl IntoIterator<Item = ConnId>, chunk: &[u8]) {
        for conn in listeners {
            if let Some(stall) = self.storms.stalls.get_mut(&conn) {
                stall.audio.push(Bytes::copy_from_slice(chunk));
            }
        }
    }

    /// Nobody can tell what audio its apps are owed.
    pub(super) fn audio_is_unsure(&mut self, user: &str, view: &View<'_>) {
        for (conn, stall) in &mut self.storms.stalls {
            let own = view.net.get(*conn).is_some_and(|sock| sock.user == user);
            stall.mixed |= own;
        }
    }

    /// Final words for an app that does not read.
    pub(super) fn owe_control(&mut self, conn: ConnId, name: &str) {
        if let Some(stall) = self.storms.stalls.get_mut(&conn) {
            stall.control.push(name.to_owned());
        }
    }

    /// Button presses of the current phone: every subscriber hears of each, and those that do not read will.
    fn look_at_press(&mut self, cause: &Cause, seen: &[Seen], view: &View<'_>) {
        let Cause::Frame(from, Up::Text(text)) = cause else {
            return;
        };
        let Some(name) = text
            .find("press-")
            .and_then(|at| text[at..].split('"').next())
        else {
            return;
        };
        let Some(user) = view.net.get(*from).map(|sock| sock.user.clone()) else {
            return;
        };
        let is_here = view
            .session(&user)
            .is_some_and(|one| one.state == State::Connected);
        if !is_here || self.before.loading || self.before.current != Some(*from) || self.draining {
            return;
        }
        let wants = |name: &String| name == "button_press" || name == "*";
        let pairs = self.users[&user].pairs.values();
        let running = pairs.filter(|p| p.state == AppState::Running && p.subs.iter().any(wants));
        let running: Vec<ConnId> = running.filter_map(|pair| pair.conn).collect();
        for conn in running {
            let got = seen.iter().any(|one| match one {
                Seen::Sent(to, Down::Text(message)) => {
                    *to == conn && message["data"]["buttonId"] == name
                }
                _ => false,
            });
            if self.is_slow(conn) {
                self.owe_control(conn, name);
            } else if view.is_timely(conn) && !got {
                let text = format!("{conn:?} was not told of {name}");
                self.broken(8, "every press is relayed", &user, text);
            }
        }
    }

    pub(super) fn look_at_stalls(
        &mut self,
        cause: &Cause,
        seen: &[Seen],
        late: &[Seen],
        view: &View<'_>,
    ) {
        self.look_at_press(cause, seen, view);
        self.nobody_is_overloaded_who_reads(seen, view);
        for one in late {
            if let Seen::Sent(conn, frame) = one {
                self.look_at_late_frame(*conn, frame, view);
            }
        }
        let ends = |conn: &ConnId| {
            view.net
                .get(*conn)
                .is_none_or(|sock| sock.stalled_until_ms <= view.now_ms)
        };
        let ended: Vec<_> = self
            .storms
            .stalls
            .extract_if(.., |conn, _| ends(conn))
            .collect();
        for (conn, stall) in ended {
            let frames = late.iter().filter_map(|one| match one {
                Seen::Sent(to, frame) if *to == conn => Some(frame),
                _ => None,
            });
            let frames: Vec<&Down> = frames.collect();
            // One that was cut got nothing more.
            if view.net.get(conn).is_some_and(|sock| !sock.ended) {
                self.storms.seen.stalls += 1;
                self.invariant_08_oldest_audio_goes_first(conn, &stall, &frames, view);
                self.invariant_08_control_is_kept(conn, &stall, &frames, view);
            }
            self.storms.over.push(conn);
        }
    }

    /// 22: 1013 is for what waits. What reads is closed only if one event has more for it than the bound.
    fn nobody_is_overloaded_who_reads(&mut self, seen: &[Seen], view: &View<'_>) {
        for one in seen {
            let Seen::Sent(conn, Down::Close(1013, reason)) = one else {
                continue;
            };
            let Some(sock) = view.net.get(*conn).filter(|_| reason == "Overloaded") else {
                continue;
            };
            let sizes = seen.iter().map(|one| match one {
                Seen::Sent(to, Down::Text(message)) if to == conn => message.to_string().len(),
                Seen::Sent(to, Down::Binary(data)) if to == conn => data.len(),
                _ => 0,
            });
            // With one more like the largest, and headers, it would not fit.
            let (sum, largest) = sizes.fold((0, 0), |(sum, most), n| (sum + n, most.max(n)));
            let might_fit = (sum + 2 * largest + 100) as u64 <= sock.bound;
            if view.is_timely(*conn) && !sock.package.is_empty() && might_fit {
                let text = format!("{conn:?} was closed {reason:?} after {sum} bytes");
                self.broken(22, "close codes", &sock.user.clone(), text);
            }
        }
    }

    fn look_at_late_frame(&mut self, conn: ConnId, frame: &Down, view: &View<'_>) {
        if let Down::Close(code, reason) = frame {
            self.storms.seen.overloads += u64::from(*code == 1013);
            self.invariant_22_close_codes(conn, *code, reason, view);
        }
        // Which request a late refusal answers cannot be told any more.
        if frame.kind() != "tpa_connection_error" {
            self.invariant_42_one_outcome(conn, frame);
        }
    }

    /// 8: what is there of the audio is the newest, without a gap.
    fn invariant_08_oldest_audio_goes_first(
        &mut self,
        conn: ConnId,
        stall: &Stall,
        frames: &[&Down],
        view: &View<'_>,
    ) {
        let audio = frames.iter().filter_map(|frame| match frame {
            Down::Binary(data) => Some(data),
            _ => None,
        });
        let audio: Vec<&Bytes> = audio.collect();
        if stall.mixed {
            return;
        }
        self.storms.seen.late += audio.len() as u64;
        self.storms.seen.shed += stall.audio.len().saturating_sub(audio.len()) as u64;
        let lost = stall.audio.len().saturating_sub(audio.len());
        let newest: Vec<&Bytes> = stall.audio.iter().skip(lost).collect();
        let name = "the oldest audio goes first";
        self.got_what_is_owed(conn, name, &audio, &newest, view);
    }

    /// 8: every control message is there, in its order, up to a close.
    fn invariant_08_control_is_kept(
        &mut self,
        conn: ConnId,
        stall: &Stall,
        frames: &[&Down],
        view: &View<'_>,
    ) {
        let names = frames.iter().filter_map(|frame| match frame {
            Down::Text(message) if message["data"]["isFinal"] == true => {
                message["data"]["text"].as_str()
            }
            Down::Text(message) => message["data"]["buttonId"].as_str(),
            _ => None,
        });
        let names: Vec<&str> = names
            .filter(|name| stall.control.iter().any(|one| one == name))
            .collect();
        self.storms.seen.kept += names.len() as u64;
        let closes = frames.iter().any(|frame| matches!(frame, Down::Close(..)));
        let due = if closes {
            names.len().min(stall.control.len())
        } else {
            stall.control.len()
        };
        let kept: Vec<&str> = stall.control[..due].iter().map(String::as_str).collect();
        let name = "no control message is lost";
        self.got_what_is_owed(conn, name, &names, &kept, view);
    }

    fn got_what_is_owed<T: PartialEq + Debug>(
        &mut self,
        conn: ConnId,
        name: &'static str,
        got: &[T],
        owed: &[T],
        view: &View<'_>,
    ) {
        if got != owed {
            let user = view.net.get(conn).map(|sock| sock.user.clone());
            let text = format!("{conn:?} got {got:?}, and is owed {owed:?}");
            self.broken(8, name, &user.unwrap_or_default(), text);
        }
    }

    /// New limits, or another time of day, say nothing to anybody: what is there stays.
    pub(super) fn look_at_reload(&mut self, cause: &Cause, seen: &[Seen]) {
        match cause {
            Cause::Reload => self.storms.seen.reloads += 1,
            Cause::Clock => self.storms.seen.clocks += 1,
            _ => return,
        }
        let said = seen
            .iter()
            .find(|one| !matches!(one, Seen::Sent(_, Down::Ping(_))));
        if let Some(one) = said {
            let text = format!("{cause:?} led to {one:?}");
            self.broken(43, "nothing changed", "", text);
        }
    }
}
