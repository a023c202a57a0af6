//! The page `docs/messages.md`, made from tables and files.

use super::catalogue::{
    APP_READERS, APP_SENDERS, PHONE_READERS, PHONE_SENDERS, TO_APP, TO_PHONE, root, sample_file,
};
use prism::wire::kinds::{AppKind, PhoneKind};
use std::fmt::Write as _;
use std::fs;

/// What happens to an inbound type, told from its handler.
pub(crate) fn inbound(side: &str, name: &str) -> (&'static str, String) {
    let own = format!("src/session/handlers/{side}/{}.rs", name.to_lowercase());
    if name != "vad" && root().join(&own).exists() {
        let text = fs::read_to_string(root().join(&own)).unwrap_or_default();
        let ignores = text.contains("let _ = (s, m, cx);");
        return (if ignores { "ignored" } else { "live" }, own);
    }
    ("relay", format!("src/session/handlers/{side}/relay.rs"))
}

/// What the first sentence of a handler's module doc says of its type, without the sections that it cites.
fn summary(handler: &str) -> String {
    let text = fs::read_to_string(root().join(handler)).unwrap_or_default();
    let doc: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let doc = doc.join(" ");
    let (_, said) = doc.split_once(": ").unwrap_or(("", &doc));
    let sentence = said.split(". ").next().unwrap_or_default();
    let cited = sentence
        .match_indices(" (")
        .find(|(at, _)| sentence[*at..].contains(".md §"));
    let sentence = cited.map_or(sentence, |(at, _)| &sentence[..at]);
    sentence.trim_end_matches('.').to_owned()
}

/// A type as a link to its sample.
fn linked(direction: &str, name: &str) -> String {
    let file = sample_file(direction, name);
    if root().join(&file).exists() {
        format!("[`{name}`](../{file})")
    } else {
        format!("`{name}` (no sample)")
    }
}

/// Where the behaviour of types is tested, beside the registry: paths and the text of their tests.
struct Tested {
    sources: Vec<(String, String)>,
    unit: Vec<(String, String)>,
    processes: Vec<(String, String)>,
}

impl Tested {
    fn read() -> Self {
        let (mut unit, mut processes, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        for folder in ["src/session", "src/shard", "src/net", "tests/sim"] {
            collect(folder, "rs", &mut unit);
        }
        for (path, text) in &mut unit {
            let tests = text.find("#[cfg(test)]").unwrap_or(text.len());
            if !path.contains("test") {
                let source = text.drain(..tests).collect();
                sources.push((path.clone(), source));
            }
        }
        collect("tests/e2e/cases", "mjs", &mut processes);
        Self {
            sources,
            unit,
            processes,
        }
    }

    /// Links to the unit test and to the case of `scripts/e2e` that speak most of a type.
    fn of(&self, name: &str) -> String {
        let links: Vec<String> = [most(&self.unit, name), most(&self.processes, name)]
            .into_iter()
            .flatten()
            .collect();
        match links.is_empty() {
            true => "[registry.rs](../tests/registry.rs)".to_owned(),
            false => links.join(", "),
        }
    }

    /// A link to the file that writes a type which the server sends.
    fn writer(&self, name: &str) -> String {
        let writes = |(_, text): &&(String, String)| {
            let squeezed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            squeezed.contains(&format!("\"type\",\"{name}\""))
                || squeezed.contains(&format!("\"type\":\"{name}\""))
        };
        let own: Vec<_> = self.sources.iter().filter(writes).cloned().collect();
        most(&own, name)
            .or_else(|| most(&self.sources, name))
            .unwrap_or_default()
    }
}

/// A link to the file that says a quoted name most often; the first by path, if several do.
fn most(files: &[(String, String)], name: &str) -> Option<String> {
    let said = |text: &str| {
        text.matches(&format!("\"{name}\"")).count() + text.matches(&format!("'{name}'")).count()
    };
    let all = files.iter().map(|(path, text)| (said(text), path));
    let (count, path) = all.max_by_key(|(count, path)| (*count, std::cmp::Reverse(*path)))?;
    let file = path.rsplit('/').next().unwrap_or_default();
    (count > 0).then(|| format!("[{file}](../{path})"))
}

/// All files of a kind below a folder, with their texts.
fn collect(folder: &str, kind: &str, into: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(root().join(folder)).expect("a folder");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    for name in names {
        let path = format!("{folder}/{name}");
        if root().join(&path).is_dir() {
            collect(&path, kind, into);
        } else if name.ends_with(&format!(".{kind}")) {
            let text = fs::read_to_string(root().join(&path)).expect("a text file");
            into.push((path, text));
        }
    }
}

/// The messages of one direction: a table of the page.
struct Direction<'a> {
    /// Folder of its samples.
    folder: &'a str,
    types: &'a [&'a str],
    /// Who is at the other end of the types that `peers` does not name.
    usual: &'a str,
    peers: &'a [(&'a str, &'a str)],
}

impl Direction<'_> {
    fn peers_of(&self, name: &str) -> &str {
        let named = self.peers.iter().find(|(own, _)| *own == name);
        named.map_or(self.usual, |(_, peers)| peers)
    }

    /// What arrives from a `side` whose handlers stand in the folder of that name.
    fn inbound(&self, side: &str, tested: &Tested) -> String {
        let mut table = String::from(
            "| Type | Status | Sent by | What it is | Handler | Tests |\n|---|---|---|---|---|---|\n",
        );
        for name in self.types {
            let (status, handler) = inbound(side, name);
            let what = match status {
                "relay" => String::new(),
                _ => summary(&handler),
            };
            let file = handler.rsplit('/').next().unwrap_or_default();
            let _ = writeln!(
                table,
                "| {} | {status} | {} | {what} | [{file}](../{handler}) | {} |",
                linked(self.folder, name),
                self.peers_of(name),
                tested.of(name)
            );
        }
        table
    }

    fn outbound(&self, tested: &Tested) -> String {
        let mut table =
            String::from("| Type | Acted on by | Written in | Tests |\n|---|---|---|---|\n");
        for name in self.types {
            let _ = writeln!(
                table,
                "| {} | {} | {} | {} |",
                linked(self.folder, name),
                self.peers_of(name),
                tested.writer(name),
                tested.of(name)
            );
        }
        table
    }
}

pub(crate) fn page() -> String {
    let tested = Tested::read();
    let mut page = String::from(
        "# Messages\n\nEvery type links to a sample, and every handler to its file, whose head says the rest. `tests/registry.rs` writes this \
         page from the handler tables, the handlers' first sentences and the samples (`PRISM_UPDATE_DOCS=1 cargo test --test registry`), and \
         gives every sample to a running session; do not edit it by hand. *Tests* are those that speak most of a type: one on the session \
         alone, one with real processes (`scripts/e2e`). Where several files write a type that is sent, one is named.\n\n*live*: has behaviour of its own. *relay*: is passed to \
         subscribed apps as it is. *ignored*: is accepted and does nothing. *Headless clients* act as phones without being one.\n\n## Phone to cloud\n\nAny type that is not listed is \
         relayed.\n\n",
    );
    let from_phone = Direction {
        folder: "phone-to-cloud",
        types: &PhoneKind::ALL.map(PhoneKind::wire),
        usual: "nobody",
        peers: PHONE_SENDERS,
    };
    page.push_str(&from_phone.inbound("phone", &tested));
    page.push_str("\n## App to cloud\n\nAny type that is not listed is ignored and counted.\n\n");
    let from_app = Direction {
        folder: "app-to-cloud",
        types: &AppKind::ALL.map(AppKind::wire),
        usual: "SDK 2.x, SDK 3.x",
        peers: APP_SENDERS,
    };
    page.push_str(&from_app.inbound("app", &tested));
    page.push_str("\n## Cloud to phone\n\n");
    let to_phone = Direction {
        folder: "cloud-to-phone",
        types: &TO_PHONE,
        usual: "phone",
        peers: PHONE_READERS,
    };
    page.push_str(&to_phone.outbound(&tested));
    page.push_str("\n## Cloud to app\n\n");
    let to_app = Direction {
        folder: "cloud-to-app",
        types: &TO_APP,
        usual: "SDK 2.x, SDK 3.x",
        peers: APP_READERS,
    };
    page.push_str(&to_app.outbound(&tested));
    page
}
