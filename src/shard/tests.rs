//! Behaviour of a shard that a peer would notice.
