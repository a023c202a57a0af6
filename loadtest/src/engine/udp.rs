//! Microphone audio by UDP (`protocol.md §11`): a phone registers its hash over the WebSocket, probes, and sends by UDP once the
//! server confirmed a probe. One socket serves all phones, because packets carry the hash of their user. Plain packets only.

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
    fn send(&mut self, hash: u32, sequence: u16, payload: &[u8]) -> Sent {
        let (Some(socket), Some((_, _, address))) = (&self.socket, &self.server) else {
            return Sent::No;
        };
        self.packet.clear();
        self.packet.extend_from_slice(&hash.to_be_bytes());
        self.packet.extend_from_slice(&sequence.to_be_bytes());
        self.packet.extend_from_slice(payload);
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
}

impl Engine {
    /// A phone got its `connection_ack`: the audio path begins anew.
    pub(super) fn on_udp_offer(&mut self, user: u32, ack: &[u8], now: u64) {
        if !self.scenario.by_udp() {
            return;
        }
        let own = &mut self.users[user as usize];
        own.udp = Link::Closed;
        own.udp_seq = 0;
        let offer = serde_json::from_slice::<Offer>(ack).ok();
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
        self.udp.send(hash, 0, b"PING");
        self.timers
            .at(due + PROBE_EVERY, Timer::UdpProbe(user, number + 1));
    }

    /// The server confirmed a probe.
    pub(super) fn on_udp_ack(&mut self, user: u32) {
        let own = &mut self.users[user as usize];
        if own.udp == Link::Probing {
            own.udp = Link::Open;
        }
    }

    /// Sends audio by UDP where the phone's path is open; [`Sent::No`] otherwise.
    pub(super) fn send_udp(&mut self, user: u32, payload: &[u8]) -> Sent {
        let own = &mut self.users[user as usize];
        if own.udp != Link::Open {
            return Sent::No;
        }
        let sent = self.udp.send(hash(&own.email), own.udp_seq, payload);
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
