//! The least of HTTP, WebSocket and JSON that a relay can do with.

use std::fmt::Write as _;

/// One client frame: opcode, payload (unmasked in place), and the bytes it took.
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Reads and unmasks the frame at `at`; `None` until it is complete. `Err` when it is not a client frame.
pub(crate) fn frame(bytes: &mut [u8], at: usize) -> Result<Option<Frame>, ()> {
    let head = &bytes[at..];
    let [first, second, ..] = *head else {
        return Ok(None);
    };
    if second & 0x80 == 0 || first & 0x70 != 0 {
        return Err(());
    }
    let (header, length) = match second & 0x7f {
        126 if head.len() >= 4 => (4, usize::from(u16::from_be_bytes([head[2], head[3]]))),
        127 if head.len() >= 10 => {
            let mut eight = [0; 8];
            eight.copy_from_slice(&head[2..10]);
            let length = usize::try_from(u64::from_be_bytes(eight)).map_err(|_| ())?;
            if length > 16 << 20 {
                return Err(());
            }
            (10, length)
        }
        126 | 127 => return Ok(None),
        short => (2, usize::from(short)),
    };
    let start = at + header + 4;
    let end = start + length;
    if bytes.len() < end {
        return Ok(None);
    }
    let mut key = [0; 4];
    key.copy_from_slice(&bytes[start - 4..start]);
    unmask(&mut bytes[start..end], key);
    Ok(Some(Frame {
        opcode: first & 0x0f,
        start,
        end,
    }))
}

fn unmask(bytes: &mut [u8], key: [u8; 4]) {
    let word = u64::from(u32::from_ne_bytes(key)) * 0x1_0000_0001;
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(eight) ^ word).to_ne_bytes());
    }
    for (index, byte) in chunks.into_remainder().iter_mut().enumerate() {
        *byte ^= key[index & 3];
    }
}

/// Appends the header of a server frame.
pub(crate) fn header(out: &mut Vec<u8>, opcode: u8, length: usize) {
    out.push(0x80 | opcode);
    match length {
        0..=125 => out.push(length as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Value of the first `"type":"…"`. The floor trusts its load generator and validates nothing.
pub(crate) fn kind(text: &[u8]) -> &[u8] {
    const KEY: &[u8] = b"\"type\":\"";
    let Some(at) = text.windows(KEY.len()).position(|window| window == KEY) else {
        return b"";
    };
    let rest = &text[at + KEY.len()..];
    let end = rest.iter().position(|byte| *byte == b'"');
    &rest[..end.unwrap_or(0)]
}

/// What an upgrade request asks for.
pub(crate) struct Upgrade {
    pub(crate) app: bool,
    pub(crate) user: String,
    pub(crate) sub: String,
    pub(crate) session: String,
    pub(crate) answer: Vec<u8>,
    pub(crate) length: usize,
}

/// Reads an upgrade request; `None` until its head is complete, `Err` when it is none.
pub(crate) fn upgrade(bytes: &[u8]) -> Result<Option<Upgrade>, ()> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > 16 * 1024 {
            Err(())
        } else {
            Ok(None)
        };
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| ())?;
    let target = head.split(' ').nth(1).ok_or(())?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let app = match path {
        "/glasses-ws" => false,
        "/app-ws" => true,
        _ => return Err(()),
    };
    let get = |name: &str| {
        let found = query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or("").to_owned()
    };
    let key = head
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, value)| value.trim())
        .ok_or(())?;
    let mut hash = sha1_smol::Sha1::from(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        base64(&hash.digest().bytes())
    );
    Ok(Some(Upgrade {
        app,
        user: get("user"),
        sub: get("sub"),
        session: get("session"),
        answer: answer.into_bytes(),
        length: end + 4,
    }))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for index in 0..4 {
            if index <= chunk.len() {
                out.push(char::from(DIGITS[(word >> (18 - 6 * index) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// The current time as in JavaScript's JSON; formatted at most once per millisecond.
#[derive(Default)]
pub(crate) struct Clock {
    ms: i64,
    text: String,
}

impl Clock {
    pub(crate) fn iso(&mut self) -> &str {
        // SAFETY: both structs are plain data that the calls fill in.
        unsafe {
            let mut now: libc::timespec = std::mem::zeroed();
            libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut now);
            let ms = now.tv_sec * 1000 + now.tv_nsec / 1_000_000;
            if ms != self.ms {
                self.ms = ms;
                let mut parts: libc::tm = std::mem::zeroed();
                libc::gmtime_r(&raw const now.tv_sec, &raw mut parts);
                self.text.clear();
                let _ = write!(
                    self.text,
                    "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                    parts.tm_year + 1900,
                    parts.tm_mon + 1,
                    parts.tm_mday,
                    parts.tm_hour,
                    parts.tm_min,
                    parts.tm_sec,
                    ms % 1000
                );
            }
        }
        &self.text
    }
}
