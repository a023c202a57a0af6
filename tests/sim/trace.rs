//! What happened, as lines. Kept only in the second run of a failed seed: a seed says everything.

/// The last lines of a run.
#[derive(Default, Debug)]
pub(crate) struct Trace {
    lines: Vec<(u64, String, String)>,
    /// Lines are kept.
    pub(crate) on: bool,
}

impl Trace {
    /// Adds a line about a user; `text` is called only when lines are kept.
    pub(crate) fn add(&mut self, at_ms: u64, user: &str, text: impl FnOnce() -> String) {
        if self.on {
            let mut text = text();
            if text.len() > 240 {
                let cut = (0..=240).rev().find(|at| text.is_char_boundary(*at));
                text.truncate(cut.unwrap_or(0));
            }
            self.lines.push((at_ms, user.to_owned(), text));
        }
    }

    /// The last `count` lines about `user` (all users when empty).
    pub(crate) fn tail(&self, user: &str, count: usize) -> String {
        let about: Vec<String> = self
            .lines
            .iter()
            .filter(|(.., text)| !text.ends_with(" bytes"))
            .filter(|(_, who, _)| user.is_empty() || who == user || who.is_empty())
            .map(|(at, who, text)| format!("{:>9} {who:<16} {text}", at))
            .collect();
        about[about.len().saturating_sub(count)..].join("\n")
    }
}
