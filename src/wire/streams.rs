//! Layer 1: stream names, what they need and which events they match (`protocol.md §5.2` to
//! `§5.4`, `behaviour.md §3.2.2` and `§3.3`); it stores no set and delivers nothing.

mod language;
mod matching;
mod permission;
mod region;
#[cfg(test)]
mod tests;

pub use language::{Lang, LangOrAuto, LanguageOptions};
pub use matching::{AutoSubscribers, StreamEvent, delivered_as};
pub use permission::{Permission, UnknownPermission, permission_for};
pub use region::with_region;

use super::http::query_value;

/// Microphone audio, delivered as binary frames.
pub const AUDIO_CHUNK: &str = "audio_chunk";
/// A location, from REST or the phone's socket.
pub const LOCATION_UPDATE: &str = "location_update";
/// Subscription to locations with a rate; its events are named [`LOCATION_UPDATE`].
pub const LOCATION_STREAM: &str = "location_stream";
/// A touch on the glasses; `touch_event:<gesture>` narrows it to one gesture.
pub const TOUCH_EVENT: &str = "touch_event";

const TRANSCRIPTION: &str = "transcription";
const TRANSLATION: &str = "translation";
/// What the bare name `transcription` stands for.
const TRANSCRIPTION_DEFAULT: &str = "transcription:en-US";
const SETTINGS: &str = "augmentos";

/// What a subscription string asks for. Strings stay with their [`Subscription`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sub {
    /// `*` or `all`: every stream, but without the needs of any.
    Wildcard,
    /// `transcription:<lang>`, short forms and `auto` included.
    Transcription(LangOrAuto),
    /// `translation:<src>-to-<tgt>` or a short form, `translation:<src>-<tgt>` or `translation:<src>:<tgt>`.
    Translation {
        /// Spoken language; `auto` and `all` are any.
        source: LangOrAuto,
        /// Language of the text.
        target: Lang,
    },
    /// `touch_event` or `touch_event:<gesture>`.
    Touch(Gestures),
    /// `location_stream`.
    LocationStream,
    /// `augmentos:<key>`, `augmentos:*`, `augmentos:all`.
    Settings,
    /// Any other string, which matches events of exactly its name.
    Named,
}

/// Which gestures a touch subscription wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gestures {
    /// All.
    Any,
    /// The one in its name.
    Named,
}

/// One subscription of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The app's own string; language streams are delivered under it.
    pub text: Box<str>,
    /// What it asks for.
    pub parsed: Sub,
}

/// What the subscriptions that count ask of the microphone, all together (behaviour.md §3.5). Wildcards ask for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Need {
    /// Somebody has `audio_chunk`.
    pub pcm: bool,
    /// Somebody has a transcription or translation stream.
    pub speech: bool,
}

impl Need {
    /// Whether the microphone is needed at all.
    #[must_use]
    pub fn media(self) -> bool {
        self.pcm || self.speech
    }
}

/// Reads a subscription string. Every string is a subscription: what has no meaning here matches
/// messages of that name. The bare `transcription` becomes `transcription:en-US`.
#[must_use]
pub fn parse(text: &str) -> Subscription {
    let text = if text == TRANSCRIPTION {
        TRANSCRIPTION_DEFAULT
    } else {
        text
    };
    Subscription {
        text: text.into(),
        parsed: parse_name(text),
    }
}

fn parse_name(name: &str) -> Sub {
    match name {
        "*" | "all" => return Sub::Wildcard,
        TOUCH_EVENT => return Sub::Touch(Gestures::Any),
        LOCATION_STREAM => return Sub::LocationStream,
        _ => {}
    }
    let Some((base, language)) = split_language(name) else {
        return Sub::Named;
    };
    let parsed = match base {
        TRANSCRIPTION => LangOrAuto::parse_transcription(language).map(Sub::Transcription),
        TRANSLATION => language::parse_pair(language)
            .or_else(|| language::parse_colon_pair(language, third_piece(name)?))
            .map(|(source, target)| Sub::Translation { source, target }),
        TOUCH_EVENT => Some(Sub::Touch(Gestures::Named)),
        SETTINGS => Some(Sub::Settings),
        _ => None,
    };
    parsed.unwrap_or(Sub::Named)
}

/// The part before the first colon, and the next one up to a second colon or a question mark.
fn split_language(name: &str) -> Option<(&str, &str)> {
    let (base, _) = name.split_once(':')?;
    let piece = second_piece(name)?;
    Some((base, piece.split('?').next().unwrap_or_default()))
}

fn second_piece(name: &str) -> Option<&str> {
    name.split(':').nth(1)
}

/// The last of exactly three: no mini-app writes a fourth.
fn third_piece(name: &str) -> Option<&str> {
    let mut pieces = name.split('?').next()?.split(':').skip(2);
    let third = pieces.next()?;
    pieces.next().is_none().then_some(third)
}

impl Subscription {
    /// Whether it matches every stream.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.parsed == Sub::Wildcard
    }

    /// Whether it needs raw microphone audio (`behaviour.md §3.5`).
    #[must_use]
    pub fn wants_pcm(&self) -> bool {
        &*self.text == AUDIO_CHUNK
    }

    /// Whether it needs the microphone for speech: a transcription or translation, the bare name
    /// included (`behaviour.md §3.5`).
    #[must_use]
    pub fn wants_speech(&self) -> bool {
        matches!(self.parsed, Sub::Transcription(_) | Sub::Translation { .. })
            || &*self.text == TRANSLATION
    }

    /// Whether it is delivered locations: by either name.
    #[must_use]
    pub fn wants_location(&self) -> bool {
        self.parsed == Sub::LocationStream || &*self.text == LOCATION_UPDATE
    }

    /// Whether `event` is for it.
    #[must_use]
    pub fn matches(&self, event: &StreamEvent<'_>) -> bool {
        event.fit(self).is_some()
    }

    fn is_pair_in_one_piece(&self) -> bool {
        let piece = split_language(&self.text);
        piece.is_some_and(|(_, pair)| language::parse_pair(pair).is_some())
    }

    /// Options behind the question mark of a language stream (`protocol.md §5.4.1`).
    #[must_use]
    pub fn language_options(&self) -> LanguageOptions {
        let piece = match self.parsed {
            Sub::Translation { .. } if !self.is_pair_in_one_piece() => self.text.split(':').nth(2),
            Sub::Transcription(_) | Sub::Translation { .. } => second_piece(&self.text),
            _ => None,
        };
        let query = piece.and_then(|piece| piece.split('?').nth(1));
        // Of an option given twice the last counts.
        let option = |name| {
            let mut pairs = query?.rsplit('&');
            pairs.find_map(|pair| query_value(pair, name))
        };
        let hints = option("hints").unwrap_or_default();
        LanguageOptions {
            hints: hints
                .split(',')
                .map(str::trim)
                .filter(|hint| !hint.is_empty())
                .map(str::to_owned)
                .collect(),
            no_language_identification: option("no-language-identification").as_deref()
                == Some("true"),
        }
    }
}
