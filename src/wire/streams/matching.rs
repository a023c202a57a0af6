//! Layer 1: which subscriptions an event is for, and under which name each app receives it
//! (`protocol.md §5.4`); it checks no permission and no connection.

use super::{Gestures, LOCATION_UPDATE, Lang, LangOrAuto, Sub, Subscription, parse_name};

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
    /// Recognisers that hear the same sound.
    others: &'a [Sub],
}

/// How well a subscription fits an event; the better one gives the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// `touch_event` for any gesture.
    AnyGesture,
    /// The event's own name: wildcards, equal names, `location_stream`.
    Canonical,
    /// `transcription:auto` for a named language, or a translation of whatever is spoken for one of a named pair.
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
            others: &[],
        }
    }

    /// Sets whether `transcription:auto` subscribers are reached.
    #[must_use]
    pub fn with_auto(self, auto: AutoSubscribers) -> Self {
        Self { auto, ..self }
    }

    /// Recognisers that hear the same: a short form is served by one of them all, the lowest region's
    /// (`protocol.md §5.4.1`).
    #[must_use]
    pub fn beside(self, others: &'a [Sub]) -> Self {
        Self { others, ..self }
    }

    /// The canonical name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Whether and how well `subscription` matches.
    pub(super) fn fit(&self, subscription: &Subscription) -> Option<Fit> {
        let wanted = &subscription.parsed;
        let is_nearer =
            |other: &Sub| other.covers(wanted) && other.languages() < self.parsed.languages();
        if self.others.iter().any(is_nearer) && self.parsed.covers(wanted) {
            return None;
        }
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
                let fit = match (wanted, spoken) {
                    (LangOrAuto::Auto, LangOrAuto::Auto) => Some(Fit::Language),
                    (LangOrAuto::Auto, LangOrAuto::Lang(_)) => Some(Fit::Auto),
                    (LangOrAuto::Lang(wanted), LangOrAuto::Lang(spoken)) => {
                        wanted.matches(&spoken).then_some(Fit::Language)
                    }
                    (LangOrAuto::Lang(_), LangOrAuto::Auto) => None,
                };
                fit.filter(|_| into.matches(&target))
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

impl Sub {
    /// The languages of a language stream; orders recognisers.
    #[must_use]
    pub fn languages(&self) -> Option<(LangOrAuto, Option<Lang>)> {
        match self {
            Self::Transcription(language) => Some((*language, None)),
            Self::Translation { source, target } => Some((*source, Some(*target))),
            _ => None,
        }
    }

    /// Whether `self` is the language stream `short` with regions added.
    #[must_use]
    pub fn covers(&self, short: &Self) -> bool {
        let adds =
            |full: &Lang, short: &Lang| full == short || (short.is_bare() && full.matches(short));
        let adds_any = |full: &LangOrAuto, short: &LangOrAuto| match (full, short) {
            (LangOrAuto::Lang(full), LangOrAuto::Lang(short)) => adds(full, short),
            (full, short) => full == short,
        };
        if self == short {
            return false;
        }
        match (self, short) {
            (Self::Transcription(full), Self::Transcription(short)) => adds_any(full, short),
            (
                Self::Translation { source, target },
                Self::Translation {
                    source: short_source,
                    target: short_target,
                },
            ) => adds_any(source, short_source) && adds(target, short_target),
            _ => false,
        }
    }
}

/// The `streamType` under which an app with these subscriptions receives `event`; `None` when no
/// subscription matches. An app receives an event once, however many match.
///
/// Language streams are reported under the app's own string (older SDKs compare it exactly), the
/// same language before its bare base before `auto`, the first of equals. A pair stands before the
/// same target from `auto` or `all`: SDK 3.x has a handler for each. Touches under the gesture form
/// if anything but the bare `touch_event` matched; all else under its canonical name.
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
