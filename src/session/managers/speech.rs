//! Layer 2, manager: which recognisers the subscriptions ask for, and whether the user speaks (behaviour.md §8.1, 8.4).
//! Providers attach here: they reconcile [`Speech::desired`] with what they run and report it through [`Speech::set_live`].

use super::subscriptions::Subscriber;
use crate::base::footprint::{flat, owns};
use crate::wire::streams::{Lang, LangOrAuto, LanguageOptions, Sub};

flat!(Sub);
owns! {
    LanguageOptions: hints;
    Desired: options;
    Speech: desired, live;
}

/// One recogniser that should run; the key is the language stream without its options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Desired {
    /// [`Sub::Transcription`] or [`Sub::Translation`].
    pub stream: Sub,
    /// Options of all its subscribers together.
    pub options: LanguageOptions,
}

/// What the phone last said about speech.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Voice {
    /// No `VAD` message yet; some phones never send one.
    #[default]
    Unknown,
    /// Speech: all desired streams should run.
    Speaking,
    /// Silence: pending text is finalised, then streams end.
    Silent,
}

/// Speech state.
#[derive(Default)]
pub struct Speech {
    desired: Vec<Desired>,
    live: Vec<Sub>,
    voice: Voice,
}

impl Speech {
    /// Recognisers that should run.
    #[must_use]
    pub fn desired(&self) -> &[Desired] {
        &self.desired
    }

    /// What the phone last said.
    #[must_use]
    pub fn voice(&self) -> Voice {
        self.voice
    }

    /// Takes over a `VAD` message; says whether the state changed.
    pub fn set_voice(&mut self, voice: Voice) -> bool {
        std::mem::replace(&mut self.voice, voice) != voice
    }

    /// Recognisers that really run, as their provider reports them.
    pub fn set_live(&mut self, live: Vec<Sub>) {
        self.live = live;
    }

    /// How many recognisers really run.
    #[must_use]
    pub fn live_streams(&self) -> usize {
        self.live.len()
    }

    /// Whether the auto recogniser runs: then `transcription:auto` gets no language recogniser's events (protocol.md §5.5).
    #[must_use]
    pub fn auto_is_live(&self) -> bool {
        self.live.contains(&Sub::Transcription(LangOrAuto::Auto))
    }

    /// Computes the desired set anew; says whether it changed.
    pub fn refresh<'a>(&mut self, subscribers: impl Iterator<Item = &'a Subscriber>) -> bool {
        let mut desired: Vec<Desired> = Vec::new();
        for subscriber in subscribers {
            for own in subscriber.list() {
                if !is_useful(own.parsed) {
                    continue;
                }
                let mut options = own.language_options();
                if matches!(own.parsed, Sub::Transcription(_)) {
                    for hint in subscriber.hints() {
                        if !options.hints.contains(hint) {
                            options.hints.push(hint.clone());
                        }
                    }
                }
                merge(&mut desired, own.parsed, options);
            }
        }
        fold_short_forms(&mut desired);
        let changed = desired != self.desired;
        self.desired = desired;
        changed
    }
}

/// A language stream, and no translation into its own source (behaviour.md §8.8).
fn is_useful(stream: Sub) -> bool {
    match stream {
        Sub::Transcription(_) => true,
        Sub::Translation { source, target } => source.lang() != Some(target),
        _ => false,
    }
}

fn merge(desired: &mut Vec<Desired>, stream: Sub, options: LanguageOptions) {
    match desired.iter_mut().find(|known| known.stream == stream) {
        Some(known) => known.options.merge(&options),
        None => desired.push(Desired { stream, options }),
    }
}

/// `en` beside `en-US` is served by the full form's recogniser, lowest region first (protocol.md §5.4.1).
fn fold_short_forms(desired: &mut Vec<Desired>) {
    let mut index = 0;
    while index < desired.len() {
        let short = desired[index].stream;
        let home = desired
            .iter()
            .enumerate()
            .filter(|(_, full)| covers(full.stream, short))
            .min_by_key(|(_, full)| sort_key(full.stream))
            .map(|(home, _)| home);
        match home {
            Some(home) => {
                let options = desired[index].options.clone();
                desired[home].options.merge(&options);
                desired.remove(index);
            }
            None => index += 1,
        }
    }
}

fn sort_key(stream: Sub) -> Option<(LangOrAuto, Option<Lang>)> {
    match stream {
        Sub::Transcription(language) => Some((language, None)),
        Sub::Translation { source, target } => Some((source, Some(target))),
        _ => None,
    }
}

/// Whether `full` is `short` with regions added.
fn covers(full: Sub, short: Sub) -> bool {
    let adds = |full: Lang, short: Lang| full == short || (short.is_bare() && full.matches(&short));
    let adds_any = |full: LangOrAuto, short: LangOrAuto| match (full, short) {
        (LangOrAuto::Lang(full), LangOrAuto::Lang(short)) => adds(full, short),
        (full, short) => full == short,
    };
    full != short
        && match (full, short) {
            (Sub::Transcription(full), Sub::Transcription(short)) => adds_any(full, short),
            (
                Sub::Translation { source, target },
                Sub::Translation {
                    source: short_source,
                    target: short_target,
                },
            ) => adds_any(source, short_source) && adds(target, short_target),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::super::subscriptions::{Subscriptions, Wish};
    use super::*;
    use crate::base::ids::Package;
    use serde_json::json;

    fn desired(lists: &[&[&str]]) -> Vec<(String, Vec<String>, bool)> {
        let mut subscriptions = Subscriptions::default();
        for (index, list) in lists.iter().enumerate() {
            let elements: Vec<_> = list.iter().map(|text| json!(text)).collect();
            let package = Package::new(&format!("app{index}"));
            subscriptions.apply("u", &package, Wish::read(&elements, 100), 0, 1);
        }
        let mut speech = Speech::default();
        speech.refresh(subscriptions.iter());
        speech
            .desired()
            .iter()
            .map(|one| {
                let name = match one.stream {
                    Sub::Transcription(language) => language.to_string(),
                    Sub::Translation { source, target } => format!("{source}>{target}"),
                    _ => unreachable!("only language streams"),
                };
                (
                    name,
                    one.options.hints.clone(),
                    one.options.no_language_identification,
                )
            })
            .collect()
    }

    fn names(lists: &[&[&str]]) -> Vec<String> {
        desired(lists).into_iter().map(|one| one.0).collect()
    }

    #[test]
    fn one_recogniser_serves_all_subscribers_of_a_language() {
        let merged = desired(&[
            &["transcription:en-US?hints=es%2Cfr&no-language-identification=true"],
            &[
                "transcription:en-US?hints=fr,de&no-language-identification=true",
                "button_press",
            ],
        ]);
        assert_eq!(
            merged,
            [(
                "en-US".into(),
                vec!["es".into(), "fr".into(), "de".into()],
                true
            )]
        );
        let one_wants_it = desired(&[
            &["transcription:en-US?no-language-identification=true"],
            &["transcription"],
        ]);
        assert_eq!(one_wants_it, [("en-US".into(), vec![], false)]);
    }

    #[test]
    fn a_short_form_is_served_by_the_lowest_region() {
        assert_eq!(
            names(&[
                &["transcription:en"],
                &["transcription:en-US", "transcription:en-GB"]
            ]),
            ["en-US", "en-GB"]
        );
        assert_eq!(
            names(&[&["transcription:en", "transcription:auto"]]),
            ["en", "auto"]
        );
        let folded = desired(&[&[
            "transcription:en?hints=ja",
            "transcription:en-US",
            "transcription:en-GB",
        ]]);
        assert_eq!(folded[1], ("en-GB".into(), vec!["ja".into()], false));
    }

    #[test]
    fn translations_are_pairs_and_nonsense_is_skipped() {
        assert_eq!(
            names(&[&[
                "translation:es-ES-to-en-US?x=1",
                "translation:auto-es",
                "translation:en-to-en",
                "translation:nonsense",
                "translation",
                "*"
            ]]),
            ["es-ES>en-US", "auto>es"]
        );
    }
}
