//! Layer 2, flow: stopping an app (behaviour.md §2.8).
