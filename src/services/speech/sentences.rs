//! Outside thread, speech: sentences of the Alibaba service → utterances. Pure: time is an argument. Every result repeats its
//! sentence so far; a sentence and its translation end apart.

use super::alibaba::NAME;
use super::utterances::Ids;
use crate::wire::speech::{SpeechToken, Utterance};
use serde::Deserialize;

/// Sentences that are open at a time; the oldest goes first.
const OPEN_MAX: usize = 16;

/// Result of the service.
#[derive(Default, Deserialize)]
pub(super) struct Output {
    transcription: Option<Sentence>,
    #[serde(default)]
    translations: Vec<Sentence>,
}

#[derive(Default, Deserialize)]
struct Sentence {
    #[serde(default)]
    sentence_id: i64,
    begin_time: Option<u64>,
    end_time: Option<u64>,
    #[serde(default)]
    text: String,
    lang: Option<String>,
    #[serde(default)]
    words: Vec<Word>,
    #[serde(default)]
    sentence_end: bool,
}

#[derive(Default, Deserialize)]
struct Word {
    #[serde(default)]
    text: String,
    #[serde(default)]
    punctuation: String,
    begin_time: Option<u64>,
    end_time: Option<u64>,
    #[serde(default)]
    fixed: bool,
}

struct Open {
    sentence: i64,
    id: String,
    original: String,
    translated: String,
    spoken_ended: bool,
    translated_ended: bool,
    waits_since: Option<u64>,
    detected: Option<String>,
    start_ms: u64,
    end_ms: u64,
    tokens: Vec<SpeechToken>,
    shown: String,
}

impl Open {
    fn utterance(&self, target: Option<&str>, is_final: bool) -> Option<Utterance> {
        let translated = self.translated.trim();
        let did_translate = target.is_some() && !translated.is_empty();
        let original = self.original.trim();
        let text = if did_translate { translated } else { original };
        (!text.is_empty()).then(|| Utterance {
            text: text.to_owned(),
            original: target.and((!original.is_empty()).then(|| original.to_owned())),
            is_final,
            utterance_id: self.id.clone(),
            start_ms: self.start_ms,
            end_ms: self.end_ms.max(self.start_ms),
            detected: self.detected.clone(),
            did_translate,
            provider: NAME,
            tokens: self.tokens.clone(),
            ..Utterance::default()
        })
    }
}

/// Builds utterances of one stream.
pub(super) struct Sentences {
    target: Option<&'static str>,
    wait_ms: u64,
    ids: Ids,
    open: Vec<Open>,
}

impl Sentences {
    /// `target` of a translation; its translated part is waited for this long.
    pub(super) fn new(target: Option<&'static str>, wait_ms: u64, ids: Ids) -> Self {
        Self {
            target,
            wait_ms,
            ids,
            open: Vec::new(),
        }
    }

    /// When [`Sentences::tick`] has something to do.
    pub(super) fn due(&self) -> Option<u64> {
        let waits = self.open.iter().filter_map(|open| open.waits_since);
        waits.min().map(|since| since + self.wait_ms)
    }

    /// A result; times begin at `offset_ms`.
    pub(super) fn result(
        &mut self,
        output: Output,
        offset_ms: u64,
        now: u64,
        out: &mut Vec<Utterance>,
    ) {
        self.tick(now, out);
        let wanted = |one: &&Sentence| one.lang.is_none() || one.lang.as_deref() == self.target;
        let translation = output.translations.iter().find(wanted);
        if let Some(translation) = translation.filter(|_| self.target.is_some()) {
            let at = self.place(translation.sentence_id, out);
            let open = &mut self.open[at];
            open.translated.clone_from(&translation.text);
            open.translated_ended = translation.sentence_end;
            open.times(translation, offset_ms);
        }
        if let Some(spoken) = output.transcription {
            let at = self.place(spoken.sentence_id, out);
            self.open[at].spoken(&spoken, offset_ms);
            let same = self.target.is_some() && spoken.lang.as_deref() == self.target;
            let open = &mut self.open[at];
            open.translated_ended |= same;
            if open.spoken_ended && open.waits_since.is_none() {
                open.waits_since = Some(now);
            }
        }
        self.emit(out);
    }

    /// Time went by.
    pub(super) fn tick(&mut self, now: u64, out: &mut Vec<Utterance>) {
        let (target, wait_ms) = (self.target, self.wait_ms);
        let is_over = |open: &mut Open| {
            open.waits_since
                .is_some_and(|since| since.saturating_add(wait_ms) <= now)
        };
        let over = self.open.extract_if(.., is_over);
        out.extend(over.filter_map(|open| open.utterance(target, true)));
    }

    /// Whatever came until now is final.
    pub(super) fn finish(&mut self, out: &mut Vec<Utterance>) {
        let target = self.target;
        let all = self.open.drain(..);
        out.extend(all.filter_map(|open| open.utterance(target, true)));
    }

    fn place(&mut self, sentence: i64, out: &mut Vec<Utterance>) -> usize {
        if let Some(at) = self.open.iter().position(|open| open.sentence == sentence) {
            return at;
        }
        if self.open.len() >= OPEN_MAX {
            out.extend(self.open.remove(0).utterance(self.target, true));
        }
        self.open.push(Open {
            sentence,
            id: self.ids.next(),
            original: String::new(),
            translated: String::new(),
            spoken_ended: false,
            translated_ended: false,
            waits_since: None,
            detected: None,
            start_ms: 0,
            end_ms: 0,
            tokens: Vec::new(),
            shown: String::new(),
        });
        self.open.len() - 1
    }

    fn emit(&mut self, out: &mut Vec<Utterance>) {
        let target = self.target;
        let is_complete =
            |open: &mut Open| open.spoken_ended && (target.is_none() || open.translated_ended);
        let complete = self.open.extract_if(.., is_complete);
        out.extend(complete.filter_map(|open| open.utterance(target, true)));
        if target.is_some() {
            // Only what is final is translated for apps.
            return;
        }
        for open in &mut self.open {
            if let Some(interim) = open.utterance(target, false)
                && interim.text != open.shown
            {
                open.shown.clone_from(&interim.text);
                out.push(interim);
            }
        }
    }
}

impl Open {
    fn times(&mut self, sentence: &Sentence, offset_ms: u64) {
        if let Some(begin) = sentence.begin_time {
            self.start_ms = begin.saturating_add(offset_ms);
        }
        if let Some(end) = sentence.end_time {
            self.end_ms = self.end_ms.max(end.saturating_add(offset_ms));
        }
    }

    fn spoken(&mut self, sentence: &Sentence, offset_ms: u64) {
        self.original.clone_from(&sentence.text);
        self.spoken_ended = sentence.sentence_end;
        if sentence.lang.is_some() {
            self.detected.clone_from(&sentence.lang);
        }
        self.times(sentence, offset_ms);
        let skip = sentence.words.len().saturating_sub(Utterance::TOKENS_MAX);
        let words = sentence.words.iter().skip(skip);
        let token = |word: &Word| SpeechToken {
            text: format!("{}{}", word.text, word.punctuation),
            start_ms: word.begin_time.map(|at| at.saturating_add(offset_ms)),
            end_ms: word.end_time.map(|at| at.saturating_add(offset_ms)),
            is_final: word.fixed || sentence.sentence_end,
            ..SpeechToken::default()
        };
        self.tokens = words.map(token).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn result(sentences: &mut Sentences, output: Value, now: u64) -> Vec<String> {
        let output = serde_json::from_value(output).expect("a result");
        let mut out = Vec::new();
        sentences.result(output, 100, now, &mut out);
        lines(out)
    }

    fn lines(out: Vec<Utterance>) -> Vec<String> {
        let line = |one: Utterance| {
            let mark = if one.is_final { '=' } else { '~' };
            let original = one.original.unwrap_or_default();
            format!(
                "{} {mark} {original}|{}|{}",
                one.utterance_id, one.text, one.did_translate
            )
        };
        out.into_iter().map(line).collect()
    }

    fn sentence(id: i64, text: &str, ends: bool) -> Value {
        json!({"sentence_id": id, "begin_time": 10, "end_time": 90, "text": text, "sentence_end": ends,
            "words": [{"text": text, "begin_time": 10, "end_time": 90, "punctuation": ".", "fixed": ends}]})
    }

    #[test]
    fn a_sentence_grows_and_ends_under_one_id() {
        let mut sentences = Sentences::new(None, 3000, Ids::new("a".into()));
        let mut send = |id, text, ends| {
            result(
                &mut sentences,
                json!({"transcription": sentence(id, text, ends)}),
                0,
            )
        };
        assert_eq!(send(0, "good", false), ["a_1 ~ |good|false"]);
        assert_eq!(send(0, "good", false), [""; 0]);
        assert_eq!(send(0, "good day", true), ["a_1 = |good day|false"]);
        assert_eq!(send(1, "next", false), ["a_2 ~ |next|false"]);
        let mut out = Vec::new();
        sentences.finish(&mut out);
        assert_eq!((out[0].start_ms, out[0].end_ms), (110, 190));
        assert_eq!(out[0].tokens[0].text, "next.");
        assert_eq!(lines(out), ["a_2 = |next|false"]);
    }

    #[test]
    fn a_translation_comes_once_both_parts_ended_or_in_time() {
        let mut sentences = Sentences::new(Some("en"), 3000, Ids::new("a".into()));
        let both =
            |said: Value, told: Value| json!({"transcription": said, "translations": [told]});
        let open = both(sentence(0, "安", false), sentence(0, "hel", false));
        assert_eq!(result(&mut sentences, open, 0), [""; 0]);
        let said = json!({"transcription": sentence(0, "你好", true)});
        assert_eq!(result(&mut sentences, said, 0), [""; 0]);
        let told = json!({"translations": [sentence(0, "hello", true)]});
        assert_eq!(result(&mut sentences, told, 10), ["a_1 = 你好|hello|true"]);
        let said = json!({"transcription": sentence(1, "再见", true)});
        assert_eq!(result(&mut sentences, said, 100), [""; 0]);
        assert_eq!(sentences.due(), Some(3100));
        let mut out = Vec::new();
        sentences.tick(3100, &mut out);
        assert_eq!(lines(out), ["a_2 = 再见|再见|false"]);
    }

    #[test]
    fn what_is_in_the_target_language_is_not_waited_for() {
        let mut sentences = Sentences::new(Some("en"), 3000, Ids::new("a".into()));
        let mut said = sentence(0, "hello", true);
        said["lang"] = json!("en");
        let lines = result(&mut sentences, json!({"transcription": said}), 0);
        assert_eq!(lines, ["a_1 = hello|hello|false"]);
    }

    #[test]
    fn what_never_ends_has_a_bound() {
        let mut sentences = Sentences::new(None, 0, Ids::new("a".into()));
        for id in 0..17 {
            result(
                &mut sentences,
                json!({"transcription": sentence(id, "x", false)}),
                0,
            );
        }
        assert_eq!(sentences.open.len(), OPEN_MAX);
    }
}
