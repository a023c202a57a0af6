//! Holds what the pages say of the code: the tests, files, routes, log lines, metrics and headings that they name are there.

use super::{collect, fail_if, sources};
use std::fs;
use std::path::{Path, PathBuf};

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

/// Whether `name` is no name of a file or test, or of one that is there.
fn is_true_name(name: &str, files: &[(String, String)]) -> bool {
    if let Some((module, test)) = name.rsplit_once("::") {
        // A module, perhaps with its path, and a test.
        if !test.contains('_') || module != module.to_lowercase() {
            return true;
        }
        let module = module.rsplit("::").next().unwrap_or(module);
        let (file, folder) = (format!("/{module}.rs"), format!("/{module}/"));
        let test = format!("fn {test}(");
        return files.iter().any(|(path, text)| {
            (path.ends_with(&file) || path.contains(&folder)) && text.contains(&test)
        });
    }
    let file = format!("/{name}");
    !name.ends_with(".rs") || files.iter().any(|(path, _)| path.ends_with(&file))
}

#[test]
fn files_and_tests_that_pages_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in ["src", "tests", "benches"] {
        collect(&root.join(folder), &mut paths);
    }
    let with_text = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        (path.display().to_string(), text)
    };
    let files: Vec<_> = paths.iter().map(with_text).collect();
    let mut problems = Vec::new();
    for page in PAGES {
        let text = fs::read_to_string(root.join(page)).expect("the page is there");
        let names = text
            .split('`')
            .filter(|name| !name.contains(char::is_whitespace));
        for name in names.filter(|name| !is_true_name(name, &files)) {
            problems.push(format!("{page}: {name} is not there"));
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
