//! Layer 2, REST: who of this session gets which streams, and how that came about, for administrators. A pure read.

use crate::base::clock::IsoTime;
use crate::session::Session;
use crate::session::managers::subscriptions::{Operation, Subscriber, SubscriptionChange};
use crate::wire::json::{ArrayWriter, ObjectWriter};
use crate::wire::streams::Subscription;

/// A JSON array: one object per subscriber, the phone among them, with the last changes of its set, oldest first.
pub(crate) fn json(s: &Session) -> Vec<u8> {
    let mut out = Vec::new();
    let mut all = ArrayWriter::begin(&mut out);
    for one in s.m.subscriptions.iter() {
        all.object(|object| write(object, s, one));
    }
    all.end();
    out
}

fn write(object: &mut ObjectWriter<'_>, s: &Session, one: &Subscriber) {
    object
        .str("userId", &s.user)
        .str("packageName", &one.package)
        .str("state", s.m.apps.state(&one.package).as_str())
        .array("subscriptions", |list| names(list, one.list()))
        .opt_str("locationRate", one.rate())
        .array("history", |changes| {
            for change in s.m.subscriptions.history(&one.package) {
                changes.object(|object| write_change(object, change));
            }
        });
}

fn write_change(object: &mut ObjectWriter<'_>, change: &SubscriptionChange) {
    let operation = match change.operation {
        Operation::Update => "update",
        Operation::Remove => "remove",
    };
    let at = IsoTime::from_unix_ms(change.unix_ms).to_string();
    object
        .str("operation", operation)
        .array("subscriptions", |list| names(list, &change.list))
        .str("timestamp", &at);
}

fn names(out: &mut ArrayWriter<'_>, list: &[Subscription]) {
    for own in list {
        out.str(&own.text);
    }
}
