//! A defect ends one session and nothing else.

use super::*;

#[test]
fn a_defect_in_one_session_closes_its_sockets_and_nobody_elses() {
    let mut world = World::new();
    let (broken, fine) = (world.phone("a@x.io"), world.phone("b@x.io"));
    world.sent(broken);
    world.sent(fine);
    let at = world.shard.users["a@x.io"];
    world.shard.drive(at, |_, _| panic!("a defect"));
    let told = world.sent(broken);
    let (error, close) = told.split_at(told.find("\u{3}\u{fffd}").expect("closed 1011"));
    assert!(error.contains(r#"{"type":"connection_error","message":"Internal server error""#));
    assert!(close.contains("Internal server error"));
    assert!(!world.shard.has_session("a@x.io"));
    world.say(fine, r#"{"type":"ping"}"#);
    assert!(world.sent(fine).contains(r#"{"type":"pong"}"#));
    assert_eq!(world.shard.workspace.metrics.get(Counter::SessionPanics), 1);
    // The user may come back at once.
    world.phone("a@x.io");
    assert!(world.shard.has_session("a@x.io"));
}

#[test]
fn an_app_of_a_session_that_ended_by_a_defect_is_no_session_of_its_server_any_more() {
    let mut world = World::new();
    let (_, app) = world.phone_and_app("a@x.io");
    world.outside.drain();
    let at = world.shard.users["a@x.io"];
    world.shard.drive(at, |_, _| panic!("a defect"));
    assert!(world.sent(app).contains("Internal server error"));
    let links = world.outside.drain().filter_map(|message| match message {
        ToOutside::AppLink(link) => Some((link.package.to_string(), link.change)),
        _ => None,
    });
    let links: Vec<_> = links.collect();
    assert_eq!(links, [("com.acme.x".to_owned(), LinkChange::Ended)]);
}

/// A defect in what a session does with audio, by either way that it comes.
#[test]
fn a_defect_in_the_handling_of_audio_ends_that_session_alone() {
    const HASH: u32 = 3_718_288_755;
    let datagram = |sequence: u8| [&HASH.to_be_bytes()[..], &[0, sequence, 1, 2]].concat();
    for way in ["lent frame", "frame", "datagram"] {
        let mut world = World::new();
        let (broken, fine) = (world.phone("nadia@lumen.io"), world.phone("b@x.io"));
        for user in ["nadia@lumen.io", "b@x.io"] {
            let user = UserId::new(user);
            let epoch = world.shard.session(&user).expect("a session").epoch;
            let event = Event::UserLoaded { record: None };
            world.shard.receive(ToShard::Result { user, epoch, event });
        }
        world.say(broken, r#"{"type":"udp_register","userIdHash":3718288755}"#);
        world.shard.datagram(&mut datagram(1));
        world.sent(broken);
        world.sent(fine);
        assert_eq!(world.shard.claims.len(), 1);
        let at = world.shard.users["nadia@lumen.io"];
        let entry = world.shard.entries.get_mut(at).expect("a session");
        entry.session.m.audio.is_defective = true;
        let lines = crate::base::log_capture::lines_of(|| match way {
            "lent frame" => world.shard.lent(broken, Lent::Binary(&[1, 2])),
            "frame" => {
                let frame = Message::Binary(Bytes::from_static(&[1, 2]));
                let _ = world.shard.message(broken, frame);
            }
            _ => world.shard.datagram(&mut datagram(2)),
        });
        let [line] = &lines[..] else {
            panic!("{way}: one line tells it: {lines:?}");
        };
        let user = UserId::new("nadia@lumen.io").log_tag();
        assert!(
            line.starts_with("ERROR a session was ended by a defect"),
            "{line}"
        );
        assert!(line.contains(&format!("user=\"{user}\"")), "{line}");
        assert!(line.contains("panic=\"a defect\""), "{line}");
        assert_eq!(
            world.shard.workspace.metrics.get(Counter::SessionPanics),
            1,
            "{way}"
        );
        let told = world.sent(broken);
        let (error, close) = told.split_at(told.find("\u{3}\u{fffd}").expect("closed 1011"));
        assert!(error.contains(r#"{"type":"connection_error","message":"Internal server error""#));
        assert!(close.contains("Internal server error"), "{way}");
        assert!(!world.shard.has_session("nadia@lumen.io"), "{way}");
        assert_eq!(world.shard.claims.len(), 0, "{way}");
        // What is still under way for it means nothing, and the others go on.
        world.shard.datagram(&mut datagram(3));
        world.shard.lent(broken, Lent::Binary(&[3, 4]));
        world.shard.lent(fine, Lent::Binary(&[1, 2]));
        world.say(fine, r#"{"type":"ping"}"#);
        assert!(world.sent(fine).contains(r#"{"type":"pong"}"#), "{way}");
        world.phone("nadia@lumen.io");
        assert!(world.shard.has_session("nadia@lumen.io"), "{way}");
        assert_eq!(
            world.shard.workspace.metrics.get(Counter::SessionPanics),
            1,
            "{way}"
        );
    }
}
