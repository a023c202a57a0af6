//! Layer 2, flows of speech: recognisers, and what they heard.

mod heard;
pub(crate) mod recognisers;
