//! Processes that end and are followed by others: what is known of the sessions of one means nothing for the next; what it has
//! promised is stored (invariant 18).

use super::datagrams::Air;
use super::recovery::Recoveries;
use super::sound::Sounds;
use super::speech::SpeechView;
use super::{View, Watch};
use prism::session::effects::StoreOp;
use prism::session::managers::apps::AppState;
use prism::session::rest::Call;
use serde_json::Value;

/// What a call wants to be so in the stored list of apps that run. A stop of an app that is stopped does nothing (§2.8).
pub(super) fn wants_stored(user: &str, call: &Call, view: &View<'_>) -> Option<(String, bool)> {
    let is_active = |package: &str| {
        let app = view.session(user).and_then(|one| one.m.apps.get(package));
        app.is_some_and(|app| app.state != AppState::Stopped || app.stop.is_some())
    };
    match call {
        Call::StartApp { package, .. } => Some((package.clone(), true)),
        Call::StopApp { package, .. } if is_active(package) => Some((package.clone(), false)),
        _ => None,
    }
}

impl Watch {
    /// Whether this answer says that something is stored: of whom, of which app, and whether it is on the list.
    pub(crate) fn promises(
        &self,
        id: u64,
        status: u16,
        body: &Value,
    ) -> Option<(String, String, bool)> {
        let asked = self.asked.get(&id)?;
        let (package, wanted) = asked.wants.clone()?;
        // Unless the opposite was asked for since.
        let promised = status == 200
            && body["data"]["isRunning"] == wanted
            && self.intents.get(&(asked.user.clone(), package.clone())) != Some(&!wanted);
        promised.then(|| (asked.user.clone(), package, wanted))
    }

    pub(super) fn note_intent(&mut self, user: &str, op: &StoreOp) {
        let (package, wanted) = match op {
            StoreOp::AddRunning(package) => (package, true),
            StoreOp::RemoveRunning(package) => (package, false),
            _ => return,
        };
        self.intents
            .insert((user.to_owned(), package.to_string()), wanted);
    }

    /// 18: whoever is told that an app was started, or stopped, may rely on it, whatever becomes of the process.
    pub(crate) fn invariant_18_answers_are_durable(
        &mut self,
        user: &str,
        package: &str,
        wanted: bool,
        kept: bool,
    ) {
        self.promises_seen += 1;
        if !kept {
            let text =
                format!("{package}: success was answered, on the list: {wanted}, is not stored");
            self.broken(18, "answers are durable", user, text);
        }
    }

    /// Nothing is left of its sessions, sockets and calls but what was counted.
    pub(crate) fn process_died(&mut self) {
        let old = std::mem::take(self);
        *self = Self {
            failure: old.failure,
            painted: old.painted,
            log: old.log,
            webhooks: old.webhooks,
            stored: old.stored,
            logging: old.logging,
            defective: old.defective,
            speech: with(|one: &mut SpeechView| {
                (one.opened, one.delivered) = (old.speech.opened, old.speech.delivered);
            }),
            air: with(|one: &mut Air| one.seen = old.air.seen),
            screens_seen: old.screens_seen,
            recovery: with(|one: &mut Recoveries| one.seen = old.recovery.seen),
            sound: with(|one: &mut Sounds| one.seen = old.sound.seen),
            reloads: old.reloads,
            storms: old.storms.counted(),
            packages: old.packages,
            revised: old.revised,
            relayed: old.relayed,
            promises_seen: old.promises_seen,
            mini_app_lists: old.mini_app_lists,
            now_ms: old.now_ms,
            ..Self::default()
        };
    }
}

/// A fresh one, but for this.
fn with<T: Default>(kept: impl FnOnce(&mut T)) -> T {
    let mut fresh = T::default();
    kept(&mut fresh);
    fresh
}
