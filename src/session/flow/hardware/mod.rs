//! Layer 2, flows of what the phone reports of itself, the glasses and their user, and requests to the hardware.

pub(crate) mod calendar;
pub(crate) mod device;
pub(crate) mod gate;
pub(crate) mod location;
pub(crate) mod photos;
pub(crate) mod user_settings;
