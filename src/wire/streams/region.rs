//! Layer 1: from a bare language to the tag with a region. Providers say `en`; apps know the language as `en-US`.

const TAGS: [&str; 58] = [
    "af-ZA", "ar-SA", "az-AZ", "be-BY", "bg-BG", "bn-BD", "bs-BA", "ca-ES", "cs-CZ", "cy-GB",
    "da-DK", "de-DE", "el-GR", "en-US", "es-ES", "et-EE", "eu-ES", "fa-IR", "fi-FI", "fr-FR",
    "gl-ES", "gu-IN", "hi-IN", "hr-HR", "hu-HU", "id-ID", "it-IT", "ja-JP", "kk-KZ", "kn-IN",
    "ko-KR", "lt-LT", "lv-LV", "mk-MK", "ml-IN", "mr-IN", "ms-MY", "nl-NL", "pa-IN", "pl-PL",
    "pt-PT", "ro-RO", "ru-RU", "sk-SK", "sl-SI", "sq-AL", "sr-RS", "sv-SE", "sw-KE", "ta-IN",
    "te-IN", "th-TH", "tl-PH", "tr-TR", "uk-UA", "ur-PK", "vi-VN", "zh-CN",
];

/// Languages for which apps use an outdated code.
const OLD: [(&str, &str); 2] = [("he", "iw-IL"), ("no", "nb-NO")];

/// The usual tag of a bare language; what is not known stays as it is.
#[must_use]
pub fn with_region(language: &str) -> &str {
    let old = OLD.into_iter().find(|(bare, _)| *bare == language);
    let is_of = |tag: &&str| tag.split('-').next() == Some(language);
    let tag = old.map(|(_, tag)| tag);
    tag.or_else(|| TAGS.into_iter().find(is_of))
        .unwrap_or(language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_gets_its_usual_region() {
        for (bare, tag) in [
            ("es", "es-ES"),
            ("he", "iw-IL"),
            ("no", "nb-NO"),
            ("pt-BR", "pt-BR"),
            ("xx", "xx"),
            ("", ""),
        ] {
            assert_eq!(with_region(bare), tag);
        }
        assert!(TAGS.is_sorted());
    }
}
