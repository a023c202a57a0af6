//! Tokens of a translating recogniser → utterances (behaviour.md §8.8). Pure: time is an argument.
//!
//! What was said and its translation come as tokens of one stream, the translation later. Both are gathered by the language
//! that was spoken; only final tokens count. An utterance ends where the recogniser says so and its translation is there, or
//! has been waited for long enough.

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
}

struct Open {
    id: String,
    language: Option<String>,
    original: String,
    translated: String,
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
        let untranslated = self.direct || self.translated.trim().is_empty();
        let text = if untranslated {
            &self.original
        } else {
            &self.translated
        };
        let text = text.trim();
        let original = self.original.trim();
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
        // Whether a translation that is not final yet says that more comes.
        let mut more = false;
        for token in tokens {
            if token.is_end() || token.is_finalized() {
                self.open.iter_mut().for_each(|open| open.ended = true);
            } else if !token.is_final {
                more |= token.translation_status.as_deref() == Some("translation");
            } else if token.translation_status.as_deref() == Some("translation") {
                self.translated(token);
            } else {
                self.spoken(token, now, out);
            }
        }
        self.emit(more, out);
    }

    /// Time went by.
    pub(super) fn tick(&mut self, now: u64, out: &mut Vec<Utterance>) {
        let wait_ms = self.pair.wait_ms;
        let is_over = |open: &mut Open| {
            let over = |since: u64| since.saturating_add(wait_ms) <= now;
            open.waits_since.is_some_and(over)
        };
        let over = self.open.extract_if(.., is_over);
        out.extend(over.filter_map(|open| open.utterance(true)));
    }

    /// Whatever came until now is final.
    pub(super) fn finish(&mut self, out: &mut Vec<Utterance>) {
        let all = self.open.drain(..);
        out.extend(all.filter_map(|open| open.utterance(true)));
    }

    fn spoken(&mut self, token: &Spoken, now: u64, out: &mut Vec<Utterance>) {
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
            return;
        }
        let matches =
            |open: &Open| !open.ended && open.direct == direct && open.language == token.language;
        let at = match self.open.iter().position(matches) {
            Some(at) if self.open[at].original.len() <= TEXT_MAX => at,
            found => {
                if let Some(at) = found {
                    self.open[at].ended = true;
                }
                self.begin(token.language.clone(), direct, out)
            }
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
        if !direct && open.waits_since.is_none() {
            open.waits_since = Some(now);
        }
    }

    fn translated(&mut self, token: &Spoken) {
        // In two-way mode the other direction is translated too: nobody asked for it.
        let into = token.language.as_deref().and_then(soniox_code);
        if into.is_some_and(|into| into != self.pair.target) {
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
            if !open.direct && open.translated.is_empty() {
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
mod tests {
    use super::super::tokens::made::{end, sure, unsure};
    use super::*;
    use proptest::prelude::*;

    fn pair(source: Option<&'static str>) -> Translations {
        let pair = Pair {
            source,
            target: "en",
            wait_ms: 3000,
        };
        Translations::new(pair, Ids::new("t".into()))
    }

    fn original(text: &str, language: &str) -> Spoken {
        Spoken {
            translation_status: Some("original".into()),
            start_ms: Some(800),
            end_ms: Some(1900),
            ..sure(text).in_language(language)
        }
    }

    fn translation(text: &str, source: &str) -> Spoken {
        Spoken {
            translation_status: Some("translation".into()),
            source_language: Some(source.into()),
            ..sure(text).in_language("en")
        }
    }

    fn lines(out: &mut Vec<Utterance>) -> Vec<String> {
        let line = |one: Utterance| {
            let mark = if one.is_final { '=' } else { '~' };
            let arrow = if one.did_translate { "→" } else { "|" };
            let original = one.original.unwrap_or_default();
            format!(
                "{} {mark} {original} {arrow} {}",
                one.utterance_id, one.text
            )
        };
        out.drain(..).map(line).collect()
    }

    #[test]
    fn words_and_their_translation_become_one_utterance() {
        let mut stream = pair(Some("es"));
        let mut out = Vec::new();
        stream.response(&[original("buenas", "es"), unsure("tardes")], 0, &mut out);
        assert_eq!(lines(&mut out), [""; 0], "not translated yet");
        stream.response(&[translation("good", "es")], 100, &mut out);
        assert_eq!(lines(&mut out), ["t_1 ~ buenas → good"]);
        stream.response(
            &[
                original(" tardes", "es"),
                translation(" afternoon", "es"),
                end(),
            ],
            200,
            &mut out,
        );
        assert_eq!(out[0].start_ms, 800);
        assert_eq!(out[0].end_ms, 1900);
        assert_eq!(out[0].detected.as_deref(), Some("es"));
        assert_eq!(lines(&mut out), ["t_1 = buenas tardes → good afternoon"]);
        assert_eq!(stream.due(), None);
    }

    #[test]
    fn a_translation_that_comes_after_the_end_is_waited_for() {
        let mut stream = pair(None);
        let mut out = Vec::new();
        stream.response(&[original("hola", "es"), end()], 0, &mut out);
        stream.response(&[original("salut", "fr"), end()], 10, &mut out);
        assert_eq!(lines(&mut out), [""; 0]);
        let unfinished = Spoken {
            is_final: false,
            ..translation(" there", "es")
        };
        stream.response(&[translation("hello", "es"), unfinished], 20, &mut out);
        assert_eq!(lines(&mut out), ["t_1 ~ hola → hello"], "more is coming");
        stream.response(&[translation(" there", "es")], 30, &mut out);
        assert_eq!(lines(&mut out), ["t_1 = hola → hello there"]);
        assert_eq!(stream.due(), Some(3010));
        stream.tick(3009, &mut out);
        assert_eq!(lines(&mut out), [""; 0]);
        stream.tick(3010, &mut out);
        assert_eq!(lines(&mut out), ["t_2 = salut | salut"], "what exists");
        stream.response(&[translation("hi", "fr")], 4000, &mut out);
        assert_eq!(lines(&mut out), ["t_3 =  → hi"], "late, but not lost");
    }

    #[test]
    fn the_target_language_is_not_translated() {
        let mut stream = pair(Some("es"));
        let mut out = Vec::new();
        let said = original("good day", "en");
        let back = Spoken {
            source_language: Some("en".into()),
            ..translation("buenos días", "en").in_language("es")
        };
        stream.response(&[said, back, end()], 0, &mut out);
        assert_eq!(lines(&mut out), ["t_1 = good day | good day"]);
        let none = |text: &str, language: &str| Spoken {
            translation_status: Some("none".into()),
            ..sure(text).in_language(language)
        };
        stream.response(&[none("yes", "en"), none("oui", "fr"), end()], 0, &mut out);
        assert_eq!(
            lines(&mut out),
            ["t_2 = yes | yes"],
            "a third language is nobody's"
        );
    }

    #[test]
    fn the_end_of_the_stream_makes_everything_final() {
        let mut stream = pair(None);
        let mut out = Vec::new();
        stream.response(
            &[original("hola", "es"), translation("hi", "es")],
            0,
            &mut out,
        );
        stream.response(&[original("yes", "en")], 0, &mut out);
        out.clear();
        stream.finish(&mut out);
        assert_eq!(lines(&mut out), ["t_1 = hola → hi", "t_2 = yes | yes"]);
        stream.finish(&mut out);
        assert_eq!(lines(&mut out), [""; 0]);
    }

    proptest! {
        /// However tokens come: every spoken and every translated word is in exactly one final utterance.
        #[test]
        fn nothing_is_lost_or_doubled(
            steps in prop::collection::vec((0usize..3, 0usize..3, any::<bool>(), 0u64..2000), 1..40),
        ) {
            let mut stream = pair(Some("es"));
            let (mut out, mut now, mut said, mut told) = (Vec::new(), 0, 0, 0);
            for (words, translations, ends, pause) in steps {
                let mut tokens: Vec<_> =
                    (said..said + words).map(|at| original(&format!(" o{at}"), "es")).collect();
                said += words;
                let known = translations.min(said - told);
                tokens.extend((told..told + known).map(|at| translation(&format!(" t{at}"), "es")));
                told += known;
                if ends {
                    tokens.push(end());
                }
                stream.response(&tokens, now, &mut out);
                now += pause;
                stream.tick(now, &mut out);
            }
            stream.finish(&mut out);
            let finals: Vec<_> = out.iter().filter(|one| one.is_final).collect();
            let originals: Vec<&str> =
                finals.iter().filter_map(|one| one.original.as_deref()).flat_map(str::split_whitespace).collect();
            let expected: Vec<_> = (0..said).map(|at| format!("o{at}")).collect();
            prop_assert_eq!(originals, expected);
            let mut texts: Vec<&str> = finals
                .iter()
                .filter(|one| one.did_translate)
                .flat_map(|one| one.text.split_whitespace())
                .collect();
            texts.sort_by_key(|text| text[1..].parse::<usize>().unwrap_or(0));
            let expected: Vec<_> = (0..told).map(|at| format!("t{at}")).collect();
            prop_assert_eq!(texts, expected);
        }
    }
}
