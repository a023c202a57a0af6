//! Fixed scripts.
