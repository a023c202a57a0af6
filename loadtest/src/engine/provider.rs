//! Stand-in for a speech provider (the Soniox protocol): hears in the microphone frames which message they are, and answers with
//! the tag of every so many bytes as an interim text. So a transcription at an app has a time and a number like every other message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::conn::{Conn, Role, Stage, Token};
use super::io::End;
use super::{Engine, EngineError, Target};
use crate::frame::{self, Opcode};
use crate::hist::Class;
use crate::http;
use crate::scenario::Kind;
use crate::sys;
use crate::tag::{MARK, TAG_BYTES, Tag};

/// What apps subscribe to.
pub(super) const SUBSCRIPTION: &str = "transcription:en-US";
/// Answers after which something becomes final, as utterances end now and then.
const ANSWERS_PER_UTTERANCE: u64 = 20;
/// What marks an interim text in what an app receives; final ones repeat what was heard before.
const INTERIM: &[u8] = b"\"isFinal\":false";
const WORDS: &str = r#"{"tokens":[{"text":"meet me at noon","start_ms":0,"end_ms":900,"confidence":0.9,"is_final":true,"speaker":"1","language":"en"},{"text":"<end>","start_ms":0,"end_ms":900,"confidence":0.9,"is_final":true}],"final_audio_proc_ms":0,"total_audio_proc_ms":900}"#;
const FINALIZED: &str = r#"{"tokens":[{"text":"<fin>","start_ms":0,"end_ms":900,"confidence":0.9,"is_final":true}],"final_audio_proc_ms":0,"total_audio_proc_ms":900}"#;
const FINISHED: &str =
    r#"{"tokens":[],"final_audio_proc_ms":0,"total_audio_proc_ms":900,"finished":true}"#;

impl Engine {
    /// Listens for the server's recognisers, where the scenario has speech.
    pub(super) fn start_recognisers(&mut self) -> Result<(), EngineError> {
        let Target::Prism { provider_port, .. } = &self.settings.target else {
            return Ok(());
        };
        if !self.scenario.has(Kind::Speech) {
            return Ok(());
        }
        let (fd, port) = self.listen("--provider-port", *provider_port)?;
        self.recogniser_port = port;
        self.register(Conn::new(fd, Role::RecogniserListener, Stage::Http, 0));
        Ok(())
    }

    pub(super) fn accept_recognisers(&mut self, listener: Token) {
        while let Some(conn) = self.conns.get(listener) {
            match sys::accept(conn.fd()) {
                Ok(Some(fd)) => {
                    self.register(Conn::new(fd, Role::Recogniser, Stage::Http, 0));
                }
                Ok(None) => return,
                Err(error) => {
                    let cause = format!("recogniser accept: {error}");
                    self.stats.errors.add(&cause);
                    return;
                }
            }
        }
    }

    /// The server wrote to a recogniser: its upgrade, or frames.
    pub(super) fn on_recogniser_bytes(&mut self, token: Token) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        if conn.stage == Stage::Http {
            let key = match http::upgrade_request(&conn.rx) {
                Ok(None) => return,
                Ok(Some((length, key))) => {
                    conn.rx.drain(..length);
                    key
                }
                Err(_) => return self.end(token, End::Broken("request: not HTTP".into())),
            };
            conn.stage = Stage::Open;
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                accept_of(&key)
            );
            self.send_bytes(token, answer.as_bytes());
        }
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let mut bytes = std::mem::take(&mut conn.rx);
        let mut at = 0;
        loop {
            match frame::parse_masked(&mut bytes[at..]) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    at += frame.length;
                    self.hear(token, frame.opcode, frame.payload);
                }
                Err(error) => self.end(token, End::Broken(error.cause().into())),
            }
            if self.conns.get(token).is_none() {
                return;
            }
        }
        bytes.drain(..at);
        if let Some(conn) = self.conns.get(token) {
            conn.rx = bytes;
        }
    }

    /// One frame of the server.
    fn hear(&mut self, token: Token, opcode: Opcode, payload: &[u8]) {
        match opcode {
            Opcode::Binary if payload.is_empty() => {
                self.say(token, FINISHED.as_bytes());
            }
            Opcode::Binary => self.hear_audio(token, payload),
            Opcode::Text if payload.windows(10).any(|part| part == b"\"finalize\"") => {
                self.say(token, FINALIZED.as_bytes());
            }
            Opcode::Ping => self.send_server_frame(token, Opcode::Pong, payload),
            Opcode::Close => {
                let code = payload.get(..2).unwrap_or(&[]).to_vec();
                self.send_server_frame(token, Opcode::Close, &code);
                self.end(token, End::Ours);
            }
            _ => {}
        }
    }

    fn hear_audio(&mut self, token: Token, pcm: &[u8]) {
        let Some(tag) = Tag::from_bytes(pcm) else {
            self.stats.of(Class::Speech).damaged += 1;
            return;
        };
        let Some(index) = self.stream_of(tag, Class::Speech) else {
            return;
        };
        let spec = &self.streams[index].spec;
        if !self.streams[index].template(tag.seq).same_filler(pcm) {
            self.stats.of(Class::Speech).damaged += 1;
        }
        let answered = spec.answers(tag.seq + 1);
        if answered == spec.answers(tag.seq) {
            return;
        }
        let mut digits = [0; 2 * TAG_BYTES];
        tag.write_hex(&mut digits);
        let mut answer = br#"{"tokens":[{"text":""#.to_vec();
        answer.extend_from_slice(MARK);
        answer.extend_from_slice(&digits);
        answer.extend_from_slice(
            br#"","start_ms":0,"end_ms":900,"confidence":0.9,"is_final":false,"speaker":"1","language":"en"}],"final_audio_proc_ms":0,"total_audio_proc_ms":900}"#,
        );
        self.say(token, &answer);
        if answered.is_multiple_of(ANSWERS_PER_UTTERANCE) {
            self.say(token, WORDS.as_bytes());
        }
    }

    fn say(&mut self, token: Token, text: &[u8]) {
        if !self.is_backed_up(token) {
            self.send_server_frame(token, Opcode::Text, text);
        }
    }

    fn send_server_frame(&mut self, token: Token, opcode: Opcode, payload: &[u8]) {
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        frame::encode_plain(&mut out, opcode, payload);
        self.send_bytes(token, &out);
        self.scratch = out;
    }

    /// An app received a text with a tag that is no event's: a transcription, if anything.
    pub(super) fn on_transcription(
        &mut self,
        user: u32,
        app: u8,
        payload: &[u8],
        tag: Tag,
        now: u64,
    ) {
        let Some(index) = self.stream_of(tag, Class::Speech) else {
            return;
        };
        if !payload.windows(INTERIM.len()).any(|part| part == INTERIM) {
            return;
        }
        let number = self.streams[index].spec.answers(tag.seq + 1);
        let seq = number.saturating_sub(1);
        self.on_delivery(index, user, app, Tag { seq, ..tag }, now);
    }
}

/// The accept key of a handshake, by RFC 6455 section 4.2.2.
fn accept_of(key: &str) -> String {
    STANDARD.encode(sha1(
        format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes(),
    ))
}

/// SHA-1 (FIPS 180-4), for handshakes only.
fn sha1(text: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    let mut padded = text.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - text.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let end = padded.len();
    padded[end - 8..].copy_from_slice(&(text.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for at in 16..80 {
            words[at] =
                (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (f, k) = match at {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(f)
                .wrapping_add(e)
                .wrapping_add(k)
                .wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (own, new) in state.iter_mut().zip([a, b, c, d, e]) {
            *own = own.wrapping_add(new);
        }
    }
    let mut out = [0; 20];
    for (bytes, word) in out.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_is_that_of_the_standard() {
        assert_eq!(
            accept_of("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn sha1_of_every_padding_length_class() {
        let hex = |text: &[u8]| -> String {
            sha1(text)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        };
        assert_eq!(hex(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
        );
    }
}
