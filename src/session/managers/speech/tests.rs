//! Layer 2, tests of the recognisers of a session. Opens nothing.

use super::*;
use crate::base::ids::Package;
use crate::session::managers::subscriptions::{Subscriptions, Wish};
use crate::wire::streams::Sub;
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
