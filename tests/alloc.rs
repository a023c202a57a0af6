//! Fan-out in steady state allocates nothing per relayed audio frame, from the decoded frame to the bytes that go to the
//! kernel; nor does a relayed event. The shard is driven as `net/` drives it, with writers that take what is pending.

use bytes::Bytes;
use prism::base::clock::Now;
use prism::base::ids::{ConnId, ShardId, UserId};
use prism::base::settings::Settings;
use prism::session::event::{Event, PhoneFlags};
use prism::shard::admission::Candidate;
use prism::shard::mailbox::{Mailboxes, ToOutside, ToShard};
use prism::shard::shared::Shared;
use prism::shard::sockets::{Link, Marked, Opening};
use prism::shard::writers::Step;
use prism::shard::{Parts, Shard};
use prism::wire::auth::sha256_hex;
use prism::wire::frame::{Lent, Message};
use prism::wire::records::{AppRecord, PermissionEntry, Registry, UserRecord};
use prism::wire::upgrade::AppHeaders;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the counter does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const USER: &str = "nadia@lumen.io";
const APPS: usize = 3;

/// One user with a phone and three apps on one shard.
struct World {
    shard: Shard,
    marked: Vec<Marked>,
    now: Now,
    now_ns: u64,
    phone: ConnId,
    apps: Vec<ConnId>,
    outside: flume::Receiver<ToOutside>,
}

impl World {
    fn new() -> Self {
        let (inbox, _) = flume::bounded(16);
        let (outside, mail) = flume::bounded(4096);
        let everything = PermissionEntry {
            kind: "ALL".into(),
            description: None,
        };
        let records = (0..APPS).map(|index| AppRecord {
            package_name: format!("com.acme.app{index}"),
            public_url: "http://127.0.0.1:1".into(),
            key_sha256: sha256_hex("k"),
            permissions: vec![everything.clone()],
            ..AppRecord::default()
        });
        let shard = Shard::new(Parts {
            id: ShardId(0),
            cfg: Arc::new(Settings::default()),
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
        world.bring_up();
        world
    }

    fn opening(&self) -> Opening<'static> {
        Opening {
            handle: 1,
            link: Link::default(),
            switch: b"",
        }
    }

    /// Phone in, user loaded with three running apps, apps attached and subscribed.
    fn bring_up(&mut self) {
        let user = UserId::new(USER);
        let opening = self.opening();
        self.phone = self
            .shard
            .open_phone(&user, PhoneFlags::default(), opening)
            .expect("room");
        let running_apps = (0..APPS)
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
        for index in 0..APPS {
            let package = format!("com.acme.app{index}");
            let candidate = Candidate {
                headers: AppHeaders::default(),
                ..Candidate::default()
            };
            let opening = self.opening();
            let conn = self.shard.open_app(candidate, opening).expect("room");
            self.apps.push(conn);
            self.text(conn, &format!(
                r#"{{"type":"tpa_connection_init","sessionId":"{USER}-{package}","packageName":"{package}","apiKey":"k"}}"#
            ));
            self.text(
                conn,
                r#"{"type":"subscription_update","subscriptions":["audio_chunk","button_press"]}"#,
            );
        }
        self.now = self.now.plus(5_000);
        self.shard.tick(self.now);
        self.drain();
    }

    fn text(&mut self, conn: ConnId, text: &str) {
        let message = Message::Text(Bytes::copy_from_slice(text.as_bytes()));
        self.frame(conn, message);
    }

    /// One turn with one frame, as the reader does it.
    fn frame(&mut self, conn: ConnId, message: Message) {
        self.turn(conn, |shard| {
            let _ = shard.message(conn, message);
        });
    }

    fn turn(&mut self, conn: ConnId, handle: impl FnOnce(&mut Shard)) {
        self.now_ns += 1000;
        let now_ns = self.now_ns;
        self.shard.begin_turn(conn, self.now, now_ns);
        handle(&mut self.shard);
        self.shard.end_turn(conn, || now_ns + 500).fetch();
    }

    /// Every writer sends what is pending; returns the bytes per app socket.
    fn drain(&mut self) -> [usize; APPS] {
        let mut sent = [0; APPS];
        self.shard.take_marked(&mut self.marked);
        self.marked.clear();
        for (count, conn) in sent.iter_mut().zip(&self.apps) {
            *count = drain(&mut self.shard, *conn, self.now_ns);
        }
        drain(&mut self.shard, self.phone, self.now_ns);
        sent
    }
}

/// What a writer does until nothing is pending; returns the bytes it took.
fn drain(shard: &mut Shard, conn: ConnId, now_ns: u64) -> usize {
    let mut taken = 0;
    while let Some(Step::Send(pending)) = shard.next_write(conn) {
        taken += pending.bytes().len();
        shard.sent(pending, now_ns);
    }
    taken
}

/// Allocations of a thousand runs, after a few that let buffers grow; `run` says how many bytes each app got.
fn allocations(world: &mut World, frame_bytes: usize, mut run: impl FnMut(&mut World)) -> u64 {
    for _ in 0..32 {
        run(world);
        world.drain();
    }
    let before = ALLOCATIONS.get();
    for _ in 0..1000 {
        run(world);
        let sent = world.drain();
        assert!(
            sent.iter().all(|bytes| *bytes >= frame_bytes),
            "every app gets every frame: {sent:?}"
        );
    }
    ALLOCATIONS.get() - before
}

#[test]
fn an_audio_frame_reaches_three_apps_without_an_allocation() {
    let mut world = World::new();
    let pcm = Bytes::from(vec![1_u8; 640]);
    let count = allocations(&mut world, 644, |world| {
        let phone = world.phone;
        world.frame(phone, Message::Binary(pcm.clone()));
    });
    assert_eq!(count, 0, "in 1000 frames to {APPS} apps");
}

#[test]
fn a_frame_lent_from_the_read_buffer_reaches_three_apps_without_an_allocation() {
    let mut world = World::new();
    let count = allocations(&mut world, 644, |world| {
        let phone = world.phone;
        assert!(
            world.shard.lends(phone) > Some(640),
            "phones' audio is lent"
        );
        assert_eq!(world.shard.lends(world.apps[0]), Some(0), "apps' is not");
        world.turn(phone, |shard| shard.lent(phone, Lent::Binary(&[1; 640])));
    });
    assert_eq!(count, 0, "in 1000 frames to {APPS} apps");
}

#[test]
fn an_audio_datagram_reaches_three_apps_without_an_allocation() {
    let mut world = World::new();
    let (phone, hash) = (world.phone, UserId::new(USER).hash32());
    world.text(
        phone,
        &format!(r#"{{"type":"udp_register","userIdHash":{hash}}}"#),
    );
    let mut sequence = 0_u16;
    let count = allocations(&mut world, 644, |world| {
        let mut packet = [1; 646];
        packet[..4].copy_from_slice(&hash.to_be_bytes());
        packet[4..6].copy_from_slice(&sequence.to_be_bytes());
        sequence = sequence.wrapping_add(1);
        world.shard.datagram(&mut packet);
    });
    assert_eq!(count, 0, "in 1000 datagrams to {APPS} apps");
}

#[test]
fn an_event_reaches_three_apps_without_an_allocation() {
    let mut world = World::new();
    let press = br#"{"type":"button_press","buttonId":"main","pressType":"short","timestamp":1773480413589}"#;
    let kept = Bytes::from_static(press);
    let count = allocations(&mut world, 200, |world| {
        let phone = world.phone;
        world.frame(phone, Message::Text(kept.clone()));
        world.turn(phone, |shard| shard.lent(phone, Lent::Text(press)));
    });
    assert_eq!(count, 0, "in 2000 events to {APPS} apps");
}
