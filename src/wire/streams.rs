//! Layer 1: stream names: what a subscription says, what an event is called, and whether one gets the other (protocol.md §5).

/// A language stream as a subscription spells it (protocol.md §5.4.1).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Language {
    /// `transcription:<lang>`; `auto` is a language of its own.
    Transcription(Box<str>),
    /// `translation:<src>-to-<tgt>` and short forms; source `all` stands for any.
    Translation(Box<str>, Box<str>),
}

/// One stored subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// As the app wrote it (bare `transcription` already rewritten).
    pub text: Box<str>,
    /// Set for valid language streams.
    pub language: Option<Language>,
    /// Language hints of its query.
    pub hints: Vec<Box<str>>,
    /// `no-language-identification=true`.
    pub no_identification: bool,
}

/// What happened, for matching.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamEvent<'a> {
    /// Any stream by its name.
    Named(&'a str),
    /// A touch with its gesture.
    Touch {
        /// `touch_event:<gesture>`.
        full: &'a str,
    },
    /// A transcription event; `to_auto` says whether `transcription:auto` gets it (protocol.md §5.5).
    Transcription {
        /// `auto` for the auto recogniser.
        language: &'a str,
        /// The rule of §5.5.
        to_auto: bool,
        /// `transcription:<language>`, for wildcards.
        full: &'a str,
    },
    /// A translation event.
    Translation {
        /// Source.
        source: &'a str,
        /// Target.
        target: &'a str,
        /// `translation:<src>-to-<tgt>`, for wildcards.
        full: &'a str,
    },
}

impl<'a> StreamEvent<'a> {
    /// The canonical name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        match *self {
            Self::Named(name) => name,
            Self::Touch { full }
            | Self::Transcription { full, .. }
            | Self::Translation { full, .. } => full,
        }
    }
}

fn is_language(text: &str) -> bool {
    let (base, region) = match text.split_once('-') {
        Some((base, region)) => (base, Some(region)),
        None => (text, None),
    };
    (2..=3).contains(&base.len())
        && base.bytes().all(|b| b.is_ascii_lowercase())
        && region.is_none_or(|r| r.len() == 2 && r.bytes().all(|b| b.is_ascii_uppercase()))
}

fn language_of(text: &str) -> Option<(Language, &str)> {
    let mut pieces = text.split(':');
    let base = pieces.next()?;
    let mut halves = pieces.next()?.split('?');
    let spec = halves.next()?;
    let query = halves.next().unwrap_or("");
    let language = match base {
        "transcription" if spec == "auto" || is_language(spec) => {
            Language::Transcription(spec.into())
        }
        "translation" => {
            let (source, target) = match spec.split_once("-to-") {
                Some(pair) => pair,
                None => spec
                    .match_indices('-')
                    .map(|(at, _)| (&spec[..at], &spec[at + 1..]))
                    .find(|(s, t)| (matches!(*s, "auto" | "all") || is_language(s)) && is_language(t))?,
            };
            let any = matches!(source, "auto" | "all");
            if !(any || is_language(source)) || !is_language(target) {
                return None;
            }
            Language::Translation(if any { "all" } else { source }.into(), target.into())
        }
        _ => return None,
    };
    Some((language, query))
}

/// Reads one subscription string; never fails.
#[must_use]
pub fn parse(text: &str) -> Subscription {
    let text = if text == "transcription" { "transcription:en-US" } else { text };
    let mut parsed = Subscription {
        text: text.into(),
        language: None,
        hints: Vec::new(),
        no_identification: false,
    };
    if let Some((language, query)) = language_of(text) {
        parsed.language = Some(language);
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "hints" => {
                    let value = value.replace("%2C", ",").replace("%2c", ",");
                    parsed.hints = value.split(',').filter(|h| !h.is_empty()).map(Into::into).collect();
                }
                "no-language-identification" => parsed.no_identification = value == "true",
                _ => {}
            }
        }
    }
    parsed
}

/// Two languages match when equal or one is the other's bare base.
#[must_use]
pub fn languages_match(a: &str, b: &str) -> bool {
    let bare = |short: &str, long: &str| {
        !short.contains('-') && long.strip_prefix(short).is_some_and(|rest| rest.starts_with('-'))
    };
    a == b || bare(a, b) || bare(b, a)
}

impl Subscription {
    /// `*` or `all`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        matches!(&*self.text, "*" | "all")
    }

    /// Switches the phone's raw audio on.
    #[must_use]
    pub fn wants_pcm(&self) -> bool {
        &*self.text == "audio_chunk"
    }

    /// Needs speech: a language stream or a bare name.
    #[must_use]
    pub fn wants_speech(&self) -> bool {
        self.language.is_some() || matches!(&*self.text, "transcription" | "translation")
    }

    /// Whether the event goes to this subscription.
    #[must_use]
    pub fn matches(&self, event: &StreamEvent<'_>) -> bool {
        if self.is_wildcard() {
            return true;
        }
        match *event {
            StreamEvent::Named(name) => {
                *self.text == *name || (name == "location_update" && &*self.text == "location_stream")
            }
            StreamEvent::Touch { full } => *self.text == *full || &*self.text == "touch_event",
            StreamEvent::Transcription { language, to_auto, .. } => match &self.language {
                Some(Language::Transcription(own)) => match (&**own, language) {
                    ("auto", "auto") => true,
                    ("auto", _) => to_auto,
                    (_, "auto") => false,
                    (own, language) => languages_match(own, language),
                },
                _ => false,
            },
            StreamEvent::Translation { source, target, .. } => match &self.language {
                Some(Language::Translation(own_source, own_target)) => {
                    (&**own_source == "all" || languages_match(own_source, source))
                        && languages_match(own_target, target)
                }
                _ => false,
            },
        }
    }
}

/// The `streamType` under which an app with these subscriptions gets the event.
#[must_use]
pub fn delivered_as<'a>(subs: &'a [Subscription], event: &StreamEvent<'a>) -> Option<&'a str> {
    let canonical = event.name();
    if let StreamEvent::Transcription { language, .. } = *event {
        let own = |wanted: &dyn Fn(&str) -> bool| {
            subs.iter()
                .find(|sub| {
                    sub.matches(event)
                        && matches!(&sub.language, Some(Language::Transcription(l)) if wanted(l))
                })
                .map(|sub| &*sub.text)
        };
        if let Some(text) = own(&|l| l == language)
            .or_else(|| own(&|l| l != "auto"))
            .or_else(|| own(&|_| true))
        {
            return Some(text);
        }
    }
    let mut wildcard = false;
    let mut best: Option<&str> = None;
    for sub in subs.iter().filter(|sub| sub.matches(event)) {
        if *sub.text == *canonical {
            return Some(&sub.text);
        }
        if sub.is_wildcard() {
            wildcard = true;
        } else if best.is_none() {
            best = Some(if &*sub.text == "location_stream" { canonical } else { &sub.text });
        }
    }
    if wildcard && !matches!(event, StreamEvent::Translation { .. }) {
        return Some(canonical);
    }
    best.or(wildcard.then_some(canonical))
}

/// The permission that a subscription to `text` needs, or an event called so (protocol.md §5.3).
#[must_use]
pub fn permission_for(text: &str) -> Option<Permission> {
    Some(match text.split(':').next().unwrap_or(text) {
        "audio_chunk" | "transcription" | "translation" | "VAD" => Permission::Microphone,
        "location_update" | "location_stream" => Permission::Location,
        "calendar_event" => Permission::Calendar,
        "photo_response" | "photo_taken" | "stream_status" | "managed_stream_status" => {
            Permission::Camera
        }
        "phone_notification" | "phone_notification_dismissed" => Permission::ReadNotifications,
        _ => return None,
    })
}

/// Permission types on app records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Permission {
    Microphone,
    Location,
    BackgroundLocation,
    Calendar,
    Camera,
    Notifications,
    ReadNotifications,
    PostNotifications,
    All,
}
impl Permission {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Microphone => "MICROPHONE",
            Self::Location => "LOCATION",
            Self::BackgroundLocation => "BACKGROUND_LOCATION",
            Self::Calendar => "CALENDAR",
            Self::Camera => "CAMERA",
            Self::Notifications => "NOTIFICATIONS",
            Self::ReadNotifications => "READ_NOTIFICATIONS",
            Self::PostNotifications => "POST_NOTIFICATIONS",
            Self::All => "ALL",
        }
    }
    #[expect(clippy::should_implement_trait, reason = "an Option, not a Result")]
    pub fn from_str(text: &str) -> Option<Self> {
        [
            Self::Microphone,
            Self::Location,
            Self::BackgroundLocation,
            Self::Calendar,
            Self::Camera,
            Self::Notifications,
            Self::ReadNotifications,
            Self::PostNotifications,
            Self::All,
        ]
        .into_iter()
        .find(|p| p.as_str() == text)
    }
}
