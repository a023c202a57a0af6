//! Layer 4: the only importer of monoio: accept, upgrade, hand-off, read and write loops, the pump. It holds no business
//! rules: who a socket belongs to and what a frame means is decided in `shard/`.

mod accept;
mod conn;
mod driver;
mod front;
mod guard;
mod handoff;
mod http;
mod listen;
mod node;
mod peer;
mod pump;
mod reply;
mod sizing;
mod socket;
mod upgrade;
mod writer;

pub use driver::DriverError;
pub use listen::{Listener, Listeners, bind};
pub use node::{Echo, NodeParts, run_shard};
