//! Layer 2, manager part: the dashboard that a system app composes (`dashboard_mode: app`, behaviour.md §6.2.2).

use super::{Widget, put};
use crate::base::footprint::owns;
use crate::wire::json::ObjectWriter;

owns! { Sections: corners, contents; }

/// What the dashboard shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Four sections and one app's content.
    #[default]
    Main,
    /// One line and the newest expanded content.
    Expanded,
    /// The newest always-on content.
    AlwaysOn,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Main, Self::Expanded, Self::AlwaysOn];

    /// On the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Expanded => "expanded",
            Self::AlwaysOn => "always_on",
        }
    }

    /// From the wire.
    #[must_use]
    pub fn from_wire(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}

/// A corner of the main mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    /// `topLeft`.
    TopLeft,
    /// `topRight`.
    TopRight,
    /// `bottomLeft`.
    BottomLeft,
    /// `bottomRight`.
    BottomRight,
}

impl Section {
    /// From the wire.
    #[must_use]
    pub fn from_wire(text: &str) -> Option<Self> {
        Some(match text {
            "topLeft" => Self::TopLeft,
            "topRight" => Self::TopRight,
            "bottomLeft" => Self::BottomLeft,
            "bottomRight" => Self::BottomRight,
            _ => return None,
        })
    }
}

/// What the system dashboard app and the other apps put there.
#[derive(Default)]
pub struct Sections {
    mode: Mode,
    corners: [String; 4],
    /// Per mode, newest first.
    contents: [Vec<Widget>; 3],
    rotation: usize,
}

impl Sections {
    /// Changes the mode; the earlier one, if it is another.
    pub fn set_mode(&mut self, mode: Mode) -> Option<Mode> {
        let before = std::mem::replace(&mut self.mode, mode);
        (before != mode).then_some(before)
    }

    /// Sets a corner.
    pub fn set_corner(&mut self, section: Section, text: String) {
        self.corners[section as usize] = text;
    }

    /// Sets an app's content of one mode; an empty text removes it, beyond `max` apps the oldest goes.
    pub(super) fn set_content(&mut self, mode: Mode, content: Widget, max: usize) {
        let list = &mut self.contents[mode as usize];
        put(list, content);
        list.truncate(max);
    }

    /// Removes an app's contents of all modes; says whether there were any.
    pub fn remove_app(&mut self, package: &str) -> bool {
        let mut removed = false;
        for list in &mut self.contents {
            let before = list.len();
            list.retain(|content| *content.package != *package);
            removed |= list.len() < before;
        }
        if removed {
            self.rotation = 0;
        }
        removed
    }

    /// The next app's turn in the main mode.
    pub fn rotate(&mut self) {
        let count = self.contents[Mode::Main as usize].len();
        if count > 1 {
            self.rotation = (self.rotation + 1) % count;
        }
    }

    /// The layout of the current mode, as JSON.
    #[must_use]
    pub fn layout(&self) -> Vec<u8> {
        let newest = |mode: Mode| {
            self.contents[mode as usize]
                .first()
                .map(|content| content.text.as_str())
        };
        let [top_left, top_right, bottom_left, bottom_right] = &self.corners;
        match self.mode {
            Mode::Main => {
                let contents = &self.contents[Mode::Main as usize];
                let content = self
                    .rotation
                    .checked_rem(contents.len())
                    .map(|index| contents[index].text.as_str());
                let mut left = top_left.clone();
                append(&mut left, "\n", bottom_left);
                let mut right = top_right.clone();
                append(&mut right, "\n", bottom_right);
                let gap = if bottom_right.is_empty() {
                    "\n"
                } else {
                    "\n\n"
                };
                append(&mut right, gap, content.unwrap_or_default());
                layout(
                    "double_text_wall",
                    &[("topText", &left), ("bottomText", &right)],
                )
            }
            Mode::Expanded => {
                let content = newest(Mode::Expanded).unwrap_or("No expanded content available");
                let text = format!("{top_left} | {top_right}\n{content}");
                layout("text_wall", &[("text", &text)])
            }
            Mode::AlwaysOn => layout(
                "text_wall",
                &[("text", newest(Mode::AlwaysOn).unwrap_or_default())],
            ),
        }
    }
}

fn append(text: &mut String, gap: &str, part: &str) {
    if !part.is_empty() {
        text.push_str(gap);
        text.push_str(part);
    }
}

/// A layout object of string members.
fn layout(kind: &str, members: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = ObjectWriter::begin(&mut out);
    object.str("layoutType", kind);
    for (name, text) in members {
        object.str(name, text);
    }
    object.end();
    out
}
