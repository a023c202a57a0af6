//! Layer 0: who is who. Users, packages, connections, calls; and on which shard a user lives.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

macro_rules! shared_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

shared_text! {
    /// A user: the e-mail address in lower case. Also the user-session id on the wire (protocol.md §4.1).
    UserId
}

shared_text! {
    /// An app's package name, reverse-DNS, case kept.
    Package
}

impl UserId {
    /// Lower-cases, as every look-up must (behaviour.md §1.1.1).
    #[must_use]
    pub fn new(email: &str) -> Self {
        Self(email.to_lowercase().into())
    }

    /// 32-bit FNV-1a of the id: places the user on a shard and steers UDP (protocol.md §11.2).
    #[must_use]
    pub fn hash32(&self) -> u32 {
        fnv1a32(self.as_bytes())
    }

    /// A short stable tag for logs that must not carry the address (behaviour.md §1.11).
    #[must_use]
    pub fn log_tag(&self) -> String {
        format!("{:08x}", self.hash32())
    }
}

impl Package {
    /// Takes the name as it is.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The synthetic subscriber for mini-apps that run on the phone (behaviour.md §2.17).
    pub const PHONE: &'static str = "__phone__";
}

/// Digits of ids that people may have to read aloud.
pub const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// 32-bit FNV-1a.
#[must_use]
pub fn fnv1a32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Index of a shard, `0..shards`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ShardId(pub u16);

/// The shard that owns a user's session and all its sockets.
#[must_use]
pub fn home_shard(user: &UserId, shards: u16) -> ShardId {
    debug_assert!(shards > 0);
    ShardId((user.hash32() % u32::from(shards)) as u16)
}

/// One accepted connection, unique for the life of the process. Every close event, timer and reply is matched by it,
/// never by user or package (ARCHITECTURE.md, "Rules with a reason").
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

impl ConnId {
    /// The `seq`-th connection accepted by `shard`.
    #[must_use]
    pub fn new(shard: ShardId, seq: u64) -> Self {
        debug_assert!(seq < 1 << 48);
        Self(u64::from(shard.0) << 48 | seq)
    }

    /// The 8-character `connection_id` of behaviour.md §9.1, as it stands in logs and admin answers.
    #[must_use]
    pub fn tag(self) -> String {
        // A bijective mix: ids stay unique but neighbours do not look alike.
        let mixed = (self.0 as u32 ^ (self.0 >> 32) as u32).wrapping_mul(0x9e37_79b1);
        format!("{mixed:08x}")
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}.{}", self.0 >> 48, self.0 & ((1 << 48) - 1))
    }
}

/// A call that left the session (webhook, store write, provider request) and whose result comes back as an event.
/// Unique within one session epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CallId(pub u64);

/// Where the answer to a REST call goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReplyTo {
    /// Who waits.
    pub origin: Origin,
    /// The waiter's own number for the request.
    pub id: u64,
}

/// Who waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Origin {
    /// An HTTP connection on this shard.
    Shard(ShardId),
    /// A task of the outside thread.
    Outside,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_ignore_case() {
        assert_eq!(UserId::new("Nadia@Lumen.IO"), UserId::new("nadia@lumen.io"));
    }

    #[test]
    fn hashes_are_those_of_the_specification() {
        // protocol.md §6.20 announces the one of nadia@lumen.io.
        for (input, hash) in [
            ("", 2_166_136_261),
            ("a", 3_826_002_220),
            ("nadia@lumen.io", 3_718_288_755),
            ("jean-luc@lumen.io", 1_810_756_671),
        ] {
            assert_eq!(fnv1a32(input.as_bytes()), hash, "{input}");
        }
    }
}
