//! Layer 2, manager: subscriptions.

use crate::base::ids::Package;

/// One stored subscription: its text and, for `location_stream`, its rate.
pub type Entry = (String, Option<String>);

/// State of this manager. OWNER H4.
#[derive(Default)]
pub struct Subscriptions {
    pub(crate) sets: Vec<(Package, Vec<Entry>)>,
}
