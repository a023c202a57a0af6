//! Layer 3: the sessions of one core. Applies effects, keeps outboxes and deadlines, talks to other shards and to the outside
//! thread through mailboxes. Names neither monoio nor tokio, opens no socket, reads no clock.

pub mod live;
pub mod mailbox;
pub mod shared;
