//! The scenarios that are built in; the files are `loadtest/scenarios/*.yaml`.

use std::path::Path;

use crate::scenario::{Scenario, ScenarioError};

macro_rules! scenarios {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../scenarios/", $name, ".yaml")))),*]
    };
}

/// Name and text of each.
pub(crate) const ALL: &[(&str, &str)] = scenarios![
    "steady-day",
    "design-day",
    "lc3-day",
    "audio-fanout-100",
    "audio-fanout-600",
    "audio-fanout-3200",
    "event-relay",
    "audio-open",
    "audio-udp",
    "audio-udp-sealed",
    "event-open",
    "display",
    "idle-memory",
    "idle-sockets",
    "recognisers",
    "connect-rate",
    "herd",
    "abusive-client",
    "stuck-readers",
    "app-server-gone",
    "rolling-restart",
    "soak",
];

/// The built-in scenario of that name, else the file at that path.
pub(crate) fn find(name: &str) -> Result<Scenario, ScenarioError> {
    match ALL.iter().find(|(own, _)| *own == name) {
        Some((_, text)) => Scenario::parse(text),
        None => Scenario::load(Path::new(name)).map_err(|error| match error {
            ScenarioError::Unreadable(text) => ScenarioError::Unreadable(format!(
                "{text}; nor is it a built-in scenario (`prism-load list`)"
            )),
            other => other,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_file_is_built_in_under_its_name() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let own = find(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(own.name, name);
        }
        assert!(find("no-such-scenario").is_err());
    }
}
