//! Layer 2, flows of video streams, unmanaged and through a provider.

pub(crate) mod keep_alive;
pub(crate) mod live_input;
pub(crate) mod managed_status;
pub(crate) mod managed_streams;
pub(crate) mod outputs;
pub(crate) mod provider;
pub(crate) mod streams;
