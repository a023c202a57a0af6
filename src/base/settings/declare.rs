//! Layer 0: the macro behind the settings table: structs, defaults, key list, ranges and environment setters from one row each.

macro_rules! settings {
    ($( $(#[doc = $sdoc:literal])* $section:ident: $Section:ident {
        $( $(#[doc = $doc:literal])* $key:ident: $ty:ty = $default:expr $(, $low:literal ..= $high:literal)?; )*
    } )*) => {
        $(
            $(#[doc = $sdoc])*
            #[derive(Clone, Debug, PartialEq, Deserialize)]
            #[serde(default, deny_unknown_fields)]
            pub struct $Section { $( $(#[doc = $doc])* pub $key: $ty, )* }

            impl Default for $Section {
                fn default() -> Self { Self { $( $key: $default, )* } }
            }
        )*

        /// The whole configuration, one member per section of the file.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Settings { $( $(#[doc = $sdoc])* pub $section: $Section, )* }

        impl Settings {
            /// Every key, in file order.
            pub const KEYS: &[KeyInfo] = &[ $( $( KeyInfo {
                section: stringify!($section),
                name: stringify!($key),
                doc: concat!($($doc),*),
                range: settings!(@range $($low, $high)?),
            }, )* )* ];

            /// Sets one key from text, as an environment variable does.
            ///
            /// # Errors
            /// What was expected; also for an unknown key.
            pub fn set(&mut self, key: &str, text: &str) -> Result<(), String> {
                match key {
                    $( $( stringify!($key) => self.$section.$key = Value::from_text(text)?, )* )*
                    _ => return Err("a known key".into()),
                }
                Ok(())
            }

            /// The value of one key as it would stand in the file.
            #[must_use]
            pub fn show(&self, key: &str) -> Option<String> {
                match key {
                    $( $( stringify!($key) => Some(Value::show(&self.$section.$key)), )* )*
                    _ => None,
                }
            }

            pub(super) fn check_ranges(&self, problems: &mut Vec<Problem>) {
                $( $( settings!(@check self problems $section $key $($low, $high)?); )* )*
            }
        }
    };
    (@range) => { None };
    (@range $low:literal, $high:literal) => { Some(($low, $high)) };
    (@check $self:ident $problems:ident $section:ident $key:ident) => {};
    (@check $self:ident $problems:ident $section:ident $key:ident $low:literal, $high:literal) => {
        if let Some(number) = $self.$section.$key.number() && !($low..=$high).contains(&number) {
            $problems.push(Problem {
                place: concat!(stringify!($section), ".", stringify!($key)).into(),
                text: format!("{number} is outside {}..={}", $low, $high),
            });
        }
    };
}

pub(super) use settings;
