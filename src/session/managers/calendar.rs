//! Layer 2, manager: calendar.

/// State of this manager. OWNER H5.
#[derive(Default)]
pub struct Calendar;
