//! Layer 2, flow: unexpected close, grace, resurrection, dormancy (behaviour.md §2.9–2.12).
