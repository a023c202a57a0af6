//! Layer 2, flow: init, reconnect, attach, replacement, parking (behaviour.md §2.5–2.7, 2.13).
