//! A kernel that refuses, or has more to say than there is room for.

use super::*;
use crate::io::epoll::Epoll;
use crate::io::ring::Ring;
use std::collections::BTreeMap;

/// More than a ring's queue holds, many times.
const CROWD: u32 = 200;
const A_WHILE: Duration = Duration::from_millis(20);
/// Queues of a ring that overflow soon.
const NARROW: (u32, u32) = (8, 16);

fn narrow() -> Driver {
    let (entries, completions) = NARROW;
    Driver::Ring(Box::new(
        Ring::sized(SIZES, entries, completions).expect("a ring"),
    ))
}

fn pairs() -> Vec<(UnixStream, UnixStream)> {
    (0..CROWD)
        .map(|_| UnixStream::pair().expect("sockets"))
        .collect()
}

/// What each socket brought until its end, starting its receive again as long as it has none.
fn until_all_ended(driver: &mut Driver, near: &[UnixStream]) -> BTreeMap<Token, Vec<u8>> {
    let mut arrived = BTreeMap::<Token, Vec<u8>>::new();
    let (mut ended, mut bytes, mut waits) = (0, Vec::new(), 0);
    while ended < near.len() {
        waits += 1;
        assert!(waits < 100_000, "{ended} of {} ended", near.len());
        driver.wait(A_WHILE, None).expect("a wait");
        while let Some(done) = driver.next(&mut bytes) {
            let (token, again) = match done {
                Done::Received { token, last } => {
                    arrived.entry(token).or_default().extend(&bytes);
                    (token, last)
                }
                Done::ReceiveEnded { token, end } => {
                    ended += usize::from(end == End::Closed);
                    (token, end != End::Closed)
                }
                Done::Rung => continue,
                other => panic!("{other:?}"),
            };
            if again {
                driver.receive(token, near[token as usize].as_raw_fd(), Until::Stopped);
            }
        }
    }
    arrived
}

#[test]
fn results_that_the_queue_has_no_room_for_come_later_and_all_of_them() {
    let mut driver = narrow();
    let (near, far): (Vec<_>, Vec<_>) = pairs().into_iter().unzip();
    for (token, socket) in near.iter().enumerate() {
        driver.receive(token as Token, socket.as_raw_fd(), Until::Stopped);
    }
    driver.wait(Duration::ZERO, None).expect("a wait");
    for (token, mut socket) in far.into_iter().enumerate() {
        socket.write_all(&pattern(500 + token)).expect("written");
    }
    // Both at once: what each has to say, and that all are gone.
    driver.wait(Duration::ZERO, None).expect("a wait");
    assert!(!driver.has_sent(), "the queue did not overflow");
    let arrived = until_all_ended(&mut driver, &near);
    for token in 0..CROWD {
        assert!(
            arrived.get(&token) == Some(&pattern(500 + token as usize)),
            "{token}: {:?} bytes",
            arrived.get(&token).map(Vec::len)
        );
    }
    // Nothing is left to say: it sleeps.
    let clock = crate::base::clock::Clock::start();
    let begun_ns = clock.mono_ns();
    // A few may find what is left: the timer of the wait before, ends of receives that were stopped.
    let mut waits = 0;
    while u128::from(clock.mono_ns() - begun_ns) < A_WHILE.as_nanos() {
        waits += 1;
        assert!(waits < 500, "it does not sleep");
        driver.wait(A_WHILE, None).expect("a wait");
        while driver.next(&mut Vec::new()).is_some() {}
    }
}

/// They have something to say all at once, and there are 16 buffers.
#[test]
fn of_sockets_that_found_no_buffer_so_many_start_again_as_there_are_buffers() {
    let mut driver = Driver::new(IoDriver::Uring, SIZES).expect("a ring");
    let (near, far): (Vec<_>, Vec<_>) = pairs().into_iter().unzip();
    for mut socket in &far {
        socket.write_all(b"hello").expect("written");
    }
    let again = |driver: &mut Driver, token: Token| {
        driver.receive(token, near[token as usize].as_raw_fd(), Until::Stopped);
    };
    (0..CROWD).for_each(|token| again(&mut driver, token));
    let (mut arrived, mut starved, mut bytes) = (0, 0, Vec::new());
    while arrived < CROWD {
        driver.wait(NEVER, None).expect("a wait");
        while let Some(done) = driver.next(&mut bytes) {
            match done {
                Done::Received { last, .. } => {
                    assert!(!last && bytes == b"hello");
                    arrived += 1;
                }
                Done::ReceiveEnded { token, end } => {
                    assert_eq!(end, End::Starved);
                    starved += 1;
                    again(&mut driver, token);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(starved > 0, "there were buffers for all");
    assert!(starved < 2 * CROWD, "{starved} receives for nothing");
}

/// From now on the kernel submits for this thread only in a call that takes results, and lets none of them sleep.
fn refuse_to_submit_and_to_sleep() {
    let rule = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let (load, equal, has_bit, answer) = (0x20, 0x15, 0x45, 0x06);
    // The low half of an argument of the system call.
    let argument = |n: u32| 16 + 8 * n;
    let errno = |errno: i32| libc::SECCOMP_RET_ERRNO | errno as u32;
    let mut filter = [
        rule(load, 0, 0, 0),
        rule(equal, 0, 6, libc::SYS_io_uring_enter as u32),
        rule(load, 0, 0, argument(3)),
        rule(has_bit, 0, 2, io_uring::EnterFlags::GETEVENTS.bits()),
        rule(load, 0, 0, argument(2)),
        rule(equal, 2, 1, 0),
        rule(answer, 0, 0, errno(libc::EAGAIN)),
        rule(answer, 0, 0, errno(libc::ENOMEM)),
        rule(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: two system calls with constant arguments and a program that lives during the call; they concern this thread alone.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program),
            0
        );
    }
}

#[test]
fn who_asks_for_more_than_the_queue_holds_does_not_wait_for_a_kernel_that_takes_nothing() {
    let refused = std::thread::spawn(|| {
        let mut driver = narrow();
        let (near, far): (Vec<_>, Vec<_>) = pairs().into_iter().unzip();
        refuse_to_submit_and_to_sleep();
        for (token, socket) in near.iter().enumerate() {
            driver.receive(token as Token, socket.as_raw_fd(), Until::Stopped);
            // SAFETY: a constant.
            unsafe { driver.send_now(token as u32, token as Token, socket.as_raw_fd(), b"hello") };
        }
        let mut waits = 0;
        while !driver.has_sent() || waits == 0 {
            waits += 1;
            assert!(waits < 10_000, "they do not go");
            driver.wait(Duration::ZERO, None).expect("a wait");
        }
        assert!(driver.next_short().is_none());
        for mut socket in far {
            let mut greeting = [0; 5];
            socket.read_exact(&mut greeting).expect("it went");
            socket.write_all(&greeting).expect("written");
        }
        // Ends with an error each time: no reason for a shard to end.
        until_all_ended(&mut driver, &near)
    });
    let arrived = refused.join().expect("no panic");
    assert_eq!(arrived.len(), CROWD as usize);
    assert!(arrived.values().all(|bytes| bytes == b"hello"));
}

/// An epoll that watches this very socket already refuses it, as one does with all sockets at the limit of the system.
#[test]
fn a_socket_that_epoll_refuses_is_used_up_and_ends() {
    let mut epoll = Epoll::new(SIZES).expect("epoll");
    let (near, mut far) = UnixStream::pair().expect("sockets");
    epoll.receive(1, near.as_raw_fd(), Until::Stopped);
    let mut under = Under {
        driver: Driver::Epoll(Box::new(epoll)),
        bytes: Vec::new(),
        results: VecDeque::new(),
    };
    far.write_all(&pattern(100)).expect("written");
    assert_eq!(under.next().1, pattern(100));
    far.write_all(&pattern(2000)).expect("written");
    // What is there is read; nobody would tell of more.
    under.driver.stop(1);
    under.driver.receive(2, near.as_raw_fd(), Until::Stopped);
    assert!(matches!(
        under.next().0,
        Done::ReceiveEnded { token: 1, .. }
    ));
    assert_eq!(under.receive_all(2), (pattern(2000), End::Closed));
    // What the socket takes goes; nobody would tell of room for the rest.
    let all = pattern(4 << 20);
    // SAFETY: `all` stays in place until the result.
    unsafe { under.driver.send(2, near.as_raw_fd(), &all) };
    let went = sent(under.next().0);
    assert!(went > 0 && went < all.len());
    // SAFETY: as above.
    unsafe { under.driver.send(2, near.as_raw_fd(), &all[went..]) };
    let refused = loop {
        match under.next().0 {
            Done::Sent { result: Ok(_), .. } => {
                // SAFETY: as above.
                unsafe { under.driver.send(2, near.as_raw_fd(), &all[went..]) };
            }
            Done::Sent { result, .. } => break result,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused.is_err());
}
