//! Outside thread, speech: what a provider's failure means: for the stream (behaviour.md §8.2) and for the key it used
//! (§8.6.3).

use crate::wire::speech::SpeechFailureClass;

/// Bytes of a provider's text that are kept.
const TEXT_MAX: usize = 200;
/// A connection this old that is refused further service had become too long (ms).
const LONG_MS: u64 = 600_000;

/// What a provider, or the way to it, answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ProviderError {
    /// As of HTTP; `None` where nobody answered.
    pub(super) code: Option<u16>,
    /// For the log.
    pub(super) text: String,
}

impl ProviderError {
    pub(super) fn new(code: impl Into<Option<u16>>, text: &str) -> Self {
        let end = text.floor_char_boundary(TEXT_MAX);
        Self {
            code: code.into(),
            text: text[..end].to_owned(),
        }
    }

    /// Without a key that the provider may have repeated.
    pub(super) fn without(mut self, key: &str) -> Self {
        if key.len() >= 4 {
            self.text = self.text.replace(key, "…");
            // Part of it, where a long text was cut.
            let parts = (4..key.len()).rev().filter_map(|end| key.get(..end));
            let cut = parts
                .into_iter()
                .find_map(|part| self.text.strip_suffix(part));
            self.text = cut.unwrap_or(&self.text).to_owned();
        }
        self
    }

    pub(super) fn cause(&self) -> String {
        match self.code {
            Some(code) => format!("{code}: {}", self.text),
            None => self.text.clone(),
        }
    }
}

/// What is wrong with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KeyTrouble {
    /// It is refused, for good.
    Authentication,
    /// Too many streams at a time.
    Concurrency,
    /// Too many requests.
    Rate,
    /// Used up.
    Quota,
    /// The provider failed while it was used.
    Transient,
}

impl KeyTrouble {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Concurrency => "concurrency",
            Self::Rate => "rate",
            Self::Quota => "quota",
            Self::Transient => "transient",
        }
    }
}

fn names(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

fn is_concurrency(text: &str) -> bool {
    let words = [
        "concurren",
        "connection limit",
        "stream limit",
        "too many streams",
        "maximum streams",
        "max streams",
    ];
    names(text, &words)
}

fn is_quota(text: &str) -> bool {
    let words = [
        "quota",
        "budget",
        "credit",
        "billing",
        "balance",
        "spending",
        "usage limit",
        "monthly limit",
    ];
    // "Credentials" are no credit.
    names(&text.replace("credential", ""), &words)
}

fn is_rate(text: &str) -> bool {
    names(text, &["rate limit", "rate_limit", "too many requests"])
}

/// What the key has to do with it; `None` = nothing.
pub(super) fn key_trouble(error: &ProviderError) -> Option<KeyTrouble> {
    let text = error.text.to_lowercase();
    let refused = ["invalid api key", "invalid_api_key", "bad api key"];
    match error.code {
        Some(401 | 403) => Some(KeyTrouble::Authentication),
        // Nobody answered: the key was not even looked at.
        None | Some(408) => None,
        _ if names(&text, &refused) => Some(KeyTrouble::Authentication),
        _ if is_concurrency(&text) => Some(KeyTrouble::Concurrency),
        Some(402) => Some(KeyTrouble::Quota),
        _ if is_quota(&text) => Some(KeyTrouble::Quota),
        Some(429) => Some(KeyTrouble::Rate),
        _ if is_rate(&text) => Some(KeyTrouble::Rate),
        Some(400..=499) => None,
        Some(_) => Some(KeyTrouble::Transient),
    }
}

/// How the session is to take it. `worked`: this connection had recognised something; `age_ms`: how old it was.
pub(super) fn class(error: &ProviderError, worked: bool, age_ms: u64) -> SpeechFailureClass {
    use SpeechFailureClass as Class;
    if let Some(trouble) = key_trouble(error) {
        match trouble {
            KeyTrouble::Authentication => return Class::Permanent,
            KeyTrouble::Transient => {}
            KeyTrouble::Concurrency | KeyTrouble::Rate | KeyTrouble::Quota => {
                return Class::Capacity;
            }
        }
    }
    match error.code {
        // An invalid request is refused before anything is recognised.
        Some(400) if worked || age_ms >= LONG_MS => Class::SessionLength,
        Some(408) => Class::Timeout,
        Some(400..=499) => Class::Permanent,
        Some(500..=599) => Class::Server,
        _ => Class::Transport,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SpeechFailureClass as Class;

    fn error(code: impl Into<Option<u16>>, text: &str) -> ProviderError {
        ProviderError::new(code, text)
    }

    #[test]
    fn the_table_of_classes() {
        for (code, text, expected) in [
            (401, "Unauthorized", Class::Permanent),
            (403, "Forbidden", Class::Permanent),
            (404, "no such model", Class::Permanent),
            (400, "invalid language hint", Class::Permanent),
            (402, "Payment required", Class::Capacity),
            (429, "Too many requests", Class::Capacity),
            (400, "Maximum concurrent streams reached", Class::Capacity),
            (408, "Request timeout", Class::Timeout),
            (500, "Internal", Class::Server),
            (503, "Cannot continue request", Class::Server),
        ] {
            assert_eq!(
                class(&error(code, text), false, 0),
                expected,
                "{code} {text}"
            );
        }
        assert_eq!(class(&error(None, "reset"), true, 0), Class::Transport);
    }

    #[test]
    fn a_long_session_is_told_from_an_invalid_request() {
        let refused = error(400, "Audio is too long");
        assert_eq!(class(&refused, false, 1000), Class::Permanent);
        assert_eq!(class(&refused, false, 65 * 60_000), Class::SessionLength);
        assert_eq!(class(&refused, true, 1000), Class::SessionLength);
    }

    #[test]
    fn the_key_is_blamed_for_what_is_its_own() {
        for (code, text, expected) in [
            (401, "", Some(KeyTrouble::Authentication)),
            (400, "Invalid API key", Some(KeyTrouble::Authentication)),
            (429, "Concurrency limit", Some(KeyTrouble::Concurrency)),
            (429, "monthly quota exceeded", Some(KeyTrouble::Quota)),
            (429, "slow down", Some(KeyTrouble::Rate)),
            (402, "", Some(KeyTrouble::Quota)),
            (503, "restart", Some(KeyTrouble::Transient)),
            (400, "bad credentials format", None),
            (408, "", None),
        ] {
            assert_eq!(key_trouble(&error(code, text)), expected, "{code} {text}");
        }
        assert_eq!(key_trouble(&error(None, "connection reset")), None);
    }

    #[test]
    fn neither_a_key_nor_a_long_text_gets_into_the_log() {
        let repeated = error(401, "key sk-secret-1 is unknown").without("sk-secret-1");
        assert_eq!(repeated.cause(), "401: key … is unknown");
        let cut = error(401, "no key is named sk-secr").without("sk-secret-1");
        assert_eq!(cut.text, "no key is named ");
        assert_eq!(error(500, &"ö".repeat(300)).text.len(), 200);
    }
}
