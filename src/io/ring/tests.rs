//! What only a ring does.

use super::*;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// All waits of a ring share one timer, so one that was left from the trial would hold up the first ticks.
#[test]
fn the_trial_leaves_no_timer_behind() {
    let sizes = Sizes {
        buffer_bytes: 1024,
        buffers: 16,
    };
    let ring = Ring::new(sizes).expect("io_uring");
    assert!(!ring.timer_armed);
    assert_eq!(ring.at, ring.batch.len(), "nor a result");
}

#[test]
fn buffers_that_ran_out_are_doubled_once_a_turn_up_to_the_bound() {
    let sizes = Sizes {
        buffer_bytes: 1024,
        buffers: 4096,
    };
    let mut ring = Ring::new(sizes).expect("io_uring");
    let mut into = Vec::new();
    for buffers in [1024, 2048, 4096, 4096] {
        assert_eq!(ring.buffer_bytes(), buffers * 1024);
        // More waits at these sockets than all buffers hold, and none goes back before the kernel has taken the last.
        let mut sockets = Vec::new();
        for token in 0..64 {
            let (mut near, far) = UnixStream::pair().expect("a pair");
            near.set_nonblocking(true).expect("settable");
            while near.write(&[1; 32 * 1024]).is_ok() {}
            ring.receive(token, far.as_raw_fd(), Until::Stopped);
            sockets.push((near, far));
        }
        for _ in 0..1000 {
            ring.wait(Duration::ZERO, None).expect("waits");
        }
        while ring.next(&mut into).is_some() {}
        drop(sockets);
        // What the ends of those sockets still bring belongs to no turn that is looked at.
        for _ in 0..100 {
            ring.wait(Duration::ZERO, None).expect("waits");
            ring.grew = true;
            while ring.next(&mut into).is_some() {}
        }
    }
}

#[test]
fn a_receive_for_which_there_was_no_memory_starts_again_later() {
    let sizes = Sizes {
        buffer_bytes: 1024,
        buffers: 16,
    };
    let mut ring = Ring::new(sizes).expect("io_uring");
    let (mut near, far) = UnixStream::pair().expect("a pair");
    near.write_all(b"hello").expect("written");
    assert_eq!(ring.ended(libc::ENOMEM), End::Paused);
    ring.receive(3, far.as_raw_fd(), Until::Stopped);
    let mut into = Vec::new();
    ring.wait(Duration::ZERO, None).expect("waits");
    assert!(ring.next(&mut into).is_none(), "not at once");
    let mut waits = 0;
    let done = loop {
        waits += 1;
        assert!(waits < 100, "it does not rest, or does not start");
        ring.wait(Duration::from_secs(10), None).expect("waits");
        if let Some(done) = ring.next(&mut into) {
            break done;
        }
    };
    assert!(matches!(done, Done::Received { token: 3, .. }), "{done:?}");
    assert_eq!(into, b"hello");
}

#[test]
fn a_receive_that_waits_for_memory_can_be_stopped() {
    let sizes = Sizes {
        buffer_bytes: 1024,
        buffers: 16,
    };
    let mut ring = Ring::new(sizes).expect("io_uring");
    let (_near, far) = UnixStream::pair().expect("a pair");
    ring.ended(libc::ENOMEM);
    ring.receive(3, far.as_raw_fd(), Until::Stopped);
    ring.stop(3);
    let mut into = Vec::new();
    let done = (0..100).find_map(|_| {
        ring.wait(Duration::from_millis(100), None).expect("waits");
        ring.next(&mut into)
    });
    let stopped = Done::ReceiveEnded {
        token: 3,
        end: End::Paused,
    };
    assert_eq!(format!("{done:?}"), format!("{:?}", Some(stopped)));
}
