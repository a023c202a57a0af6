//! Layer 0: file + environment → validated [`Settings`], with every problem reported, not just the first.

use super::names::{ADDITIONAL_APPS, ESTABLISHED_NAMES};
use super::{Settings, Value, rules};
use std::fmt;

/// One thing wrong with the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where: `section.key`, an environment variable, or the file.
    pub place: String,
    /// What was found and what was expected.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Why the configuration cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadError(pub Vec<Problem>);

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

/// What is read besides the environment.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// Name of the file in problems.
    pub file: &'a str,
    /// Its text; empty for built-in defaults.
    pub yaml: &'a str,
    /// Keys given on the command line, with their values: they win over everything.
    pub flags: &'a [(&'static str, String)],
}

/// [`load_from`] a file alone.
///
/// # Errors
/// All problems found.
pub fn load(yaml: &str, env: impl Fn(&str) -> Option<String>) -> Result<Settings, LoadError> {
    let sources = Sources {
        file: "config file",
        yaml,
        flags: &[],
    };
    load_from(&sources, env)
}

/// Reads the file, lays the environment and the flags over it and checks everything.
/// `env` looks a variable up, so that tests need not touch the process's own environment.
///
/// # Errors
/// All problems found.
pub fn load_from(
    sources: &Sources<'_>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Settings, LoadError> {
    let mut settings: Settings = if sources.yaml.trim().is_empty() {
        Settings::default()
    } else {
        serde_saphyr::from_str(sources.yaml).map_err(|error| {
            LoadError(vec![Problem {
                place: sources.file.into(),
                text: error.to_string(),
            }])
        })?
    };
    let mut problems = Vec::new();
    let mut overlay = |place: &str, key: &str, text: Option<String>| {
        // An empty variable counts as unset, as in the deployments that exist.
        if let Some(text) = text.filter(|text| !text.is_empty())
            && let Err(expected) = settings.set(key, &text)
        {
            problems.push(Problem {
                place: place.into(),
                text: format!("expected {expected}, found {text:?}"),
            });
        }
    };
    for (variable, key) in ESTABLISHED_NAMES {
        overlay(variable, key, env(variable));
    }
    for key in Settings::KEYS {
        let variable = key.env_name();
        overlay(&variable, key.name, env(&variable));
    }
    for (key, text) in sources.flags {
        let flag = format!("--{}", key.replace('_', "-"));
        overlay(&flag, key, Some(text.clone()));
    }
    let more = env(ADDITIONAL_APPS).unwrap_or_default();
    let preinstalled = &mut settings.apps.preinstalled_apps;
    for name in Vec::from_text(&more).unwrap_or_default() {
        if !preinstalled.contains(&name) {
            preinstalled.push(name);
        }
    }
    let cleared = |name: &str| env(name).is_some_and(|text| text.is_empty());
    if ["AUGMENTOS_AUTH_JWT_SECRET", "PRISM_AUTH_JWT_SECRET"]
        .into_iter()
        .any(cleared)
        && settings.server.auth_jwt_secret == super::DEVELOPMENT_SECRET
    {
        // Somebody meant to set it: whoever reads our source could then sign tokens.
        problems.push(Problem {
            place: "server.auth_jwt_secret".into(),
            text: "must not be empty (AUGMENTOS_AUTH_JWT_SECRET)".into(),
        });
    }
    settings.check_ranges(&mut problems);
    rules::check(&settings, &mut problems);
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(LoadError(problems))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it_and_its_line() {
        let error =
            load("server:\n  port: 8002\n  prot: 1\n", none).expect_err("typo must not pass");
        assert!(error.to_string().contains("prot"), "{error}");
        assert!(error.to_string().contains('3'), "{error}");
    }

    #[test]
    fn prism_names_beat_established_names_beat_the_file() {
        let env = |name: &str| match name {
            "PORT" => Some("81".to_owned()),
            "PRISM_PORT" => Some("82".to_owned()),
            "UDP_HOST" => Some("udp.example.net".to_owned()),
            _ => None,
        };
        let settings = load("server:\n  port: 80\n", env).expect("valid");
        assert_eq!(settings.server.port, 82);
        assert_eq!(settings.udp.udp_host, "udp.example.net");
    }

    #[test]
    fn additional_apps_come_beside_those_of_the_key_whoever_set_it() {
        let with = |own: Option<&'static str>| {
            let env = move |name: &str| match name {
                "ADDITIONAL_PRE_INSTALLED_APPS" => Some("com.b, com.a".to_owned()),
                "PRISM_PREINSTALLED_APPS" => own.map(str::to_owned),
                _ => None,
            };
            let settings = load("apps:\n  preinstalled_apps: [com.a]\n", env).expect("valid");
            settings.apps.preinstalled_apps
        };
        assert_eq!(with(None), ["com.a", "com.b"]);
        assert_eq!(with(Some("com.c")), ["com.c", "com.b", "com.a"]);
    }

    #[test]
    fn flags_beat_everything_and_are_judged_like_the_rest() {
        let env = |name: &str| (name == "PRISM_SHARDS").then(|| "2".to_owned());
        let with = |flags: &[(&'static str, String)]| {
            let sources = Sources {
                file: "a.yaml",
                yaml: "server:\n  shards: 1\n",
                flags,
            };
            load_from(&sources, env)
        };
        assert_eq!(with(&[]).expect("valid").server.shards, 2);
        let three = with(&[("shards", "3".into())]).expect("valid");
        assert_eq!(three.server.shards, 3);
        let error = with(&[("shards", "65535".into())]).expect_err("no such machine");
        assert!(error.to_string().contains("65535 is outside 0..=1024"));
        let error = with(&[("io_driver", "kqueue".into())]).expect_err("no such driver");
        assert!(error.to_string().starts_with("--io-driver: "), "{error}");
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let env = |name: &str| (name == "PRISM_MIC_DEBOUNCE_MS").then(|| "soon".to_owned());
        let error = load("apps:\n  app_grace_ms: 99999999\n", env).expect_err("two problems");
        let text = error.to_string();
        assert!(
            text.contains("PRISM_MIC_DEBOUNCE_MS") && text.contains("app_grace_ms"),
            "{text}"
        );
    }

    #[test]
    fn an_empty_secret_is_refused_unless_the_file_has_one() {
        let env = |name: &str| (name == "AUGMENTOS_AUTH_JWT_SECRET").then(String::new);
        let error = load("", env).expect_err("no secret");
        assert!(error.to_string().contains("auth_jwt_secret"), "{error}");
        assert!(load("server:\n  auth_jwt_secret: from-the-file\n", env).is_ok());
        assert!(load("", none).is_ok(), "a development server needs none");
    }
}
