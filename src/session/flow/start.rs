//! Layer 2, flow: starting an app (behaviour.md §2.3).
