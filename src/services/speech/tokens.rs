//! Outside thread, speech: tokens as the Soniox service sends them (behaviour.md §8.6.1).

use crate::wire::speech::SpeechToken;
use serde::Deserialize;

/// Bytes of one utterance; a longer one is ended.
pub(super) const TEXT_MAX: usize = 4096;

/// A piece of text.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
pub(super) struct Spoken {
    #[serde(default)]
    pub(super) text: String,
    pub(super) start_ms: Option<u64>,
    pub(super) end_ms: Option<u64>,
    pub(super) confidence: Option<f64>,
    #[serde(default)]
    pub(super) is_final: bool,
    #[serde(default, deserialize_with = "label")]
    pub(super) speaker: Option<String>,
    pub(super) language: Option<String>,
    pub(super) translation_status: Option<String>,
    pub(super) source_language: Option<String>,
}

/// Voices are numbered; some answers have them as numbers.
fn label<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(from)?;
    Ok(match value {
        Some(serde_json::Value::String(text)) if !text.is_empty() => Some(text),
        Some(serde_json::Value::Number(number)) => Some(number.to_string()),
        _ => None,
    })
}

impl Spoken {
    /// The speaker stopped.
    pub(super) fn is_end(&self) -> bool {
        self.text == "<end>"
    }

    /// All that was said before `finalize` is final now.
    pub(super) fn is_finalized(&self) -> bool {
        self.text == "<fin>"
    }

    pub(super) fn to_token(&self) -> SpeechToken {
        SpeechToken {
            text: self.text.clone(),
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            confidence: self.confidence,
            is_final: self.is_final,
            speaker: self.speaker.clone(),
        }
    }
}

#[cfg(test)]
pub(super) mod made {
    use super::Spoken;

    /// A final token.
    pub(in crate::services::speech) fn sure(text: &str) -> Spoken {
        Spoken {
            text: text.into(),
            is_final: true,
            ..Spoken::default()
        }
    }

    /// One that may change.
    pub(in crate::services::speech) fn unsure(text: &str) -> Spoken {
        Spoken {
            is_final: false,
            ..sure(text)
        }
    }

    pub(in crate::services::speech) fn end() -> Spoken {
        sure("<end>")
    }

    impl Spoken {
        pub(in crate::services::speech) fn by(mut self, speaker: &str) -> Self {
            self.speaker = Some(speaker.into());
            self
        }

        pub(in crate::services::speech) fn in_language(mut self, language: &str) -> Self {
            self.language = Some(language.into());
            self
        }
    }
}
