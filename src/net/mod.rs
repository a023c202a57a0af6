//! Layer 4: the sockets of a shard: accept, HTTP front door, upgrade, hand-off, reader and writer of WebSocket connections, the
//! loop that turns it all. It holds no business rules: who a socket belongs to and what a frame means is decided in `shard/`.

mod accept;
mod conn;
mod datagrams;
mod gathering;
mod guard;
mod handoff;
mod http;
mod links;
mod listen;
mod node;
mod peer;
mod pump;
mod reply;
mod socket;
mod tasks;
mod upgrade;
mod waiters;
mod wreck;
mod writer;

pub use crate::io::DriverError;
pub use listen::{
    DatagramSockets, Datagrams, Door, Listener, Listeners, Taken, bind, bind_datagrams,
};
pub use node::{Echo, NodeParts, run_shard};
