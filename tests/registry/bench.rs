//! A session with a phone and two running apps, to say things to.

use bytes::Bytes;
use prism::base::clock::Now;
use prism::base::ids::{ConnId, Origin, Package, ReplyTo, UserId};
use prism::base::settings::Settings;
use prism::session::effects::Effect;
use prism::session::event::{AppHello, Event, HelloKind, PhoneFlags, Sdk, Sender};
use prism::session::handlers::phone::PHONE;
use prism::session::handlers::{PhoneMessage, Reject};
use prism::session::managers::apps::AppState;
use prism::session::rest::Call;
use prism::session::{Cx, Session, Workspace};
use prism::wire::auth::sha256_hex;
use prism::wire::kinds::PhoneKind;
use prism::wire::records::{AppRecord, PermissionEntry, Registry, UserRecord};

const USER: &str = "nadia@lumen.io";
const KEY: &str = "demo-key-1";
/// Granted everything.
pub(crate) const SCRIBE: &str = "com.acme.scribe";
/// Granted nothing.
pub(crate) const MAPS: &str = "com.acme.maps";
pub(crate) const PHONE_SOCKET: ConnId = ConnId(1);

/// One session and its surroundings.
pub(crate) struct Bench {
    pub(crate) session: Session,
    cfg: Settings,
    apps: Registry,
    pub(crate) workspace: Workspace,
    now: Now,
    pub(crate) scribe: ConnId,
    pub(crate) maps: ConnId,
    next: u64,
}

/// A text that went out: to whom, what.
pub(crate) type Sent = (ConnId, String);

impl Bench {
    /// A connected phone and two running apps: one of each SDK generation.
    pub(crate) fn new() -> Self {
        let record = |name: &str, grants: &[&str]| AppRecord {
            package_name: name.to_owned(),
            public_url: format!("http://{name}"),
            key_sha256: sha256_hex(KEY),
            permissions: grants
                .iter()
                .map(|kind| PermissionEntry {
                    kind: (*kind).to_owned(),
                    description: None,
                })
                .collect(),
            ..AppRecord::default()
        };
        let apps = Registry::new([record(SCRIBE, &["ALL"]), record(MAPS, &[])], 1);
        let (cfg, mut workspace) = (Settings::default(), Workspace::new());
        let now = Now {
            mono_ms: 1_000_000,
            unix_ms: 1_773_480_413_589,
        };
        let session = Session::new(UserId::new(USER), 7, &mut workspace.cx(now, &cfg, &apps));
        let mut bench = Self {
            session,
            cfg,
            apps,
            workspace,
            now,
            scribe: ConnId(2),
            maps: ConnId(3),
            next: 10,
        };
        bench.event(Event::PhoneConnected {
            conn: PHONE_SOCKET,
            flags: PhoneFlags::default(),
        });
        let record = UserRecord {
            running_apps: vec![SCRIBE.to_owned(), MAPS.to_owned()],
            ..UserRecord::default()
        };
        bench.event(Event::UserLoaded {
            record: Some(Box::new(record)),
        });
        let state = br#"{"connected":true,"modelName":"Mentra Live","wifiConnected":true}"#;
        bench.event(Event::Rest {
            reply: ReplyTo {
                origin: Origin::Outside,
                id: 1,
            },
            call: Call::DeviceState {
                body: Bytes::from_static(state),
            },
        });
        bench.hello(bench.scribe, SCRIBE, Sdk::V2);
        bench.hello(bench.maps, MAPS, Sdk::V3);
        bench.both_subscribe();
        bench
    }

    fn hello(&mut self, conn: ConnId, package: &str, sdk: Sdk) -> Vec<Sent> {
        self.event(Event::AppHello {
            conn,
            hello: AppHello {
                kind: HelloKind::Init,
                package: Package::new(package),
                api_key: Some(KEY.to_owned()),
                session_id: Some(format!("{USER}-{package}")),
                sdk,
                address: None,
            },
        })
    }

    /// So that whatever is relayed finds a receiver.
    fn both_subscribe(&mut self) {
        for conn in [self.scribe, self.maps] {
            let list = r#"{"type":"subscription_update","subscriptions":["*","audio_chunk","location_update","calendar_event","augmentos:*"]}"#;
            self.app(conn, list);
        }
    }

    pub(crate) fn event(&mut self, event: Event) -> Vec<Sent> {
        self.run(|session, cx| session.on_event(event, cx))
    }

    fn text(&mut self, from: Sender, conn: ConnId, text: &str) -> Vec<Sent> {
        self.run(|session, cx| session.on_text(from, conn, text, cx))
    }

    fn run(&mut self, act: impl FnOnce(&mut Session, &mut Cx<'_>)) -> Vec<Sent> {
        let mut cx = self.workspace.cx(self.now, &self.cfg, &self.apps);
        act(&mut self.session, &mut cx);
        let list = self.workspace.fx.take();
        let sent = list
            .iter()
            .filter_map(|effect| match effect {
                Effect::Text { conn, range, .. } | Effect::Asked { conn, range, .. } => {
                    let text = self.workspace.fx.bytes(range.clone());
                    Some((*conn, String::from_utf8_lossy(text).into_owned()))
                }
                _ => None,
            })
            .collect();
        self.workspace.fx.recycle(list);
        sent
    }

    pub(crate) fn phone(&mut self, text: &str) -> Vec<Sent> {
        self.text(Sender::Phone, PHONE_SOCKET, text)
    }

    pub(crate) fn app(&mut self, conn: ConnId, text: &str) -> Vec<Sent> {
        self.text(Sender::App, conn, text)
    }

    /// Everything that time brings about in the next 15 s, and both apps back if a sample stopped them.
    pub(crate) fn settle(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        for conn in [PHONE_SOCKET, self.scribe, self.maps] {
            self.event(Event::Activity { conn });
        }
        for _ in 0..60 {
            self.now = self.now.plus(250);
            sent.extend(self.event(Event::Tick));
        }
        for (package, sdk) in [(SCRIBE, Sdk::V2), (MAPS, Sdk::V3)] {
            let state = self.session.m.apps.get(package).map(|app| app.state);
            if state == Some(AppState::Running) {
                continue;
            }
            sent.extend(self.phone(&format!(
                r#"{{"type":"start_app","packageName":"{package}"}}"#
            )));
            self.next += 1;
            let conn = ConnId(self.next);
            sent.extend(self.hello(conn, package, sdk));
            *(if package == SCRIBE {
                &mut self.scribe
            } else {
                &mut self.maps
            }) = conn;
        }
        self.both_subscribe();
        sent
    }
}

impl Bench {
    /// What the handler of a phone's type says to a text: `Err` for a refusal, which phones are never told of.
    pub(crate) fn handle(&mut self, kind: PhoneKind, text: &str) -> Result<(), Reject> {
        let mut cx = self.workspace.cx(self.now, &self.cfg, &self.apps);
        let message = PhoneMessage {
            conn: PHONE_SOCKET,
            name: kind.wire(),
            text: text.as_bytes(),
        };
        (PHONE[kind as usize].run)(&mut self.session, &message, &mut cx)
    }
}
