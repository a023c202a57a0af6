//! Whose datagrams are whose, on one shard and across two.

use super::*;
use crate::session::testkit::session_end;

/// Of `nadia@lumen.io`.
const HASH: u32 = 3_718_288_755;

fn registers(hash: u32) -> Utf8Bytes {
    format!(r#"{{"type":"udp_register","userIdHash":{hash}}}"#).into()
}

fn probe(hash: u32) -> Vec<u8> {
    [&hash.to_be_bytes()[..], b"\0\0PING"].concat()
}

/// Shards that share a world, whose mail is delivered by hand.
struct Two {
    shards: Vec<Shard>,
    inboxes: Vec<flume::Receiver<ToShard>>,
    _outside: flume::Receiver<ToOutside>,
}

impl Two {
    fn new(count: u16) -> Self {
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| flume::bounded(64)).unzip();
        let (outside, kept) = flume::bounded(1024);
        let mail = Mailboxes::new(senders);
        let shared = Arc::new(Shared::new(count));
        let shard = |id| {
            let mut shard = Shard::new(Parts {
                id: ShardId(id),
                cfg: Arc::new(Settings::default()),
                apps: Arc::new(Registry::new([], 1)),
                shared: shared.clone(),
                mail: mail.clone(),
                outside: outside.clone(),
                driver: "test",
                seed: u64::from(id),
            });
            shard.tick(Now {
                mono_ms: 1000,
                unix_ms: 1_773_480_413_589,
            });
            shard
        };
        Self {
            shards: (0..count).map(shard).collect(),
            inboxes,
            _outside: kept,
        }
    }

    fn home(&mut self, user: &str) -> &mut Shard {
        let id = home_shard(&UserId::new(user), self.shards.len() as u16);
        &mut self.shards[usize::from(id.0)]
    }

    /// A phone with its record, which announced a hash.
    fn phone(&mut self, user: &str, hash: u32) -> ConnId {
        let user = UserId::new(user);
        let shard = self.home(&user);
        let opening = Opening {
            handle: 1,
            link: LinkRef::default(),
            switch: b"101",
        };
        let conn = shard
            .open_phone(&user, PhoneFlags::default(), opening)
            .expect("room");
        let epoch = shard.session(&user).expect("a session").epoch;
        let event = Event::UserLoaded { record: None };
        shard.receive(ToShard::Result { user, epoch, event });
        let _ = shard.message(conn, Message::Text(registers(hash)));
        self.deliver();
        conn
    }

    fn deliver(&mut self) {
        for (shard, inbox) in self.shards.iter_mut().zip(&self.inboxes) {
            while let Ok(message) = inbox.try_recv() {
                shard.receive(message);
            }
        }
    }

    /// A probe that the kernel gave to `shard`.
    fn probed(&mut self, shard: usize, hash: u32) {
        self.shards[shard].datagram(&mut probe(hash));
        // To the judge, and from there to the session.
        self.deliver();
        self.deliver();
    }

    /// How many confirmations a phone got since the last look.
    fn acks(&mut self, user: &str, conn: ConnId) -> usize {
        let mut told = String::new();
        let shard = self.home(user);
        while let Some(WriteStep::Send(pending)) = shard.next_write(conn) {
            told += &String::from_utf8_lossy(pending.bytes());
            shard.sent(pending, 3);
        }
        told.matches(r#"{"type":"udp_ping_ack","timestamp":1773480413589}"#)
            .count()
    }

    fn dropped(&self) -> u64 {
        let count = |shard: &Shard| shard.workspace.metrics.get(Counter::UdpDropped);
        self.shards.iter().map(count).sum()
    }
}

#[test]
fn a_probe_finds_its_phone_from_whatever_shard_it_arrives_at() {
    for hash in [HASH, 6, 7] {
        let mut two = Two::new(2);
        let phone = two.phone("nadia@lumen.io", hash);
        for shard in [0, 1] {
            two.probed(shard, hash);
            assert_eq!(two.acks("nadia@lumen.io", phone), 1, "{hash} at {shard}");
        }
        two.probed(0, hash + 2);
        assert_eq!(two.acks("nadia@lumen.io", phone), 0);
        assert_eq!(two.dropped(), 1, "nobody's");
        two.shards[0].datagram(&mut [1, 2, 3, 4, 5]);
        assert_eq!(two.dropped(), 2, "too short");
    }
}

#[test]
fn a_hash_is_its_own_users_or_else_the_first_ones() {
    let mut two = Two::new(2);
    let first = two.phone("first@x.io", HASH);
    let second = two.phone("second@x.io", HASH);
    two.probed(0, HASH);
    assert_eq!(two.acks("first@x.io", first), 1);
    assert_eq!(two.acks("second@x.io", second), 0, "refused");
    let own = two.phone("nadia@lumen.io", HASH);
    two.probed(1, HASH);
    assert_eq!(two.acks("first@x.io", first), 0);
    assert_eq!(two.acks("nadia@lumen.io", own), 1);
    // And nobody takes it back.
    let _ = two
        .home("first@x.io")
        .message(first, Message::Text(registers(HASH)));
    two.deliver();
    two.probed(0, HASH);
    assert_eq!(two.acks("nadia@lumen.io", own), 1);
}

/// behaviour.md §5.4: audio never reaches the wrong user, not even one whose id has the same hash.
#[test]
fn of_two_users_with_one_hash_the_first_keeps_it() {
    let (first, second, hash) = ("u31992@x.io", "u605430@x.io", 3_160_345_030);
    for user in [first, second] {
        assert_eq!(UserId::new(user).hash32(), hash);
    }
    let mut two = Two::new(2);
    let own = two.phone(first, hash);
    let other = two.phone(second, hash);
    two.probed(0, hash);
    assert_eq!((two.acks(first, own), two.acks(second, other)), (1, 0));
    let shard = two.home(first);
    let at = shard.users[first];
    shard.drive(at, |session, cx| {
        session.on_event(session_end(), cx);
    });
    two.deliver();
    let _ = two
        .home(second)
        .message(other, Message::Text(registers(hash)));
    two.deliver();
    two.probed(0, hash);
    assert_eq!(two.acks(second, other), 1, "free again");
}

#[test]
fn a_hash_is_free_again_once_its_session_is_gone_however_it_went() {
    let mut two = Two::new(2);
    two.phone("first@x.io", HASH);
    let shard = two.home("first@x.io");
    let at = shard.users["first@x.io"];
    shard.drive(at, |_, _| panic!("a defect"));
    two.deliver();
    let second = two.phone("second@x.io", HASH);
    two.probed(0, HASH);
    assert_eq!(two.acks("second@x.io", second), 1);
    let shard = two.home("second@x.io");
    let at = shard.users["second@x.io"];
    shard.drive(at, |session, cx| {
        session.on_event(session_end(), cx);
    });
    two.deliver();
    assert!(two.shards.iter().all(|shard| shard.claims.len() == 0));
}

#[test]
fn a_hash_whose_release_got_lost_goes_to_whoever_asks_next() {
    let mut two = Two::new(2);
    two.phone("first@x.io", HASH);
    let shard = two.home("first@x.io");
    let at = shard.users["first@x.io"];
    shard.drive(at, |session, cx| {
        session.m.phone.udp_hash = None; // So that nothing is released.
        session.on_event(session_end(), cx);
    });
    two.deliver();
    assert_eq!(
        two.shards
            .iter()
            .map(|shard| shard.claims.len())
            .sum::<usize>(),
        1
    );
    let second = two.phone("second@x.io", HASH);
    two.probed(0, HASH);
    assert_eq!(two.acks("second@x.io", second), 1);
}

#[test]
fn what_another_shard_passed_on_before_the_hash_was_taken_back_is_dropped() {
    // 7 is decided about by shard 1, where this phone does not live.
    let user = "ops@lumen.io";
    let mut two = Two::new(2);
    let phone = two.phone(user, 7);
    assert_eq!(two.home(user).id(), ShardId(0));
    two.shards[1].datagram(&mut probe(7));
    let gone = r#"{"type":"udp_unregister","userIdHash":7}"#;
    let _ = two.home(user).message(phone, Message::Text(gone.into()));
    two.deliver();
    assert_eq!((two.acks(user, phone), two.dropped()), (0, 1));
}
