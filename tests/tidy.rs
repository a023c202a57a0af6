//! Holds the shape of the source tree: imports point one way, each runtime stays in its module, files stay readable, every file says
//! what it is. ARCHITECTURE.md states the rules; this file is what makes them true. `tidy/pages.rs` does the same for the pages.

#[path = "tidy/pages.rs"]
mod pages;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of `src/` and what each may import. `services` is the outside thread; nothing but `boot` may import it.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("wire", &["base"]),
    ("session", &["base", "wire"]),
    ("shard", &["base", "wire", "session"]),
    ("io", &["base"]),
    ("net", &["base", "wire", "session", "shard", "io"]),
    ("services", &["base", "wire", "session", "shard"]),
    ("logs", &["base"]),
    (
        "boot",
        &[
            "base", "wire", "session", "shard", "net", "services", "logs",
        ],
    ),
    ("cli", &["base", "wire", "services", "boot", "logs"]),
];

/// Words that may stand only in these modules.
const CONFINED: &[(&str, &[&str])] = &[
    ("io_uring", &["io"]),
    ("rustix::", &["io"]),
    ("tokio", &["services"]),
    ("std::thread", &["boot", "services", "cli", "logs", "net"]),
    ("std::net::Tcp", &["net", "boot", "services", "cli"]),
    // The outside thread reads its runtime's own clock; the standard library's is refused everywhere by clippy.
    ("Instant::now", &["base", "services"]),
    ("SystemTime::now", &["base"]),
];

/// Non-test lines of a file. A tripwire: past it, think about the shape.
const FILE_LINES_MAX: usize = 500;

struct Source {
    path: String,
    module: String,
    /// Text without test modules and line comments.
    code: String,
    full: String,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    read(root, "src")
}

/// The files below a folder of the repository.
fn read(root: &Path, folder: &str) -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root.join(folder), &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let full = fs::read_to_string(&path).expect("source files are readable UTF-8");
            let relative = path
                .strip_prefix(root)
                .expect("below the root")
                .to_string_lossy()
                .into_owned();
            let module = relative
                .trim_start_matches("src/")
                .split(['/', '.'])
                .next()
                .unwrap_or_default()
                .to_owned();
            let body = full
                .split("\n#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default();
            let code: String = body
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .fold(String::new(), |mut all, line| {
                    let _ = writeln!(all, "{line}");
                    all
                });
            Source {
                lines: body.lines().count(),
                path: relative,
                module,
                code,
                full,
            }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder)
        .expect("src exists")
        .map(|entry| entry.expect("readable entry").path())
    {
        if entry.is_dir() {
            collect(&entry, files);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
}

fn is_test_file(source: &Source) -> bool {
    source.path.ends_with("/tests.rs")
        || source.path.contains("/tests/")
        || source.path.contains("/testkit")
}

fn fail_if(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn imports_point_one_way() {
    let mut problems = Vec::new();
    for source in sources() {
        if matches!(source.module.as_str(), "lib" | "main") {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT
            .iter()
            .find(|(module, _)| *module == source.module)
        else {
            problems.push(format!(
                "{}: a module that ARCHITECTURE.md does not know",
                source.path
            ));
            continue;
        };
        for (index, _) in source.code.match_indices("crate::") {
            let target: String = source.code[index + 7..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            let known = MAY_IMPORT.iter().any(|(module, _)| *module == target);
            if known && target != source.module && !allowed.contains(&target.as_str()) {
                problems.push(format!(
                    "{}: {} may not import {target}",
                    source.path, source.module
                ));
            }
        }
    }
    fail_if(&problems);
}

#[test]
fn runtimes_and_clocks_stay_in_their_modules() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| !is_test_file(source)) {
        for (word, modules) in CONFINED {
            if source.code.contains(word) && !modules.contains(&source.module.as_str()) {
                problems.push(format!(
                    "{}: names {word}, which belongs to {modules:?}",
                    source.path
                ));
            }
        }
    }
    fail_if(&problems);
}

#[test]
fn managers_do_not_import_each_other() {
    let mut problems = Vec::new();
    for source in sources() {
        let Some(name) = source.path.strip_prefix("src/session/managers/") else {
            continue;
        };
        let own = name.split(['/', '.']).next().unwrap_or_default();
        if own == "mod" || is_test_file(&source) {
            continue;
        }
        // How this file may name the module of all managers.
        let up = match name.contains('/') {
            true => "super::super::",
            false => "super::",
        };
        for marker in ["managers::", up] {
            for (index, _) in source.code.match_indices(marker) {
                let other: String = source.code[index + marker.len()..]
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                let is_own = [own, "", "Managers", "super"].contains(&&*other);
                if !is_own {
                    problems.push(format!(
                        "{}: manager {own} imports manager {other}",
                        source.path
                    ));
                }
            }
        }
    }
    fail_if(&problems);
}

#[test]
fn files_stay_readable() {
    let mut problems = Vec::new();
    let tester = read(Path::new(env!("CARGO_MANIFEST_DIR")), "loadtest/src");
    let all = sources().into_iter().chain(tester);
    for source in all.filter(|source| !is_test_file(source)) {
        if source.lines > FILE_LINES_MAX {
            problems.push(format!(
                "{}: {} lines, limit {FILE_LINES_MAX}: think about the shape",
                source.path, source.lines
            ));
        }
    }
    fail_if(&problems);
}

#[test]
fn every_module_says_what_it_is() {
    let problems: Vec<String> = sources()
        .into_iter()
        .chain(read(Path::new(env!("CARGO_MANIFEST_DIR")), "loadtest/src"))
        .filter(|source| !source.full.starts_with("//!"))
        .map(|source| format!("{}: begins without a module doc", source.path))
        .collect();
    fail_if(&problems);
}

/// With what the doc of a module begins, so that a reader knows where he is.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &["Layer 0"]),
    ("wire", &["Layer 1"]),
    ("session", &["Layer 2"]),
    ("shard", &["Layer 3"]),
    ("services", &["Layer 3", "Outside thread"]),
    ("io", &["Layer 4"]),
    ("net", &["Layer 4"]),
    ("boot", &["Layer 5"]),
    ("logs", &["Layer 5"]),
    ("cli", &["Command line"]),
];

#[test]
fn every_module_names_its_layer() {
    let has_other_head = |source: &Source| {
        is_test_file(source)
            || source.path.ends_with("_tests.rs")
            || source.path.contains("_tests/")
            // The name of its message.
            || source.path.contains("/handlers/app/")
            || source.path.contains("/handlers/phone/")
    };
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| !has_other_head(source)) {
        let Some((_, heads)) = LAYERS.iter().find(|(module, _)| *module == source.module) else {
            continue;
        };
        let doc = source.full.trim_start_matches("//! ");
        if !heads.iter().any(|head| doc.starts_with(head)) {
            problems.push(format!("{}: begins with none of {heads:?}", source.path));
        }
    }
    fail_if(&problems);
}

#[test]
fn nothing_is_left_unfinished() {
    let words = [
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("FIX", "ME"),
        concat!("OWN", "ER "),
    ];
    let mut problems = Vec::new();
    for source in sources() {
        for word in words {
            if source.full.contains(word) {
                problems.push(format!("{}: {word}", source.path));
            }
        }
    }
    fail_if(&problems);
}

#[test]
fn tests_wait_for_events() {
    let mut files = Vec::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"),
        &mut files,
    );
    let word = concat!("thread::", "sleep");
    let sleeps = |path: &&PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains(word));
    let problems: Vec<_> = files
        .iter()
        .filter(sleeps)
        .map(|path| format!("{}: {word}", path.display()))
        .collect();
    fail_if(&problems);
}
