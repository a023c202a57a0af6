//! The `prism` binary.

fn main() {}
