//! What new app records mean for what is expected (behaviour.md §13.1, invariants 25 and 29): an app keeps nothing that it may not
//! have any more, and gets what it may have now when it asks. One whose record is gone runs on as what it was (docs/store.md).

use super::counts::counts;
use super::{View, Watch};
use prism::base::ids::Package;
use prism::wire::streams::permission_for;

counts! {
    /// Counts.
    struct Revised {
        /// New records came, and took something out of a set.
        records,
        cut,
        /// An app ran on without one.
        orphans,
    }
}

impl Watch {
    /// Sessions are about to be told of new records, which are in the view already.
    pub(crate) fn records_changed(&mut self, view: &View<'_>) {
        self.revised.records += 1;
        let mut shorter = Vec::new();
        for (user, known) in &mut self.users {
            let apps = known.pairs.iter_mut();
            for (package, pair) in apps.filter(|row| row.0 != Package::PHONE) {
                let record = view.apps.last_known(package);
                let old = pair.subs.len();
                pair.subs.retain(|name| {
                    let needed = permission_for(name);
                    needed.is_none_or(|needed| record.is_none_or(|record| record.grants(needed)))
                });
                if pair.subs.len() < old {
                    shorter.push(user.clone());
                }
                let runs_on = pair.conn.is_some() && view.apps.get(package).is_none();
                self.revised.orphans += u64::from(runs_on);
            }
        }
        self.revised.cut += shorter.len() as u64;
        for user in shorter {
            self.sets_changed(&user);
        }
    }
}
