//! Both drivers give the same results.

mod scarce;
mod strained;
mod tcp;

use super::*;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// Few and small, so that a test runs out of them.
const SIZES: Sizes = Sizes {
    buffer_bytes: 1024,
    buffers: 16,
};
const LONG: Duration = Duration::from_secs(10);
/// A wait that only this ends fails its test.
const NEVER: Duration = Duration::from_secs(24 * 3600);

struct Under {
    driver: Driver,
    bytes: Vec<u8>,
    /// Results in order, with what they brought.
    results: VecDeque<(Done, Vec<u8>)>,
}

impl Under {
    fn new(choice: IoDriver) -> Self {
        Self {
            driver: Driver::new(choice, SIZES).expect("a driver"),
            bytes: Vec::new(),
            results: VecDeque::new(),
        }
    }

    /// The next result that is no ring of the bell.
    fn next(&mut self) -> (Done, Vec<u8>) {
        loop {
            if let Some(result) = self.results.pop_front() {
                return result;
            }
            self.driver.wait(LONG, None).expect("a wait");
            while let Some(done) = self.driver.next(&mut self.bytes) {
                if !matches!(done, Done::Rung) {
                    self.results.push_back((done, self.bytes.clone()));
                }
                // Whatever is left is handed over after the next wait, which must not sleep then.
                if self.results.len() == 3 {
                    break;
                }
            }
        }
    }

    /// What arrives until the operation ends, and how.
    fn receive_all(&mut self, token: Token) -> (Vec<u8>, End) {
        let mut all = Vec::new();
        loop {
            match self.next() {
                (Done::Received { token: at, last }, bytes) => {
                    assert_eq!(at, token);
                    all.extend(bytes);
                    if last {
                        return (all, End::Paused);
                    }
                }
                (Done::ReceiveEnded { token: at, end }, _) => {
                    assert_eq!(at, token);
                    return (all, end);
                }
                (other, _) => panic!("{other:?}"),
            }
        }
    }
}

fn on_both(test: impl Fn(Under)) {
    for choice in [IoDriver::Uring, IoDriver::Epoll] {
        test(Under::new(choice));
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

#[test]
fn all_that_a_peer_writes_arrives_in_order_though_buffers_run_out() {
    on_both(|mut under| {
        let (near, mut far) = UnixStream::pair().expect("sockets");
        let sent = pattern(1 << 20);
        let writer = {
            let sent = sent.clone();
            std::thread::spawn(move || far.write_all(&sent))
        };
        let mut all = Vec::new();
        loop {
            under.driver.receive(7, near.as_raw_fd(), Until::Stopped);
            let (bytes, end) = under.receive_all(7);
            all.extend(bytes);
            if end == End::Closed {
                break;
            }
        }
        writer.join().expect("no panic").expect("written");
        assert!(all == sent, "{} of {} bytes", all.len(), sent.len());
    });
}

#[test]
fn a_datagram_is_received_whole_or_not_at_all() {
    on_both(|mut under| {
        let far = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let near = UdpSocket::bind("127.0.0.1:0").expect("a port");
        far.connect(near.local_addr().expect("bound"))
            .expect("connected");
        under
            .driver
            .receive(5, near.as_raw_fd(), Until::StoppedDatagrams);
        let sizes = [1, 1023, 1024, 1025, 5000, 60_000, 2];
        for size in sizes {
            far.send(&pattern(size)).expect("sent");
        }
        for size in sizes {
            match under.next() {
                (Done::Received { token: 5, .. }, bytes) => assert_eq!(bytes, pattern(size)),
                (Done::TooLong { token: 5, .. }, _) => assert!(size > 1024, "{size}"),
                (other, _) => panic!("{size}: {other:?}"),
            }
        }
        under.driver.stop(5);
        assert_eq!(under.receive_all(5), (Vec::new(), End::Paused));
    });
}

#[test]
fn a_stopped_receive_says_so_and_loses_nothing() {
    on_both(|mut under| {
        let (near, mut far) = UnixStream::pair().expect("sockets");
        under.driver.receive(3, near.as_raw_fd(), Until::Stopped);
        far.write_all(b"one").expect("written");
        assert_eq!(under.next().1, b"one");
        under.driver.stop(3);
        assert_eq!(under.receive_all(3), (Vec::new(), End::Paused));
        far.write_all(b"two").expect("written");
        under.driver.receive(3, near.as_raw_fd(), Until::Stopped);
        drop(far);
        assert_eq!(under.receive_all(3), (b"two".to_vec(), End::Closed));
    });
}

/// One event tells of both: whoever stops at the first read that fills no buffer never learns of the end.
#[test]
fn an_end_that_comes_with_the_last_bytes_is_told() {
    on_both(|mut under| {
        let (near, mut far) = UnixStream::pair().expect("sockets");
        under.driver.receive(3, near.as_raw_fd(), Until::Stopped);
        under.driver.wait(Duration::ZERO, None).expect("a wait");
        assert!(under.driver.next(&mut under.bytes).is_none());
        far.write_all(b"last").expect("written");
        drop(far);
        assert_eq!(under.receive_all(3), (b"last".to_vec(), End::Closed));
    });
}

#[test]
fn a_single_receive_takes_one_buffer_and_leaves_the_rest() {
    on_both(|mut under| {
        let (near, mut far) = UnixStream::pair().expect("sockets");
        far.write_all(&pattern(1500)).expect("written");
        drop(far);
        let mut sizes = Vec::new();
        for _ in 0..2 {
            under.driver.receive(1, near.as_raw_fd(), Until::Once);
            let (done, bytes) = under.next();
            assert!(matches!(done, Done::Received { last: true, .. }));
            sizes.push(bytes.len());
        }
        assert_eq!(sizes, [1024, 476]);
        under.driver.receive(1, near.as_raw_fd(), Until::Once);
        assert_eq!(under.receive_all(1), (Vec::new(), End::Closed));
    });
}

#[test]
fn a_send_larger_than_the_sockets_buffer_goes_on_as_the_peer_reads() {
    on_both(|mut under| {
        let (near, mut far) = UnixStream::pair().expect("sockets");
        let all = pattern(4 << 20);
        let reader = std::thread::spawn(move || {
            let mut read = Vec::new();
            far.read_to_end(&mut read).map(|_| read)
        });
        let mut at = 0;
        while at < all.len() {
            if at == 0 {
                let (head, rest) = all.split_at(1000);
                let pieces = [head, rest].map(|piece| libc::iovec {
                    iov_base: piece.as_ptr().cast_mut().cast(),
                    iov_len: piece.len(),
                });
                // SAFETY: `pieces` and `all` stay in place until the result, which is taken below.
                unsafe {
                    under.driver.send_gathered(2, near.as_raw_fd(), &pieces);
                }
                at += sent(under.next().0);
            } else {
                // SAFETY: as above.
                unsafe { under.driver.send(2, near.as_raw_fd(), &all[at..]) };
                at += sent(under.next().0);
            }
        }
        under.driver.forget(2, near.as_raw_fd());
        drop(near);
        assert!(reader.join().expect("no panic").expect("read") == all);
    });
}

fn sent(done: Done) -> usize {
    match done {
        Done::Sent { token: 2, result } => result.expect("sent"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_send_to_a_peer_that_is_gone_fails() {
    on_both(|mut under| {
        let (near, far) = UnixStream::pair().expect("sockets");
        drop(far);
        // SAFETY: a constant.
        unsafe { under.driver.send(5, near.as_raw_fd(), b"hello") };
        match under.next().0 {
            Done::Sent { token: 5, result } => {
                assert_eq!(
                    result.expect_err("nobody reads").kind(),
                    io::ErrorKind::BrokenPipe
                );
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn connections_are_accepted_one_after_another() {
    on_both(|mut under| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("non-blocking");
        let address = listener.local_addr().expect("its address");
        under.driver.accept(listener.as_raw_fd());
        for _ in 0..3 {
            let mut client = TcpStream::connect(address).expect("connected");
            let connection = match under.next().0 {
                Done::Accepted {
                    connection,
                    last: false,
                } => connection.expect("a connection"),
                other => panic!("{other:?}"),
            };
            TcpStream::from(connection)
                .write_all(b"welcome")
                .expect("written");
            let mut read = Vec::new();
            client.read_to_end(&mut read).expect("read");
            assert_eq!(read, b"welcome");
        }
    });
}

#[test]
fn another_thread_ends_a_wait() {
    on_both(|mut under| {
        let waker = under.driver.waker();
        for _ in 0..3 {
            let waker = waker.clone();
            let other = std::thread::spawn(move || waker.wake());
            loop {
                under.driver.wait(LONG, None).expect("a wait");
                let mut rung = false;
                while let Some(done) = under.driver.next(&mut under.bytes) {
                    rung |= matches!(done, Done::Rung);
                }
                if rung {
                    break;
                }
            }
            other.join().expect("no panic");
        }
    });
}

/// Whether a thread of this process sleeps.
fn is_asleep(thread: libc::pid_t) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat"));
    stat.expect("a thread")
        .rsplit(") ")
        .next()
        .is_some_and(|rest| rest.starts_with('S'))
}

/// Waits on two sockets, of which one can be read at once and the other once the waiting thread sleeps. Returns how many the
/// first wait brought.
fn received_by_one_wait(mut under: Under, gather: Option<Gather>) -> usize {
    let (mut first, near) = UnixStream::pair().expect("sockets");
    let (mut second, far) = UnixStream::pair().expect("sockets");
    for (token, socket) in [(1, &near), (2, &far)] {
        under
            .driver
            .receive(token, socket.as_raw_fd(), Until::Stopped);
    }
    under.driver.wait(Duration::ZERO, None).expect("a wait");
    while under.driver.next(&mut under.bytes).is_some() {}
    first.write_all(b"1").expect("written");
    // SAFETY: it takes nothing and always succeeds.
    let waiting = unsafe { libc::gettid() };
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_asleep(waiting) && !over.load(std::sync::atomic::Ordering::Relaxed) {
                std::thread::yield_now();
            }
            second.write_all(b"2").expect("written");
        });
        under.driver.wait(NEVER, gather).expect("a wait");
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    std::iter::from_fn(|| under.driver.next(&mut under.bytes))
        .filter(|done| matches!(done, Done::Received { .. }))
        .count()
}

#[test]
fn a_wait_that_gathers_sleeps_on_until_enough_came() {
    let two = Some(Gather {
        results: 2,
        time: LONG,
    });
    let under = Under::new(IoDriver::Uring);
    let knows = matches!(&under.driver, Driver::Ring(ring) if ring.gathers);
    assert_eq!(received_by_one_wait(under, two), 1 + usize::from(knows));
    // Who does not ask for it, or cannot have it, is woken by the first.
    assert_eq!(received_by_one_wait(Under::new(IoDriver::Uring), None), 1);
    let mut old = Under::new(IoDriver::Uring);
    if let Driver::Ring(ring) = &mut old.driver {
        ring.gathers = false;
    }
    assert_eq!(received_by_one_wait(old, two), 1);
    // epoll cannot count: it takes what came in the time.
    let a_while = two.map(|gather| Gather {
        time: Duration::from_secs(2),
        ..gather
    });
    let epoll = || Under::new(IoDriver::Epoll);
    assert_eq!(received_by_one_wait(epoll(), a_while), 2);
    assert_eq!(received_by_one_wait(epoll(), None), 1);
}

#[test]
fn a_wait_that_gathers_is_over_when_its_time_is() {
    let more = Gather {
        results: 1000,
        time: Duration::from_micros(100),
    };
    for choice in [IoDriver::Uring, IoDriver::Epoll] {
        assert!(received_by_one_wait(Under::new(choice), Some(more)) >= 1);
        let mut under = Under::new(choice);
        let limit = Duration::from_millis(1);
        under.driver.wait(limit, Some(more)).expect("a limit");
        assert!(under.driver.next(&mut under.bytes).is_none());
    }
}

/// Waits until the sends of before are over. Returns what fell short, by place.
fn over(driver: &mut Driver) -> Vec<(u32, io::Result<usize>)> {
    loop {
        driver.wait(Duration::ZERO, None).expect("a wait");
        if driver.has_sent() {
            break;
        }
    }
    let mut all: Vec<_> = std::iter::from_fn(|| driver.next_short())
        .map(|short| (short.place, short.result))
        .collect();
    all.sort_by_key(|(place, _)| *place);
    all
}

#[test]
fn sends_that_go_whole_at_once_are_not_spoken_of() {
    on_both(|mut under| {
        let pairs: Vec<_> = (0..100)
            .map(|_| UnixStream::pair().expect("sockets"))
            .collect();
        // More than the submission queue holds.
        for place in 0..5000_u32 {
            let token = place % 100;
            let fd = pairs[token as usize].0.as_raw_fd();
            // SAFETY: a constant.
            unsafe { under.driver.send_now(place, token, fd, b"hello") };
        }
        assert!(over(&mut under.driver).is_empty());
        assert!(
            under
                .driver
                .next(&mut under.bytes)
                .is_none_or(|done| matches!(done, Done::Rung))
        );
        for (token, (near, mut far)) in pairs.into_iter().enumerate() {
            under.driver.forget(token as Token, near.as_raw_fd());
            drop(near);
            let mut read = Vec::new();
            far.read_to_end(&mut read).expect("read");
            assert_eq!(read, b"hello".repeat(50));
        }
    });
}

#[test]
fn a_send_now_says_how_far_it_went_and_the_rest_can_follow() {
    on_both(|mut under| {
        let (near, mut far) = UnixStream::pair().expect("sockets");
        let (other, mut other_far) = UnixStream::pair().expect("sockets");
        let all = pattern(4 << 20);
        let (head, rest) = all.split_at(1000);
        let pieces = [head, rest].map(|piece| libc::iovec {
            iov_base: piece.as_ptr().cast_mut().cast(),
            iov_len: piece.len(),
        });
        // SAFETY: `pieces` and `all` stay in place until the end of this test.
        let short = unsafe {
            let gathered = (&pieces[..], all.len());
            under
                .driver
                .send_gathered_now(7, 2, near.as_raw_fd(), gathered);
            under
                .driver
                .send_now(8, 3, other.as_raw_fd(), b"for another");
            over(&mut under.driver)
        };
        let [(7, Ok(mut at))] = short[..] else {
            panic!("{short:?}");
        };
        assert!(at > 0 && at < all.len(), "{at}");
        // SAFETY: as above.
        let full = unsafe {
            under.driver.send_now(0, 2, near.as_raw_fd(), &all[at..]);
            over(&mut under.driver)
        };
        match &full[..] {
            [(0, Err(error))] => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            // The socket found room for a little more.
            [(0, Ok(more))] => at += more,
            _ => panic!("{full:?}"),
        }
        let reader = std::thread::spawn(move || {
            let mut read = Vec::new();
            far.read_to_end(&mut read).map(|_| read)
        });
        while at < all.len() {
            // SAFETY: as above.
            unsafe { under.driver.send(2, near.as_raw_fd(), &all[at..]) };
            at += sent(under.next().0);
        }
        for (token, socket) in [(2, near), (3, other)] {
            under.driver.forget(token, socket.as_raw_fd());
        }
        assert!(reader.join().expect("no panic").expect("read") == all);
        let mut read = String::new();
        other_far.read_to_string(&mut read).expect("read");
        assert_eq!(read, "for another");
    });
}

#[test]
fn a_send_now_to_a_peer_that_is_gone_fails() {
    on_both(|mut under| {
        let (near, far) = UnixStream::pair().expect("sockets");
        drop(far);
        // SAFETY: a constant.
        unsafe { under.driver.send_now(4, 5, near.as_raw_fd(), b"hello") };
        let short = over(&mut under.driver);
        match &short[..] {
            [(4, Err(error))] => assert_eq!(error.kind(), io::ErrorKind::BrokenPipe),
            _ => panic!("{short:?}"),
        }
    });
}
