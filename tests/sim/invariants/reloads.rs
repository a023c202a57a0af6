//! Which settings were in force when: what began under earlier ones may end by those, or by the ones of now.

use super::{View, Watch};
use prism::base::settings::Settings;
use std::sync::Arc;

/// Settings of a run, and since when they are in force.
#[derive(Default)]
pub(super) struct Reloads {
    rows: Vec<(u64, Arc<Settings>)>,
}

impl Watch {
    pub(super) fn note_settings(&mut self, view: &View<'_>) {
        let rows = &mut self.reloads.rows;
        let is_known = rows.last().is_some_and(|row| Arc::ptr_eq(&row.1, view.cfg));
        if !is_known {
            rows.push((view.now_ms, Arc::clone(view.cfg)));
        }
    }

    /// Those that were in force at that time or later.
    fn since(&self, since_ms: u64) -> impl Iterator<Item = &Settings> {
        let rows = &self.reloads.rows;
        let earlier = rows.iter().filter(|row| row.0 < since_ms).count();
        rows.iter()
            .skip(earlier.saturating_sub(1))
            .map(|row| &*row.1)
    }

    pub(super) fn most(&self, since_ms: u64, of: impl Fn(&Settings) -> u64) -> u64 {
        self.since(since_ms).map(of).max().unwrap_or(0)
    }

    pub(super) fn least(&self, since_ms: u64, of: impl Fn(&Settings) -> u64) -> u64 {
        self.since(since_ms).map(of).min().unwrap_or(u64::MAX)
    }

    /// What it was at that time.
    pub(super) fn at(&self, at_ms: u64, of: impl Fn(&Settings) -> u64) -> u64 {
        self.since(at_ms).next().map_or(0, of)
    }
}
