//! Holds the shape of the source tree: imports point one way, each runtime stays in its module, files stay readable, every file says
//! what it is. ARCHITECTURE.md states the rules; this file is what makes them true.

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
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
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
        for marker in ["managers::", "super::super::"] {
            for (index, _) in source.code.match_indices(marker) {
                let other: String = source.code[index + marker.len()..]
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                if !other.is_empty() && other != own && other != "Managers" {
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
    for source in sources().iter().filter(|source| !is_test_file(source)) {
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
        .iter()
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

/// Rows of the tables of docs/defects.md: defects, invariants, conformance scenarios of the specification.
const PROMISES: [usize; 3] = [41, 48, 24];

#[test]
fn what_is_said_to_hold_a_promise_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/defects.md")).expect("the page is there");
    let mut problems = Vec::new();
    let mut rows = Vec::new();
    for line in page.lines() {
        if line.starts_with("## ") {
            rows.push(0);
        }
        let Some((number, _)) = line.strip_prefix("| ").and_then(|row| row.split_once(" |")) else {
            continue;
        };
        let Ok(number) = number.parse::<usize>() else {
            continue;
        };
        let last = rows.last_mut().expect("tables stand below headings");
        *last += 1;
        if number != *last {
            problems.push(format!("row {number} stands where row {last} should"));
        }
        for name in line.split('`').skip(1).step_by(2) {
            let there = name.split_once("::").is_some_and(|(file, test)| {
                let text = fs::read_to_string(root.join(file)).unwrap_or_default();
                let wanted = match Path::new(file).extension() {
                    Some(extension) if extension == "rs" => format!("fn {test}("),
                    _ => test.to_owned(),
                };
                text.contains(&wanted)
            });
            if !there && name.contains("::") {
                problems.push(format!("{name}: there is no such test"));
            }
        }
    }
    fail_if(&problems);
    assert_eq!(rows, PROMISES, "rows of the three tables");
}

/// The page for whoever is called at night names routes, log lines and metrics: one that the code has not any more misleads at
/// the worst time.
#[test]
fn what_operators_are_told_to_look_for_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/operating.md")).expect("the page is there");
    let all = sources();
    let mut problems = Vec::new();
    let mut rows = 0;
    for row in page.lines().filter_map(|line| line.strip_prefix("| `")) {
        rows += 1;
        let name = row.split('`').next().unwrap_or_default();
        if !all.iter().any(|source| source.code.contains(name)) {
            problems.push(format!("docs/operating.md: {name} is nowhere in the code"));
        }
    }
    fail_if(&problems);
    assert!(rows > 30, "the tables are read: {rows}");
    let routes = fs::read_to_string(root.join("src/shard/routes/table.rs")).expect("the table");
    for route in routes
        .split('"')
        .filter(|text| text.starts_with("/api/admin"))
    {
        assert!(
            page.contains(&format!("`{route}`")),
            "{route} is not on the page"
        );
    }
}

/// Pages that name files of the source tree and tests.
const PAGES: &[&str] = &[
    "ARCHITECTURE.md",
    "README.md",
    "docs/operating.md",
    "docs/performance-history.md",
    "docs/performance.md",
    "docs/speech.md",
    "docs/store.md",
    "tests/sim/mutations.md",
];

#[test]
fn files_and_tests_that_pages_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches"] {
        collect(&root.join(folder), &mut files);
    }
    let files: Vec<_> = files
        .iter()
        .map(|path| {
            (
                path.display().to_string(),
                fs::read_to_string(path).unwrap_or_default(),
            )
        })
        .collect();
    let mut problems = Vec::new();
    for page in PAGES {
        let text = fs::read_to_string(root.join(page)).expect("the page is there");
        let names = text
            .split('`')
            .filter(|name| !name.contains(char::is_whitespace));
        for name in names {
            let there = match name.rsplit_once("::") {
                // A module, perhaps with its path, and a test.
                Some((module, test)) if test.contains('_') && module == module.to_lowercase() => {
                    let module = module.rsplit("::").next().unwrap_or(module);
                    let (file, folder) = (format!("/{module}.rs"), format!("/{module}/"));
                    files.iter().any(|(path, text)| {
                        (path.ends_with(&file) || path.contains(&folder))
                            && text.contains(&format!("fn {test}("))
                    })
                }
                None if name.ends_with(".rs") => files
                    .iter()
                    .any(|(path, _)| path.ends_with(&format!("/{name}"))),
                _ => true,
            };
            if !there {
                problems.push(format!("{page}: {name} is not there"));
            }
        }
    }
    fail_if(&problems);
}

/// All pages, with their paths.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let mut paths: Vec<PathBuf> = ["", "docs", "loadtest", "tests/e2e", "tests/sim"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).expect("the folder is there"))
        .map(|entry| entry.expect("readable entry").path())
        .filter(is_page)
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).expect("readable")))
        .collect()
}

/// The name under which a heading is linked to.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn links_of_pages_lead_somewhere() {
    let mut problems = Vec::new();
    for (path, text) in pages() {
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target)
            .filter(|target| !target.contains("://"))
        {
            let (file, part) = target.split_once('#').unwrap_or((target, ""));
            let there = match file {
                "" => path.clone(),
                file => path.with_file_name(file),
            };
            let has_part = || {
                let text = fs::read_to_string(&there).unwrap_or_default();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                headings.any(|heading| anchor(heading) == part)
            };
            if !there.exists() || (!part.is_empty() && !has_part()) {
                problems.push(format!("{}: {target} leads nowhere", path.display()));
            }
        }
    }
    fail_if(&problems);
}

#[test]
fn figures_that_pages_name_are_there() {
    let all = sources();
    let mut problems = Vec::new();
    for (path, text) in pages() {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for name in text.split(|c| !is_part(c)).filter(|word| {
            (word.starts_with("mentra_") || word.starts_with("prism_")) && !word.ends_with('_')
        }) {
            if !all.iter().any(|source| source.code.contains(name)) {
                problems.push(format!("{}: {name} is nowhere in the code", path.display()));
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
