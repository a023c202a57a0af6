//! Layer 2, manager speech: which recognisers the subscriptions amount to (behaviour.md §8.1).

use crate::base::footprint::owns;
use crate::wire::streams::{LanguageOptions, Sub};

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
            .filter(|(_, full)| full.stream.covers(&short))
            .min_by_key(|(_, full)| full.stream.languages())
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
