//! The registration service of the simulation (behaviour.md §2.14): which users' sessions an app server has, by what the shard
//! reports of app sockets, and the recovery of all of them, whose accepted webhooks it counts.

use super::world::World;
use prism::session::rest::Call;
use prism::shard::mailbox::{AppLink, LinkChange};
use std::collections::{BTreeMap, BTreeSet};

/// Where servers that come back want to be asked: not the address of their record, so that the two are told apart.
pub(crate) const RECOVERY_PATH: &str = "/back/webhook";

/// One recovery that goes on.
#[derive(Debug)]
struct Recovery {
    calls: Vec<u64>,
    waits: BTreeSet<u64>,
    accepted: usize,
}

/// Sessions by package, and recoveries.
#[derive(Default, Debug)]
pub(crate) struct Registrar {
    sessions: BTreeMap<String, BTreeSet<String>>,
    recoveries: Vec<Recovery>,
    /// Answers that came with their call.
    early: BTreeMap<u64, u16>,
}

impl Registrar {
    /// Notes a report.
    pub(super) fn link(&mut self, link: &AppLink) {
        let sessions = self.sessions.entry(link.package.to_string()).or_default();
        match link.change {
            LinkChange::Attached => drop(sessions.insert(link.user.to_string())),
            LinkChange::Lost | LinkChange::LostSilent => {}
            LinkChange::Ended => drop(sessions.remove(&*link.user)),
        }
    }

    /// Whether this session counts as one of the app's server.
    pub(crate) fn has(&self, user: &str, package: &str) -> bool {
        let sessions = self.sessions.get(package);
        sessions.is_some_and(|users| users.contains(user))
    }

    /// An answer of a session; a recovery that has all of its answers is handed out: its calls, and its count.
    pub(super) fn answered(&mut self, id: u64, status: u16) -> Option<(Vec<u64>, usize)> {
        let Some(at) = self
            .recoveries
            .iter()
            .position(|one| one.waits.contains(&id))
        else {
            self.early.insert(id, status);
            return None;
        };
        let one = &mut self.recoveries[at];
        one.waits.remove(&id);
        one.accepted += usize::from(status == 200);
        if !one.waits.is_empty() {
            return None;
        }
        let done = self.recoveries.remove(at);
        Some((done.calls, done.accepted))
    }
}

impl World {
    /// The server of an app says that it is back: all of its sessions are recovered.
    pub(super) fn server_is_back(&mut self, app: usize) {
        self.registrar.early.clear();
        let package = self.servers[app].package.clone();
        let sessions = self.registrar.sessions.get(&package).cloned();
        let sessions = sessions.unwrap_or_default();
        let calls: Vec<u64> = sessions
            .iter()
            .map(|user| self.recover(user, app))
            .collect();
        if calls.is_empty() {
            return;
        }
        let waits = calls.iter().copied().collect();
        self.registrar.recoveries.push(Recovery {
            calls: calls.clone(),
            waits,
            accepted: 0,
        });
        for call in calls {
            if let Some(status) = self.registrar.early.remove(&call) {
                self.recovery_answered(call, status);
            }
        }
    }

    /// One session is asked to recover one app, whether it counts for its server or not.
    pub(super) fn recover(&mut self, user: &str, app: usize) -> u64 {
        let server = &self.servers[app];
        let (package, webhook_url) = (
            server.package.clone(),
            format!("{}{RECOVERY_PATH}", server.url),
        );
        let call = Call::Recover {
            package,
            webhook_url,
            ws_base: String::new(),
        };
        self.rest(user, call)
    }

    pub(super) fn recovery_answered(&mut self, id: u64, status: u16) {
        if let Some((calls, accepted)) = self.registrar.answered(id, status) {
            self.watch.recovery_counted(calls, accepted);
        }
    }
}
