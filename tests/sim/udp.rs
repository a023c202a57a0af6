//! Audio by UDP: what phones send (protocol.md §11.5), a network that loses, doubles, reorders, delays and changes datagrams,
//! and the mail between two shards. Datagrams of one hash may arrive at either.

use super::invariants::Cause;
use super::phone::PhoneWake;
use super::world::{Act, World};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::AeadInPlace as _;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305};
use prism::base::ids::ConnId;
use prism::session::event::{PhoneFlags, UdpSecret};
use prism::shard::mailbox::ToShard;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Bytes of a chunk of audio. Others are ciphertext that was taken for audio.
pub(crate) const CHUNK_BYTES: usize = 64;
/// The same, sealed: with its nonce and tag.
pub(crate) const SEALED_BYTES: usize = CHUNK_BYTES + 40;
/// In the word that names the phone: it came by UDP.
pub(crate) const BY_UDP: u32 = 0x1_0000;
/// What a phone remembers to send again.
const REMEMBERED: usize = 12;

/// A phone's side.
#[derive(Clone, Debug)]
pub(crate) struct Udp {
    /// Of the user id as it spells it.
    hash: u32,
    key: Option<[u8; 32]>,
    /// It always asks for a key and seals with the first one that it was told, whatever later acks say.
    loyal: bool,
    /// Counts how often it began to number its datagrams.
    run: u32,
    next: u16,
    /// Never repeats: what a chunk is known by.
    number: u32,
    /// A probe was confirmed.
    pub(crate) works: bool,
    sent: VecDeque<Packet>,
}

impl Udp {
    fn new(hash: u32) -> Self {
        Self {
            hash,
            key: None,
            loyal: false,
            run: 0,
            next: 0,
            number: 0,
            works: false,
            sent: VecDeque::new(),
        }
    }
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) hash: u32,
    pub(crate) content: Content,
    bytes: Vec<u8>,
}

impl Packet {
    /// What follows hash and number.
    pub(crate) fn payload(&self) -> &[u8] {
        self.bytes.get(6..).unwrap_or_default()
    }
}

/// What it is for.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Probe,
    Audio(Audio),
    Junk,
}

/// Audio, as its phone meant it.
#[derive(Clone, Debug)]
pub(crate) struct Audio {
    pub(crate) phone: usize,
    pub(crate) run: u32,
    pub(crate) sequence: u16,
    pub(crate) number: u32,
    pub(crate) key: Option<[u8; 32]>,
    /// Nobody changed the ciphertext.
    pub(crate) whole: bool,
}

/// The inboxes of two shards.
pub(crate) struct Mail {
    inboxes: Vec<flume::Receiver<ToShard>>,
    waiting: [VecDeque<ToShard>; 2],
    read_ms: [u64; 2],
    /// The most that a message waits for its reader; 0: it is read within the event that sent it.
    pub(crate) lag_ms: u64,
}

impl Mail {
    pub(super) fn new() -> (Vec<flume::Sender<ToShard>>, Self) {
        let (senders, inboxes) = (0..2).map(|_| flume::bounded(10_000)).unzip();
        let mail = Self {
            inboxes,
            waiting: [VecDeque::new(), VecDeque::new()],
            read_ms: [0; 2],
            lag_ms: 0,
        };
        (senders, mail)
    }

    /// Messages that nobody has read yet.
    pub(crate) fn unread(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }
}

/// 32-bit FNV-1a, written once more so that the server's own cannot hide its errors.
pub(crate) fn hash_of(text: &str) -> u32 {
    let step = |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    text.bytes().fold(2_166_136_261, step)
}

fn seal(key: &[u8; 32], nonce: [u8; 24], audio: &[u8]) -> Vec<u8> {
    let mut sealed = audio.to_vec();
    let tag = XSalsa20Poly1305::new(key.into())
        .encrypt_in_place_detached(&nonce.into(), &[], &mut sealed)
        .expect("short enough");
    [&nonce[..], &tag[..], &sealed].concat()
}

fn datagram(hash: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    [
        &hash.to_be_bytes()[..],
        &sequence.to_be_bytes()[..],
        payload,
    ]
    .concat()
}

impl World {
    /// Half of the phones use UDP. Some spell their user id in another way, a few announce the hash of somebody else.
    pub(crate) fn may_use_udp(&mut self, ix: usize, users: &[&str]) {
        if self.rng.bool() {
            return;
        }
        let user = self.phones[ix].user.clone();
        let hash = match self.rng.u32(0..10) {
            0..6 => hash_of(&user),
            // Of the other shard.
            6..8 => hash_of(&format!("{user}+")),
            _ => hash_of(self.rng.choice(users).expect("a user")),
        };
        self.phones[ix].udp = Some(Udp::new(hash));
    }

    /// This phone sends its audio sealed by UDP, with the key of its first ack for ever.
    pub(crate) fn seals_with_its_first_key(&mut self, ix: usize) {
        let hash = hash_of(&self.phones[ix].user);
        self.phones[ix].udp = Some(Udp {
            loyal: true,
            ..Udp::new(hash)
        });
    }

    /// What the phone asks for in its upgrade, and what the server draws for it.
    pub(super) fn udp_wishes(&mut self, ix: usize) -> PhoneFlags {
        let Some(udp) = &mut self.phones[ix].udp else {
            return PhoneFlags::default();
        };
        udp.works = false;
        udp.run += 1;
        let loyal = udp.loyal;
        let mut secret = [0; 32];
        self.rng.fill(&mut secret);
        PhoneFlags {
            udp_encryption: self.rng.u32(0..4) > 0 || loyal,
            livekit: true,
            secret: UdpSecret(secret),
        }
    }

    pub(super) fn udp_offered(&mut self, ix: usize, conn: ConnId, ack: &Value) {
        let begins = if self.rng.bool() { 0 } else { u16::MAX - 4 };
        let Some(udp) = self.phones[ix].udp.as_mut() else {
            return;
        };
        assert_eq!(ack["udpHost"], "udp.example.net", "it is always offered");
        let key = ack["udpEncryption"]["key"].as_str();
        let told = key.map(|key| {
            let bytes = STANDARD.decode(key).expect("base64");
            bytes.try_into().expect("32 bytes")
        });
        udp.key = udp.key.filter(|_| udp.loyal).or(told);
        udp.run += 1;
        udp.next = begins;
        udp.works = false;
        let run = udp.run;
        self.after(500, Act::Phone(ix, PhoneWake::UdpRegister(conn, run)));
    }

    pub(super) fn udp_registers(&mut self, ix: usize, conn: ConnId, run: u32) {
        let phone = &self.phones[ix];
        let Some(udp) = phone.udp.as_ref() else {
            return;
        };
        if udp.run != run || udp.works || phone.conn != Some(conn) {
            return;
        }
        let hash = udp.hash;
        self.say(conn, &json!({"type": "udp_register", "userIdHash": hash}));
        for probe in 0..3 {
            self.after(200 * probe, Act::Phone(ix, PhoneWake::UdpProbe(conn, run)));
        }
        self.after(5000, Act::Phone(ix, PhoneWake::UdpRegister(conn, run)));
    }

    pub(super) fn udp_probes(&mut self, ix: usize, conn: ConnId, run: u32) {
        let phone = &self.phones[ix];
        if let Some(udp) = phone.udp.as_ref().filter(|udp| udp.run == run)
            && phone.conn == Some(conn)
        {
            let packet = Packet {
                hash: udp.hash,
                content: Content::Probe,
                bytes: datagram(udp.hash, 0, b"PING"),
            };
            self.datagram_leaves(0, packet);
        }
    }

    pub(super) fn udp_works(&mut self, ix: usize) {
        if let Some(udp) = &mut self.phones[ix].udp {
            udp.works = true;
        }
    }

    /// A burst of audio, a packet every 10 ms.
    pub(super) fn udp_speaks(&mut self, ix: usize) {
        // Should it have to go back to its socket, that begins with a whole sample.
        self.phones[ix].voice.begin();
        for at in 0..self.rng.u64(1..6) {
            let mut nonce = [0; 24];
            self.rng.fill(&mut nonce);
            let Some(udp) = &mut self.phones[ix].udp else {
                return;
            };
            udp.number += 1;
            let audio = Audio {
                phone: ix,
                run: udp.run,
                sequence: udp.next,
                number: udp.number,
                key: udp.key,
                whole: true,
            };
            udp.next = udp.next.wrapping_add(1);
            let mut chunk = vec![0_u8; CHUNK_BYTES];
            chunk[..4].copy_from_slice(&audio.number.to_le_bytes());
            chunk[4..8].copy_from_slice(&(ix as u32 | BY_UDP).to_le_bytes());
            if let Some(key) = &audio.key {
                chunk = seal(key, nonce, &chunk);
            }
            let packet = Packet {
                hash: udp.hash,
                bytes: datagram(udp.hash, audio.sequence, &chunk),
                content: Content::Audio(audio),
            };
            udp.sent.push_back(packet.clone());
            if udp.sent.len() > REMEMBERED {
                udp.sent.pop_front();
            }
            self.datagram_leaves(10 * at, packet);
        }
    }

    /// No phone of today does it.
    pub(super) fn udp_unregisters(&mut self, ix: usize, conn: ConnId) {
        if let Some(udp) = self.phones[ix].udp.as_ref() {
            let hash = udp.hash;
            self.say(conn, &json!({"type": "udp_unregister", "userIdHash": hash}));
        }
    }

    /// What was sent before comes once more, whatever has happened since.
    pub(super) fn udp_again(&mut self, user: &str, count: usize) {
        let phone = self.phone_of(user).map(|ix| &self.phones[ix]);
        let Some(udp) = phone.and_then(|phone| phone.udp.as_ref()) else {
            return;
        };
        let packets: Vec<Packet> = udp.sent.iter().rev().take(count).cloned().collect();
        for packet in packets {
            self.datagram_leaves(0, packet);
        }
    }

    pub(super) fn udp_stray(&mut self, length: usize) {
        let mut bytes = vec![0; length];
        self.rng.fill(&mut bytes);
        let hash = bytes
            .first_chunk()
            .map_or(0, |hash| u32::from_be_bytes(*hash));
        let packet = Packet {
            hash,
            content: Content::Junk,
            bytes,
        };
        self.datagram_leaves(0, packet);
    }

    /// A datagram of nobody arrives that names the hash of this phone.
    pub(crate) fn stray_for(&mut self, ix: usize, audio: &[u8]) {
        let Some(udp) = &self.phones[ix].udp else {
            return;
        };
        let packet = Packet {
            hash: udp.hash,
            content: Content::Junk,
            bytes: datagram(udp.hash, 0x3f00, audio),
        };
        self.datagram_comes(0, packet);
    }

    fn datagram_leaves(&mut self, after_ms: u64, packet: Packet) {
        if self.rng.u32(0..12) == 0 {
            return;
        }
        for _ in 0..1 + usize::from(self.rng.u32(0..12) == 0) {
            let mut packet = packet.clone();
            if self.rng.u32(0..50) == 0 {
                self.misdirect(&mut packet);
            }
            if let Content::Audio(audio) = &mut packet.content
                && audio.key.is_some()
                && self.rng.u32(0..25) == 0
            {
                audio.whole = false;
                let at = self.rng.usize(6..packet.bytes.len());
                packet.bytes[at] ^= 0x40;
            }
            let delay_ms = match self.rng.u32(0..20) {
                0..14 => self.rng.u64(1..12),
                14..19 => self.rng.u64(1..35),
                _ => self.rng.u64(30..900),
            };
            // The kernel steers by the hash, but not while sockets come and go.
            let shard = match self.rng.u32(0..8) {
                0 => self.rng.usize(0..2),
                _ => packet.hash as usize % 2,
            };
            self.after(after_ms + delay_ms, Act::Datagram(shard, packet));
        }
    }

    /// Its hash becomes that of another user, or of nobody.
    fn misdirect(&mut self, packet: &mut Packet) {
        let other = self.rng.usize(0..self.phones.len());
        packet.hash = match self.rng.bool() {
            true => hash_of(&self.phones[other].user),
            false => packet.hash ^ 1 << self.rng.u32(0..32),
        };
        if let Some(hash) = packet.bytes.first_chunk_mut() {
            *hash = packet.hash.to_be_bytes();
        }
    }

    pub(super) fn datagram_comes(&mut self, shard: usize, packet: Packet) {
        self.trace.add(self.t(), "", || {
            format!(
                "datagram at {shard}: {:08x} {:?}",
                packet.hash, packet.content
            )
        });
        let mut bytes = packet.bytes.clone();
        self.call_at(shard, Cause::Datagram(packet), |shard, _| {
            shard.datagram(&mut bytes);
        });
    }

    /// Takes what shards sent each other; says whether any of it was read.
    pub(super) fn move_mail(&mut self) -> bool {
        let mut read = false;
        for shard in 0..2 {
            while let Ok(message) = self.mail.inboxes[shard].try_recv() {
                if self.mail.lag_ms == 0 {
                    self.hand_over(shard, message);
                    read = true;
                    continue;
                }
                let wait_ms = self.rng.u64(0..=self.mail.lag_ms);
                let at_ms = self.mail.read_ms[shard].max(self.now.mono_ms + wait_ms);
                self.mail.read_ms[shard] = at_ms;
                self.mail.waiting[shard].push_back(message);
                self.at(at_ms, Act::Mail(shard));
            }
        }
        read
    }

    pub(super) fn mail_is_read(&mut self, shard: usize) {
        if let Some(message) = self.mail.waiting[shard].pop_front() {
            self.call_at(shard, Cause::Mail, |shard, _| {
                assert!(shard.receive(message).is_none(), "mail for shards");
            });
        }
    }

    fn hand_over(&mut self, shard: usize, message: ToShard) {
        let rest = self.shard_mut(shard).receive(message);
        assert!(rest.is_none(), "mail for shards");
    }
}
