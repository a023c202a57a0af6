//! Layer 2, flow: due timers of microphone, audio gap, datagrams, display, dashboard, onboarding, speech.

use super::{audio, dashboard, microphone, ranking, recognisers, screen, udp};
use crate::session::event::HttpOutcome;
use crate::session::managers::speech::Trigger;
use crate::session::timers::Timer;
use crate::session::{Cx, Session};

/// Acts on a due timer of this group.
pub(crate) fn due(s: &mut Session, timer: Timer, cx: &mut Cx<'_>) {
    match timer {
        Timer::PhoneResync => microphone::resync(s, cx),
        Timer::MicSubscriptions => microphone::settled(s, cx),
        Timer::MicSend => microphone::window_ended(s, cx),
        Timer::MicHold => microphone::hold_ended(s, cx),
        Timer::MicKeepAlive => microphone::keep_alive_due(s, cx),
        Timer::AudioGap => audio::gap_due(s, cx),
        Timer::UdpHole => udp::hole_due(s, cx),
        Timer::DisplayRelease => screen::with_stage(s, cx, |d, stage| d.release_due(stage)),
        Timer::DisplayExpiry => screen::with_stage(s, cx, |d, stage| d.expiry_due(stage)),
        Timer::DisplayBoot(package) => screen::boot_due(s, &package, cx),
        Timer::DisplayLock => screen::with_stage(s, cx, |d, stage| d.lock_due(stage)),
        Timer::Onboarding => screen::with_stage(s, cx, |d, stage| d.onboarding_due(stage)),
        Timer::DashboardRender => dashboard::render_due(s, cx),
        Timer::DashboardHeartbeat => dashboard::heartbeat_due(s, cx),
        Timer::Weather(call) => {
            dashboard::weather_result(s, call, &lost(), cx);
        }
        Timer::Ranking(call) => {
            ranking::result(s, call, &lost(), cx);
        }
        Timer::SpeechStart => recognisers::starts_late(s, cx),
        Timer::SpeechRetry => recognisers::reconcile(s, Trigger::Retry, cx),
        Timer::SpeechLinger => recognisers::linger_ended(s, cx),
        Timer::SpeechGap => recognisers::gap_due(s, cx),
        Timer::SpeechHealth => recognisers::health_due(s, cx),
        other => debug_assert!(false, "{other:?} belongs to another group"),
    }
}

/// An answer that never came is a failure like any other.
fn lost() -> HttpOutcome {
    HttpOutcome::Failed {
        error: "no answer".into(),
    }
}
