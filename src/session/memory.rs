//! Layer 2: who in a session holds how much memory, for the memory report (behaviour.md §10.4). Counted when asked, by nobody
//! else: the hot path keeps no sums.

use super::Session;
use crate::base::footprint::Footprint;

/// Owners within a session, in the order of [`Session::owned_bytes`].
pub const OWNERS: [&str; 20] = [
    "session",
    "health",
    "audio",
    "phone",
    "apps",
    "subscriptions",
    "display",
    "dashboard",
    "notifications",
    "speech",
    "calendar",
    "location",
    "device",
    "photos",
    "streams",
    "managed_streams",
    "audio_output",
    "audio_play",
    "app_messages",
    "settings",
];

impl Session {
    /// Bytes that each of [`OWNERS`] holds; the first is the session itself with its deadlines. An estimate.
    #[must_use]
    pub fn owned_bytes(&self) -> [usize; OWNERS.len()] {
        let m = &self.m;
        [
            size_of::<Self>() + self.timers.heap_bytes() + self.user.heap_bytes(),
            m.health.heap_bytes(),
            m.audio.heap_bytes() + m.udp.heap_bytes(),
            m.phone.heap_bytes(),
            m.apps.heap_bytes(),
            m.subscriptions.heap_bytes() + m.routes.heap_bytes(),
            m.display.heap_bytes(),
            m.dashboard.heap_bytes(),
            m.notifications.heap_bytes(),
            m.speech.heap_bytes(),
            m.calendar.heap_bytes(),
            m.location.heap_bytes(),
            m.device.heap_bytes(),
            m.photos.heap_bytes() + m.missed.heap_bytes(),
            m.streams.heap_bytes(),
            m.managed_streams.heap_bytes(),
            m.audio_output.heap_bytes(),
            m.audio_play.heap_bytes(),
            m.app_messages.heap_bytes(),
            m.settings.heap_bytes(),
        ]
    }
}
