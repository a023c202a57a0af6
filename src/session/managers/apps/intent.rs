//! Layer 2, part of the apps manager: what the store holds of the user's intent, and REST answers that wait for it to be
//! durable (behaviour.md §12.3). Data only.

use super::Waiter;
use crate::base::footprint::owns;
use crate::base::ids::{CallId, Package};
use crate::wire::records::InstalledApp;

owns! {
    InstalledApp: package_name;
    Entry: package;
    PendingAck: waiters;
    Intent: entries, installed, acks, unwell;
}

/// Whether a package is on the stored running list, and whether the store has confirmed that.
#[derive(Clone, Debug)]
struct Entry {
    package: Package,
    wanted: Wanted,
    /// The store has confirmed `wanted`.
    durable: bool,
}

/// The stored answer to "should it run?".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// On the running list.
    Yes,
    /// Not on it.
    No,
}

/// What an app server last said of itself; unknown counts as good (behaviour.md §2.18).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppHealth {
    /// Well, or never asked.
    Good,
    /// Not well, or silent.
    Bad,
}

/// REST answers that wait for one store write.
#[derive(Debug)]
pub struct PendingAck {
    /// The write.
    pub call: CallId,
    /// When it has taken too long (`mono_ms`).
    pub due_ms: u64,
    /// What was written; says which answer a start (`Yes`) or a stop (`No`) gets.
    pub wanted: Wanted,
    /// Which app.
    pub package: Package,
    /// Who waits.
    pub waiters: Vec<Waiter>,
}

/// Stored running list and installed apps, as this session knows them.
#[derive(Default, Debug)]
pub struct Intent {
    entries: Vec<Entry>,
    /// Installed apps.
    pub installed: Vec<InstalledApp>,
    /// Answers that wait.
    pub acks: Vec<PendingAck>,
    /// Installed apps whose servers are not well; no longer than `installed`.
    unwell: Vec<String>,
    /// How often the store could not be read so far; `None` once it was. Until then nothing is known of other packages.
    pub unread: Option<u32>,
}

impl Intent {
    /// Takes over what was read; it is durable by definition. What this session has written meanwhile is newer and stays.
    pub fn load(&mut self, running: &[String], installed: Vec<InstalledApp>) {
        for name in running {
            if self.entry(name).is_none() {
                self.set(&Package::new(name), Wanted::Yes);
                self.confirm(name, Wanted::Yes);
            }
        }
        self.installed = installed;
    }

    /// Whether the package is on the stored running list.
    #[must_use]
    pub fn is_running(&self, package: &str) -> bool {
        self.entry(package)
            .is_some_and(|entry| entry.wanted == Wanted::Yes)
    }

    /// Whether the store is known to say `wanted` of the package. A package never mentioned is durably not wanted, once it was read.
    #[must_use]
    pub fn is_durable(&self, package: &str, wanted: Wanted) -> bool {
        match self.entry(package) {
            Some(entry) => entry.durable && entry.wanted == wanted,
            None => wanted == Wanted::No && self.unread.is_none(),
        }
    }

    /// A write of `wanted` was handed to the store.
    pub fn set(&mut self, package: &Package, wanted: Wanted) {
        match self.entries.iter_mut().find(|e| e.package == *package) {
            Some(entry) if entry.wanted == wanted => {}
            Some(entry) => {
                entry.wanted = wanted;
                entry.durable = false;
            }
            None => self.entries.push(Entry {
                package: package.clone(),
                wanted,
                durable: false,
            }),
        }
    }

    /// The store confirmed it.
    pub fn confirm(&mut self, package: &str, wanted: Wanted) {
        if let Some(entry) = self.entries.iter_mut().find(|e| &*e.package == package)
            && entry.wanted == wanted
        {
            entry.durable = true;
        }
    }

    /// Takes the answers of starts (`Yes`) or of stops (`No`) that wait.
    pub fn take_acks(&mut self, wanted: Wanted) -> Vec<PendingAck> {
        let its = |ack: &mut PendingAck| ack.wanted == wanted;
        self.acks.extract_if(.., its).collect()
    }

    /// The stored running list.
    pub fn running(&self) -> impl Iterator<Item = &Package> {
        self.entries
            .iter()
            .filter(|entry| entry.wanted == Wanted::Yes)
            .map(|entry| &entry.package)
    }

    /// Whether the app is installed.
    #[must_use]
    pub fn is_installed(&self, package: &str) -> bool {
        self.installed.iter().any(|app| app.package_name == package)
    }

    /// Removes an app from the installed ones.
    pub fn uninstall(&mut self, package: &str) {
        self.installed.retain(|app| app.package_name != package);
        self.unwell.retain(|name| name != package);
    }

    /// Remembers when an installed app was last started or stopped.
    pub fn touch(&mut self, package: &str, at_ms: u64) {
        let app = self
            .installed
            .iter_mut()
            .find(|app| app.package_name == package);
        if let Some(app) = app {
            app.last_active_ms = app.last_active_ms.max(at_ms);
        }
    }

    /// Remembers the health of an installed app's server; of others nothing is kept.
    pub fn set_health(&mut self, package: &str, health: AppHealth) {
        self.unwell.retain(|name| name != package);
        if health == AppHealth::Bad && self.is_installed(package) {
            self.unwell.push(package.to_owned());
        }
    }

    /// The last known health of an app's server.
    #[must_use]
    pub fn health(&self, package: &str) -> AppHealth {
        if self.unwell.iter().any(|name| name == package) {
            AppHealth::Bad
        } else {
            AppHealth::Good
        }
    }

    fn entry(&self, package: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| &*entry.package == package)
    }
}
