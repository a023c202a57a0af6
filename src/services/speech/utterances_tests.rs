//! Tests of [`super`].

use super::super::tokens::made::{end, sure, unsure};
use super::*;
use proptest::prelude::*;

fn rules() -> Rules {
    Rules {
        debounce_ms: 500,
        overlap_min: 3,
        by_language: false,
    }
}

struct Kit {
    utterances: Utterances,
}

impl Kit {
    fn new(rules: Rules) -> Self {
        Self {
            utterances: Utterances::new(rules, Ids::new("u".into())),
        }
    }

    fn response(&mut self, tokens: &[Spoken], now: u64) -> Vec<String> {
        let mut out = Vec::new();
        self.utterances.response(tokens, now, &mut out);
        lines(&out)
    }

    fn tick(&mut self, now: u64) -> Vec<String> {
        let mut out = Vec::new();
        self.utterances.tick(now, &mut out);
        lines(&out)
    }

    fn finish(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        self.utterances.finish(&mut out);
        lines(&out)
    }
}

/// `u_1 ~ text` for an interim text, `u_1 = text` for a final one.
fn lines(out: &[Utterance]) -> Vec<String> {
    let line = |one: &Utterance| {
        let mark = if one.is_final { '=' } else { '~' };
        format!("{} {mark} {}", one.utterance_id, one.text)
    };
    out.iter().map(line).collect()
}

#[test]
fn the_tail_is_replaced_and_the_stable_part_stays() {
    let mut kit = Kit::new(rules());
    assert_eq!(kit.response(&[unsure("me")], 0), ["u_1 ~ me"]);
    assert_eq!(kit.response(&[unsure("meat")], 0), ["u_1 ~ meat"]);
    assert_eq!(
        kit.response(&[sure("meet"), unsure(" me at")], 0),
        ["u_1 ~ meet me at"]
    );
    assert_eq!(
        kit.response(&[sure(" me"), unsure(" at")], 0),
        [""; 0],
        "the same text"
    );
    assert_eq!(kit.response(&[], 0), ["u_1 ~ meet me"], "the tail is gone");
    assert_eq!(kit.response(&[sure(" at noon."), end()], 0), [""; 0]);
    assert_eq!(kit.tick(499), [""; 0]);
    assert_eq!(kit.tick(500), ["u_1 = meet me at noon."]);
    assert_eq!(kit.utterances.due(), None);
}

#[test]
fn a_new_utterance_has_a_new_id_and_does_not_wait_for_the_old_ones_time() {
    let mut kit = Kit::new(rules());
    kit.response(&[sure("One."), end()], 0);
    assert_eq!(
        kit.response(&[unsure(" Two")], 100),
        ["u_1 = One.", "u_2 ~ Two"],
        "nothing repeats, so it is decided"
    );
    assert_eq!(kit.finish(), ["u_2 = Two"]);
    assert_eq!(kit.finish(), [""; 0]);
}

#[test]
fn a_split_sentence_is_joined_where_it_repeats() {
    let mut kit = Kit::new(rules());
    kit.response(&[sure("You know? Come on, I'"), end()], 0);
    assert_eq!(
        kit.response(&[unsure("Come")], 100),
        [""; 0],
        "may become a repetition"
    );
    assert_eq!(
        kit.response(&[unsure("Come on, I'm")], 200),
        ["u_1 ~ You know? Come on, I'm"]
    );
    kit.response(&[sure("Come on, I'm right."), end()], 300);
    assert_eq!(kit.tick(800), ["u_1 = You know? Come on, I'm right."]);
}

#[test]
fn what_only_might_have_repeated_comes_when_the_time_is_over() {
    let mut kit = Kit::new(rules());
    kit.response(&[sure("Say it again"), end()], 0);
    assert_eq!(kit.response(&[unsure("it")], 100), [""; 0]);
    assert_eq!(kit.tick(500), ["u_1 = Say it again", "u_2 ~ it"]);
    assert_eq!(
        kit.response(&[sure("it"), sure(" is"), end()], 600),
        [""; 0]
    );
    assert_eq!(kit.tick(1100), ["u_2 = it is"]);
}

#[test]
fn two_ends_in_a_row_are_two_utterances_unless_they_overlap() {
    let mut kit = Kit::new(rules());
    kit.response(&[sure("One."), end()], 0);
    assert_eq!(kit.response(&[sure(" Two."), end()], 100), ["u_1 = One."]);
    assert_eq!(kit.utterances.due(), Some(600));
    assert_eq!(kit.response(&[sure("Two. Three."), end()], 200), [""; 0]);
    assert_eq!(kit.tick(700), ["u_2 = Two. Three."]);
}

#[test]
fn another_voice_is_another_utterance() {
    let mut kit = Kit::new(rules());
    assert_eq!(
        kit.response(&[sure("Hi.").by("1"), unsure(" Hello").by("2")], 0),
        ["u_1 ~ Hi."],
        "the other voice is not mixed in"
    );
    assert_eq!(
        kit.response(&[sure(" Hello").by("2"), unsure(" there").by("2")], 0),
        ["u_1 = Hi.", "u_2 ~ Hello there"]
    );
    // As long as nothing is final, the voice is a guess.
    let mut kit = Kit::new(rules());
    kit.response(&[unsure("Hi").by("1")], 0);
    assert_eq!(kit.response(&[sure("Hi you").by("2")], 0), ["u_1 ~ Hi you"]);
}

#[test]
fn another_language_is_another_utterance_where_any_may_be_spoken() {
    let tokens = [
        sure("Hola. ").in_language("es"),
        sure("Good day").in_language("en"),
    ];
    assert_eq!(
        Kit::new(rules()).response(&tokens, 0),
        ["u_1 ~ Hola. Good day"]
    );
    let mut kit = Kit::new(Rules {
        by_language: true,
        ..rules()
    });
    assert_eq!(kit.response(&tokens, 0), ["u_1 = Hola.", "u_2 ~ Good day"]);
}

#[test]
fn forced_finals_wait_for_nothing() {
    let mut kit = Kit::new(rules());
    kit.response(&[sure("One."), end()], 0);
    assert_eq!(
        kit.response(&[sure("Two"), sure("<fin>")], 10),
        ["u_1 = One.", "u_2 = Two"]
    );
    assert_eq!(kit.response(&[sure("<fin>")], 20), [""; 0]);
    let mut kit = Kit::new(Rules {
        debounce_ms: 0,
        ..rules()
    });
    assert_eq!(kit.response(&[sure("One."), end()], 0), ["u_1 = One."]);
}

#[test]
fn an_utterance_says_when_who_and_how_sure() {
    let mut utterances = Utterances::new(rules(), Ids::new("u".into()));
    let tokens: Vec<_> = (0..12u32)
        .map(|at| Spoken {
            start_ms: Some(u64::from(at) * 10 + 100),
            end_ms: Some(u64::from(at) * 10 + 110),
            confidence: Some(if at < 6 { 1.0 } else { 0.5 }),
            ..sure("a").by("2").in_language("en")
        })
        .collect();
    let mut out = Vec::new();
    utterances.response(&tokens, 0, &mut out);
    let one = &out[0];
    assert_eq!((one.start_ms, one.end_ms), (100, 220));
    assert_eq!(one.confidence, Some(0.75));
    assert_eq!(one.speaker.as_deref(), Some("2"));
    assert_eq!(one.detected.as_deref(), Some("en"));
    assert_eq!(one.tokens.len(), 10);
    assert_eq!(one.tokens[9].end_ms, Some(220));
    assert_eq!(one.provider, "soniox");
}

#[test]
fn what_was_shown_has_an_end() {
    let mut kit = Kit::new(Rules {
        debounce_ms: 0,
        ..rules()
    });
    kit.response(&[unsure("hm")], 0);
    assert_eq!(kit.response(&[end()], 0), ["u_1 = hm"]);
}

#[test]
fn a_text_without_end_is_ended() {
    let mut kit = Kit::new(rules());
    let long = "word ".repeat(1000);
    kit.response(&[sure(&long)], 0);
    let lines = kit.response(&[sure("next")], 0);
    assert!(lines[0].starts_with("u_1 = word"), "{lines:?}");
    assert_eq!(lines[1], "u_2 ~ next");
}

/// Words that never repeat, so that nothing can be taken for an overlap.
fn word(at: usize) -> String {
    format!(" w{at}x")
}

proptest! {
    /// However responses split what is said: no word is lost or doubled, each utterance keeps its id and ends once, and its last
    /// interim text is the beginning of its final one or what it converged to.
    #[test]
    fn nothing_is_lost_or_doubled(
        steps in prop::collection::vec((0usize..4, 0usize..3, any::<bool>(), 0u64..700), 1..40),
    ) {
        let mut utterances = Utterances::new(rules(), Ids::new("u".into()));
        let (mut out, mut now, mut said, mut shown) = (Vec::new(), 0, 0, 0);
        for (finals, tail, ends, pause) in steps {
            // Whatever was shown is confirmed before an end.
            let finals = if ends { finals.max(shown) } else { finals };
            shown = shown.saturating_sub(finals).max(tail);
            let mut tokens: Vec<_> = (said..said + finals).map(|at| sure(&word(at))).collect();
            said += finals;
            if ends {
                tokens.push(end());
            }
            tokens.extend((said..said + tail).map(|at| unsure(&word(at))));
            utterances.response(&tokens, now, &mut out);
            now += pause;
            utterances.tick(now, &mut out);
        }
        let tokens: Vec<_> = (said..said + shown).map(|at| sure(&word(at))).collect();
        said += shown;
        utterances.response(&tokens, now, &mut out);
        utterances.finish(&mut out);
        let finals: Vec<_> = out.iter().filter(|one| one.is_final).collect();
        let all = finals.iter().map(|one| one.text.as_str()).collect::<Vec<_>>().join(" ");
        let expected = (0..said).map(word).collect::<String>();
        prop_assert_eq!(all, expected.trim());
        let mut ended = std::collections::HashSet::new();
        for one in &out {
            prop_assert!(!ended.contains(&one.utterance_id), "text after the final one");
            if one.is_final {
                ended.insert(one.utterance_id.clone());
            }
        }
    }

    /// Any text whatever: no panic, and overlaps are cut between characters.
    #[test]
    fn any_text_is_taken(texts in prop::collection::vec(("\\PC{0,12}", any::<bool>()), 0..12)) {
        let mut utterances = Utterances::new(rules(), Ids::new("u".into()));
        let mut out = Vec::new();
        for (text, ends) in texts {
            let mut tokens = vec![sure(&text)];
            if ends {
                tokens.push(end());
            }
            utterances.response(&tokens, 0, &mut out);
        }
        utterances.finish(&mut out);
        prop_assert!(out.iter().all(|one| !one.text.is_empty()));
    }
}
