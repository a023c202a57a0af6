//! Invariants 44 and 45: video streams; and that no app runs on glasses that lack what it requires (behaviour.md §7.3.4).

use super::super::net::Down;
use super::{View, Watch};
use prism::base::ids::{ConnId, Package};
use prism::session::Session;
use prism::session::managers::apps::AppState;
use prism::session::managers::streams::Status;
use prism::wire::capabilities;
use serde_json::Value;

/// A turn of the shard, and what a stalled socket may add (ms).
const SLACK_MS: u64 = 200;

/// The stream of a user as the outside may know it.
#[derive(Default, Debug)]
pub(crate) struct Video {
    id: String,
    /// Keep-alives run for it.
    watched: bool,
    /// When it was last heard of while its phone was there, or began.
    heard_ms: u64,
    /// Since when it is not active.
    idle_ms: Option<u64>,
    /// The last keep-alive.
    kept_ms: u64,
}

impl Watch {
    /// The phone says something about a stream, a sign of its life; or begins anew, which counts as a reconnection (§1.5).
    pub(super) fn note_video(&mut self, user: &str, message: &Value) {
        let Some(known) = self.users.get_mut(user) else {
            return;
        };
        let is_sign = match message["type"].as_str() {
            Some("stream_status" | "keep_alive_ack") => message["streamId"] == *known.video.id,
            Some("connection_init") => true,
            _ => false,
        };
        if is_sign {
            known.video.heard_ms = self.now_ms;
        }
    }

    pub(super) fn look_at_video(&mut self, user: &str, view: &View<'_>) {
        let Some(session) = view.session(user) else {
            return;
        };
        self.apps_fit_the_glasses(user, session, view);
        let own = session.m.streams.current.as_ref();
        let managed = session.m.managed_streams.current.as_ref();
        if let (Some(own), Some(managed)) = (own, managed) {
            let text = format!("{} runs beside {}", own.id, managed.id);
            self.broken(44, "one stream", user, text);
        }
        let owner = own.map(|stream| &stream.owner);
        let viewers = managed.iter().flat_map(|stream| &stream.viewers);
        for package in owner.into_iter().chain(viewers) {
            self.invariant_44_streams_end_with_their_app(user, package, session);
        }
        let id = own.map(|stream| &stream.id);
        let id = id.or(managed.map(|stream| &stream.id)).cloned();
        let is_idle = own.is_some_and(|stream| stream.status != Status::Active);
        self.invariant_44_silence_ends_a_stream(user, id.unwrap_or_default(), is_idle, view);
    }

    /// 44: a stream that nobody runs any more has ended.
    fn invariant_44_streams_end_with_their_app(
        &mut self,
        user: &str,
        package: &Package,
        session: &Session,
    ) {
        let state = session.m.apps.state(package);
        let gone = matches!(state, AppState::Stopped | AppState::Stopping);
        if gone && &**package != Package::PHONE {
            let text = format!("{package} is {state:?} and has a stream");
            self.broken(44, "streams end with their app", user, text);
        }
    }

    /// 44: three missed acks end a stream, and so does not becoming active.
    fn invariant_44_silence_ends_a_stream(
        &mut self,
        user: &str,
        id: String,
        is_idle: bool,
        view: &View<'_>,
    ) {
        let (now_ms, cfg) = (view.now_ms, &view.cfg.streaming);
        let Some(session) = view.session(user) else {
            return;
        };
        let current = session.m.phone.open();
        let watched = session.m.streams.is_watched(&id);
        let Some(known) = self.users.get_mut(user) else {
            return;
        };
        let video = &mut known.video;
        if video.id != id {
            *video = Video {
                id,
                ..Video::default()
            };
        }
        // Nothing is missed while the phone is away, and a new socket begins anew.
        let is_new = watched != video.watched || known.current_since_ms == now_ms;
        if is_new || !watched || current.is_none() {
            video.heard_ms = now_ms;
        }
        video.watched = watched;
        video.idle_ms = is_idle.then(|| video.idle_ms.unwrap_or(now_ms));
        let limit_ms =
            cfg.stream_max_missed_acks * cfg.stream_keepalive_ms + cfg.stream_ack_timeout_ms;
        let silent_ms = now_ms - video.heard_ms;
        let idle_ms = video.idle_ms.map_or(0, |since_ms| now_ms - since_ms);
        if self.draining {
            // Deadlines mean nothing any more.
        } else if silent_ms > limit_ms + SLACK_MS {
            let text = format!("{} runs after {silent_ms} ms of silence", video.id);
            self.broken(44, "missed acks", user, text);
        } else if idle_ms > cfg.stream_start_timeout_ms + SLACK_MS {
            let text = format!("{} is not active since {idle_ms} ms", video.id);
            self.broken(44, "streams start in time", user, text);
        }
    }

    /// 45: keep-alives go to the phone that is there, one in an interval.
    pub(super) fn invariant_45_keep_alives(&mut self, conn: ConnId, frame: &Down, view: &View<'_>) {
        let Down::Text(message) = frame else {
            return;
        };
        if message["type"] != "keep_stream_alive" || !view.is_timely(conn) {
            return;
        }
        let user = view.net.get(conn).map(|sock| sock.user.clone());
        let user = user.unwrap_or_default();
        let current = view.session(&user).and_then(|one| one.m.phone.open());
        if current != Some(conn) {
            let text = format!("{conn:?} is asked to keep a stream, current is {current:?}");
            self.broken(45, "keep-alives need a phone", &user, text);
        }
        let (now_ms, every_ms) = (view.now_ms, view.cfg.streaming.stream_keepalive_ms);
        if let Some(known) = self.users.get_mut(&user)
            && message["streamId"] == *known.video.id
        {
            let last_ms = std::mem::replace(&mut known.video.kept_ms, now_ms);
            if now_ms - last_ms < every_ms {
                let text = format!("two within {} ms", now_ms - last_ms);
                self.broken(45, "keep-alives are apart", &user, text);
            }
        }
    }

    /// No app runs, or is about to, on glasses without the hardware that it requires.
    fn apps_fit_the_glasses(&mut self, user: &str, session: &Session, view: &View<'_>) {
        let mut apps = session.m.apps.iter();
        let lacking =
            apps.find(|app| app.state.is_expected() && lacks_hardware(session, &app.package, view));
        if let Some(app) = lacking {
            let model = session.m.device.model();
            let text = format!("{} is {:?} on {model:?}", app.package, app.state);
            self.broken(0, "hardware", user, text);
        }
    }
}

/// Whether the glasses of now lack what the app requires.
pub(super) fn lacks_hardware(session: &Session, package: &str, view: &View<'_>) -> bool {
    let Some(profile) = session.m.device.capabilities() else {
        return false;
    };
    let needs = view.apps.last_known(package);
    let mut needs = needs.iter().flat_map(|one| &one.hardware_requirements);
    needs.any(|one| one.level == "REQUIRED" && !capabilities::has(profile, &one.kind))
}
