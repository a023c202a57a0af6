//! Layer 2, manager: photo requests that wait for the phone (behaviour.md §7.5).

use crate::base::footprint::{flat, owns};
use crate::base::ids::Package;
use crate::base::share;
use std::collections::VecDeque;

flat!(Asker);
owns! { Photos: pending, pressed; }

/// Who gets the outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asker {
    /// An app server.
    App(Package),
    /// A mini-app on the phone.
    Phone,
}

/// Why a request cannot be registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Somebody else waits under this id.
    #[error("Duplicate requestId")]
    Duplicate,
    /// Too many wait, of this asker or in all.
    #[error("Too many pending photo requests")]
    TooMany,
}

/// Pending requests by their id.
#[derive(Default)]
pub struct Photos {
    pending: Vec<(String, Asker)>,
    /// Photos that button presses asked for, with the `mono_ms` of their end.
    pressed: VecDeque<(String, u64)>,
}

/// Presses remembered; the oldest is forgotten.
const PRESSED_MAX: usize = 16;

impl Photos {
    /// Whether `asker` may use `request_id` now: an own pending id is replaced, another's is not. Of the `max` that may wait
    /// nobody gets so many that others get none.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn check(&self, request_id: &str, asker: &Asker, max: u64) -> Result<(), Refused> {
        match self.pending.iter().find(|(id, _)| id == request_id) {
            Some((_, owner)) if owner == asker => Ok(()),
            Some(_) => Err(Refused::Duplicate),
            None => {
                let own = self.pending.iter().filter(|(_, known)| known == asker);
                share::may_add(own.count(), self.pending.len(), max)
                    .then_some(())
                    .ok_or(Refused::TooMany)
            }
        }
    }

    /// Registers a checked request.
    pub fn add(&mut self, request_id: &str, asker: Asker) {
        self.pending.retain(|(id, _)| id != request_id);
        self.pending.push((request_id.to_owned(), asker));
    }

    /// Takes a request by its id.
    pub fn take(&mut self, request_id: &str) -> Option<Asker> {
        let at = self.pending.iter().position(|(id, _)| id == request_id)?;
        Some(self.pending.remove(at).1)
    }

    /// Who waits under this id.
    #[must_use]
    pub fn asker(&self, request_id: &str) -> Option<&Asker> {
        self.pending
            .iter()
            .find(|(id, _)| id == request_id)
            .map(|(_, asker)| asker)
    }

    /// Takes the requests of a stopped app.
    pub fn app_stopped(&mut self, package: &str) -> Vec<String> {
        self.pending
            .extract_if(
                ..,
                |(_, asker)| matches!(asker, Asker::App(owner) if &**owner == package),
            )
            .map(|(id, _)| id)
            .collect()
    }

    /// The button asks for a photo; it is expected until `expires_ms`.
    pub fn button_pressed(&mut self, request_id: &str, expires_ms: u64) {
        if self.pressed.len() == PRESSED_MAX {
            self.pressed.pop_front();
        }
        self.pressed.push_back((request_id.to_owned(), expires_ms));
    }

    /// Whether a press asked for this photo, and it is still expected.
    #[must_use]
    pub fn was_pressed(&self, request_id: &str, now_ms: u64) -> bool {
        self.pressed
            .iter()
            .any(|(id, expires_ms)| id == request_id && now_ms < *expires_ms)
    }

    /// Takes everything.
    pub fn drain(&mut self) -> Vec<(String, Asker)> {
        std::mem::take(&mut self.pending)
    }
}
