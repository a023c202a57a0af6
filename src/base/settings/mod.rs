//! Layer 0: everything tunable, declared once: name, default, range, environment override and documentation.
//!
//! `config.yaml` shows every key; `tests/config_sync.rs` holds the two together. Precedence (behaviour.md §11.1):
//! built-in default < file < established environment name < `PRISM_<NAME>` < command line.

mod declare;
mod load;
mod names;
mod rules;
mod sections;

pub use load::{LoadError, Problem, Sources, load, load_from};
pub use names::{unknown_variables, unused_variables};
pub use sections::*;

use serde::Deserialize;

/// One key of the configuration file, for documentation, `check-config` and the test that compares `config.yaml`.
#[derive(Clone, Copy, Debug)]
pub struct KeyInfo {
    /// Section in the file.
    pub section: &'static str,
    /// Key within the section; unique over all sections, because the environment name derives from it alone.
    pub name: &'static str,
    /// What it does, with the unit.
    pub doc: &'static str,
    /// Inclusive range of a number.
    pub range: Option<(u64, u64)>,
    /// When a changed value comes into force.
    pub applies: Applies,
}

/// When a changed value comes into force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applies {
    /// At the next reload.
    OnReload,
    /// When the process starts again.
    AtStart,
    /// Never: nothing reads it; old files may hold it.
    Never,
}

impl KeyInfo {
    /// The environment variable that overrides this key.
    #[must_use]
    pub fn env_name(&self) -> String {
        format!("PRISM_{}", self.name.to_uppercase())
    }

    /// Whether a reload does not bring a new value into force.
    #[must_use]
    pub fn needs_restart(&self) -> bool {
        self.applies == Applies::AtStart
    }
}

impl Settings {
    /// The keys whose values differ.
    pub fn differences<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = &'static KeyInfo> + 'a {
        Self::KEYS
            .iter()
            .filter(|key| self.show(key.name) != other.show(key.name))
    }
}

/// A value that a key can hold.
pub trait Value: Clone {
    /// From the text of an environment variable.
    ///
    /// # Errors
    /// What was expected instead.
    fn from_text(text: &str) -> Result<Self, String>;
    /// For the range check; `None` where ranges make no sense.
    fn number(&self) -> Option<u64> {
        None
    }
    /// As it would stand in the YAML file.
    fn show(&self) -> String;
}

impl Value for u64 {
    fn from_text(text: &str) -> Result<Self, String> {
        text.trim()
            .replace('_', "")
            .parse()
            .map_err(|_| "a whole number".into())
    }
    fn number(&self) -> Option<u64> {
        Some(*self)
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for bool {
    fn from_text(text: &str) -> Result<Self, String> {
        match text.trim() {
            "true" | "1" | "yes" => Ok(true),
            "false" | "0" | "no" => Ok(false),
            _ => Err("true or false".into()),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for Vec<String> {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect())
    }
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// The word used in the file and in the environment.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl Value for $name {
            fn from_text(text: &str) -> Result<Self, String> {
                match text.trim() {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(concat!("one of:" $(, " ", $text)*).into()),
                }
            }
            fn show(&self) -> String {
                self.as_str().to_owned()
            }
        }
    )* };
}

choices! {
    /// Which I/O driver a shard runs on.
    IoDriver {
        /// io_uring where the kernel allows it, else epoll.
        Auto = "auto",
        /// io_uring or refuse to start.
        Uring = "uring",
        /// epoll.
        Epoll = "epoll",
    }
    /// How strict start-up is.
    Profile {
        /// A development secret is tolerated, with a warning.
        Development = "development",
        /// Refuses the development secret and plain-text API keys.
        Production = "production",
    }
    /// Staged roll-out of the liveness rule (behaviour.md §9.4).
    HealthMonitorMode {
        /// No checks.
        Off = "off",
        /// Log and count, close nothing.
        Observe = "observe",
        /// Close what is dead.
        Enforce = "enforce",
    }
    /// Whose recognisers this deployment uses (behaviour.md §8.6.4).
    DeploymentRegion {
        /// Soniox.
        Global = "global",
        /// Alibaba.
        China = "china",
    }
    /// Who composes the dashboard (behaviour.md §2.15).
    DashboardMode {
        /// The server itself.
        Internal = "internal",
        /// A system app.
        App = "app",
    }
}

impl Speech {
    /// Whether recognisers can run here at all: any key will do.
    #[must_use]
    pub fn has_provider(&self) -> bool {
        let is_key = |text: &String| !text.trim().is_empty();
        match self.deployment_region {
            DeploymentRegion::Global => {
                is_key(&self.soniox_api_key) || self.soniox_fallback_api_keys.iter().any(is_key)
            }
            DeploymentRegion::China => is_key(&self.alibaba_api_key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file finds a key by the member's name, everything else by the name that the section's own file gives.
    #[test]
    fn every_key_stands_in_the_section_that_it_names() {
        let shown = Settings::default();
        for key in Settings::KEYS {
            let value = shown.show(key.name).expect("a known key");
            let yaml = format!("{}:\n  {}: {value}\n", key.section, key.name);
            let loaded = load(&yaml, |_| None).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(loaded, shown, "{yaml}");
        }
    }

    #[test]
    fn what_a_reload_does_not_change_says_so() {
        for key in Settings::KEYS {
            let says = |words| key.doc.contains(words);
            let (restart, nothing) = (says("Restart needed."), says("Without effect."));
            let said = match key.applies {
                Applies::OnReload => !restart && !nothing,
                Applies::AtStart => restart && !nothing,
                Applies::Never => nothing && !restart,
            };
            assert!(said, "{}: {}", key.name, key.doc);
        }
    }

    #[test]
    fn a_reload_leaves_alone_what_needs_a_restart() {
        let (started, mut read) = (Settings::default(), Settings::default());
        read.server.port = 81;
        read.server.data_dir = "elsewhere".into();
        read.apps.app_grace_ms = 4000;
        let in_force = read.in_force(&started);
        let changed: Vec<_> = in_force.differences(&started).collect();
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].name, "app_grace_ms");
    }
}
