//! Prism.
