//! What goes wrong in a scenario, and when. Times are seconds after the measured part began.

use serde::{Deserialize, Serialize};

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Fault {
    /// Phones and apps vanish within moments, and return together.
    Herd(Herd),
    /// Single phones drop and return, spread over the whole run.
    Churn(Churn),
    /// Some apps stop reading.
    StuckReaders(StuckReaders),
    /// The app server (webhook receiver and app sockets) is away.
    AppServerGone(AppServerGone),
    /// One client misbehaves.
    Abuse(Abuse),
    /// The server is restarted: by the given shell command, or by whoever runs it.
    Restart(Restart),
}

/// See [`Fault::Herd`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Herd {
    /// When the first one goes.
    pub(crate) at_s: f64,
    /// All go within this time.
    #[serde(default = "defaults::spread")]
    pub(crate) within_s: f64,
    /// Share of the users, 0 to 1.
    #[serde(default = "defaults::one")]
    pub(crate) share: f64,
    /// A phone returns so many seconds after the herd began: from, to.
    #[serde(default = "defaults::phone_return")]
    pub(crate) return_s: [f64; 2],
    /// How often.
    #[serde(default = "defaults::once")]
    pub(crate) times: u32,
    /// Distance between repetitions.
    #[serde(default)]
    pub(crate) every_s: f64,
}

/// See [`Fault::Churn`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Churn {
    /// Drops of each phone per hour.
    pub(crate) per_user_per_h: f64,
}

/// See [`Fault::StuckReaders`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StuckReaders {
    /// When they stop.
    pub(crate) at_s: f64,
    /// For how long.
    pub(crate) for_s: f64,
    /// Share of the users whose last app stops reading, 0 to 1.
    pub(crate) share: f64,
    /// Receive buffer of those sockets, bytes (the kernel doubles it).
    pub(crate) receive_buffer: i32,
}

/// See [`Fault::AppServerGone`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppServerGone {
    /// When it goes.
    pub(crate) at_s: f64,
    /// For how long.
    pub(crate) for_s: f64,
}

/// See [`Fault::Abuse`]. All by one extra user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Abuse {
    /// When it begins.
    pub(crate) at_s: f64,
    /// For how long.
    pub(crate) for_s: f64,
    /// Sockets opened per minute, each replacing the one before.
    #[serde(default)]
    pub(crate) opens_per_min: f64,
    /// `POST /api/client/device/state` per second.
    #[serde(default)]
    pub(crate) device_state_per_s: f64,
    /// Texts per second that are not JSON.
    #[serde(default)]
    pub(crate) garbage_per_s: f64,
}

/// See [`Fault::Restart`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restart {
    /// When `--restart-command` is run.
    pub(crate) at_s: f64,
    /// How often.
    #[serde(default = "defaults::once")]
    pub(crate) times: u32,
    /// Distance between repetitions.
    #[serde(default)]
    pub(crate) every_s: f64,
}

/// What a key that is left out means.
mod defaults {
    pub(super) fn one() -> f64 {
        1.0
    }
    pub(super) fn once() -> u32 {
        1
    }
    pub(super) fn spread() -> f64 {
        1.0
    }
    pub(super) fn phone_return() -> [f64; 2] {
        [5.0, 6.3]
    }
}
