//! App records that change while everything goes on: an operator takes permissions away and gives others, rotates a key, moves a
//! server, takes an app out and puts it back. Its type and what hardware it needs stay, because nothing says what a change of them
//! means for an app that runs.

use super::app::KEY;
use super::runs::{APPS, registry};
use super::script::Step;
use super::world::World;
use prism::wire::auth::sha256_hex;
use prism::wire::records::{AppRecord, PermissionEntry, Registry};

/// What becomes of a record.
#[derive(Clone, Debug)]
pub(crate) enum Revision {
    /// One bit for each of [`KINDS`].
    Permissions(u32),
    /// Another key, which its server does not have.
    Key,
    /// Another address of its server.
    Moved,
    Gone,
    /// As it was.
    Restored,
}

const KINDS: [&str; 5] = ["MICROPHONE", "LOCATION", "CALENDAR", "CAMERA", "ALL"];

/// Revisions of a run. Drawn apart, so that the other steps of a seed stay what they were.
pub(super) fn revisions(seed: u64, user: &str, length_ms: u64) -> Vec<(u64, String, Step)> {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x4ec0);
    let mut steps = Vec::new();
    if rng.u32(0..3) == 0 {
        return steps;
    }
    for _ in 0..rng.usize(1..7) {
        let (at_ms, app) = (rng.u64(0..length_ms), rng.usize(0..APPS.len()));
        let revision = match rng.u32(0..9) {
            0..4 => Revision::Permissions(rng.u32(0..32)),
            4 => Revision::Key,
            5 => Revision::Moved,
            6..8 => Revision::Gone,
            _ => Revision::Restored,
        };
        let passes = !matches!(revision, Revision::Permissions(_));
        steps.push((at_ms, user.to_owned(), Step::Record(app, revision)));
        if passes {
            let back_ms = at_ms + rng.u64(0..12_000);
            steps.push((
                back_ms,
                user.to_owned(),
                Step::Record(app, Revision::Restored),
            ));
        }
    }
    steps
}

impl World {
    pub(super) fn revise(&mut self, app: usize, revision: &Revision) {
        let package = self.servers[app].package.clone();
        let original = registry();
        let known = self.registry().last_known(&package);
        let mut record = known.map_or_else(AppRecord::default, |one| AppRecord::clone(one));
        match revision {
            Revision::Permissions(bits) => {
                let kinds = KINDS.iter().enumerate();
                let kinds = kinds.filter(|(at, _)| bits >> at & 1 == 1);
                record.permissions = kinds
                    .map(|(_, kind)| PermissionEntry {
                        kind: (*kind).to_owned(),
                        description: None,
                    })
                    .collect();
            }
            Revision::Key => record.key_sha256 = sha256_hex(format!("{KEY}-rotated")),
            Revision::Moved => record.public_url = format!("http://{package}/elsewhere"),
            Revision::Restored => {
                let first = original.get(&package);
                record = first.map_or(record, |one| AppRecord::clone(one));
            }
            Revision::Gone => {}
        }
        let rest = self.registry().iter().filter(|row| **row.0 != *package);
        let mut records: Vec<AppRecord> = rest.map(|row| AppRecord::clone(row.1)).collect();
        if !matches!(revision, Revision::Gone) {
            records.push(record);
        }
        let version = self.registry().version + 1;
        self.registry_becomes(Registry::new(records, version));
    }
}
