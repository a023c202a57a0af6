//! Layer 2, manager: device.

/// State of this manager. OWNER H5.
#[derive(Default)]
pub struct Device;
