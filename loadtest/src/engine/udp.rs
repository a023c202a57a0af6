//! Microphone audio by UDP (`protocol.md §11`): a phone registers its hash over the WebSocket, probes, and sends by UDP once the
//! server confirmed a probe. One socket serves all phones, because packets carry the hash of their user.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::AeadInPlace;
use crypto_secretbox::{KeyInit, XSalsa20Poly1305};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use super::Engine;
use super::timers::Timer;
use crate::clock::SECOND;
use crate::frame::Opcode;

/// Phones register so long after their `connection_ack`.
const REGISTER_AFTER: u64 = SECOND / 2;
/// Probes of one attempt, and the time between two.
const PROBES: u8 = 3;
const PROBE_EVERY: u64 = SECOND / 5;
/// Without a confirmation the whole procedure begins again after this time.
const AGAIN_AFTER: u64 = 5 * SECOND;
/// Header: hash and sequence number.
const HEADER_BYTES: usize = 6;
/// Most audio in one packet: phones limit packets to 1024 bytes.
pub(crate) const AUDIO_BYTES_MAX: usize = 1024 - HEADER_BYTES;
/// The same when it is sealed.
pub(crate) const SEALED_BYTES_MAX: usize = AUDIO_BYTES_MAX - NONCE_BYTES - TAG_BYTES;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// Seals a phone's packets (`protocol.md §11.6`).
pub(crate) type Key = [u8; 32];

/// How far a phone's audio path by UDP is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Link {
    /// The server offered none, or did not confirm a probe: audio goes over the WebSocket.
    #[default]
    Closed,
    /// Registered, probes are out; audio still goes over the WebSocket.
    Probing,
    /// Audio goes by UDP.
    Open,
}

/// The socket of all phones, and where the server takes packets.
#[derive(Debug, Default)]
pub(super) struct Udp {
    socket: Option<UdpSocket>,
    /// Host and port as offered, with their address.
    server: Option<(String, u16, SocketAddr)>,
    packet: Vec<u8>,
    /// Packets sealed so far: no nonce comes twice.
    sealed: u64,
}

/// What became of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The kernel took it.
    Yes,
    /// The kernel has no room for it now.
    NoRoom,
    /// There is no socket or address.
    No,
}

impl Udp {
    /// Notes where the server takes packets; says whether they can go there.
    fn aim(&mut self, host: &str, port: u16) -> bool {
        if matches!(&self.server, Some((known, of, _)) if known == host && *of == port) {
            return true;
        }
        let Ok(mut addresses) = (host, port).to_socket_addrs() else {
            return false;
        };
        let Some(address) = addresses.find(SocketAddr::is_ipv4) else {
            return false;
        };
        if self.socket.is_none() {
            self.socket = bind().ok();
        }
        self.server = Some((host.to_owned(), port, address));
        self.socket.is_some()
    }

    /// Sends one packet.
    fn send(&mut self, hash: u32, sequence: u16, payload: &[u8], key: Option<&Key>) -> Sent {
        let (Some(socket), Some((_, _, address))) = (&self.socket, &self.server) else {
            return Sent::No;
        };
        self.packet.clear();
        self.packet.extend_from_slice(&hash.to_be_bytes());
        self.packet.extend_from_slice(&sequence.to_be_bytes());
        match key {
            Some(key) => {
                self.sealed += 1;
                seal(key, self.sealed, payload, &mut self.packet);
            }
            None => self.packet.extend_from_slice(payload),
        }
        match socket.send_to(&self.packet, address) {
            Ok(_) => Sent::Yes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::NoRoom,
            // Refused, unreachable: the packet is lost, as UDP packets are, and counted so at the receivers.
            Err(_) => Sent::Yes,
        }
    }
}

fn bind() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Appends nonce, tag, ciphertext.
fn seal(key: &Key, number: u64, payload: &[u8], out: &mut Vec<u8>) {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&nonce);
    let tag_at = out.len();
    let audio_at = tag_at + TAG_BYTES;
    out.resize(audio_at, 0);
    out.extend_from_slice(payload);
    let tag = XSalsa20Poly1305::new(key.into())
        .encrypt_in_place_detached(&nonce.into(), &[], &mut out[audio_at..])
        .expect("packets are short");
    out[tag_at..audio_at].copy_from_slice(&tag);
}

/// FNV-1a over the user id, 32 bits.
pub(super) fn hash(user: &str) -> u32 {
    user.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// The part of `connection_ack` that is about UDP.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offer {
    udp_host: Option<String>,
    udp_port: Option<u16>,
    udp_encryption: Option<OfferedKey>,
}

#[derive(serde::Deserialize)]
struct OfferedKey {
    key: String,
}

impl Offer {
    fn key(&self) -> Option<Key> {
        let text = &self.udp_encryption.as_ref()?.key;
        STANDARD.decode(text).ok()?.try_into().ok()
    }
}

impl Engine {
    /// A phone got its `connection_ack`: the audio path begins anew.
    pub(super) fn on_udp_offer(&mut self, user: u32, ack: &[u8], now: u64) {
        if !self.scenario.by_udp() && !self.scenario.rest.on_ack {
            return;
        }
        let own = &mut self.users[user as usize];
        own.udp = Link::Closed;
        own.udp_seq = 0;
        let offer = serde_json::from_slice::<Offer>(ack).ok();
        own.udp_key = offer.as_ref().and_then(Offer::key).map(Box::new);
        if self.scenario.seals() && own.udp_key.is_none() {
            return;
        }
        let Some((host, port)) = offer.and_then(|offer| Some((offer.udp_host?, offer.udp_port?)))
        else {
            return;
        };
        if self.udp.aim(&host, port) {
            self.timers
                .at(now + REGISTER_AFTER, Timer::UdpProbe(user, 0));
        }
    }

    /// Registers with the first probe; begins again when all stay unanswered.
    pub(super) fn probe_udp(&mut self, user: u32, number: u8, due: u64) {
        let own = &mut self.users[user as usize];
        let Some(token) = own.phone.filter(|_| own.acked && own.udp != Link::Open) else {
            return;
        };
        if number == PROBES {
            own.udp = Link::Closed;
            self.timers.at(due + AGAIN_AFTER, Timer::UdpProbe(user, 0));
            return;
        }
        own.udp = Link::Probing;
        let hash = hash(&own.email);
        if number == 0 {
            let register = format!(r#"{{"type":"udp_register","userIdHash":{hash}}}"#);
            self.send_frame(token, Opcode::Text, register.as_bytes());
        }
        self.udp.send(hash, 0, b"PING", None);
        self.timers
            .at(due + PROBE_EVERY, Timer::UdpProbe(user, number + 1));
    }

    /// The server confirmed a probe.
    pub(super) fn on_udp_ack(&mut self, user: u32) {
        let own = &mut self.users[user as usize];
        if own.udp == Link::Probing {
            own.udp = Link::Open;
            self.stats.udp_paths += 1;
        }
    }

    /// Sends audio by UDP where the phone's path is open; [`Sent::No`] otherwise.
    pub(super) fn send_udp(&mut self, user: u32, payload: &[u8]) -> Sent {
        let own = &mut self.users[user as usize];
        if own.udp != Link::Open {
            return Sent::No;
        }
        let key = own.udp_key.as_deref();
        let sent = self.udp.send(hash(&own.email), own.udp_seq, payload, key);
        if sent == Sent::Yes {
            own.udp_seq = own.udp_seq.wrapping_add(1);
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_audio_opens_again() {
        let key = [7; 32];
        let mut packet = vec![1, 2, 3];
        seal(&key, 5, b"sixteen bytes ok", &mut packet);
        assert_eq!(packet.len(), 3 + NONCE_BYTES + TAG_BYTES + 16);
        let (nonce, rest) = packet[3..].split_at(NONCE_BYTES);
        let (tag, sealed) = rest.split_at(TAG_BYTES);
        let mut audio = sealed.to_vec();
        XSalsa20Poly1305::new(&key.into())
            .decrypt_in_place_detached(nonce.into(), &[], &mut audio, tag.into())
            .expect("it opens");
        assert_eq!(audio, b"sixteen bytes ok");
    }

    #[test]
    fn the_key_is_taken_from_the_ack() {
        let ack = br#"{"type":"connection_ack","udpHost":"h","udpPort":1,"udpEncryption":{"key":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","algorithm":"xsalsa20-poly1305"}}"#;
        let offer: Offer = serde_json::from_slice(ack).expect("an offer");
        let counted: Key = std::array::from_fn(|at| at as u8);
        assert_eq!(offer.key(), Some(counted));
    }

    #[test]
    fn hashes_are_those_of_the_protocol() {
        for (user, wanted) in [
            ("", 2_166_136_261),
            ("a", 3_826_002_220),
            ("nadia@lumen.io", 3_718_288_755),
            ("jean-luc@lumen.io", 1_810_756_671),
        ] {
            assert_eq!(hash(user), wanted, "{user}");
        }
    }
}
