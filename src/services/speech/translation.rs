//! Outside thread, speech: tokens of a translating recogniser → utterances (behaviour.md §8.8). Pure: time is an argument.
//!
//! What was said and its translation come as tokens of one stream, the translation later. Both are gathered by the language
//! that was spoken. Only final tokens count, unless the settings ask for the others too, which come anew with every response.
//! An utterance ends where the recogniser says so and its translation is there, or has been waited for long enough.

use super::languages::soniox_code;
use super::tokens::{Spoken, TEXT_MAX};
use super::utterances::Ids;
use crate::wire::speech::Utterance;

/// Utterances that are open at a time; the oldest goes first.
const OPEN_MAX: usize = 16;

/// What is translated.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// `None` = whatever is spoken.
    pub(super) source: Option<&'static str>,
    pub(super) target: &'static str,
    /// The translated part is waited for this long (ms).
    pub(super) wait_ms: u64,
    /// Only what does not change any more is shown.
    pub(super) finals_only: bool,
}

struct Open {
    id: String,
    language: Option<String>,
    original: String,
    translated: String,
    /// What may still change of both.
    tail: (String, String),
    /// Spoken in the target language.
    direct: bool,
    ended: bool,
    /// Since when words wait for their translation.
    waits_since: Option<u64>,
    speaker: Option<String>,
    confidence: (f64, u32),
    start_ms: Option<u64>,
    end_ms: u64,
    shown: String,
}

impl Open {
    fn utterance(&self, is_final: bool) -> Option<Utterance> {
        let original = format!("{}{}", self.original, self.tail.0);
        let translated = format!("{}{}", self.translated, self.tail.1);
        let (original, translated) = (original.trim(), translated.trim());
        let untranslated = self.direct || translated.is_empty();
        let text = if untranslated { original } else { translated };
        let (sum, count) = self.confidence;
        let start_ms = self.start_ms.unwrap_or(self.end_ms);
        (!text.is_empty()).then(|| Utterance {
            text: text.to_owned(),
            original: (!original.is_empty()).then(|| original.to_owned()),
            is_final,
            utterance_id: self.id.clone(),
            speaker: self.speaker.clone(),
            confidence: (count > 0).then(|| sum / f64::from(count)),
            start_ms,
            end_ms: self.end_ms.max(start_ms),
            detected: self.language.clone(),
            did_translate: !untranslated,
            provider: super::soniox::NAME,
            ..Utterance::default()
        })
    }

    fn is_blank(&self) -> bool {
        let texts = [
            &self.original,
            &self.translated,
            &self.tail.0,
            &self.tail.1,
            &self.shown,
        ];
        texts.iter().all(|text| text.is_empty())
    }

    fn is_complete(&self) -> bool {
        self.ended && (self.direct || self.waits_since.is_none())
    }
}

/// Builds utterances of one translation.
pub(super) struct Translations {
    pair: Pair,
    ids: Ids,
    open: Vec<Open>,
}

impl Translations {
    pub(super) fn new(pair: Pair, ids: Ids) -> Self {
        Self {
            pair,
            ids,
            open: Vec::new(),
        }
    }

    /// When [`Translations::tick`] has something to do.
    pub(super) fn due(&self) -> Option<u64> {
        let waits = self.open.iter().filter_map(|open| open.waits_since);
        waits.min().map(|since| since + self.pair.wait_ms)
    }

    /// A response of the provider.
    pub(super) fn response(&mut self, tokens: &[Spoken], now: u64, out: &mut Vec<Utterance>) {
        self.tick(now, out);
        self.open
            .iter_mut()
            .for_each(|open| open.tail = Default::default());
        // Whether a translation that is not final yet says that more comes.
        let mut more = false;
        for token in tokens {
            if token.is_end() || token.is_finalized() {
                self.open.iter_mut().for_each(|open| open.ended = true);
            } else if !token.is_final {
                more |= token.translation_status.as_deref() == Some("translation");
                if !self.pair.finals_only {
                    self.unsure(token, out);
                }
            } else if token.translation_status.as_deref() == Some("translation") {
                self.translated(token);
            } else {
                self.spoken(token, now, out);
            }
        }
        self.emit(more, out);
        // What was taken back before anybody saw it.
        self.open.retain(|open| !open.is_blank());
    }

    /// Time went by.
    pub(super) fn tick(&mut self, now: u64, out: &mut Vec<Utterance>) {
        let wait_ms = self.pair.wait_ms;
        let is_over = |open: &mut Open| {
            let over = |since: u64| since.saturating_add(wait_ms) <= now;
            open.waits_since.is_some_and(over)
        };
        let over = self.open.extract_if(.., is_over);
        out.extend(over.filter_map(|mut open| {
            // That will come once more.
            open.tail = Default::default();
            open.utterance(true)
        }));
    }

    /// Whatever came until now is final.
    pub(super) fn finish(&mut self, out: &mut Vec<Utterance>) {
        let all = self.open.drain(..);
        out.extend(all.filter_map(|open| open.utterance(true)));
    }

    /// The utterance that a spoken word belongs to, unless it is in a third language.
    fn place(&mut self, token: &Spoken, out: &mut Vec<Utterance>) -> Option<usize> {
        let language = token.language.as_deref().and_then(soniox_code);
        let is_translated = token.translation_status.as_deref() == Some("original");
        // Without a language it is what was asked for.
        let direct = match language {
            Some(language) => language == self.pair.target,
            None => !is_translated,
        };
        let source = self.pair.source;
        // A third language is nobody's.
        if !direct && language.is_some() && source.is_some() && language != source {
            return None;
        }
        let matches =
            |open: &Open| !open.ended && open.direct == direct && open.language == token.language;
        Some(match self.open.iter().position(matches) {
            Some(at) if self.open[at].original.len() <= TEXT_MAX => at,
            found => {
                if let Some(at) = found {
                    self.open[at].ended = true;
                }
                self.begin(token.language.clone(), direct, out)
            }
        })
    }

    fn spoken(&mut self, token: &Spoken, now: u64, out: &mut Vec<Utterance>) {
        let Some(at) = self.place(token, out) else {
            return;
        };
        let open = &mut self.open[at];
        open.original.push_str(&token.text);
        if open.speaker.is_none() {
            open.speaker.clone_from(&token.speaker);
        }
        if open.start_ms.is_none() {
            open.start_ms = token.start_ms;
        }
        open.end_ms = open.end_ms.max(token.end_ms.unwrap_or(0));
        if let Some(confidence) = token.confidence {
            open.confidence.0 += confidence;
            open.confidence.1 += 1;
        }
        if !open.direct && open.waits_since.is_none() {
            open.waits_since = Some(now);
        }
    }

    /// A word, or one of a translation, that may still change.
    fn unsure(&mut self, token: &Spoken, out: &mut Vec<Utterance>) {
        if token.translation_status.as_deref() != Some("translation") {
            if let Some(at) = self.place(token, out) {
                let tail = &mut self.open[at].tail.0;
                if tail.len() <= TEXT_MAX {
                    tail.push_str(&token.text);
                }
            }
        } else if self.is_wanted(token)
            && let Some(open) = self.open.iter_mut().rfind(|open| !open.direct)
            && open.tail.1.len() <= TEXT_MAX
        {
            open.tail.1.push_str(&token.text);
        }
    }

    /// In two-way mode the other direction is translated too: nobody asked for it.
    fn is_wanted(&self, translated: &Spoken) -> bool {
        let into = translated.language.as_deref().and_then(soniox_code);
        into.is_none_or(|into| into == self.pair.target)
    }

    fn translated(&mut self, token: &Spoken) {
        if !self.is_wanted(token) {
            return;
        }
        let from = |open: &&mut Open| {
            !open.direct
                && (token.source_language.is_none() || open.language == token.source_language)
        };
        // The oldest that waits, else the one that is open.
        let waits = |open: &Open| open.waits_since.is_some();
        let mut candidates: Vec<_> = self.open.iter_mut().filter(from).collect();
        let at = candidates.iter().position(|open| waits(open));
        let at = at.or(candidates.len().checked_sub(1));
        match at {
            Some(at) => {
                let open = &mut candidates[at];
                open.translated.push_str(&token.text);
                open.ended |= open.translated.len() > TEXT_MAX;
                open.waits_since = None;
                open.end_ms = open.end_ms.max(token.end_ms.unwrap_or(0));
            }
            // Its words went out already.
            None => {
                let at = self.begin(token.source_language.clone(), false, &mut Vec::new());
                self.open[at].translated.push_str(&token.text);
                self.open[at].start_ms = token.start_ms;
                self.open[at].end_ms = token.end_ms.unwrap_or(0);
                self.open[at].ended = true;
            }
        }
    }

    fn begin(&mut self, language: Option<String>, direct: bool, out: &mut Vec<Utterance>) -> usize {
        if self.open.len() >= OPEN_MAX {
            out.extend(self.open.remove(0).utterance(true));
        }
        self.open.push(Open {
            id: self.ids.next(),
            language,
            original: String::new(),
            translated: String::new(),
            tail: Default::default(),
            direct,
            ended: false,
            waits_since: None,
            speaker: None,
            confidence: (0.0, 0),
            start_ms: None,
            end_ms: 0,
            shown: String::new(),
        });
        self.open.len() - 1
    }

    fn emit(&mut self, more: bool, out: &mut Vec<Utterance>) {
        let is_complete = |open: &mut Open| (open.direct || !more) && open.is_complete();
        let complete = self.open.extract_if(.., is_complete);
        out.extend(complete.filter_map(|open| open.utterance(true)));
        for open in &mut self.open {
            if !open.direct && open.translated.is_empty() && open.tail.1.is_empty() {
                continue;
            }
            if let Some(interim) = open.utterance(false)
                && interim.text != open.shown
            {
                open.shown.clone_from(&interim.text);
                out.push(interim);
            }
        }
    }
}

#[cfg(test)]
#[path = "translation_tests.rs"]
mod tests;
