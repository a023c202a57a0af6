//! What comes over a server besides misbehaviour: an operator reloads other limits half way, the wall clock jumps, app servers stop
//! reading, apps ask for more than their share.

use super::invariants::Cause;
use super::net::Up;
use super::runs::APPS;
use super::script::Step;
use super::world::World;
use prism::base::settings::Settings;
use prism::shard::mailbox::ToShard;
use serde_json::json;
use std::sync::Arc;

/// One of these.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Storm {
    /// The settings are read again: the same, or with the limits that the bits stand for.
    Reload(Option<u64>),
    /// The wall clock jumps by so much; the other one goes on.
    Clock(i64),
    /// An app server reads nothing of a user's socket for so long.
    AppReads(usize, u64),
    /// So many button presses at once, each of its own name.
    Presses(u64),
    /// So many frames of audio at once.
    Talks(usize),
    /// An app asks for the same so many times at once.
    Flood(usize, u64),
}

/// How far the clock may jump: a leap second, a correction, another time zone, a day, a clock that was never set.
const JUMPS_MS: [i64; 6] = [
    1000,
    300_000,
    3_600_000,
    86_400_000,
    10_000_000_000,
    2_000_000_000_000,
];

/// The limits and times of a run's beginning, or of a reload. The shares of askers are at least 16, so that none of the five (four apps and
/// the phone) can be refused its first.
pub(super) fn limits(cfg: &mut Settings, bits: u64) {
    let of = |at: u64, among: [u64; 4]| among[(bits >> (at * 2)) as usize % 4];
    cfg.device.photo_requests_max = of(0, [16, 17, 24, 64]);
    cfg.messages.direct_messages_max = of(1, [16, 20, 40, 64]);
    cfg.audio.audio_play_map_max = of(2, [4, 8, 16, 256]);
    cfg.device.location_polls_max = of(3, [1, 3, 10, 64]);
    cfg.connections.ws_send_queue_bytes_app = of(4, [900, 2500, 6000, 4_194_304]);
    cfg.device.calendar_cache = of(5, [1, 2, 10, 100]);
    cfg.apps.subscription_history = of(6, [0, 1, 5, 50]);
    cfg.speech.vad_close_linger_ms = of(7, [0, 0, 500, 1500]);
    cfg.apps.webhook_attempts = of(8, [1, 2, 3, 4]);
    cfg.apps.webhook_backoff_ms = of(9, [0, 300, 1000, 2500]);
    cfg.apps.app_grace_ms = of(10, [500, 2000, 5000, 8000]);
    cfg.apps.app_start_timeout_ms = of(11, [2500, 4000, 6000, 9000]);
    cfg.apps.stop_webhook_timeout_ms = of(12, [300, 1000, 3000, 5000]);
    cfg.apps.app_stuck_ms = of(13, [12_000, 20_000, 30_000, 60_000]);
    cfg.apps.deferred_timeout_ms = of(14, [3000, 10_000, 30_000, 30_000]);
    cfg.apps.subscription_grace_ms = of(15, [0, 3000, 8000, 20_000]);
    cfg.apps.resurrect_concurrency = of(16, [1, 2, 4, 4]);
    cfg.connections.reconnect_grace_ms = of(17, [8000, 20_000, 60_000, 60_000]);
    cfg.connections.replaced_linger_ms = of(18, [0, 1000, 5000, 5000]);
    cfg.connections.reject_linger_ms = of(19, [0, 300, 1000, 3000]);
    cfg.microphone.mic_off_holddown_ms = of(20, [500, 1500, 3000, 5000]);
    cfg.microphone.mic_debounce_ms = of(21, [0, 300, 1000, 2000]);
    cfg.device.photo_request_timeout_ms = of(22, [5000, 15_000, 30_000, 30_000]);
    cfg.messages.direct_message_timeout_ms = of(23, [2000, 5000, 15_000, 15_000]);
    cfg.display.display_throttle_ms = of(24, [100, 300, 300, 700]);
    cfg.display.boot_duration_ms = of(25, [200, 1500, 1500, 4000]);
    cfg.display.background_lock_ms = of(26, [2000, 5000, 10_000, 20_000]);
    cfg.display.background_lock_inactive_ms = of(27, [500, 2000, 2000, 4000]);
    cfg.display.min_display_lifetime_ms = of(28, [200, 1000, 1000, 5000]);
}

/// Storms of a run, and the limits that it begins with. Drawn apart, so that the other steps of a seed stay what they were.
pub(super) fn storms(
    seed: u64,
    users: &[(String, u64, usize, Vec<String>)],
    length_ms: u64,
) -> (Option<u64>, Vec<(u64, String, Step)>) {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5708);
    let mut steps = Vec::new();
    if rng.bool() {
        return (None, steps);
    }
    for _ in 0..rng.usize(2..24) {
        let (mut at_ms, app) = (rng.u64(0..length_ms), rng.usize(0..APPS.len()));
        let user = &users[rng.usize(0..users.len())].0;
        let mut add = |at_ms, storm| steps.push((at_ms, user.clone(), Step::Storm(storm)));
        match rng.u32(0..12) {
            0 => add(at_ms, Storm::Reload(None)),
            1..3 => add(at_ms, Storm::Reload(Some(rng.u64(..)))),
            3..5 => {
                let far_ms = rng.choice(&JUMPS_MS).copied().unwrap_or(1000);
                add(
                    at_ms,
                    Storm::Clock(if rng.bool() { far_ms } else { -far_ms }),
                );
            }
            5..9 => {
                let away_ms = rng.u64(300..7000);
                add(at_ms, Storm::AppReads(app, away_ms));
                for _ in 0..rng.u32(0..5) {
                    at_ms += rng.u64(0..away_ms / 2);
                    let count = rng.u64(1..9);
                    add(at_ms, Storm::Presses(count));
                    add(at_ms, Storm::Talks(4 * count as usize));
                }
            }
            9 => add(at_ms, Storm::Presses(rng.u64(1..5))),
            _ => {
                let bits = rng.u64(..);
                for app in 0..APPS.len() {
                    if rng.bool() {
                        add(at_ms + rng.u64(0..300), Storm::Flood(app, bits));
                    }
                }
            }
        }
    }
    (Some(rng.u64(..)), steps)
}

impl World {
    pub(super) fn storm(&mut self, user: &str, storm: Storm) {
        match storm {
            Storm::Reload(bits) => {
                let mut cfg = Settings::clone(&self.cfg);
                if let Some(bits) = bits {
                    limits(&mut cfg, bits);
                }
                self.settings_become(cfg);
            }
            Storm::Clock(by_ms) => self.clock_jumps(by_ms),
            Storm::AppReads(app, ms) => self.app_stops_reading(app, user, ms),
            Storm::Presses(count) => {
                let conn = self.phone_of(user).and_then(|ix| self.phones[ix].conn);
                for _ in 0..conn.map_or(0, |_| count) {
                    self.watch.storms.presses += 1;
                    let id = format!("press-{}", self.watch.storms.presses);
                    let press =
                        json!({"type": "button_press", "buttonId": id, "pressType": "short"});
                    if let Some(conn) = conn {
                        self.send(conn, Up::Text(press.to_string()));
                    }
                }
            }
            Storm::Talks(count) => {
                let ix = self.phone_of(user);
                let ix = ix.filter(|ix| self.phones[*ix].udp.as_ref().is_none_or(|udp| !udp.works));
                if let Some((ix, conn)) = ix.and_then(|ix| Some((ix, self.phones[ix].conn?))) {
                    self.phone_says_frames(ix, conn, count);
                }
            }
            Storm::Flood(app, bits) => self.flood(app, user, bits),
        }
    }

    /// The server reads its settings again.
    pub(crate) fn settings_become(&mut self, cfg: Settings) {
        // What is due already is not to be mixed with what the reload does.
        self.call(Cause::Turn, |shard, now| shard.tick(now));
        let cfg = Arc::new(cfg);
        self.neighbour.receive(ToShard::Settings(Arc::clone(&cfg)));
        let new = Arc::clone(&cfg);
        self.call(Cause::Reload, |shard, _| {
            shard.receive(ToShard::Settings(new));
        });
        self.cfg = cfg;
        self.call(Cause::Turn, |shard, now| shard.tick(now));
    }

    /// The time of day becomes another; deadlines do not know it.
    pub(crate) fn clock_jumps(&mut self, by_ms: i64) {
        self.call(Cause::Turn, |shard, now| shard.tick(now));
        self.now.unix_ms = self.now.unix_ms.saturating_add_signed(by_ms);
        self.shard.at(self.now);
        self.neighbour.at(self.now);
        self.call(Cause::Clock, |shard, now| shard.tick(now));
    }

    /// What is sent to an app for a user waits, and comes at once later.
    pub(crate) fn app_stops_reading(&mut self, app: usize, user: &str, ms: u64) {
        let Some(conn) = self.app_conn(app, user) else {
            return;
        };
        let until_ms = self.now.mono_ms + ms;
        let is_acked = self
            .watch
            .socks
            .get(&conn)
            .is_some_and(|own| own.is_acked());
        let sock = self.net.get_mut(conn).filter(|sock| {
            is_acked && sock.stalled_until_ms == 0 && !sock.ended && sock.closed_by_server.is_none()
        });
        if let Some(sock) = sock {
            sock.stalled_until_ms = until_ms;
            self.watch.stops_reading(conn);
        }
    }

    /// Who reads again has read everything by now.
    pub(super) fn catch_up(&mut self) {
        for conn in self.watch.caught_up() {
            if let Some(sock) = self.net.get_mut(conn) {
                sock.stalled_until_ms = 0;
            }
        }
    }

    fn flood(&mut self, app: usize, user: &str, bits: u64) {
        for number in 0..1 + (bits >> 2) % 30 {
            let id = format!(
                "flood-{}-{number}-{}",
                self.servers[app].package,
                self.rng.u32(..)
            );
            let message = match bits % 4 {
                0 => json!({"type": "photo_request", "requestId": id, "size": "small"}),
                1 => {
                    json!({"type": "app_direct_message", "messageId": id, "targetUserId": "ops@lumen.io", "payload": 1})
                }
                2 => {
                    json!({"type": "audio_play_request", "requestId": id, "audioUrl": "https://a.b/c.mp3"})
                }
                _ => {
                    json!({"type": "location_poll_request", "correlationId": id, "accuracy": "high"})
                }
            };
            self.app_says(app, user, &message);
        }
    }
}
