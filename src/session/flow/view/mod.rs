//! Layer 2, flows of what the glasses show: main view and dashboard.

pub(crate) mod dashboard;
pub(crate) mod ranking;
pub(crate) mod screen;
