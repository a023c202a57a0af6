//! Layer 1: language tags of stream names (`protocol.md §5.4.1`); it knows no provider and
//! does not judge whether a language exists.

use std::fmt;

/// A language: two or three lower-case letters, with or without a region of two upper-case
/// letters (`en`, `en-US`, `yue-CN`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lang {
    /// ASCII, zero-filled.
    bytes: [u8; Self::BYTES_MAX],
    len: u8,
}

impl Lang {
    const BYTES_MAX: usize = 6;

    /// Reads a tag.
    #[must_use]
    pub fn parse(tag: &str) -> Option<Self> {
        let (base, region) = match tag.split_once('-') {
            Some((base, region)) => (base, Some(region)),
            None => (tag, None),
        };
        let base_ok = matches!(base.len(), 2 | 3) && base.bytes().all(|b| b.is_ascii_lowercase());
        let region_ok = region.is_none_or(|region| {
            region.len() == 2 && region.bytes().all(|b| b.is_ascii_uppercase())
        });
        if !base_ok || !region_ok {
            return None;
        }
        let mut bytes = [0; Self::BYTES_MAX];
        bytes[..tag.len()].copy_from_slice(tag.as_bytes());
        Some(Self {
            bytes,
            len: tag.len() as u8,
        })
    }

    /// The tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("tags are ASCII")
    }

    /// The part before the region.
    #[must_use]
    pub fn base(&self) -> &str {
        self.as_str().split('-').next().unwrap_or_default()
    }

    /// Whether there is no region.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.base().len() == self.as_str().len()
    }

    /// Whether the two are equal, or one is the bare base of the other.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self == other || ((self.is_bare() || other.is_bare()) && self.base() == other.base())
    }
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lang({self})")
    }
}

/// A language, or whichever is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LangOrAuto {
    /// `auto`; as a source of translation `all` too.
    Auto,
    /// This one.
    Lang(Lang),
}

impl LangOrAuto {
    pub(super) fn parse_transcription(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            tag => Lang::parse(tag).map(Self::Lang),
        }
    }

    fn parse_source(text: &str) -> Option<Self> {
        match text {
            "auto" | "all" => Some(Self::Auto),
            tag => Lang::parse(tag).map(Self::Lang),
        }
    }

    /// The language, where one is named.
    #[must_use]
    pub fn lang(self) -> Option<Lang> {
        match self {
            Self::Auto => None,
            Self::Lang(lang) => Some(lang),
        }
    }
}

impl fmt::Display for LangOrAuto {
    /// `auto` or the tag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Lang(lang) => lang.fmt(f),
        }
    }
}

/// Reads the languages of a translation as mini-apps on the phone write them: `<src>:<tgt>`.
pub(super) fn parse_colon_pair(source: &str, target: &str) -> Option<(LangOrAuto, Lang)> {
    Some((LangOrAuto::parse_source(source)?, parse_target(target)?))
}

/// Reads the languages of a translation: `<src>-to-<tgt>`, or the short form `<src>-<tgt>`.
///
/// Short tags are taken in the long form too, and regions in the short one: nothing else such a
/// string could mean.
pub(super) fn parse_pair(text: &str) -> Option<(LangOrAuto, Lang)> {
    let mut long = text.split("-to-");
    // What stands behind a second separator does not count.
    if let (Some(source), Some(target)) = (long.next(), long.next()) {
        return Some((LangOrAuto::parse_source(source)?, parse_target(target)?));
    }
    // Regions are upper-case, so at most one hyphen separates two languages.
    text.match_indices('-').find_map(|(at, _)| {
        Some((
            LangOrAuto::parse_source(&text[..at])?,
            parse_target(&text[at + 1..])?,
        ))
    })
}

/// `all` has the form of a language, but only ever means any source.
fn parse_target(text: &str) -> Option<Lang> {
    Lang::parse(text).filter(|_| text != "all")
}

/// Options of a language stream, from one subscription or merged from several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LanguageOptions {
    /// Languages that may be spoken too, in the order first given.
    pub hints: Vec<String>,
    /// Whether the provider is not to tell languages apart.
    pub no_language_identification: bool,
}

impl LanguageOptions {
    /// Takes another subscriber's options in: hints are united, identification stays off only if
    /// both turn it off (`protocol.md §5.5`).
    pub fn merge(&mut self, other: &Self) {
        for hint in &other.hints {
            if !self.hints.contains(hint) {
                self.hints.push(hint.clone());
            }
        }
        self.no_language_identification &= other.no_language_identification;
    }
}
