//! Layer 2, flow: one due timer to its owner's flow.

use super::keep_alive::{self, Liveness};
use super::{
    answers, app_messages, attach, audio, audio_output, dashboard, dispose, heartbeat, hello,
    late_record, lifecycle, live_input, location, lost, managed_streams, microphone, notices,
    photos, ranking, recognisers, screen, start, stop, streams, udp, webhook,
};
use crate::base::ids::Package;
use crate::session::event::{DisposeCause, HttpOutcome, StoreOutcome};
use crate::session::managers::apps::start::{StartError, StartStage};
use crate::session::managers::speech::Trigger;
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

/// Acts on one due timer. Every timer has its row: one that was forgotten would never fire, so the match names them all.
pub(crate) fn due(s: &mut Session, timer: Timer, cx: &mut Cx<'_>) {
    match timer {
        Timer::UserLoad => lifecycle::user_loaded(s, None, cx),
        Timer::UserRetry => late_record::ask(s, cx),
        Timer::PhoneGrace => phone_grace_ended(s, cx),
        Timer::Heartbeat => heartbeat::beat(s, cx),
        Timer::HealthStats => heartbeat::log_stats(s, cx),
        Timer::AppState => notices::send_app_state(s, cx),
        Timer::AppStart(package) => start_late(s, &package, cx),
        Timer::WebhookRetry(package) => webhook::retry_due(s, &package, cx),
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
        Timer::LocationPoll(call) => s.m.location.expired(call),
        Timer::LocationTier => location::sync_tier(s, cx),
        Timer::Photo(request_id) => photos::timed_out(s, &request_id, cx),
        Timer::AudioPlay(request_id) => {
            s.m.audio_play.take(&request_id);
        }
        Timer::AudioOut(id, what) => audio_output::due(s, &id, what, cx),
        Timer::StreamKeepAlive(id) => keep_alive::tick(s, &id, cx),
        Timer::StreamAck(id) => ack_missing(s, &id, cx),
        Timer::StreamStart(id) => streams::timed_out(s, &id, cx),
        Timer::ManagedPoll => live_input::step(s, cx),
        Timer::ManagedSweep => managed_streams::sweep(s, cx),
        Timer::DirectMessage {
            package,
            target,
            message_id,
        } => app_messages::unanswered(s, &package, &target, &message_id, cx),
    }
}

/// An answer that never came is a failure like any other.
fn lost() -> HttpOutcome {
    HttpOutcome::Failed {
        error: "no answer".into(),
    }
}

fn phone_grace_ended(s: &mut Session, cx: &mut Cx<'_>) {
    if s.m.phone.open().is_none() {
        dispose::dispose(s, DisposeCause::GraceTimeout, cx);
    }
}

fn start_late(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    let error = StartError::new(
        StartStage::Timeout,
        format!(
            "Connection timeout after {}ms",
            cx.cfg.apps.app_start_timeout_ms
        ),
    );
    start::fail(s, package, &error, cx);
}

fn ack_missing(s: &mut Session, stream_id: &str, cx: &mut Cx<'_>) {
    if keep_alive::ack_missing(s, stream_id, cx) == Liveness::Alive {
        return;
    }
    if s.m.managed_streams.by_id(stream_id).is_some() {
        managed_streams::timed_out(s, cx);
    } else {
        streams::timed_out(s, stream_id, cx);
    }
}
