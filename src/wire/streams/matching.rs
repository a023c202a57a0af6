//! Layer `wire`: which subscriptions an event is for, and under which name each app receives it
//! (`protocol.md §5.4`); it checks no permission and no connection.

use super::{Gestures, LOCATION_UPDATE, LangOrAuto, Sub, Subscription, parse_name};

/// Whether `transcription:auto` subscribers receive a transcription of a named language
/// (`protocol.md §5.5`). The caller knows the recognisers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoSubscribers {
    /// No: an auto recogniser serves them.
    #[default]
    Skip,
    /// Yes: a `local_transcription`, or no auto recogniser is live.
    Include,
}

/// An event by its stream name, such as `button_press`, `transcription:en-US` or
/// `touch_event:double_tap`.
#[derive(Debug, Clone, Copy)]
pub struct StreamEvent<'a> {
    name: &'a str,
    parsed: Sub,
    auto: AutoSubscribers,
}

/// How well a subscription fits an event; the better one gives the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// `touch_event` for any gesture.
    AnyGesture,
    /// The event's own name: wildcards, equal names, `location_stream`.
    Canonical,
    /// `transcription:auto` for a named language.
    Auto,
    /// A bare base language.
    BaseLanguage,
    /// The language, or a translation of the pair.
    Language,
}

impl<'a> StreamEvent<'a> {
    /// An event of this name; `auto` subscribers are skipped for named languages.
    #[must_use]
    pub fn new(name: &'a str) -> Self {
        Self {
            name,
            parsed: parse_name(name),
            auto: AutoSubscribers::Skip,
        }
    }

    /// Sets whether `transcription:auto` subscribers are reached.
    #[must_use]
    pub fn with_auto(self, auto: AutoSubscribers) -> Self {
        Self { auto, ..self }
    }

    /// The canonical name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Whether and how well `subscription` matches.
    pub(super) fn fit(&self, subscription: &Subscription) -> Option<Fit> {
        match (subscription.parsed, self.parsed) {
            (Sub::Wildcard, _) => Some(Fit::Canonical),
            (Sub::Transcription(wanted), Sub::Transcription(spoken)) => {
                self.fit_transcription(wanted, spoken)
            }
            (
                Sub::Translation {
                    source: wanted,
                    target: into,
                },
                Sub::Translation {
                    source: spoken,
                    target,
                },
            ) => {
                let source_fits = match (wanted, spoken) {
                    (LangOrAuto::Auto, _) => true,
                    (LangOrAuto::Lang(wanted), LangOrAuto::Lang(spoken)) => wanted.matches(&spoken),
                    (LangOrAuto::Lang(_), LangOrAuto::Auto) => false,
                };
                (source_fits && into.matches(&target)).then_some(Fit::Language)
            }
            (Sub::Touch(Gestures::Any), Sub::Touch(Gestures::Named)) => Some(Fit::AnyGesture),
            (Sub::LocationStream, _) if self.name == LOCATION_UPDATE => Some(Fit::Canonical),
            _ => (*subscription.text == *self.name).then_some(Fit::Canonical),
        }
    }

    fn fit_transcription(&self, wanted: LangOrAuto, spoken: LangOrAuto) -> Option<Fit> {
        match (wanted, spoken) {
            (LangOrAuto::Auto, LangOrAuto::Auto) => Some(Fit::Language),
            (LangOrAuto::Auto, LangOrAuto::Lang(_)) => {
                (self.auto == AutoSubscribers::Include).then_some(Fit::Auto)
            }
            (LangOrAuto::Lang(wanted), LangOrAuto::Lang(spoken)) if wanted == spoken => {
                Some(Fit::Language)
            }
            (LangOrAuto::Lang(wanted), LangOrAuto::Lang(spoken)) => {
                wanted.matches(&spoken).then_some(Fit::BaseLanguage)
            }
            // Its subscribers have a recogniser of their own.
            (LangOrAuto::Lang(_), LangOrAuto::Auto) => None,
        }
    }
}

/// The `streamType` under which an app with these subscriptions receives `event`; `None` when no
/// subscription matches. An app receives an event once, however many match.
///
/// Language streams are reported under the app's own string (older SDKs compare it exactly), the
/// same language before its bare base before `auto`, the first of equals; touches under the
/// gesture form if anything but the bare `touch_event` matched; all else under its canonical name.
#[must_use]
pub fn delivered_as<'a>(subs: &'a [Subscription], event: &StreamEvent<'a>) -> Option<&'a str> {
    let mut best: Option<(Fit, &'a Subscription)> = None;
    for subscription in subs {
        if let Some(fit) = event.fit(subscription)
            && best.is_none_or(|(found, _)| fit > found)
        {
            best = Some((fit, subscription));
        }
    }
    best.map(|(fit, subscription)| match fit {
        Fit::Canonical => event.name,
        Fit::AnyGesture | Fit::Auto | Fit::BaseLanguage | Fit::Language => &subscription.text,
    })
}
