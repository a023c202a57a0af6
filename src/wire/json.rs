//! Layer 1: JSON (placeholder until branch `wire` is merged; same signatures).
use serde::de::DeserializeOwned;
use std::borrow::Cow;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    #[error("not an object with a string type")]
    NotTyped,
}
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSON: {0}")]
pub struct JsonError(pub String);

/// Finds the top-level `type`.
pub fn kind(text: &[u8]) -> Result<Cow<'_, str>, KindError> {
    let v: serde_json::Value = serde_json::from_slice(text).map_err(|_| KindError::NotTyped)?;
    v.get("type")
        .and_then(|t| t.as_str())
        .map(|s| Cow::Owned(s.to_owned()))
        .ok_or(KindError::NotTyped)
}
/// Reused parse buffers; one per shard.
#[derive(Default)]
pub struct Scratch;
impl Scratch {
    pub fn new() -> Self {
        Self
    }
    pub fn parse<T: DeserializeOwned>(&mut self, text: &[u8]) -> Result<T, JsonError> {
        serde_json::from_slice(text).map_err(|e| JsonError(e.to_string()))
    }
    pub fn validate(&mut self, text: &[u8]) -> Result<(), JsonError> {
        serde_json::from_slice::<serde::de::IgnoredAny>(text)
            .map(|_| ())
            .map_err(|e| JsonError(e.to_string()))
    }
}
/// JSON string with quotes.
pub fn write_str(out: &mut Vec<u8>, s: &str) {
    out.extend_from_slice(
        serde_json::to_string(s)
            .expect("strings serialise")
            .as_bytes(),
    );
}
/// Writes one JSON object member by member.
pub struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}
impl<'a> ObjectWriter<'a> {
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }
    fn key(&mut self, key: &str) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        write_str(self.out, key);
        self.out.push(b':');
    }
    pub fn str(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key);
        write_str(self.out, value);
        self
    }
    pub fn raw(&mut self, key: &str, json: &[u8]) -> &mut Self {
        self.key(key);
        self.out.extend_from_slice(json);
        self
    }
    pub fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.raw(key, if value { b"true" } else { b"false" })
    }
    pub fn num(&mut self, key: &str, value: u64) -> &mut Self {
        self.raw(key, value.to_string().as_bytes())
    }
    pub fn null(&mut self, key: &str) -> &mut Self {
        self.raw(key, b"null")
    }
    pub fn value(&mut self, key: &str, value: &impl serde::Serialize) -> &mut Self {
        let json = serde_json::to_vec(value).expect("plain data serialises");
        self.raw(key, &json)
    }
    pub fn end(self) {
        self.out.push(b'}');
    }
}
