//! Both ends of every socket: what the shard's writers send, what peers send, how sockets open, end and are cut.

use super::invariants::Cause;
use super::net::{Down, Party, Sock, Up, frames};
use super::world::{Act, START_MS, World};
use prism::base::ids::{ConnId, UserId};
use prism::session::event::PhoneFlags;
use prism::shard::admission::Candidate;
use prism::shard::frames::ReadStep;
use prism::shard::sockets::{LinkRef, Opening};
use prism::shard::writers::WriteStep as Write;
use prism::wire::frame::{Lent, Message};
use prism::wire::upgrade::AppHeaders;

impl World {
    pub(super) fn pump(&mut self) {
        for _ in 0..64 {
            let mut busy = false;
            while let Ok(message) = self.outside.try_recv() {
                busy = true;
                self.outside_asked(message);
            }
            for (id, answer) in std::mem::take(self.shard.replies()) {
                busy = true;
                self.answered(id, answer);
            }
            for handle in std::mem::take(self.shard.cuts()) {
                busy = true;
                self.cut(handle);
            }
            busy |= self.move_mail();
            let mut marked = Vec::new();
            self.shard.take_marked(&mut marked);
            self.marked.extend(marked.iter().map(|mark| mark.id));
            for conn in self.live() {
                // Only marks make a writer look: one that is missing shows as a frame that never comes.
                if self.marked.remove(&conn) {
                    busy |= self.write(conn);
                }
            }
            if !busy {
                return;
            }
        }
        panic!("the shard never comes to rest");
    }

    fn live(&self) -> Vec<ConnId> {
        let now_ms = self.now.mono_ms;
        self.net
            .socks
            .iter()
            .filter(|(_, sock)| !sock.released && sock.stalled_until_ms <= now_ms)
            .map(|(conn, _)| *conn)
            .collect()
    }

    /// One step of a socket's writer; says whether there was anything to do.
    fn write(&mut self, conn: ConnId) -> bool {
        let now_ns = self.now.mono_ms * 1_000_000;
        match self.shard.next_write(conn) {
            None => false,
            Some(Write::Send(pending)) => {
                for frame in frames(&pending) {
                    self.sent(conn, frame);
                }
                self.shard.sent(pending, now_ns);
                true
            }
            Some(Write::Finish | Write::Leave) => {
                self.shard.writer_ended(conn, now_ns);
                self.send_end_down(conn);
                if let Some(sock) = self.net.get_mut(conn) {
                    sock.released = true;
                }
                true
            }
        }
    }

    fn sent(&mut self, conn: ConnId, frame: Down) {
        let Some(sock) = self.net.get_mut(conn) else {
            panic!("{conn:?} was written to before it existed: {frame:?}");
        };
        if let Down::Close(code, reason) = &frame {
            sock.closed_by_server
                .get_or_insert_with(|| (*code, reason.clone()));
        }
        let t = self.now.mono_ms - START_MS;
        self.trace.add(t, &sock.user, || match &frame {
            Down::Text(value) => format!("<- {conn:?} {} {value}", sock.package),
            Down::Binary(data) => format!("<- {conn:?} {} {} bytes", sock.package, data.len()),
            other => format!("<- {conn:?} {} {other:?}", sock.package),
        });
        self.watch.sent(conn, frame.clone());
        if sock.silent || sock.peer_left {
            return;
        }
        sock.down_ms = sock.down_ms.max(self.now.mono_ms + sock.delay_ms);
        let at_ms = sock.down_ms;
        self.at(at_ms, Act::Down(conn, frame));
    }

    fn send_end_down(&mut self, conn: ConnId) {
        if let Some(sock) = self.net.get_mut(conn)
            && !sock.silent
            && !sock.peer_left
        {
            sock.down_ms = sock.down_ms.max(self.now.mono_ms + sock.delay_ms);
            let at_ms = sock.down_ms;
            self.at(at_ms, Act::DownEnd(conn));
        }
    }

    fn cut(&mut self, handle: i32) {
        let Some(conn) = self.net.by_handle(handle) else {
            return;
        };
        self.trace
            .add(self.t(), "", || format!("cut      {conn:?}"));
        self.watch.cut(conn);
        if let Some(sock) = self.net.get_mut(conn) {
            sock.ended = true;
            sock.stalled_until_ms = 0;
        }
        let now_ns = self.now.mono_ms * 1_000_000;
        self.shard.read_ended(conn, self.now, now_ns);
    }

    /// A phone opens a socket. `None`: refused.
    pub(crate) fn open_phone(
        &mut self,
        party: Party,
        user: &str,
        flags: PhoneFlags,
    ) -> Option<ConnId> {
        // Upgrades are refused with 503 while the process drains.
        if self.shard.is_draining() {
            return None;
        }
        let handle = self.net.handle();
        let sock = self.sock(party, user, "");
        let id = UserId::new(user);
        self.watch.users.entry(id.to_string()).or_default();
        let opening = Opening {
            handle,
            link: LinkRef::default(),
            switch: &[],
        };
        self.watch.opening(user);
        let conn = self.shard.open_phone(&id, flags, opening)?;
        self.net.add(conn, handle, sock);
        self.trace
            .add(self.t(), user, || format!("phone    {conn:?} opens"));
        self.call(Cause::PhoneOpened(conn), |_, _| {});
        Some(conn)
    }

    /// An app socket finishes its upgrade.
    pub(crate) fn open_app(
        &mut self,
        party: Party,
        user: &str,
        package: &str,
        headers: AppHeaders,
    ) -> Option<ConnId> {
        if self.shard.is_draining() {
            return None;
        }
        let handle = self.net.handle();
        let sock = self.sock(party, user, package);
        let candidate = Candidate {
            headers,
            ..Candidate::default()
        };
        let opening = Opening {
            handle,
            link: LinkRef::default(),
            switch: &[],
        };
        let conn = self.shard.open_app(candidate, opening)?;
        self.net.add(conn, handle, sock);
        self.trace.add(self.t(), user, || {
            format!("app      {conn:?} opens for {package}")
        });
        self.call(Cause::AppOpened, |_, _| {});
        Some(conn)
    }

    fn sock(&mut self, party: Party, user: &str, package: &str) -> Sock {
        let now_ms = self.now.mono_ms;
        Sock {
            party,
            user: user.to_owned(),
            package: package.to_owned(),
            delay_ms: self.rng.u64(1..60),
            up_ms: now_ms,
            down_ms: now_ms,
            silent: false,
            pongs_lost: false,
            stalled_until_ms: 0,
            peer_left: false,
            ended: false,
            released: false,
            closed_by_server: None,
            opened_ms: now_ms,
            bound: self.cfg.connections.ws_send_queue_bytes_app,
            last_rx_ms: now_ms,
        }
    }

    /// A peer sends.
    pub(crate) fn send(&mut self, conn: ConnId, frame: Up) {
        let Some(sock) = self.net.get_mut(conn) else {
            return;
        };
        if sock.silent || sock.peer_left {
            return;
        }
        sock.up_ms = sock.up_ms.max(self.now.mono_ms + sock.delay_ms);
        let at_ms = sock.up_ms;
        self.at(at_ms, Act::Up(conn, frame));
    }

    /// A peer closes with a code; its end follows.
    pub(crate) fn close(&mut self, conn: ConnId, code: u16, reason: &str) {
        self.send(conn, Up::Close(code, reason.to_owned()));
        self.hang_up(conn);
    }

    /// A peer's connection ends without a word.
    pub(crate) fn hang_up(&mut self, conn: ConnId) {
        let Some(sock) = self.net.get_mut(conn) else {
            return;
        };
        if sock.peer_left {
            return;
        }
        sock.peer_left = true;
        if !sock.silent {
            sock.up_ms = sock.up_ms.max(self.now.mono_ms + sock.delay_ms);
            let at_ms = sock.up_ms;
            self.at(at_ms, Act::UpEnd(conn));
        }
    }

    pub(super) fn arrive(&mut self, conn: ConnId, frame: Up) {
        let Some(sock) = self.net.get_mut(conn).filter(|sock| !sock.ended) else {
            return;
        };
        sock.last_rx_ms = self.now.mono_ms;
        let sock_party = sock.party;
        let t = self.now.mono_ms - START_MS;
        self.trace.add(t, &sock.user, || match &frame {
            Up::Binary(data) => format!("-> {conn:?} {} bytes", data.len()),
            Up::Text(text) => format!("-> {conn:?} {} {text}", sock.package),
            other => format!("-> {conn:?} {} {other:?}", sock.package),
        });
        let message = match &frame {
            Up::Text(text) => Message::Text(text.clone().into()),
            Up::Binary(data) => Message::Binary(data.clone()),
            Up::Ping => Message::Ping(bytes::Bytes::from_static(b"up")),
            Up::Pong(data) => Message::Pong(data.clone()),
            Up::Close(code, reason) => Message::Close(Some((*code, reason.clone().into()))),
        };
        let now_ns = self.now.mono_ms * 1_000_000;
        // Small frames of a phone stay where they arrived; larger ones are handed over.
        let lent = matches!(sock_party, Party::Phone(_)) && self.rng.bool();
        let flow = self.call(Cause::Frame(conn, frame), |shard, now| {
            shard.begin_turn(conn, now, now_ns);
            let flow = match &message {
                Message::Binary(data) if lent => {
                    shard.lent(conn, Lent::Binary(data));
                    ReadStep::Continue
                }
                _ => shard.message(conn, message),
            };
            shard.end_turn(conn, || now_ns);
            flow
        });
        if flow == ReadStep::Stop {
            self.ended(conn);
        }
    }

    pub(super) fn ended(&mut self, conn: ConnId) {
        let Some(sock) = self.net.get_mut(conn).filter(|sock| !sock.ended) else {
            return;
        };
        sock.ended = true;
        sock.stalled_until_ms = 0;
        let t = self.now.mono_ms - START_MS;
        self.trace.add(t, &sock.user, || {
            format!("-> {conn:?} {} ends", sock.package)
        });
        let now_ns = self.now.mono_ms * 1_000_000;
        self.call(Cause::Ended(conn), |shard, now| {
            shard.read_ended(conn, now, now_ns);
        });
    }

    pub(super) fn received(&mut self, conn: ConnId, frame: Down) {
        let Some(sock) = self
            .net
            .get(conn)
            .filter(|sock| !sock.peer_left && !sock.silent)
        else {
            return;
        };
        match (sock.party, frame) {
            (_, Down::Ping(_)) if sock.pongs_lost => {}
            (_, Down::Ping(payload)) => self.send(conn, Up::Pong(payload)),
            (Party::Phone(ix), frame) => self.phone_received(ix, conn, frame),
            (Party::App(ix), frame) => self.server_received(ix, conn, frame),
            (Party::Stray, Down::Close(code, _)) => self.close(conn, code, ""),
            (Party::Stray, _) => {}
        }
    }

    pub(super) fn lost(&mut self, conn: ConnId) {
        let Some(sock) = self.net.get(conn).filter(|sock| !sock.peer_left) else {
            return;
        };
        let party = sock.party;
        self.hang_up(conn);
        match party {
            Party::Phone(ix) => self.phone_lost(ix, conn),
            Party::App(ix) => self.server_lost(ix, conn, 1006, ""),
            Party::Stray => {}
        }
    }
}
