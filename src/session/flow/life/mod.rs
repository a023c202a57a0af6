//! Layer 2, flows of the session and its phone: creation, loading, adoption, frames, liveness, disposal.

pub(crate) mod churn;
pub(crate) mod dispose;
pub(crate) mod heartbeat;
pub(crate) mod late_record;
pub(crate) mod lifecycle;
pub(crate) mod phone_in;
pub(crate) mod returned;
