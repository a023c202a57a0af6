//! One shard, driven as `net/` drives it, with one user, a phone and apps; writers take what is pending. No sockets, no clock.
#![allow(dead_code, reason = "each user takes its part")]

use bytes::Bytes;
use prism::base::clock::Now;
use prism::base::ids::{ConnId, Origin, ReplyTo, ShardId, UserId};
use prism::base::settings::Settings;
use prism::session::event::{Event, PhoneFlags};
use prism::session::rest::Call;
use prism::shard::admission::Candidate;
use prism::shard::mailbox::{Mailboxes, ToOutside, ToShard};
use prism::shard::shared::Shared;
use prism::shard::sockets::{LinkRef, Marked, Opening};
use prism::shard::trail::Trail;
use prism::shard::writers::WriteStep;
use prism::shard::{Parts, Shard};
use prism::wire::auth::sha256_hex;
use prism::wire::frame::Message;
use prism::wire::records::{AppRecord, PermissionEntry, Registry, UserRecord};
use prism::wire::speech::SpeechOrder;
use prism::wire::upgrade::AppHeaders;
use std::slice;
use std::sync::Arc;

pub(crate) const USER: &str = "nadia@lumen.io";

/// The sockets of one user: the phone's and those of the apps.
pub(crate) type Sockets = (ConnId, Vec<ConnId>);

/// The user's shard, and its ends.
pub(crate) struct World {
    pub(crate) shard: Shard,
    marked: Vec<Marked>,
    now: Now,
    now_ns: u64,
    pub(crate) phone: ConnId,
    pub(crate) apps: Vec<ConnId>,
    outside: flume::Receiver<ToOutside>,
}

impl World {
    /// A user whose phone has these wishes, with so many apps that subscribe to audio and presses.
    pub(crate) fn new(apps: usize, flags: PhoneFlags) -> Self {
        Self::with(Settings::default(), apps, flags)
    }

    /// The same with these settings.
    pub(crate) fn with(cfg: Settings, apps: usize, flags: PhoneFlags) -> Self {
        let (inbox, _) = flume::bounded(16);
        let (outside, mail) = flume::bounded(4096);
        let everything = PermissionEntry {
            kind: "ALL".into(),
            description: None,
        };
        let records = (0..apps).map(|index| AppRecord {
            package_name: format!("com.acme.app{index}"),
            public_url: "http://127.0.0.1:1".into(),
            key_sha256: sha256_hex("k"),
            permissions: vec![everything.clone()],
            ..AppRecord::default()
        });
        let shard = Shard::new(Parts {
            id: ShardId(0),
            cfg: Arc::new(cfg),
            apps: Arc::new(Registry::new(records, 1)),
            shared: Arc::new(Shared::new(1)),
            mail: Mailboxes::new(vec![inbox]),
            outside,
            driver: "test",
            seed: 7,
        });
        let now = Now {
            mono_ms: 1000,
            unix_ms: 1_773_480_413_589,
        };
        let phone = ConnId(0);
        let mut world = Self {
            shard,
            marked: Vec::new(),
            now,
            now_ns: 1,
            phone,
            apps: Vec::new(),
            outside: mail,
        };
        world.shard.tick(now);
        let sockets = world.join(USER, apps, flags);
        world.settle(slice::from_ref(&sockets));
        (world.phone, world.apps) = sockets;
        world
    }

    fn opening(&self) -> Opening<'static> {
        Opening {
            handle: 1,
            link: LinkRef::default(),
            switch: b"",
        }
    }

    /// Phone in, user loaded with running apps, apps attached and subscribed; not yet settled.
    pub(crate) fn join(&mut self, name: &str, apps: usize, flags: PhoneFlags) -> Sockets {
        let user = UserId::new(name);
        let opening = self.opening();
        let phone = self.shard.open_phone(&user, flags, opening).expect("room");
        let mut sockets = Vec::new();
        let running_apps = (0..apps)
            .map(|index| format!("com.acme.app{index}"))
            .collect();
        let record = UserRecord {
            running_apps,
            ..UserRecord::default()
        };
        let epoch = self.outside.try_iter().find_map(|message| match message {
            ToOutside::LoadUser { epoch, .. } => Some(epoch),
            _ => None,
        });
        let event = Event::UserLoaded {
            record: Some(Box::new(record)),
        };
        let _ = self.shard.receive(ToShard::Result {
            user,
            epoch: epoch.expect("asked"),
            event,
        });
        for index in 0..apps {
            let package = format!("com.acme.app{index}");
            let candidate = Candidate {
                headers: AppHeaders::default(),
                ..Candidate::default()
            };
            let opening = self.opening();
            let conn = self.shard.open_app(candidate, opening).expect("room");
            sockets.push(conn);
            self.text(conn, &format!(
                r#"{{"type":"tpa_connection_init","sessionId":"{name}-{package}","packageName":"{package}","apiKey":"k"}}"#
            ));
            self.text(
                conn,
                r#"{"type":"subscription_update","subscriptions":["audio_chunk","button_press"]}"#,
            );
        }
        (phone, sockets)
    }

    /// Time for everything that new users set off.
    pub(crate) fn settle(&mut self, users: &[Sockets]) {
        self.now = self.now.plus(5_000);
        self.shard.tick(self.now);
        for (phone, apps) in users {
            self.send_all(*phone, apps);
        }
    }

    /// One text message.
    pub(crate) fn text(&mut self, conn: ConnId, text: &str) {
        let message = Message::Text(text.into());
        self.frame(conn, message);
    }

    /// One turn with one frame, as the reader does it.
    pub(crate) fn frame(&mut self, conn: ConnId, message: Message) {
        self.turn(conn, |shard| {
            let _ = shard.message(conn, message);
        });
    }

    /// One turn with whatever `handle` does.
    pub(crate) fn turn(&mut self, conn: ConnId, handle: impl FnOnce(&mut Shard)) {
        self.now_ns += 1000;
        let now_ns = self.now_ns;
        self.shard.begin_turn(conn, self.now, now_ns);
        handle(&mut self.shard);
        self.shard.end_turn(conn, || now_ns + 500).fetch();
    }

    /// The same; says where it went.
    pub(crate) fn trail_of(&mut self, conn: ConnId, handle: impl FnOnce(&mut Shard)) -> Trail {
        self.now_ns += 1000;
        let now_ns = self.now_ns;
        self.shard.begin_turn(conn, self.now, now_ns);
        handle(&mut self.shard);
        *self.shard.end_turn(conn, || now_ns + 500)
    }

    /// The phone says what its audio frames hold, as its REST call does.
    pub(crate) fn configure_audio(&mut self, body: &str) {
        let _ = self.shard.receive(ToShard::Call {
            user: UserId::new(USER),
            reply: ReplyTo {
                origin: Origin::Outside,
                id: 1,
            },
            call: Call::AudioConfigure {
                body: Bytes::copy_from_slice(body.as_bytes()),
            },
        });
        self.outside.try_iter().for_each(drop);
    }

    /// Takes what the outside thread was told to do with recognisers.
    pub(crate) fn speech(&self) -> impl Iterator<Item = SpeechOrder> {
        self.outside.try_iter().filter_map(|message| match message {
            ToOutside::Speech { order, .. } => Some(order),
            _ => None,
        })
    }

    /// Every writer sends what is pending; returns the fewest bytes that an app got.
    pub(crate) fn drain(&mut self) -> usize {
        let apps = std::mem::take(&mut self.apps);
        let fewest = self.send_all(self.phone, &apps);
        self.apps = apps;
        fewest
    }

    /// The same for the sockets of one user.
    fn send_all(&mut self, phone: ConnId, apps: &[ConnId]) -> usize {
        self.shard.take_marked(&mut self.marked);
        self.marked.clear();
        drain(&mut self.shard, phone, self.now_ns);
        let mut fewest = usize::MAX;
        for conn in apps {
            fewest = fewest.min(drain(&mut self.shard, *conn, self.now_ns));
        }
        fewest
    }

    /// Only the writers that have something to do send, once each; returns the bytes.
    pub(crate) fn send_marked(&mut self) -> usize {
        self.shard.take_marked(&mut self.marked);
        let mut bytes = 0;
        for Marked { id, .. } in self.marked.drain(..) {
            if let Some(WriteStep::Send(pending)) = self.shard.next_write(id) {
                bytes += pending.len();
                self.shard.sent(pending, self.now_ns);
            }
        }
        bytes
    }
}

/// What a writer does until nothing is pending; returns the bytes it took.
fn drain(shard: &mut Shard, conn: ConnId, now_ns: u64) -> usize {
    let mut taken = 0;
    while let Some(WriteStep::Send(pending)) = shard.next_write(conn) {
        taken += pending.len();
        shard.sent(pending, now_ns);
    }
    taken
}
