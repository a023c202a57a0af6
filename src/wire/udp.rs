//! Layer 1: audio datagrams of phones (protocol.md §11.1): header, probe, and the opening of sealed audio. It knows neither who
//! a hash belongs to nor the order of packets.

use crypto_secretbox::aead::AeadInPlace;
use crypto_secretbox::{KeyInit, Nonce, Tag, XSalsa20Poly1305};

/// Hash and sequence number.
const HEADER_BYTES: usize = 6;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// What a probe carries.
const PROBE: &[u8] = b"PING";

/// One datagram.
#[derive(PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    /// Of the user id, as the phone spells it.
    pub hash: u32,
    /// What it is for.
    pub content: Content<'a>,
}

/// What a datagram is for.
#[derive(PartialEq, Eq, Debug)]
pub enum Content<'a> {
    /// Whether datagrams arrive; answered over the WebSocket.
    Probe,
    /// Microphone audio, sealed or not.
    Audio {
        /// Wraps at 65535.
        sequence: u16,
        /// The rest.
        payload: &'a mut [u8],
    },
}

/// Reads a datagram; `None` when it is shorter than its header.
#[must_use]
pub fn read(bytes: &mut [u8]) -> Option<Datagram<'_>> {
    let (header, payload) = bytes.split_at_mut_checked(HEADER_BYTES)?;
    let (hash, sequence) = header.split_first_chunk::<4>()?;
    let content = if payload.starts_with(PROBE) {
        Content::Probe
    } else {
        Content::Audio {
            sequence: u16::from_be_bytes(sequence.try_into().ok()?),
            payload,
        }
    };
    Some(Datagram {
        hash: u32::from_be_bytes(*hash),
        content,
    })
}

/// Not sealed with this key, or changed on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the audio does not open with the session's key")]
pub struct Forged;

/// Opens sealed audio in its place: nonce, tag, ciphertext (NaCl `secretbox`).
///
/// # Errors
/// [`Forged`].
pub fn open<'a>(key: &[u8; 32], payload: &'a mut [u8]) -> Result<&'a mut [u8], Forged> {
    let (nonce, rest) = payload
        .split_first_chunk_mut::<NONCE_BYTES>()
        .ok_or(Forged)?;
    let (tag, audio) = rest.split_first_chunk_mut::<TAG_BYTES>().ok_or(Forged)?;
    let (nonce, tag): (&Nonce, &Tag) = ((&*nonce).into(), (&*tag).into());
    XSalsa20Poly1305::new(key.into())
        .decrypt_in_place_detached(nonce, &[], audio, tag)
        .map_err(|_| Forged)?;
    Ok(audio)
}

/// Seals audio as phones do, for tests: nonce, tag, ciphertext.
#[cfg(test)]
pub(crate) fn seal(key: &[u8; 32], nonce: [u8; NONCE_BYTES], audio: &[u8]) -> Vec<u8> {
    let mut sealed = audio.to_vec();
    let tag = XSalsa20Poly1305::new(key.into())
        .encrypt_in_place_detached(&nonce.into(), &[], &mut sealed)
        .expect("short enough");
    [&nonce[..], &tag[..], &sealed].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
        (0..text.len()).step_by(2).map(digit).collect()
    }

    #[test]
    fn the_header_is_big_endian() {
        let mut bytes = [0xdd, 0xa0, 0x95, 0x73, 0x01, 0x02, 9, 8];
        assert_eq!(
            read(&mut bytes),
            Some(Datagram {
                hash: 3_718_288_755,
                content: Content::Audio {
                    sequence: 258,
                    payload: &mut [9, 8]
                }
            })
        );
        assert_eq!(read(&mut [1, 2, 3, 4, 5]), None);
        let mut bare = [0, 0, 0, 1, 0, 2];
        let audio = read(&mut bare).expect("a header").content;
        assert_eq!(
            audio,
            Content::Audio {
                sequence: 2,
                payload: &mut []
            }
        );
    }

    #[test]
    fn a_probe_is_told_before_anything_else() {
        for tail in ["PING", "PING and more"] {
            let mut bytes = [&[0, 0, 0, 7, 0, 0][..], tail.as_bytes()].concat();
            let datagram = read(&mut bytes).expect("a header");
            assert_eq!((datagram.hash, datagram.content), (7, Content::Probe));
        }
        let mut short = *b"\0\0\0\x07\0\0PIN";
        let content = read(&mut short).expect("a header").content;
        assert!(matches!(content, Content::Audio { .. }));
    }

    /// The published test vector of NaCl's `secretbox`.
    #[test]
    fn sealed_audio_opens_as_nacl_sealed_it() {
        let key = hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        let nonce = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        let message = hex(concat!(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c6129",
            "6cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde",
            "048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"
        ));
        let sealed = hex(concat!(
            "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186a",
            "c0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae",
            "90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74",
            "e355a5"
        ));
        let key: [u8; 32] = key.try_into().expect("32 bytes");
        let nonce: [u8; 24] = nonce.try_into().expect("24 bytes");
        let mut payload = [&nonce[..], &sealed].concat();
        assert_eq!(open(&key, &mut payload).as_deref(), Ok(&message[..]));
        assert_eq!(seal(&key, nonce, &message), [&nonce[..], &sealed].concat());
    }

    #[test]
    fn what_was_changed_or_cut_does_not_open() {
        let key = [7; 32];
        let sealed = seal(&key, [1; 24], b"audio");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&key, &mut changed), Err(Forged), "byte {at}");
        }
        for length in 0..sealed.len() {
            let mut cut = sealed[..length].to_vec();
            assert_eq!(open(&key, &mut cut), Err(Forged), "{length} bytes");
        }
        assert_eq!(open(&[8; 32], &mut sealed.clone()), Err(Forged));
    }
}
