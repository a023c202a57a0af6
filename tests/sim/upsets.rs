//! What befalls the server and its phones from outside: the process dies or is replaced by another, which has what was stored; a socket
//! that a phone has long given up speaks once more.

use super::app::ServerWake;
use super::http::Calls;
use super::invariants::Cause;
use super::net::{Party, Up};
use super::phone::PhoneWake;
use super::registrar::Registrar;
use super::runs::APPS;
use super::script::Step;
use super::world::{Act, Process, World};
use prism::base::ids::ConnId;
use prism::shard::mailbox::ToShard;

/// A shutdown has this long until the process ends (ms).
const SHUTDOWN_MS: u64 = 5000;

/// What an abandoned socket says.
const LAST_WORDS: [&str; 6] = [
    r#"{"type":"ping"}"#,
    r#"{"type":"button_press","buttonId":"old","pressType":"long"}"#,
    r#"{"type":"connection_init"}"#,
    r#"{"type":"start_app","packageName":"com.acme.notes"}"#,
    r#"{"type":"glasses_connection_state","modelName":"Even Realities G1","status":"CONNECTED"}"#,
    r#"{"type":"location_update","lat":47.2,"lng":8.6}"#,
];

/// Upsets of a run. Drawn apart, so that the other steps of a seed stay what they were.
pub(super) fn upsets(
    seed: u64,
    users: &[(String, u64, usize, Vec<String>)],
    length_ms: u64,
) -> Vec<(u64, String, Step)> {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x0b5e);
    let mut steps = Vec::new();
    for _ in 0..rng.usize(0..5) {
        let user = &users[rng.usize(0..users.len())].0;
        let mut at_ms = rng.u64(0..length_ms);
        for _ in 0..rng.usize(1..4) {
            steps.push((at_ms, user.clone(), Step::Takeover));
            at_ms += rng.u64(50..3000);
            for _ in 0..rng.usize(0..4) {
                let speaks = Step::OldSocketSays(rng.u64(..));
                steps.push((at_ms, user.clone(), speaks));
                at_ms += rng.u64(0..400);
            }
        }
    }
    if rng.u32(0..4) == 0 {
        steps.extend(scrolls(&mut rng, &users[0].0, length_ms));
    }
    for _ in 0..rng.u32(0..4).saturating_sub(1) {
        let step = match rng.bool() {
            true => Step::ProcessDies,
            false => Step::ProcessLeaves,
        };
        // The run ends with a process that serves.
        let at_ms = rng.u64(0..length_ms - 2 * SHUTDOWN_MS);
        steps.push((at_ms, users[0].0.clone(), step));
    }
    steps
}

/// An app that shows what is being said, line by line, for a good while, beside one in the foreground that has something to show.
fn scrolls(rng: &mut fastrand::Rng, user: &str, length_ms: u64) -> Vec<(u64, String, Step)> {
    let (scroller, shower) = (rng.usize(0..APPS.len()), rng.usize(1..3));
    let (mut at_ms, every_ms) = (rng.u64(0..length_ms), rng.u64(80..400));
    let mut steps = vec![
        (at_ms, user.to_owned(), Step::RestStart(shower)),
        (at_ms, user.to_owned(), Step::RestStart(scroller)),
    ];
    at_ms += 4000;
    for line in 0..rng.u64(20..180) {
        // Without a duration, or with a short one.
        let bits = (rng.u64(..) & !0x3f) | if rng.u32(0..4) == 0 { 0x10 } else { 0x30 };
        steps.push((at_ms, user.to_owned(), Step::AppDisplays(scroller, bits)));
        if line % 16 == 3 {
            // Some seconds at least.
            let bits = (rng.u64(..) & !0x3f) | 0x20;
            steps.push((at_ms, user.to_owned(), Step::AppDisplays(shower, bits)));
        }
        at_ms += every_ms;
    }
    steps.retain(|step| step.0 < length_ms);
    steps
}

impl World {
    /// One of the phone sockets of a user, the abandoned ones among them, says something or ends.
    pub(super) fn old_socket_says(&mut self, user: &str, bits: u64) {
        let is_open = |party: Party| matches!(party, Party::Phone(_));
        let socks = self.net.socks.iter();
        let open = socks.filter(|(_, sock)| {
            is_open(sock.party) && sock.user == user && sock.is_open() && !sock.peer_left
        });
        let used: Vec<_> = self.phones.iter().filter_map(|phone| phone.conn).collect();
        let old: Vec<_> = open
            .map(|row| *row.0)
            .filter(|conn| !used.contains(conn))
            .collect();
        let Some(conn) = old.get((bits >> 8) as usize % old.len().max(1)).copied() else {
            return;
        };
        match (bits % 8) as usize {
            6 => self.close(conn, 1000, ""),
            7 => self.hang_up(conn),
            at => self.send(conn, Up::Text(LAST_WORDS[at].to_owned())),
        }
    }

    /// The process is told to go, and another one is started when it has gone.
    pub(super) fn process_leaves(&mut self, user: &str) {
        if self.shard.is_draining() {
            return;
        }
        self.call(Cause::Drain, |shard, _| {
            shard.receive(ToShard::Drain);
        });
        self.call_at(1, Cause::Drain, |shard, _| {
            shard.receive(ToShard::Drain);
        });
        let step = Step::ProcessDies;
        self.after(SHUTDOWN_MS, Act::Step(user.to_owned(), step));
    }

    /// The process ends, and another one takes its place at once: it has the settings, the app records and what was stored.
    pub(super) fn process_dies(&mut self) {
        if self.shard.is_draining() && self.failure().is_none() {
            let drained = self.shard.is_drained();
            self.watch.invariant_47_shutdown_is_complete(drained);
        }
        self.everybody_is_cut_off();
        // What is on its way to the process, or from it, is lost; app servers have read what they were asked.
        self.acts.retain(|_, act| match act {
            Act::Phone(_, wake) => matches!(wake, PhoneWake::Connect),
            Act::Server(_, wake) => matches!(
                wake,
                ServerWake::Webhook(..) | ServerWake::Connect(..) | ServerWake::Retry(..)
            ),
            Act::Step(..) => true,
            _ => false,
        });
        self.processes += 1;
        let seed = self.rng.u64(..);
        let lag_ms = self.mail.lag_ms;
        let Process {
            shard,
            neighbour,
            mail,
            outside,
        } = Process::start(seed, &self.cfg, &self.apps);
        (self.shard, self.neighbour, self.outside) = (shard, neighbour, outside);
        self.mail = mail;
        self.mail.lag_ms = lag_ms;
        self.shard.at(self.now);
        self.neighbour.at(self.now);
        self.marked.clear();
        (self.calls, self.registrar) = (Calls::default(), Registrar::default());
        self.recognisers.forget_all();
        self.store.writer_dies(self.now.mono_ms);
        self.watch.process_died();
    }

    /// Both ends of every socket lose it, those that had noticed nothing so far, too.
    fn everybody_is_cut_off(&mut self) {
        let socks = self.net.socks.iter();
        let lost: Vec<(ConnId, Party)> = socks.map(|(conn, sock)| (*conn, sock.party)).collect();
        for (conn, party) in lost {
            match party {
                Party::Phone(ix) => self.phone_lost(ix, conn),
                Party::App(ix) => self.server_lost(ix, conn, 1006, ""),
                Party::Stray => {}
            }
        }
        self.net.forget_all();
    }
}
