//! Holds `config.yaml` and the settings table together: every key stands in the file once, documented, in order, with a value
//! that parses; and no key stands there that the code does not know.

use prism::base::settings::{Applies, Settings, load};

/// Keys whose shipped value differs from the built-in default, with the reason.
const SHIPPED_DIFFERENTLY: &[(&str, &str)] =
    &[("port", "80 needs root; a fresh clone must start without")];

fn shipped() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.yaml"))
        .expect("config.yaml stands in the root")
}

fn keys_in(yaml: &str) -> Vec<String> {
    yaml.lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(['#', ' ']))
        .filter_map(|line| line.split_once(':'))
        .map(|(key, _)| key.to_owned())
        .collect()
}

#[test]
fn the_shipped_file_is_valid() {
    load(&shipped(), |_| None).unwrap_or_else(|problems| panic!("{problems}"));
}

#[test]
fn every_key_stands_in_the_file_in_table_order() {
    let table: Vec<String> = Settings::KEYS
        .iter()
        .map(|key| key.name.to_owned())
        .collect();
    assert_eq!(keys_in(&shipped()), table);
}

#[test]
fn environment_names_are_unique() {
    let mut names: Vec<String> = Settings::KEYS.iter().map(|key| key.env_name()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), Settings::KEYS.len());
}

#[test]
fn shipped_values_are_the_defaults() {
    let settings = load(&shipped(), |_| None).unwrap_or_else(|problems| panic!("{problems}"));
    let defaults = Settings::default();
    for key in Settings::KEYS {
        if SHIPPED_DIFFERENTLY
            .iter()
            .any(|(name, _)| *name == key.name)
        {
            continue;
        }
        assert_eq!(
            settings.show(key.name),
            defaults.show(key.name),
            "{}.{}",
            key.section,
            key.name
        );
    }
}

#[test]
fn every_key_is_documented_in_the_file() {
    let yaml = shipped();
    for key in Settings::KEYS {
        let at = yaml
            .find(&format!("\n  {}:", key.name))
            .unwrap_or_else(|| panic!("{} is missing", key.name));
        let above = yaml[..at].lines().last().unwrap_or_default();
        assert!(
            above.trim_start().starts_with("# "),
            "{} has no comment above it",
            key.name
        );
        assert!(
            above.contains(key.doc.trim()),
            "{}: the file's comment and the code's doc differ",
            key.name
        );
        // Where there is one value, the comment says so.
        let range = key.range.filter(|(low, high)| low < high);
        let range = range.map(|(low, high)| format!("Range {low}–{high}."));
        let told = above.rfind("Range ").map(|at| above[at..].to_owned());
        assert_eq!(told, range, "{}: its range in the file", key.name);
    }
}

/// Operators see one key at a time: in a search, in a problem of `prism check-config`, in a list of changes.
#[test]
fn a_comment_does_not_lean_on_the_one_above() {
    const POINT_BACK: [&str; 10] = [
        "And ", "As above", "Its ", "It ", "Nor ", "So ", "That ", "The same", "These ", "They ",
    ];
    for key in Settings::KEYS {
        let doc = key.doc.trim().trim_start_matches("Without effect.").trim();
        let leans = POINT_BACK.iter().any(|words| doc.starts_with(words));
        assert!(!leans, "{}: {doc}", key.name);
    }
}

/// Code of the server, without the table of settings itself.
fn sources(folder: &std::path::Path, out: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.ends_with("base/settings/sections") {
            continue;
        }
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            out.push_str(&std::fs::read_to_string(&path).expect("text"));
        }
    }
}

#[test]
fn a_key_is_read_somewhere_exactly_when_it_has_an_effect() {
    let mut code = String::new();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    sources(std::path::Path::new(root), &mut code);
    let is_read = |name: &str| {
        code.match_indices(name).any(|(at, _)| {
            let after = code[at + name.len()..].chars().next();
            code[..at].ends_with('.')
                && !after.is_some_and(|next| next.is_alphanumeric() || next == '_')
        })
    };
    for key in Settings::KEYS {
        let expected = key.applies != Applies::Never;
        assert_eq!(is_read(key.name), expected, "{}: is it read?", key.name);
    }
}
