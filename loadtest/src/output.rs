//! Where results go. The places are checked before a run, because a day's run must not end at a missing folder. What cannot be written
//! after it (a result, a line for a terminal that has gone) costs nothing else.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::cli::{DriveArgs, OutputArgs};
use crate::report::{self, RunResult};
use crate::{clock, procfs};

/// Most runs of one name in one folder.
const NUMBER_MAX: u32 = 10_000;

/// Files of a run.
#[derive(Debug, Default)]
pub(crate) struct Files {
    json: Vec<PathBuf>,
    html: Vec<PathBuf>,
}

impl Files {
    /// Chooses the files and makes sure that they can be written.
    pub(crate) fn prepare(
        args: &OutputArgs,
        drive: &DriveArgs,
        name: &str,
    ) -> Result<Self, String> {
        let mut own = Self {
            json: args.json.iter().cloned().collect(),
            html: args.html.iter().cloned().collect(),
        };
        for path in own.json.iter().chain(&own.html) {
            writable(path)?;
        }
        if let [json] = own.json.as_slice()
            && own.html.contains(json)
            && json.is_file()
        {
            return Err(format!("--json and --html are both {}", json.display()));
        }
        if let Some(folder) = &args.out {
            if drive.label().contains('/') {
                return Err("--label is part of the names of files: no / in it".into());
            }
            let folder = folder
                .clone()
                .unwrap_or_else(|| default_folder(&drive.commit));
            fs::create_dir_all(&folder)
                .map_err(|error| format!("{}: {error}", folder.display()))?;
            let stem = free_stem(&folder, &format!("{name}.{}", drive.label()))?;
            let html = stem.with_added_extension("html");
            own.json.push(stem.with_added_extension("json"));
            own.html.push(html.clone());
            writable(&html)?;
        }
        Ok(own)
    }

    /// Writes all that can be written; the first error is returned.
    pub(crate) fn write(&self, run: &RunResult) -> Result<(), String> {
        let json = self.json.iter().map(|path| write_json(path, run));
        let html = (self.html.iter()).map(|path| write(path, &report::html::page(run)));
        let results: Vec<_> = json.chain(html).collect();
        let written = |result: &Result<(), String>| result.is_ok();
        let saved = results.iter().take(self.json.len()).any(written);
        let outcome: Result<(), String> = results.into_iter().collect();
        outcome.map_err(|error| match saved || self.json.is_empty() {
            true => error,
            false => format!("{error}; {}", spare(run)),
        })
    }
}

impl Drop for Files {
    /// A run that came to nothing leaves no empty files behind.
    fn drop(&mut self) {
        for path in self.json.iter().chain(&self.html) {
            let empty = |found: &fs::Metadata| found.is_file() && found.len() == 0;
            if fs::metadata(path).as_ref().is_ok_and(empty) {
                // Nothing to be done when it cannot be removed.
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn default_folder(commit: &str) -> PathBuf {
    let day = clock::iso(clock::wall_ms());
    let day = day.split('T').next().unwrap_or("undated");
    PathBuf::from(format!(
        "loadtest/results/{day}-{}-{commit}",
        procfs::host_name()
    ))
}

/// The first `name.<number>` of the folder that is not taken; the JSON file is created, so that two runs cannot choose the same.
fn free_stem(folder: &Path, name: &str) -> Result<PathBuf, String> {
    for number in 1..=NUMBER_MAX {
        let stem = folder.join(format!("{name}.{number}"));
        let json = stem.with_added_extension("json");
        match OpenOptions::new().write(true).create_new(true).open(&json) {
            Ok(_) => return Ok(stem),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("{}: {error}", json.display())),
        }
    }
    Err(format!(
        "{}: {NUMBER_MAX} results of {name} already",
        folder.display()
    ))
}

/// Whether a file can be written; it is not changed if it exists.
pub(crate) fn writable(path: &Path) -> Result<(), String> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map(|_| ())
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes the whole text or leaves what was there: half a document is of use to nobody.
fn write(path: &Path, text: &str) -> Result<(), String> {
    // Where a link leads, so that it stays one.
    let own = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let new = own.with_added_extension("new");
    let outcome = if own.exists() && !own.is_file() {
        fs::write(&own, text)
    } else {
        fs::write(&new, text).and_then(|()| fs::rename(&new, &own))
    };
    outcome.map_err(|error| {
        // It may never have come to be.
        let _ = fs::remove_file(&new);
        format!("{}: {error}", path.display())
    })
}

/// Writes the document of a run to the temporary folder, when its own place is full; returns what to say of that.
fn spare(run: &RunResult) -> String {
    let name = format!("prism-load-{}.json", std::process::id());
    let path = std::env::temp_dir().join(name);
    match write_json(&path, run) {
        Ok(()) => format!("the JSON document is in {} instead", path.display()),
        Err(error) => format!("nor elsewhere: {error}"),
    }
}

/// Prints a result. A reader that has gone away must not cost what is yet to be written.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line of progress; the same holds for it.
pub(crate) fn progress(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes the JSON document of a run.
pub(crate) fn write_json(path: &Path, run: &RunResult) -> Result<(), String> {
    let text = serde_json::to_string_pretty(run).map_err(|error| error.to_string())?;
    write(path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_destroy_or_misplace_a_result_is_refused_before_the_run() {
        use clap::Parser as _;
        let folder = std::env::temp_dir().join(format!("prism-load-names-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let refused = |words: &[&str]| {
            let all = ["prism-load", "run", "x"].iter().chain(words);
            let crate::cli::Command::Run(own) = crate::cli::Cli::parse_from(all).command else {
                panic!("run was asked for");
            };
            let files = Files::prepare(&own.output, &own.drive, "x");
            files.map(|_| ()).unwrap_err()
        };
        let same = folder.join("same").display().to_string();
        let error = refused(&["--json", &same, "--html", &same]);
        assert!(error.starts_with("--json and --html are both"), "{error}");
        let into = folder.display().to_string();
        let error = refused(&["--label", "a/b", "--out", &into]);
        assert!(error.contains("--label"), "{error}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_exists_gets_another_number_and_nothing_is_overwritten() {
        let folder = std::env::temp_dir().join(format!("prism-load-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let first = free_stem(&folder, "day.prism").unwrap();
        let second = free_stem(&folder, "day.prism").unwrap();
        assert!(first.ends_with("day.prism.1") && second.ends_with("day.prism.2"));
        fs::write(folder.join("kept.json"), "kept").unwrap();
        writable(&folder.join("kept.json")).unwrap();
        assert_eq!(
            fs::read_to_string(folder.join("kept.json")).unwrap(),
            "kept"
        );
        assert!(writable(&folder.join("absent/x.json")).is_err());
        write(&folder.join("kept.json"), "new").unwrap();
        // A folder stands where the new text is to go: as good as a full disk.
        fs::create_dir(folder.join("kept.json.new")).unwrap();
        assert!(write(&folder.join("kept.json"), "newer").is_err());
        assert_eq!(
            fs::read_to_string(folder.join("kept.json")).unwrap(),
            "new",
            "what was there is not cut off"
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
