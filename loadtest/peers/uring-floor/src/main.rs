//! The floor: a relay on bare io_uring (multishot receive, provided buffers, DEFER_TASKRUN, SINGLE_ISSUER)
//! that does nothing but frames. No tokens, sessions, timers, logs, metrics or validation.

mod buffers;
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use buffers::{Buffers, GROUP};
use wire::Clock;

/// Bytes waiting for one socket beyond which audio to it is dropped.
const PENDING_MAX: usize = 1 << 20;

/// Bytes queued after which sends are submitted before more is read, so that they are still in the cache.
const QUEUED_MAX: usize = 64 * 1024;

const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;

struct Conn {
    fd: OwnedFd,
    user: usize,
    app: bool,
    open: bool,
    session: String,
    /// Bytes of an incomplete frame or request.
    carry: Vec<u8>,
    /// What the kernel is sending, and how much of it is done.
    sending: Vec<u8>,
    sent: usize,
    /// What waits behind it.
    pending: Vec<u8>,
    dirty: bool,
    /// Receive or send operations that the kernel still holds; the slot is free at zero.
    held: u32,
    closed: bool,
}

#[derive(Default)]
struct User {
    phone: Option<usize>,
    audio: Vec<usize>,
    event: Vec<usize>,
}

struct Relay {
    uring: IoUring,
    buffers: Buffers,
    listener: RawFd,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    users: Vec<User>,
    names: HashMap<String, usize>,
    dirty: Vec<usize>,
    /// Bytes queued since sends were last submitted.
    queued: usize,
    clock: Clock,
}

impl Relay {
    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: every buffer that an entry points to lives in its connection until the completion.
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.uring.submit()?;
        }
    }

    fn arm_accept(&mut self) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(types::Fd(self.listener))
            .build()
            .user_data(ACCEPT);
        self.push(&entry)
    }

    fn arm_receive(&mut self, slot: usize) -> io::Result<()> {
        let Some(conn) = &mut self.conns[slot] else {
            return Ok(());
        };
        conn.held += 1;
        let entry = opcode::RecvMulti::new(types::Fd(conn.fd.as_raw_fd()), GROUP)
            .build()
            .user_data((slot as u64) << 2 | RECEIVE);
        self.push(&entry)
    }

    fn run(&mut self) -> io::Result<()> {
        self.arm_accept()?;
        let mut batch: Vec<(u64, i32, u32)> = Vec::with_capacity(4096);
        loop {
            match self.uring.submit_and_wait(1) {
                Err(error) if error.raw_os_error() != Some(libc::EINTR) => return Err(error),
                _ => {}
            }
            batch.extend(
                self.uring
                    .completion()
                    .map(|done| (done.user_data(), done.result(), done.flags())),
            );
            for (data, result, flags) in batch.drain(..) {
                match data & 3 {
                    ACCEPT => self.accepted(result, flags)?,
                    RECEIVE => self.received((data >> 2) as usize, result, flags)?,
                    _ => self.sent((data >> 2) as usize, result)?,
                }
                if self.queued > QUEUED_MAX {
                    self.buffers.publish();
                    self.send_dirty()?;
                    self.uring.submit()?;
                }
            }
            self.buffers.publish();
            self.send_dirty()?;
        }
    }

    fn accepted(&mut self, result: i32, flags: u32) -> io::Result<()> {
        if result >= 0 {
            let one: libc::c_int = 1;
            // SAFETY: the descriptor is new and ours; the option value lives through the call.
            let fd = unsafe {
                let length = size_of::<libc::c_int>() as libc::socklen_t;
                let value = (&raw const one).cast();
                libc::setsockopt(result, libc::IPPROTO_TCP, libc::TCP_NODELAY, value, length);
                OwnedFd::from_raw_fd(result)
            };
            let conn = Conn {
                fd,
                user: 0,
                app: false,
                open: false,
                session: String::new(),
                carry: Vec::new(),
                sending: Vec::new(),
                sent: 0,
                pending: Vec::new(),
                dirty: false,
                held: 0,
                closed: false,
            };
            let slot = self.free.pop().unwrap_or_else(|| {
                self.conns.push(None);
                self.conns.len() - 1
            });
            self.conns[slot] = Some(conn);
            self.arm_receive(slot)?;
        }
        if !cqueue::more(flags) {
            self.arm_accept()?;
        }
        Ok(())
    }

    fn received(&mut self, slot: usize, result: i32, flags: u32) -> io::Result<()> {
        if let Some(id) = cqueue::buffer_select(flags) {
            if let Ok(length @ 1..) = usize::try_from(result) {
                self.input(slot, id, length);
            }
            self.buffers.give_back(id);
        }
        if cqueue::more(flags) {
            return Ok(());
        }
        if let Some(conn) = &mut self.conns[slot] {
            conn.held -= 1;
        }
        // Out of buffers ends a multishot receive as well; they are back after this batch.
        if result > 0 || result == -libc::ENOBUFS {
            self.buffers.publish();
            let alive = self.conns[slot].as_ref().is_some_and(|conn| !conn.closed);
            if alive {
                return self.arm_receive(slot);
            }
        }
        self.close(slot);
        Ok(())
    }

    /// Handles received bytes: in place when nothing was left over, else behind what was.
    fn input(&mut self, slot: usize, id: u16, length: usize) {
        let Some(conn) = &mut self.conns[slot] else {
            return;
        };
        let mut carry = std::mem::take(&mut conn.carry);
        // The buffer ring is taken out for the time of parsing, so that the frames can borrow from it.
        let data: *mut [u8] = self.buffers.bytes(id, length);
        // SAFETY: nothing below touches `self.buffers`; the kernel gets the buffer back only afterwards.
        let data = unsafe { &mut *data };
        let bytes = if carry.is_empty() {
            data
        } else {
            carry.extend_from_slice(data);
            &mut carry[..]
        };
        let used = self.parse(slot, bytes);
        match (used, &mut self.conns[slot]) {
            (Some(used), Some(conn)) => conn.carry = bytes[used..].to_vec(),
            (None, Some(conn)) => {
                // SAFETY: the descriptor is open; the pending receive ends and the slot is freed there.
                unsafe { libc::shutdown(conn.fd.as_raw_fd(), libc::SHUT_RDWR) };
            }
            _ => {}
        }
    }

    /// Parses as much as is complete and returns how much that was; `None` closes the socket.
    fn parse(&mut self, slot: usize, bytes: &mut [u8]) -> Option<usize> {
        let mut at = 0;
        if !self.conns[slot].as_ref()?.open {
            let Some(upgrade) = wire::upgrade(bytes).ok()? else {
                return Some(0);
            };
            at = upgrade.length;
            self.open(slot, upgrade);
        }
        while let Some(frame) = wire::frame(bytes, at).ok()? {
            at = frame.end;
            let payload = &bytes[frame.start..frame.end];
            match frame.opcode {
                2 => self.audio(slot, payload),
                1 => self.text(slot, payload),
                9 => self.queue(slot, 10, &[payload]),
                8 => {
                    self.queue(slot, 8, &[payload.get(..2).unwrap_or(&[])]);
                    self.send_dirty().ok()?;
                    return None;
                }
                _ => {}
            }
        }
        Some(at)
    }

    fn open(&mut self, slot: usize, upgrade: wire::Upgrade) {
        let next = self.users.len();
        let user = *self.names.entry(upgrade.user).or_insert(next);
        if user == next {
            self.users.push(User::default());
        }
        let own = &mut self.users[user];
        if upgrade.app {
            let wants = |name: &str| upgrade.sub.split(',').any(|sub| sub == name);
            if wants("audio") {
                own.audio.push(slot);
            }
            if wants("event") {
                own.event.push(slot);
            }
        } else {
            own.phone = Some(slot);
        }
        if let Some(conn) = &mut self.conns[slot] {
            conn.user = user;
            conn.app = upgrade.app;
            conn.open = true;
            conn.session = upgrade.session;
            conn.pending.extend_from_slice(&upgrade.answer);
        }
        self.mark(slot);
    }

    fn mark(&mut self, slot: usize) {
        if let Some(conn) = &mut self.conns[slot]
            && !conn.dirty
        {
            conn.dirty = true;
            self.dirty.push(slot);
        }
    }

    fn queue(&mut self, slot: usize, opcode: u8, parts: &[&[u8]]) {
        let Some(conn) = &mut self.conns[slot] else {
            return;
        };
        self.queued += parts.iter().map(|part| part.len()).sum::<usize>();
        if conn.closed || (opcode == 2 && conn.pending.len() > PENDING_MAX) {
            return;
        }
        wire::header(
            &mut conn.pending,
            opcode,
            parts.iter().map(|part| part.len()).sum(),
        );
        for part in parts {
            conn.pending.extend_from_slice(part);
        }
        self.mark(slot);
    }

    fn audio(&mut self, slot: usize, payload: &[u8]) {
        let Some(conn) = self.conns[slot].as_ref().filter(|conn| !conn.app) else {
            return;
        };
        let user = conn.user;
        for index in 0..self.users[user].audio.len() {
            let app = self.users[user].audio[index];
            self.queue(app, 2, &[payload]);
        }
    }

    fn text(&mut self, slot: usize, payload: &[u8]) {
        let Some(conn) = &self.conns[slot] else {
            return;
        };
        let user = conn.user;
        if conn.app {
            if let Some(phone) = self.users[user].phone {
                self.queue(phone, 1, &[payload]);
            }
            return;
        }
        let kind = wire::kind(payload);
        if kind == b"ping" {
            self.queue(slot, 1, &[br#"{"type":"pong"}"#]);
            return;
        }
        let mut clock = std::mem::take(&mut self.clock);
        let now = clock.iso();
        for index in 0..self.users[user].event.len() {
            let app = self.users[user].event[index];
            let Some(conn) = &mut self.conns[app] else {
                continue;
            };
            let session = std::mem::take(&mut conn.session);
            let parts: [&[u8]; 9] = [
                br#"{"type":"data_stream","sessionId":""#,
                session.as_bytes(),
                br#"","streamType":""#,
                kind,
                br#"","data":"#,
                payload,
                br#","timestamp":""#,
                now.as_bytes(),
                br#""}"#,
            ];
            self.queue(app, 1, &parts);
            if let Some(conn) = &mut self.conns[app] {
                conn.session = session;
            }
        }
        self.clock = clock;
    }

    /// One send per socket that has something new and nothing under way.
    fn send_dirty(&mut self) -> io::Result<()> {
        self.queued = 0;
        while let Some(slot) = self.dirty.pop() {
            let Some(conn) = &mut self.conns[slot] else {
                continue;
            };
            conn.dirty = false;
            if !conn.closed && conn.sending.is_empty() && !conn.pending.is_empty() {
                std::mem::swap(&mut conn.sending, &mut conn.pending);
                self.start_send(slot)?;
            }
        }
        Ok(())
    }

    fn start_send(&mut self, slot: usize) -> io::Result<()> {
        let Some(conn) = &mut self.conns[slot] else {
            return Ok(());
        };
        let rest = &conn.sending[conn.sent..];
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(types::Fd(conn.fd.as_raw_fd()), rest.as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL)
            .build()
            .user_data((slot as u64) << 2 | SEND);
        conn.held += 1;
        self.push(&entry)
    }

    fn sent(&mut self, slot: usize, result: i32) -> io::Result<()> {
        let Some(conn) = &mut self.conns[slot] else {
            return Ok(());
        };
        conn.held -= 1;
        if result <= 0 || conn.closed {
            conn.closed = true;
            // SAFETY: the descriptor is open; the pending receive ends and the slot is freed there.
            unsafe { libc::shutdown(conn.fd.as_raw_fd(), libc::SHUT_RDWR) };
            self.release(slot);
            return Ok(());
        }
        conn.sent += result as usize;
        if conn.sent < conn.sending.len() {
            return self.start_send(slot);
        }
        conn.sent = 0;
        conn.sending.clear();
        if !conn.pending.is_empty() {
            self.mark(slot);
        }
        Ok(())
    }

    fn close(&mut self, slot: usize) {
        let Some(conn) = &mut self.conns[slot] else {
            return;
        };
        conn.closed = true;
        if conn.open {
            let user = &mut self.users[conn.user];
            user.phone.take_if(|phone| *phone == slot);
            user.audio.retain(|app| *app != slot);
            user.event.retain(|app| *app != slot);
        }
        self.release(slot);
    }

    /// Frees the slot once the kernel holds nothing of it.
    fn release(&mut self, slot: usize) {
        let idle = self.conns[slot]
            .as_ref()
            .is_some_and(|conn| conn.closed && conn.held == 0);
        if idle {
            self.conns[slot] = None;
            self.free.push(slot);
        }
    }
}

fn main() -> io::Result<()> {
    let port = std::env::var("PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .unwrap_or(8100_u16);
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let uring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(16_384)
        .build(4096)?;
    let buffers = Buffers::register(&uring)?;
    println!("listening on {port}");
    Relay {
        uring,
        buffers,
        listener: listener.as_raw_fd(),
        conns: Vec::new(),
        free: Vec::new(),
        users: Vec::new(),
        names: HashMap::new(),
        dirty: Vec::new(),
        queued: 0,
        clock: Clock::default(),
    }
    .run()
}
