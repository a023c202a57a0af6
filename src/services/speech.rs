//! Outside thread: recognisers (behaviour.md §8.6). Takes the sessions' orders, holds the connections to the providers.

use super::context::Services;
use crate::base::ids::UserId;
use crate::session::event::Event;
use crate::shard::mailbox::ToShard;
use crate::wire::speech::{SpeechFailure, SpeechFailureClass, SpeechOrder, SpeechReport};
use std::sync::Arc;

/// One order of a session, in the order they were given.
pub(super) fn take(cx: &Arc<Services>, user: UserId, epoch: u64, order: SpeechOrder) {
    let SpeechOrder::Open(open) = order else {
        return;
    };
    let event = Event::Speech {
        id: open.id,
        report: SpeechReport::Failed(SpeechFailure {
            class: SpeechFailureClass::Permanent,
            cause: "no provider".into(),
            retry_after_ms: 0,
        }),
    };
    let cx = Arc::clone(cx);
    tokio::spawn(async move {
        let home = user.clone();
        cx.deliver_home(&home, ToShard::Result { user, epoch, event })
            .await
    });
}
