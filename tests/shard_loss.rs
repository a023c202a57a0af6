//! A shard that ends by itself takes its process along.
#![allow(missing_docs, reason = "a test")]

mod support;

use prism::base::ids::{ShardId, UserId, home_shard};
use std::process::Command;
use support::{Server, Socket, close_of, open, seccomp};
use tungstenite::Message;

/// A call that submits so much at once breaks the ring; one phone that comes or speaks causes far less.
const SUBMITS_MAX: u32 = 16;
/// So many speak at once.
const CROWD: usize = 48;
const LOST: i32 = 3;

/// Calls that submit more fail with EBADF, as if the ring were gone.
fn break_when_busy(command: &mut Command) {
    let filter = [
        seccomp::step(seccomp::LOAD, 0, 0, 0), // the system call's number
        seccomp::step(seccomp::EQUAL, 0, 3, libc::SYS_io_uring_enter as u32),
        seccomp::step(seccomp::LOAD, 0, 0, 24), // its second argument
        seccomp::step(seccomp::AT_LEAST, 0, 1, SUBMITS_MAX),
        seccomp::fails(libc::EBADF),
        seccomp::allowed(),
    ];
    seccomp::put(command, filter);
    // No two phones are pinged in one turn.
    command.envs([
        ("PRISM_HEARTBEAT_INTERVAL_MS", "60000"),
        ("PRISM_GLASSES_TIMEOUT_MS", "300000"),
        ("PRISM_APP_TIMEOUT_MS", "300000"),
    ]);
}

/// Users who live on this one of two shards.
fn users_of(shard: u16) -> impl Iterator<Item = String> {
    let emails = (0..).map(|n| format!("user{n}@lumen.io"));
    emails.filter(move |email| home_shard(&UserId::new(email), 2) == ShardId(shard))
}

/// Reads until the socket ends, however that is.
fn ends(socket: &mut Socket) {
    while let Ok(message) = socket.read() {
        if matches!(message, Message::Close(_)) {
            return;
        }
    }
}

#[test]
fn a_shard_whose_ring_breaks_takes_the_process_along_and_everybody_hears_of_it() {
    let mut server = Server::with("uring", break_when_busy);
    let mut lost = users_of(0);
    let crowd = lost.by_ref().take(CROWD);
    let mut crowd: Vec<_> = crowd.map(|email| server.phone(&email)).collect();
    let mut silent = server.phone(&lost.next().expect("endless"));
    let mut elsewhere = server.phone(&users_of(1).next().expect("endless"));
    let held = server.hold();
    for phone in &mut crowd {
        phone.send(Message::Ping("?".into())).expect("sent");
    }
    drop(held);
    let goodbye = (1001, "Server shutting down".to_owned());
    assert_eq!(close_of(&mut silent), goodbye, "of the shard itself");
    assert_eq!(close_of(&mut elsewhere), goodbye, "of another");
    drop(elsewhere);
    crowd.iter_mut().for_each(ends);
    assert_eq!(server.wait().code(), Some(LOST));
    assert!(open(server.address, "/echo").is_err());
    let log = server.log.text();
    assert!(log.contains("the I/O driver broke"), "{log}");
    assert!(log.contains("a shard ended: going down"), "{log}");
}
