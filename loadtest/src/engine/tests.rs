//! The whole engine, tiny, against a relay that runs in the same process.
