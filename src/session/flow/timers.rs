//! Layer 2, flow: one due timer to its owner's flow.

use crate::session::event::{DisposeCause, StoreOutcome};
use crate::session::flow::{
    answers, attach, device_timers, dispose, heartbeat, hello, lifecycle, lost, media_timers,
    notices, start, stop, webhook,
};
use crate::session::managers::apps::start::{Stage, StartError};
use crate::session::timers::Timer;
use crate::session::{Cx, Session, State};

/// Timers handled in one turn; what is due beyond it gets the next one.
const DUE_MAX: usize = 1024;

/// Acts on everything that is due.
pub(crate) fn tick(s: &mut Session, cx: &mut Cx<'_>) {
    for _ in 0..DUE_MAX {
        let Some((_, timer)) = s.timers.pop_due(cx.now.mono_ms) else {
            return;
        };
        due(s, timer, cx);
        if s.state == State::Disposed {
            return;
        }
    }
}

/// Acts on one due timer. Rows of media and device flows go through [`super::media_timers`] and [`super::device_timers`].
pub(crate) fn due(s: &mut Session, timer: Timer, cx: &mut Cx<'_>) {
    match timer {
        Timer::UserLoad => lifecycle::user_loaded(s, None, cx),
        Timer::PhoneGrace if s.m.phone.open().is_none() => {
            dispose::dispose(s, DisposeCause::GraceTimeout, cx);
        }
        Timer::PhoneGrace => {}
        Timer::Heartbeat => heartbeat::beat(s, cx),
        Timer::HealthStats => heartbeat::log_stats(s, cx),
        Timer::AppState => notices::send_app_state(s, cx),
        Timer::AppStart(package) => {
            let error = StartError::new(Stage::Timeout, "App did not connect in time");
            start::fail(s, &package, &error, cx);
        }
        Timer::WebhookRetry(package) => webhook::send_session_request(s, &package, cx),
        Timer::StopWait(package) => stop::webhook_done(s, &package, cx),
        Timer::AppGrace(package) | Timer::AppRestart(package) => {
            lost::grace_ended(s, &package, cx);
        }
        Timer::AppStuck(package) => stop::stuck(s, &package, cx),
        Timer::Replaced(conn) => attach::replaced_linger_ended(s, conn, cx),
        Timer::RejectLinger(conn) => hello::reject_linger_ended(s, conn, cx),
        Timer::Parked(conn) => attach::parked_expired(s, conn, cx),
        Timer::DashboardApp => start::start_dashboard(s, cx),
        Timer::StoreAck(call) => answers::stored(s, call, StoreOutcome::Failed, cx),
        Timer::PhoneResync
        | Timer::MicSubscriptions
        | Timer::MicSend
        | Timer::MicHold
        | Timer::MicKeepAlive
        | Timer::AudioGap
        | Timer::UdpHole
        | Timer::DisplayRelease
        | Timer::DisplayExpiry
        | Timer::DisplayBoot(_)
        | Timer::DisplayLock
        | Timer::Onboarding
        | Timer::DashboardRender
        | Timer::DashboardHeartbeat
        | Timer::Weather(_)
        | Timer::Ranking(_)
        | Timer::SpeechStart
        | Timer::SpeechRetry
        | Timer::SpeechLinger
        | Timer::SpeechGap
        | Timer::SpeechHealth => media_timers::due(s, timer, cx),
        _ => device_timers::due(s, timer, cx),
    }
}
