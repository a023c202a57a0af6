//! Layer 0: the macros behind the settings table: structs, defaults, key list, ranges and environment setters from one row each.
//!
//! `section!` takes the rows of one section, `settings!` puts the sections together. A row reads
//! `name: type = default, low..=high => AtStart;`, where range and [`Applies`](super::Applies) may be absent. "Restart needed." and
//! "Without effect." are added to the documentation here and do not stand in the rows.

use super::{KeyInfo, Problem};

/// What the `section!` macro implements for each section.
pub(super) trait Section {
    /// Its keys, in file order.
    const KEYS: &'static [KeyInfo];

    /// Sets a key from text; `None` where it stands in another section.
    fn set(&mut self, key: &str, text: &str) -> Option<Result<(), String>>;

    /// Shows a key; `None` where it stands in another section.
    fn show(&self, key: &str) -> Option<String>;

    /// Adds every number that is outside its range.
    fn check_ranges(&self, problems: &mut Vec<Problem>);

    /// Takes the keys that need a restart from those that the process started with.
    fn keep_started(&mut self, started: &Self);
}

/// The number of keys of these sections.
pub(super) const fn count(sections: &[&[KeyInfo]]) -> usize {
    let (mut total, mut section) = (0, 0);
    while section < sections.len() {
        total += sections[section].len();
        section += 1;
    }
    total
}

/// The keys of these sections one after the other.
pub(super) const fn join<const N: usize>(sections: &[&[KeyInfo]]) -> [KeyInfo; N] {
    let mut all = [sections[0][0]; N];
    let (mut at, mut section) = (0, 0);
    while section < sections.len() {
        let mut key = 0;
        while key < sections[section].len() {
            all[at] = sections[section][key];
            at += 1;
            key += 1;
        }
        section += 1;
    }
    all
}

macro_rules! section {
    ($(#[doc = $sdoc:literal])* $section:ident: $Section:ident {
        $( $(#[doc = $doc:literal])* $key:ident: $ty:ty = $default:expr
            $(, $low:literal ..= $high:literal)? $(=> $applies:ident)?; )*
    }) => {
        $(#[doc = $sdoc])*
        #[derive(Clone, Debug, PartialEq, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $Section {
            $( #[doc = section!(@doc $($doc)* $(=> $applies)?)] pub $key: $ty, )*
        }

        impl Default for $Section {
            fn default() -> Self { Self { $( $key: $default, )* } }
        }

        impl $crate::base::settings::declare::Section for $Section {
            const KEYS: &'static [$crate::base::settings::KeyInfo] = &[ $( $crate::base::settings::KeyInfo {
                section: stringify!($section),
                name: stringify!($key),
                doc: section!(@doc $($doc)* $(=> $applies)?),
                range: section!(@range $($low, $high)?),
                applies: section!(@applies $($applies)?),
            }, )* ];

            fn set(&mut self, key: &str, text: &str) -> Option<Result<(), String>> {
                use $crate::base::settings::Value;
                Some(match key {
                    $( stringify!($key) => Value::from_text(text).map(|value| self.$key = value), )*
                    _ => return None,
                })
            }

            fn show(&self, key: &str) -> Option<String> {
                use $crate::base::settings::Value;
                match key {
                    $( stringify!($key) => Some(Value::show(&self.$key)), )*
                    _ => None,
                }
            }

            fn check_ranges(&self, problems: &mut Vec<$crate::base::settings::Problem>) {
                $( section!(@check self problems $section $key $($low, $high)?); )*
            }

            fn keep_started(&mut self, started: &Self) {
                let _ = started;
                $( section!(@keep self started $key $($applies)?); )*
            }
        }
    };
    (@doc $($doc:literal)*) => { concat!($($doc),*) };
    (@doc $($doc:literal)* => AtStart) => { concat!($($doc,)* " Restart needed.") };
    (@doc $($doc:literal)* => Never) => { concat!(" Without effect.", $($doc),*) };
    (@applies) => { $crate::base::settings::Applies::OnReload };
    (@applies $applies:ident) => { $crate::base::settings::Applies::$applies };
    (@range) => { None };
    (@range $low:literal, $high:literal) => { Some(($low, $high)) };
    (@keep $self:ident $started:ident $key:ident AtStart) => { $self.$key = $started.$key.clone(); };
    (@keep $self:ident $started:ident $key:ident $($other:ident)?) => {};
    (@check $self:ident $problems:ident $section:ident $key:ident) => {};
    (@check $self:ident $problems:ident $section:ident $key:ident $low:literal, $high:literal) => {
        if let Some(number) = $crate::base::settings::Value::number(&$self.$key) && !($low..=$high).contains(&number) {
            $problems.push($crate::base::settings::Problem {
                place: concat!(stringify!($section), ".", stringify!($key)).into(),
                text: format!("{number} is outside {}..={}", $low, $high),
            });
        }
    };
}

macro_rules! settings {
    ($( $section:ident: $Section:ident, )*) => {
        /// The whole configuration, one member per section of the file.
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Settings {
            $( #[doc = concat!("See [`", stringify!($Section), "`].")] pub $section: $Section, )*
        }

        impl Settings {
            const SECTIONS: &[&[$crate::base::settings::KeyInfo]] = {
                use $crate::base::settings::declare::Section;
                &[ $( <$Section as Section>::KEYS, )* ]
            };

            /// Every key, in file order.
            pub const KEYS: &[$crate::base::settings::KeyInfo] = {
                use $crate::base::settings::declare::{count, join};
                &join::<{ count(Self::SECTIONS) }>(Self::SECTIONS)
            };

            /// Sets one key from text, as an environment variable does.
            ///
            /// # Errors
            /// What was expected; also for an unknown key.
            pub fn set(&mut self, key: &str, text: &str) -> Result<(), String> {
                use $crate::base::settings::declare::Section;
                None
                    $( .or_else(|| self.$section.set(key, text)) )*
                    .unwrap_or_else(|| Err("a known key".into()))
            }

            /// The value of one key as it would stand in the file.
            #[must_use]
            pub fn show(&self, key: &str) -> Option<String> {
                use $crate::base::settings::declare::Section;
                None $( .or_else(|| self.$section.show(key)) )*
            }

            pub(in crate::base::settings) fn check_ranges(&self, problems: &mut Vec<$crate::base::settings::Problem>) {
                use $crate::base::settings::declare::Section;
                $( self.$section.check_ranges(problems); )*
            }

            /// What a reload brings into force: itself, but for the keys that need a restart, which stay as `started` has them.
            #[must_use]
            pub fn in_force(mut self, started: &Self) -> Self {
                use $crate::base::settings::declare::Section;
                $( self.$section.keep_started(&started.$section); )*
                self
            }
        }
    };
}

pub(super) use {section, settings};
