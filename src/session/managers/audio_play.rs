//! Layer 2, manager: which app asked for which playback, until the phone answers (behaviour.md §7.8).

use crate::base::footprint::owns;
use crate::base::ids::Package;
use crate::base::share;
use std::collections::VecDeque;

owns! {
    Play: request_id, url;
    AudioPlay: plays;
}

/// One unanswered request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Play {
    /// The app's own id.
    pub request_id: String,
    /// Who asked.
    pub package: Package,
    /// What the phone was told to play.
    pub url: String,
    /// When (`mono_ms`).
    pub asked_ms: u64,
}

/// Unanswered play requests, oldest first.
#[derive(Default)]
pub struct AudioPlay {
    plays: VecDeque<Play>,
}

impl AudioPlay {
    /// Notes a request; one with the same id gives way, and when more than `max` wait the oldest one of the app with most.
    /// Returns who did.
    pub fn add(&mut self, play: Play, max: u64) -> Option<Play> {
        let same_id = self.take(&play.request_id);
        self.plays.push_back(play);
        if self.plays.len() as u64 > max {
            let at = share::gives_way(self.plays.iter().map(|play| &play.package))?;
            return self.plays.remove(at);
        }
        same_id
    }

    /// Takes a request by its id.
    pub fn take(&mut self, request_id: &str) -> Option<Play> {
        let at = self
            .plays
            .iter()
            .position(|play| play.request_id == request_id)?;
        self.plays.remove(at)
    }

    /// When the newest unanswered request for `url` was made (`mono_ms`).
    #[must_use]
    pub fn asked_ms(&self, url: &str) -> Option<u64> {
        self.plays
            .iter()
            .filter(|play| play.url == url)
            .map(|play| play.asked_ms)
            .max()
    }

    /// Takes the requests of a stopped app.
    pub fn app_stopped(&mut self, package: &str) -> Vec<Play> {
        let (gone, kept) = std::mem::take(&mut self.plays)
            .into_iter()
            .partition(|play| &*play.package == package);
        self.plays = kept;
        Vec::from(gone)
    }

    /// Takes everything.
    pub fn drain(&mut self) -> Vec<Play> {
        std::mem::take(&mut self.plays).into()
    }
}
