//! What new app records mean for what is expected (behaviour.md §13.1, invariants 25 and 29): of its last list an app has what it may
//! have now, no more and no less. One whose record is gone runs on as what it was (docs/store.md).

use super::counts::counts;
use super::{View, Watch};
use prism::base::ids::Package;
use prism::wire::records::AppRecord;
use prism::wire::streams::permission_for;
use std::collections::BTreeSet;

counts! {
    /// Counts.
    struct Revised {
        /// New records came, took something out of a set, gave something to one.
        records,
        cut,
        given,
        /// An app ran on without one.
        orphans,
    }
}

/// What of a list an app with this record may have.
pub(super) fn granted_of(asked: &BTreeSet<String>, record: Option<&AppRecord>) -> BTreeSet<String> {
    let may = |name: &&String| {
        let needed = permission_for(name);
        needed.is_none_or(|needed| record.is_none_or(|record| record.grants(needed)))
    };
    asked.iter().filter(may).cloned().collect()
}

impl Watch {
    /// Sessions are about to be told of new records, which are in the view already.
    pub(crate) fn records_changed(&mut self, view: &View<'_>) {
        self.revised.records += 1;
        let mut others = Vec::new();
        for (user, known) in &mut self.users {
            let apps = known.pairs.iter_mut();
            for (package, pair) in apps.filter(|row| row.0 != Package::PHONE) {
                let record = view.apps.last_known(package);
                let now = granted_of(&pair.asked, record.map(AsRef::as_ref));
                let old = std::mem::replace(&mut pair.subs, now);
                self.revised.cut += u64::from(!old.is_subset(&pair.subs));
                self.revised.given += u64::from(!pair.subs.is_subset(&old));
                if pair.subs != old {
                    others.push(user.clone());
                }
                let runs_on = pair.conn.is_some() && view.apps.get(package).is_none();
                self.revised.orphans += u64::from(runs_on);
            }
        }
        for user in others {
            self.sets_changed(&user);
        }
    }
}
