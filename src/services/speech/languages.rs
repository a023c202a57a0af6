//! Outside thread, speech: which languages each provider recognises and translates.

use crate::wire::streams::{Lang, LangOrAuto, Sub};

/// Spoken languages of the Soniox service; it translates between any two of them.
const SONIOX: [&str; 60] = [
    "af", "sq", "ar", "az", "eu", "be", "bn", "bs", "bg", "ca", "zh", "hr", "cs", "da", "nl", "en",
    "et", "fi", "fr", "gl", "de", "el", "gu", "he", "hi", "hu", "id", "it", "ja", "kn", "kk", "ko",
    "lv", "lt", "mk", "ms", "ml", "mr", "no", "fa", "pl", "pt", "pa", "ro", "ru", "sr", "sk", "sl",
    "es", "sw", "sv", "tl", "ta", "te", "th", "tr", "uk", "ur", "vi", "cy",
];

/// Spoken languages of the Alibaba service, and what it translates each into.
const ALIBABA: [(&str, &[&str]); 10] = [
    ("zh", &["en", "ja", "ko"]),
    ("en", &["zh", "ja", "ko"]),
    ("ja", &["zh", "en"]),
    ("ko", &["zh", "en"]),
    ("yue", &["zh", "en"]),
    ("de", &["zh", "en"]),
    ("fr", &["zh", "en"]),
    ("ru", &["zh", "en"]),
    ("it", &["zh", "en"]),
    ("es", &["zh", "en"]),
];

/// The service's own name of a language: other codes for the same one are in use.
pub(super) fn soniox_code(tag: &str) -> Option<&'static str> {
    let base = tag.split(['-', '_']).next().unwrap_or_default();
    let base = base.to_ascii_lowercase();
    let base = match base.as_str() {
        "nb" | "nn" => "no",
        "iw" => "he",
        "in" => "id",
        "fil" => "tl",
        other => other,
    };
    SONIOX.into_iter().find(|known| *known == base)
}

/// The same of the other service.
pub(super) fn alibaba_code(tag: &str) -> Option<&'static str> {
    let base = tag.split(['-', '_']).next().unwrap_or_default();
    let known = ALIBABA.iter().map(|(code, _)| *code);
    known.into_iter().find(|code| *code == base)
}

pub(super) fn soniox_takes(stream: &Sub) -> bool {
    let spoken = |lang: &Lang| soniox_code(lang.as_str());
    match stream {
        Sub::Transcription(LangOrAuto::Auto) => true,
        Sub::Transcription(LangOrAuto::Lang(lang)) => spoken(lang).is_some(),
        Sub::Translation {
            source: LangOrAuto::Auto,
            target,
        } => spoken(target).is_some(),
        Sub::Translation {
            source: LangOrAuto::Lang(source),
            target,
        } => match (spoken(source), spoken(target)) {
            (Some(source), Some(target)) => source != target,
            _ => false,
        },
        _ => false,
    }
}

pub(super) fn alibaba_takes(stream: &Sub) -> bool {
    let targets = |tag: &str| {
        let row = ALIBABA
            .iter()
            .find(|(code, _)| alibaba_code(tag) == Some(*code));
        row.map_or(&[] as &[&str], |(_, targets)| targets)
    };
    match stream {
        Sub::Transcription(LangOrAuto::Auto) => true,
        Sub::Transcription(LangOrAuto::Lang(lang)) => alibaba_code(lang.as_str()).is_some(),
        Sub::Translation {
            source: LangOrAuto::Auto,
            target,
        } => ALIBABA
            .iter()
            .any(|(_, targets)| targets.contains(&target.base())),
        Sub::Translation {
            source: LangOrAuto::Lang(source),
            target,
        } => targets(source.as_str()).contains(&target.base()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::streams::parse;

    fn soniox(name: &str) -> bool {
        soniox_takes(&parse(name).parsed)
    }

    fn alibaba(name: &str) -> bool {
        alibaba_takes(&parse(name).parsed)
    }

    #[test]
    fn a_language_counts_by_its_base() {
        assert!(soniox("transcription:en-GB") && soniox("transcription:auto"));
        assert!(soniox("transcription:nb-NO") && soniox("transcription:iw-IL"));
        assert!(!soniox("transcription:xx-XX") && !soniox("touch_event"));
        assert!(alibaba("transcription:yue-CN") && !alibaba("transcription:sv-SE"));
    }

    #[test]
    fn a_pair_needs_two_languages() {
        assert!(soniox("translation:es-ES-to-en-US") && soniox("translation:all-to-fr-FR"));
        assert!(
            !soniox("translation:en-US-to-en-GB"),
            "nothing to translate"
        );
        assert!(!soniox("translation:xx-XX-to-en-US"));
        assert!(alibaba("translation:ja-JP-to-en-US") && alibaba("translation:all-to-ko-KR"));
        assert!(!alibaba("translation:ja-JP-to-ko-KR") && !alibaba("translation:sv-SE-to-en-US"));
    }
}
