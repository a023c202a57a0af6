//! Layer 1: what an app says of itself in `tpa_connection_init` and `reconnect` (protocol.md §3), and the words of refusals that a
//! shard and a session both give.

use super::json::{JsonError, Scratch};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The answer to a `reconnect` of a 2.x SDK.
pub const V3_ONLY: &str = "Reconnect is only supported for SDK v3";
/// To one without a key.
pub const KEY_NEEDED: &str = "Reconnect requires apiKey when cloud state is unavailable";
/// To one that waited in vain.
pub const BOOT_TIMEOUT: &str =
    "Cloud did not restore app state before the deferred reconnect timed out";

/// Longest member of the message that counts (bytes); a longer one is as absent as one of another type. Anybody may send one,
/// and it is kept, compared and logged.
pub const FIELD_BYTES_MAX: usize = 4096;

/// Longest message whose members are read at all (bytes). Read members take a hundred times the room of their text, and for
/// a long one the time in which phones give a connection up.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Members of the message, where they say anything.
#[derive(Deserialize, Default, Debug)]
#[serde(rename_all = "camelCase", default)]
pub struct HelloFields {
    /// Which app it is.
    #[serde(deserialize_with = "field")]
    pub package_name: Option<String>,
    /// Its plain API key.
    #[serde(deserialize_with = "field")]
    pub api_key: Option<String>,
    /// The id of the app session that it means.
    #[serde(deserialize_with = "field")]
    pub session_id: Option<String>,
    /// The version of its SDK.
    #[serde(deserialize_with = "field")]
    pub sdk_version: Option<String>,
}

impl HelloFields {
    /// Reads a message; one that is too long says nothing.
    ///
    /// # Errors
    /// It is no JSON object.
    pub fn read(message: &[u8], scratch: &mut Scratch) -> Result<Self, JsonError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Ok(Self::default());
        }
        scratch.parse(message)
    }
}

fn field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) if (1..=FIELD_BYTES_MAX).contains(&text.len()) => Some(text),
        _ => None,
    })
}
