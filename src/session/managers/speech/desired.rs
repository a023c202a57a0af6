//! Layer 2, manager speech: which recognisers the subscriptions amount to (behaviour.md §8.1).

use crate::base::footprint::owns;
use crate::wire::streams::{Lang, LangOrAuto, LanguageOptions, Sub};

owns! {
    LanguageOptions: hints;
    Desired: options;
}

/// One recogniser that should run; the key is the language stream without its options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Desired {
    /// [`Sub::Transcription`] or [`Sub::Translation`].
    pub stream: Sub,
    /// Options of all its subscribers together.
    pub options: LanguageOptions,
}

/// A language stream, and no translation into its own source (behaviour.md §8.8).
pub(super) fn is_useful(stream: Sub) -> bool {
    match stream {
        Sub::Transcription(_) => true,
        Sub::Translation { source, target } => source.lang() != Some(target),
        _ => false,
    }
}

pub(super) fn merge(desired: &mut Vec<Desired>, stream: Sub, options: LanguageOptions) {
    match desired.iter_mut().find(|known| known.stream == stream) {
        Some(known) => known.options.merge(&options),
        None => desired.push(Desired { stream, options }),
    }
}

/// `en` beside `en-US` is served by the full form's recogniser, lowest region first (protocol.md §5.4.1).
pub(super) fn fold_short_forms(desired: &mut Vec<Desired>) {
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
