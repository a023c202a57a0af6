//! What happens in a run: drawn from the seed before it begins, so that a shorter list of the same steps can be run again.

use super::app::{KEY, Manners};
use super::net::{Party, Up};
use super::records::Revision;
use super::store::Mood;
use super::storms::Storm;
use super::world::{Act, World};
use prism::session::rest::{Call, Shape};
use prism::wire::upgrade::AppHeaders;
use serde_json::{Value, json};

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    RestStart(usize),
    RestStop(usize),
    /// So many start calls at once.
    StartTogether(usize, u64),
    PhoneStart(usize),
    PhoneStop(usize),
    Goodbye,
    Dispose,
    Recover(usize),
    /// The server of an app says that it is back: all of its sessions are recovered.
    ServerBack(usize),
    /// The same device state twice.
    DeviceState(bool),
    /// The phone's connection breaks; it comes back by itself.
    PhoneDrop,
    /// The phone closes.
    PhoneClose,
    /// Nothing gets through any more; the phone will notice, the server may.
    PhoneSilent,
    /// The phone is switched off, and on again so much later.
    PhoneAway(u64),
    /// A new socket while the old one is open.
    Takeover,
    PhoneReads(u64),
    PhoneSays(usize),
    AppSubscribes(usize, u64),
    AppDisplays(usize, u64),
    /// One burst after the other, for some seconds.
    AppPaintsOn(usize, u64),
    AppSays(usize, usize),
    AppDrop(usize),
    AppCloses(usize, u16),
    AppSilent(usize),
    AppDoubles(usize),
    Crash(usize),
    Manners(usize, Manners),
    Store(Mood),
    /// A socket that names a user and an app with a wrong key.
    Intruder(usize),
    /// A socket that never says anything, or nonsense.
    Mute(bool),
    /// The phone takes its hash back, and with it the key.
    UdpUnregister,
    /// So many of the last datagrams once more.
    UdpAgain(usize),
    /// A datagram of nobody.
    UdpStray(usize),
    /// Other glasses connect, with Wi-Fi or without.
    Glasses(usize, bool),
    PhoneVideo(usize),
    AppVideo(usize, usize),
    /// The record of an app changes, for everybody.
    Record(usize, Revision),
    /// Something else that somebody asks for.
    Errand(usize, u64),
    Storm(Storm),
    /// Who reads a streamed answer leaves.
    ReaderGoes(u64),
}

/// What a phone may say.
const PHONE_TEXTS: [&str; 14] = [
    r#"{"type":"button_press","buttonId":"main","pressType":"short"}"#,
    r#"{"type":"VAD","status":"true"}"#,
    r#"{"type":"VAD","status":false}"#,
    r#"{"type":"head_position","position":"up"}"#,
    r#"{"type":"head_position","position":"down"}"#,
    r#"{"type":"glasses_connection_state","modelName":"Even Realities G1","status":"CONNECTED"}"#,
    r#"{"type":"glasses_connection_state","modelName":"Even Realities G1","status":"DISCONNECTED"}"#,
    r#"{"type":"location_update","lat":47.1,"lng":8.5}"#,
    r#"{"type":"phone_notification","notificationId":"n1","app":"Mail","title":"Hi","content":"there"}"#,
    r#"{"type":"connection_init"}"#,
    r#"{"type":"touch_event","gesture_name":"double_tap"}"#,
    r#"{"type":"local_transcription","text":"hello","isFinal":true,"startTime":1,"endTime":2}"#,
    r#"{"type":"no_such_type","x":[1,{"type":"ping"}]}"#,
    r#"{"type":"button_press","#,
];

/// What an app may say.
const APP_TEXTS: [&str; 18] = [
    r#"{"type":"ping"}"#,
    r#"{"type":"dashboard_content_update","content":"3 notes","modes":["main"]}"#,
    r#"{"type":"dashboard_mode_change","mode":"expanded"}"#,
    r#"{"type":"location_poll_request","accuracy":"high","correlationId":"$ID"}"#,
    r#"{"type":"photo_request","requestId":"$ID","size":"medium"}"#,
    r#"{"type":"audio_play_request","requestId":"$ID","audioUrl":"https://a.b/c.mp3"}"#,
    r#"{"type":"ownership_release","reason":"switching_clouds"}"#,
    r#"{"type":"subscription_update","subscriptions":7}"#,
    r#"{"type":"no_such_type"}"#,
    r#"{"type":"display_event","#,
    r#"{"type":"rgb_led_control","requestId":"$ID","action":"on"}"#,
    r#"{"type":"app_direct_message","messageId":"$ID","targetUserId":"naomi@lumen.io","payload":{"a":[1]}}"#,
    r#"{"type":"app_direct_message","messageId":"$ID","targetUserId":"nobody@lumen.io"}"#,
    r#"{"type":"app_broadcast_message","messageId":"$ID","payload":"hi"}"#,
    r#"{"type":"app_broadcast_message","messageId":"$ID","payload":"hi","roomId":"r"}"#,
    r#"{"type":"app_room_join","roomId":"r","roomConfig":{"maxUsers":2}}"#,
    r#"{"type":"app_room_leave","roomId":"r"}"#,
    r##"{"type":"display_event","view":"dashboard","packageName":"com.mentra.os","layout":{"layoutType":"text_wall","text":"#$TAG"}}"##,
];

/// What an app may want.
const STREAMS: [&str; 12] = [
    "audio_chunk",
    "transcription:en-US",
    "transcription",
    "button_press",
    "VAD",
    "head_position",
    "calendar_event",
    "touch_event:double_tap",
    "*",
    "transcription:auto",
    "transcription:en-US?hints=es",
    "translation:es-ES-to-en-US",
];

/// How exactly it may want the location; what is no tier counts as `standard`.
const RATES: [Option<&str>; 5] = [
    Some("high"),
    Some("kilometer"),
    None,
    Some("reduced"),
    Some("warp"),
];

/// Draws one step.
pub(crate) fn draw(rng: &mut fastrand::Rng, servers: usize) -> Step {
    let app = rng.usize(0..servers);
    match rng.u32(0..132) {
        0..8 => Step::RestStart(app),
        8..12 => Step::RestStop(app),
        12..14 => Step::StartTogether(app, rng.u64(2..5)),
        14..18 => Step::PhoneStart(app),
        18..20 => Step::PhoneStop(app),
        20 => Step::Goodbye,
        21 => Step::Dispose,
        22 => Step::Recover(app),
        23..25 => Step::DeviceState(rng.bool()),
        25..29 => Step::PhoneDrop,
        29..31 => Step::PhoneClose,
        31..33 => Step::PhoneSilent,
        33..35 => Step::PhoneAway(rng.u64(1..80) * 1000),
        35..37 => Step::Takeover,
        37 => Step::PhoneReads(rng.u64(100..3000)),
        38..50 => Step::PhoneSays(rng.usize(0..PHONE_TEXTS.len())),
        50..57 => Step::AppSubscribes(app, rng.u64(..)),
        57..67 => Step::AppDisplays(app, rng.u64(..)),
        67..77 => Step::AppSays(app, rng.usize(0..APP_TEXTS.len())),
        77..81 => Step::AppDrop(app),
        81..83 => Step::AppCloses(app, *rng.choice(&[1000, 1001, 1006, 4000]).unwrap_or(&1000)),
        83 => Step::AppSilent(app),
        84..86 => Step::AppDoubles(app),
        86..88 => Step::Crash(app),
        88..93 => Step::Manners(app, manners(rng)),
        93..96 => Step::Store(mood(rng)),
        96..98 => Step::Intruder(app),
        98..100 => Step::Mute(rng.bool()),
        100..103 => Step::UdpUnregister,
        103..106 => Step::UdpAgain(rng.usize(1..12)),
        106..108 => Step::UdpStray(rng.usize(0..40)),
        108..111 => Step::Glasses(rng.usize(0..8), rng.bool()),
        111..115 => Step::PhoneVideo(rng.usize(0..64)),
        115..123 => Step::AppPaintsOn(app, rng.u64(..)),
        _ => Step::AppVideo(app, rng.usize(0..64)),
    }
}

/// Draws one step of a run in which apps fight for the screen.
pub(crate) fn draw_fight(rng: &mut fastrand::Rng, servers: usize) -> Step {
    let app = rng.usize(0..servers);
    match rng.u32(0..20) {
        0..9 => Step::AppPaintsOn(app, rng.u64(..)),
        9..12 => Step::AppDisplays(app, rng.u64(..)),
        12..15 => Step::RestStart(app),
        15..18 => Step::RestStop(app),
        18 => Step::AppDrop(app),
        _ => match rng.u32(0..4) {
            0 => Step::PhoneDrop,
            1 => Step::Takeover,
            2 => Step::PhoneReads(rng.u64(100..3000)),
            _ => Step::DeviceState(rng.bool()),
        },
    }
}

pub(super) fn manners(rng: &mut fastrand::Rng) -> Manners {
    match rng.u32(0..11) {
        0..5 => Manners::Good,
        10 => Manners::Ghost,
        5 => Manners::Late,
        6 => Manners::Hang,
        7 => Manners::Refuse,
        8 => Manners::Twice,
        _ => Manners::Down,
    }
}

fn mood(rng: &mut fastrand::Rng) -> Mood {
    match rng.u32(0..8) {
        0..4 => Mood::Quick,
        4..6 => Mood::Slow,
        6 => Mood::Failing,
        _ => Mood::Mute,
    }
}

impl World {
    pub(crate) fn take_step(&mut self, user: &str, step: Step) {
        match step {
            Step::RestStart(app) => self.start(user, app),
            Step::RestStop(app) => self.stop(user, app),
            Step::StartTogether(app, count) => (0..count).for_each(|_| self.start(user, app)),
            Step::PhoneStart(app) => self.phone_says_app(user, "start_app", app),
            Step::PhoneStop(app) => self.phone_says_app(user, "stop_app", app),
            Step::Goodbye => drop(self.rest(user, Call::Goodbye)),
            Step::Dispose => drop(self.rest(user, Call::Dispose)),
            Step::Recover(app) => drop(self.recover(user, app)),
            Step::ServerBack(app) => self.server_is_back(app),
            Step::DeviceState(connected) => {
                let body = json!({"connected": connected, "modelName": "Even Realities G1"});
                for _ in 0..2 {
                    let body = body.to_string().into();
                    self.rest(user, Call::DeviceState { body });
                }
            }
            Step::PhoneDrop
            | Step::PhoneClose
            | Step::PhoneSilent
            | Step::PhoneAway(_)
            | Step::Takeover
            | Step::PhoneReads(_)
            | Step::UdpUnregister
            | Step::PhoneSays(_) => self.phone_step(user, &step),
            Step::UdpAgain(count) => self.udp_again(user, count),
            Step::UdpStray(length) => self.udp_stray(length),
            Step::Store(mood) => self.store.mood = mood,
            Step::Manners(app, manners) => self.servers[app].manners = manners,
            Step::Crash(app) => self.server_crashes(app),
            Step::Record(app, revision) => self.revise(app, &revision),
            Step::ReaderGoes(id) => self.reader_goes(user, id),
            Step::Errand(app, bits) => self.errand(user, app, bits),
            Step::Storm(storm) => self.storm(user, storm),
            Step::Intruder(app) => self.intrude(user, app),
            Step::Mute(babbles) => self.mute_socket(user, babbles),
            Step::Glasses(which, wifi) => self.glasses_change(user, which, wifi),
            Step::PhoneVideo(what) => {
                if let Some(ix) = self.phone_of(user) {
                    self.phone_says_video(ix, what);
                }
            }
            Step::AppVideo(app, what) => self.app_says_video(app, user, what),
            other => self.app_step(user, &other),
        }
    }

    /// A REST start of the phone.
    pub(crate) fn start(&mut self, user: &str, app: usize) {
        let package = self.servers[app].package.clone();
        let shape = Shape::Phone;
        self.rest(user, Call::StartApp { package, shape });
    }

    /// A REST stop of the phone.
    pub(crate) fn stop(&mut self, user: &str, app: usize) {
        let package = self.servers[app].package.clone();
        let shape = Shape::Phone;
        self.rest(user, Call::StopApp { package, shape });
    }

    pub(super) fn phone_of(&mut self, user: &str) -> Option<usize> {
        let own: Vec<usize> = (0..self.phones.len())
            .filter(|ix| self.phones[*ix].user == user)
            .collect();
        self.rng.choice(&own).copied()
    }

    fn phone_says_app(&mut self, user: &str, kind: &str, app: usize) {
        let package = self.servers[app].package.clone();
        let conn = self.phone_of(user).and_then(|ix| self.phones[ix].conn);
        if let Some(conn) = conn {
            self.say(conn, &json!({"type": kind, "packageName": package}));
        }
    }

    fn phone_step(&mut self, user: &str, step: &Step) {
        let Some(ix) = self.phone_of(user) else {
            return;
        };
        if let Step::PhoneAway(ms) = step {
            self.phones[ix].on = true;
            self.phone_connects_in(ix, *ms);
        }
        let Some(conn) = self.phones[ix].conn else {
            return;
        };
        match step {
            Step::PhoneDrop => {
                self.hang_up(conn);
                self.phone_lost(ix, conn);
            }
            Step::PhoneClose | Step::PhoneAway(_) => {
                self.close(conn, 1000, "");
                self.phones[ix].conn = None;
                if matches!(step, Step::PhoneClose) {
                    self.phone_connects_in(ix, 300);
                }
            }
            Step::PhoneSilent => {
                if let Some(sock) = self.net.get_mut(conn) {
                    sock.silent = true;
                }
            }
            Step::Takeover => {
                self.phones[ix].conn = None;
                self.phone_connects_in(ix, 0);
            }
            Step::PhoneReads(ms) => {
                let until_ms = self.now.mono_ms + ms;
                if let Some(sock) = self.net.get_mut(conn) {
                    sock.stalled_until_ms = until_ms;
                }
            }
            Step::UdpUnregister => self.udp_unregisters(ix, conn),
            Step::PhoneSays(what) => self.send(conn, Up::Text(PHONE_TEXTS[*what].to_owned())),
            _ => {}
        }
    }

    fn app_step(&mut self, user: &str, step: &Step) {
        match step {
            Step::AppSubscribes(app, bits) => {
                let list = STREAMS
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| bits >> at & 1 == 1)
                    .map(|(_, name)| json!(name));
                let mut list: Vec<Value> = list.collect();
                if bits >> 20 & 1 == 1 {
                    let rate = RATES[(bits >> 21) as usize % RATES.len()];
                    list.push(json!({"stream": "location_stream", "rate": rate}));
                }
                self.subscribe(*app, user, list);
            }
            Step::AppDisplays(app, bits) => self.paint(*app, user, *bits),
            Step::AppPaintsOn(app, bits) => {
                let every_ms = [90, 310, 700, 1900][(bits >> 6) as usize % 4];
                for turn in 0..2 + (bits >> 8) % 14 {
                    let step = Step::AppDisplays(*app, bits.rotate_right(turn as u32 * 5));
                    self.after(turn * every_ms, Act::Step(user.to_owned(), step));
                }
            }
            Step::AppSays(app, what) => {
                let id = format!("{}-{}", self.servers[*app].package, self.rng.u32(..));
                let tag = format!("{user}|{}|0", self.servers[*app].package);
                let text = APP_TEXTS[*what].replace("$ID", &id).replace("$TAG", &tag);
                if let Some(conn) = self.app_conn(*app, user) {
                    self.send(conn, Up::Text(text));
                }
            }
            Step::AppDoubles(app) => self.app_doubles(*app, user),
            Step::AppDrop(app) | Step::AppCloses(app, _) | Step::AppSilent(app) => {
                let Some(conn) = self.app_conn(*app, user) else {
                    return;
                };
                match step {
                    Step::AppSilent(_) => {
                        if let Some(sock) = self.net.get_mut(conn) {
                            sock.silent = true;
                        }
                    }
                    Step::AppCloses(_, code) if *code != 1006 => {
                        self.close(conn, *code, "bye");
                        self.server_lost(*app, conn, 4999, "");
                    }
                    _ => {
                        self.hang_up(conn);
                        self.server_lost(*app, conn, 1006, "");
                    }
                }
            }
            _ => {}
        }
    }

    /// A burst of displays; each text says who painted it and in which order.
    pub(crate) fn paint(&mut self, app: usize, user: &str, bits: u64) {
        let package = self.servers[app].package.clone();
        for _ in 0..1 + bits % 3 {
            self.watch.painted += 1;
            let text = format!("#{user}|{package}|{}", self.watch.painted);
            let mut message = json!({
                "type": "display_event", "packageName": "com.foreign.name", "view": "main",
                "layout": {"layoutType": "text_wall", "text": text},
            });
            match bits >> 3 & 7 {
                0 => message["forceDisplay"] = json!(true),
                1 => message["durationMs"] = json!(1000 + bits % 5000),
                2 => message["durationMs"] = json!(100 + bits % 900),
                3 => message["durationMs"] = json!(0),
                4..6 => message["durationMs"] = json!(8000 + bits % 40_000),
                _ => {}
            }
            self.app_says(app, user, &message);
        }
    }

    fn intrude(&mut self, user: &str, app: usize) {
        let package = self.servers[app].package.clone();
        let headers = AppHeaders {
            user: Some(user.to_owned()),
            package: Some(package.clone()),
            ..AppHeaders::default()
        };
        let Some(conn) = self.open_app(Party::Stray, user, &package, headers) else {
            return;
        };
        let wrong = format!("{KEY}x");
        let id = format!("{user}-{package}");
        let hello = if self.rng.bool() {
            json!({"type": "tpa_connection_init", "sessionId": id, "packageName": package, "apiKey": wrong})
        } else {
            json!({"type": "reconnect", "sessionId": id, "sdkVersion": "3.1.0"})
        };
        self.say(conn, &hello);
    }

    fn mute_socket(&mut self, user: &str, babbles: bool) {
        let opened = self.open_app(Party::Stray, user, "none", AppHeaders::default());
        if let Some(conn) = opened.filter(|_| babbles) {
            self.send(conn, Up::Ping);
            for text in ["{", r#"{"type":"display_event"}"#, r#"{"type":"ping"}"#] {
                self.send(conn, Up::Text(text.to_owned()));
            }
        }
    }
}
