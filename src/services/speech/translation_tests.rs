//! Tests of what words and their translations become (behaviour.md §8.8).

use super::super::tokens::made::{end, sure, unsure};
use super::*;
use proptest::prelude::*;

fn pair(source: Option<&'static str>) -> Translations {
    let pair = Pair {
        source,
        target: "en",
        wait_ms: 3000,
        finals_only: true,
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

/// The rest of an utterance that began with `buenas`.
fn afternoon() -> [Spoken; 3] {
    [
        original(" tardes", "es"),
        translation(" afternoon", "es"),
        end(),
    ]
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
fn what_may_change_is_shown_where_that_is_wanted() {
    let mut stream = pair(Some("es"));
    stream.pair.finals_only = false;
    let mut out = Vec::new();
    let maybe = |one: Spoken| Spoken {
        is_final: false,
        ..one
    };
    let (said, told) = (original("buenas", "es"), translation("fine", "es"));
    stream.response(&[maybe(said.clone()), maybe(told)], 0, &mut out);
    assert_eq!(lines(&mut out), ["t_1 ~ buenas → fine"]);
    let told = translation("good", "es");
    let more = [said, told, maybe(translation(" day", "es"))];
    stream.response(&more, 100, &mut out);
    assert_eq!(lines(&mut out), ["t_1 ~ buenas → good day"]);
    stream.response(&afternoon(), 200, &mut out);
    assert_eq!(lines(&mut out), ["t_1 = buenas tardes → good afternoon"]);
    assert!(stream.open.is_empty());
}

#[test]
fn words_and_their_translation_become_one_utterance() {
    let mut stream = pair(Some("es"));
    let mut out = Vec::new();
    stream.response(&[original("buenas", "es"), unsure("tardes")], 0, &mut out);
    assert_eq!(lines(&mut out), [""; 0], "not translated yet");
    stream.response(&[translation("good", "es")], 100, &mut out);
    assert_eq!(lines(&mut out), ["t_1 ~ buenas → good"]);
    stream.response(&afternoon(), 200, &mut out);
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
