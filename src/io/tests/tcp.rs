//! What only a TCP socket does.

use super::*;

impl Under {
    /// Waits for results until `is_over` of one, which is to come though some waits may end for nothing.
    fn until(&mut self, mut is_over: impl FnMut(&Done, &[u8]) -> bool) {
        for _ in 0..10 {
            self.driver.wait(LONG / 10, None).expect("a wait");
            while let Some(done) = self.driver.next(&mut self.bytes) {
                if is_over(&done, &self.bytes) {
                    return;
                }
            }
        }
        panic!("it did not come on {}", self.driver.name());
    }
}

/// Sends one byte as urgent data.
fn send_urgent(socket: &TcpStream) {
    // SAFETY: one readable byte.
    let sent = unsafe { libc::send(socket.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1);
}

/// A read stops in front of it: one that leaves room does not say that nothing is left.
#[test]
fn what_stands_behind_urgent_data_arrives() {
    on_both(|mut under| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let mut far = TcpStream::connect(address).expect("connected");
        let (near, _) = listener.accept().expect("accepted");
        under.driver.receive(3, near.as_raw_fd(), Until::Stopped);
        let mut arrived = Vec::new();
        for round in 1..3 {
            far.write_all(b"before").expect("written");
            send_urgent(&far);
            far.write_all(b"behind").expect("written");
            under.until(|done, bytes| {
                assert!(matches!(done, Done::Received { token: 3, .. }), "{done:?}");
                arrived.extend_from_slice(bytes);
                arrived.len() == 12 * round
            });
        }
        assert_eq!(arrived, b"beforebehindbeforebehind");
    });
}

#[test]
fn a_listener_that_could_not_be_watched_at_first_is_watched_when_it_is_tried_again() {
    on_both(|mut under| {
        // No kernel watches a file, or accepts from it.
        let file = tempfile::tempfile().expect("a file");
        under.driver.accept(file.as_raw_fd());
        match under.next().0 {
            Done::Accepted { connection, last } => assert!(connection.is_err() && last),
            other => panic!("{other:?}"),
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("settable");
        under.driver.accept(listener.as_raw_fd());
        under.driver.wait(Duration::ZERO, None).expect("a wait");
        assert!(under.driver.next(&mut under.bytes).is_none(), "nobody came");
        let address = listener.local_addr().expect("its address");
        let _client = TcpStream::connect(address).expect("connected");
        under.until(
            |done, _| matches!(done, Done::Accepted { connection, .. } if connection.is_ok()),
        );
    });
}
