//! What only a TCP socket does.

use super::*;
use std::time::Instant;

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
            let begun = Instant::now();
            while arrived.len() < 12 * round {
                assert!(begun.elapsed() < LONG, "{arrived:?}");
                under.driver.wait(LONG, None).expect("a wait");
                while let Some(done) = under.driver.next(&mut under.bytes) {
                    assert!(matches!(done, Done::Received { token: 3, .. }), "{done:?}");
                    arrived.extend_from_slice(&under.bytes);
                }
            }
        }
        assert_eq!(arrived, b"beforebehindbeforebehind");
    });
}
