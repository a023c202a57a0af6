//! Outside thread, speech: tokens of a recogniser → utterances (behaviour.md §8.6.2). Pure: time is an argument.
//!
//! Final tokens come once and are kept (`stable`); the others come anew with every response and replace the last ones (`tail`).
//! The end of an utterance is held back a little, because recognisers split sentences: text that begins by repeating its end
//! continues it.

use super::tokens::{Spoken, TEXT_MAX};
use crate::wire::speech::{SpeechToken, Utterance};
use std::collections::VecDeque;

/// How utterances are built.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// An end is held back for this long (ms).
    pub(super) debounce_ms: u64,
    /// Characters that must repeat for two parts to be one utterance.
    pub(super) overlap_min: usize,
    /// Another language is another utterance.
    pub(super) by_language: bool,
}

/// Names of utterances, never used twice.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    prefix: String,
    next: u32,
}

impl Ids {
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix, next: 0 }
    }

    pub(super) fn next(&mut self) -> String {
        self.next += 1;
        format!("{}_{}", self.prefix, self.next)
    }
}

#[derive(Default)]
struct Current {
    id: Option<String>,
    /// The part before, when this one continues it.
    base: String,
    stable: String,
    tail: String,
    tokens: VecDeque<SpeechToken>,
    tail_tokens: Vec<SpeechToken>,
    speaker: Option<String>,
    language: Option<String>,
    start_ms: Option<u64>,
    end_ms: u64,
    confidence: (f64, u32),
    tail_confidence: (f64, u32),
    shown: String,
}

fn other<T: PartialEq>(one: &Option<T>, two: &Option<T>) -> bool {
    matches!((one, two), (Some(one), Some(two)) if one != two)
}

impl Current {
    fn text(&self, overlap_min: usize) -> String {
        let own = self.own_text();
        if self.base.is_empty() {
            return own;
        }
        // Found anew each time: the tail may change.
        match overlap(&self.base, &own, overlap_min) {
            Overlap::Of(bytes) => format!("{}{own}", &self.base[..self.base.len() - bytes]),
            Overlap::Open => self.base.clone(),
            Overlap::No => format!("{} {own}", self.base),
        }
    }

    /// The part that no earlier utterance contains.
    fn own_text(&self) -> String {
        format!("{}{}", self.stable, self.tail).trim().to_owned()
    }

    fn begin_response(&mut self) {
        self.tail.clear();
        self.tail_tokens.clear();
        self.tail_confidence = (0.0, 0);
        if self.stable.is_empty() && self.base.is_empty() {
            self.speaker = None;
            self.language = None;
            self.start_ms = None;
        }
    }

    fn is_another(&self, token: &Spoken, by_language: bool) -> bool {
        other(&self.speaker, &token.speaker)
            || (by_language && other(&self.language, &token.language))
    }

    fn take(&mut self, token: &Spoken) {
        if self.speaker.is_none() {
            self.speaker.clone_from(&token.speaker);
        }
        if token.language.is_some() {
            self.language.clone_from(&token.language);
        }
        if self.start_ms.is_none() {
            self.start_ms = token.start_ms;
        }
        self.end_ms = self.end_ms.max(token.end_ms.unwrap_or(0));
        let confidence = if token.is_final {
            &mut self.confidence
        } else {
            &mut self.tail_confidence
        };
        if let Some(one) = token.confidence {
            confidence.0 += one;
            confidence.1 += 1;
        }
        if token.is_final {
            self.stable.push_str(&token.text);
            self.tokens.push_back(token.to_token());
            if self.tokens.len() > Utterance::TOKENS_MAX {
                self.tokens.pop_front();
            }
        } else {
            self.tail.push_str(&token.text);
            self.tail_tokens.push(token.to_token());
        }
    }

    fn utterance(&self, id: String, text: String, is_final: bool) -> Utterance {
        let all = self.tokens.len() + self.tail_tokens.len();
        let tokens = self.tokens.iter().chain(&self.tail_tokens);
        let (sum, count) = (
            self.confidence.0 + self.tail_confidence.0,
            self.confidence.1 + self.tail_confidence.1,
        );
        let start_ms = self.start_ms.unwrap_or(self.end_ms);
        Utterance {
            text,
            is_final,
            utterance_id: id,
            speaker: self.speaker.clone(),
            confidence: (count > 0).then(|| sum / f64::from(count)),
            start_ms,
            end_ms: self.end_ms.max(start_ms),
            detected: self.language.clone(),
            provider: super::soniox::NAME,
            tokens: tokens
                .skip(all.saturating_sub(Utterance::TOKENS_MAX))
                .cloned()
                .collect(),
            ..Utterance::default()
        }
    }
}

/// How new text goes with the end of an utterance.
#[derive(Debug, PartialEq, Eq)]
enum Overlap {
    /// It repeats so many bytes.
    Of(usize),
    /// It is too short to know.
    Open,
    No,
}

fn overlap(end: &str, begin: &str, min: usize) -> Overlap {
    let mut result = Overlap::No;
    let mut left = end.chars().count();
    for (at, _) in end.char_indices() {
        if left < min {
            break;
        }
        let suffix = &end[at..];
        if begin.starts_with(suffix) {
            return Overlap::Of(suffix.len());
        }
        if suffix.starts_with(begin) {
            result = Overlap::Open;
        }
        left -= 1;
    }
    result
}

/// What to do while new text is too short to know whether it continues the utterance that is held back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// Wait for more of it.
    Wait,
    /// Take it for a new utterance: no more comes.
    Begin,
}

/// Builds utterances of one recogniser.
pub(super) struct Utterances {
    rules: Rules,
    ids: Ids,
    current: Current,
    /// An utterance whose end is held back, and until when.
    held: Option<(Utterance, u64)>,
}

impl Utterances {
    pub(super) fn new(rules: Rules, ids: Ids) -> Self {
        Self {
            rules,
            ids,
            current: Current::default(),
            held: None,
        }
    }

    /// When [`Utterances::tick`] has something to do.
    pub(super) fn due(&self) -> Option<u64> {
        self.held.as_ref().map(|(_, due)| *due)
    }

    /// A response of the provider.
    pub(super) fn response(&mut self, tokens: &[Spoken], now: u64, out: &mut Vec<Utterance>) {
        self.tick(now, out);
        self.current.begin_response();
        // What follows another voice is shown once the recogniser is sure of it.
        let mut cut = false;
        for token in tokens {
            if token.is_end() {
                self.end(now, out);
                cut = false;
            } else if token.is_finalized() {
                self.finish(out);
                cut = false;
            } else if token.is_final {
                let another = self.current.is_another(token, self.rules.by_language);
                let too_long = self.current.stable.len() > TEXT_MAX;
                if !self.current.stable.is_empty() && (another || too_long) {
                    self.finish(out);
                }
                self.current.take(token);
            } else {
                cut |= self.current.is_another(token, self.rules.by_language);
                if !cut && self.current.tail.len() <= TEXT_MAX {
                    self.current.take(token);
                }
            }
        }
        self.show(out);
    }

    /// Time went by.
    pub(super) fn tick(&mut self, now: u64, out: &mut Vec<Utterance>) {
        if self.due().is_some_and(|due| due <= now) {
            self.release(out);
            self.show(out);
        }
    }

    /// Whatever was said until now is final.
    pub(super) fn finish(&mut self, out: &mut Vec<Utterance>) {
        self.join(Doubt::Begin, out);
        self.release(out);
        out.extend(self.close_current());
    }

    /// The recogniser takes this for the end.
    fn end(&mut self, now: u64, out: &mut Vec<Utterance>) {
        self.join(Doubt::Begin, out);
        if let Some(ended) = self.close_current() {
            self.release(out);
            if self.rules.debounce_ms == 0 {
                out.push(ended);
            } else {
                self.held = Some((ended, now + self.rules.debounce_ms));
            }
        }
    }

    fn release(&mut self, out: &mut Vec<Utterance>) {
        out.extend(self.held.take().map(|(held, _)| held));
    }

    fn close_current(&mut self) -> Option<Utterance> {
        let mut current = std::mem::take(&mut self.current);
        let mut text = current.text(self.rules.overlap_min);
        if text.is_empty() {
            // Taken back with the end itself: what was shown needs an end.
            text = std::mem::take(&mut current.shown);
        }
        if text.is_empty() {
            return None;
        }
        let id = current.id.take().unwrap_or_else(|| self.ids.next());
        Some(current.utterance(id, text, true))
    }

    /// Decides whether new text continues the utterance that is held back. `false` = not known yet.
    fn join(&mut self, in_doubt: Doubt, out: &mut Vec<Utterance>) -> bool {
        let Some((held, _)) = &self.held else {
            return true;
        };
        let begin = self.current.own_text();
        if begin.is_empty() {
            return true;
        }
        let same_voice = !other(&held.speaker, &self.current.speaker);
        let repeated = overlap(&held.text, &begin, self.rules.overlap_min);
        match repeated {
            Overlap::Of(_) if same_voice => {
                if let Some((held, _)) = self.held.take() {
                    self.current.base.clone_from(&held.text);
                    self.current.id = Some(held.utterance_id);
                    self.current.start_ms = Some(held.start_ms);
                    self.current.speaker = held.speaker.or(self.current.speaker.take());
                    self.current.shown = held.text;
                }
            }
            Overlap::Open if same_voice && in_doubt == Doubt::Wait => return false,
            _ => self.release(out),
        }
        true
    }

    fn show(&mut self, out: &mut Vec<Utterance>) {
        if !self.join(Doubt::Wait, out) {
            return;
        }
        let text = self.current.text(self.rules.overlap_min);
        if text.is_empty() || text == self.current.shown {
            return;
        }
        let id = match &self.current.id {
            Some(id) => id.clone(),
            None => self.ids.next(),
        };
        self.current.id = Some(id.clone());
        self.current.shown.clone_from(&text);
        out.push(self.current.utterance(id, text, false));
    }
}

#[cfg(test)]
#[path = "utterances_tests.rs"]
mod tests;
