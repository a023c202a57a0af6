//! What may stand on the main view, and what decides about it.

use prism::base::settings::Display;
use std::collections::BTreeSet;

/// What a phone was sent last for the main view.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum Shown {
    #[default]
    Nothing,
    /// The names on the boot screen; what starts in one event does so in any order.
    Boot(BTreeSet<String>),
    Clear,
    /// Whose text.
    Text(String, String),
}

/// What an app asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Picture {
    pub(super) package: String,
    pub(super) text: String,
    pub(super) duration_ms: Option<u64>,
    pub(super) force: bool,
    /// The time that its age is counted from, and when it is over.
    pub(super) from_ms: u64,
    pub(super) until_ms: Option<u64>,
    /// Its place among all requests.
    pub(super) number: u64,
}

impl Picture {
    pub(super) fn new(package: &str, text: &str, duration_ms: Option<u64>, force: bool) -> Self {
        Self {
            package: package.to_owned(),
            text: text.to_owned(),
            duration_ms,
            force,
            from_ms: 0,
            until_ms: None,
            number: 0,
        }
    }

    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        self.until_ms.is_some_and(|until_ms| until_ms <= now_ms)
    }

    /// *Has remaining duration* (§6.1.5).
    pub(super) fn remains(&self, scene: &Scene) -> bool {
        match self.duration_ms {
            None => scene.now_ms - self.from_ms <= scene.pace.min_display_lifetime_ms,
            Some(0) => false,
            Some(_) => !self.is_over(scene.now_ms),
        }
    }
}

/// The circumstances of a decision.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Scene {
    /// Times of the settings.
    pub(super) pace: Display,
    pub(super) now_ms: u64,
    /// A phone is there, and glasses.
    pub(super) reachable: bool,
    /// How often the phone has pinged.
    pub(super) pings: u32,
    /// The foreground app.
    pub(super) main: Option<String>,
    pub(super) running: BTreeSet<String>,
}

impl Scene {
    pub(super) fn is_main(&self, package: &str) -> bool {
        self.main.as_deref() == Some(package)
    }

    pub(super) fn runs(&self, picture: &Picture) -> bool {
        self.running.contains(&picture.package)
    }
}
