//! Layer 1: full JSON parsing in reused memory; it keeps nothing of a message beyond the call.

use serde::{Deserialize, de::DeserializeOwned};
use simd_json::{Buffers, Deserializer, ErrorType, INPUT_PADDING, Tape, fill_tape_padded};

use super::{DEPTH_MAX, beyond, unicode};
use crate::wire::members::settle_numbers;

/// Memory of a scratch that served a longer text is given back before the next one.
const KEEP_BYTES_MAX: usize = 256 * 1024;

/// Most values (and names of members) of a text that is read. As values of their own they would take a hundred times the room of
/// their text; this many are read within some tenths of a second, in which a phone does not give its connection up.
const VALUES_MAX: usize = 1 << 18;

/// Room a fresh scratch starts with.
const START_BYTES: usize = 4 * 1024;

/// Why a text could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON, nests deeper than [`DEPTH_MAX`], or holds more values than anybody sends.
    #[error("invalid JSON: {0}")]
    Syntax(String),
    /// It is JSON, but not of the wanted members and types.
    #[error("{0}")]
    Shape(String),
}

impl JsonError {
    fn syntax(error: &simd_json::Error) -> Self {
        Self::Syntax(format!("{:?} at byte {}", error.error(), error.index()))
    }

    fn shape(error: &simd_json::Error) -> Self {
        match error.error() {
            ErrorType::Serde(what) => Self::Shape(what.clone()),
            other => Self::Shape(format!("{other:?}")),
        }
    }
}

/// Working memory for parsing, one per thread: in steady state a parse allocates nothing but what
/// the parsed value itself owns.
pub struct Scratch {
    /// A copy of the text (the parser writes into it) and its padding.
    bytes: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch")
            .field("bytes", &self.bytes.capacity())
            .finish_non_exhaustive()
    }
}

impl Scratch {
    /// Fresh working memory.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(START_BYTES),
            buffers: Buffers::with_max_depth(START_BYTES, DEPTH_MAX),
            tape: Tape(Vec::with_capacity(START_BYTES / 16)),
        }
    }

    /// Parses a whole text into a value that owns what it holds. As for `JSON.parse`, of a member given twice the last
    /// counts, `60.0` is the whole number 60, and a number beyond what a double holds is `null`.
    ///
    /// # Errors
    /// See [`JsonError`].
    pub fn parse<T: DeserializeOwned>(&mut self, text: &[u8]) -> Result<T, JsonError> {
        match self.parse_borrowed(text) {
            Err(JsonError::Shape(_)) => self.parse_settled(text),
            Err(JsonError::Syntax(error)) => match beyond::without(text) {
                Some(text) => self.parse(&text),
                None => Err(JsonError::Syntax(error)),
            },
            done => done,
        }
    }

    /// A second try, with what derived deserialisers refuse (`60.0` for a whole number, members given twice) mended first. Its error
    /// is the one that is reported.
    #[cold]
    fn parse_settled<T: DeserializeOwned>(&mut self, text: &[u8]) -> Result<T, JsonError> {
        let mut value: serde_json::Value = self.parse_borrowed(text)?;
        settle_numbers(&mut value);
        T::deserialize(value).map_err(|error| JsonError::Shape(error.to_string()))
    }

    /// Parses a whole text into a value whose strings may lie in this scratch.
    ///
    /// # Errors
    /// See [`JsonError`].
    pub fn parse_borrowed<'a, T: Deserialize<'a>>(
        &'a mut self,
        text: &[u8],
    ) -> Result<T, JsonError> {
        let (tape, spare) = self.tape_of(text)?;
        if tape.0.len() > VALUES_MAX {
            *spare = tape.reset();
            return Err(JsonError::Syntax("too many values".to_owned()));
        }
        let mut deserializer = Deserializer::from_tape(tape);
        let value = T::deserialize(&mut deserializer);
        *spare = deserializer.into_tape().reset();
        value.map_err(|error| JsonError::shape(&error))
    }

    /// Parses `text` into a tape; the second part is where its memory goes back to.
    fn tape_of<'a>(
        &'a mut self,
        text: &[u8],
    ) -> Result<(Tape<'a>, &'a mut Tape<'static>), JsonError> {
        if self.bytes.capacity() > KEEP_BYTES_MAX {
            *self = Self::new();
        }
        let Self {
            bytes,
            buffers,
            tape: spare,
        } = self;
        bytes.clear();
        bytes.reserve(text.len() + INPUT_PADDING);
        bytes.extend_from_slice(text);
        unicode::repair_surrogates(bytes);
        bytes.resize(text.len() + INPUT_PADDING, 0);
        let mut tape = std::mem::replace(spare, Tape(Vec::new())).reset();
        match fill_tape_padded(bytes, text.len(), buffers, &mut tape) {
            Ok(()) => Ok((tape, spare)),
            Err(error) => {
                *spare = tape.reset();
                Err(JsonError::syntax(&error))
            }
        }
    }
}
