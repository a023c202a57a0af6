//! A kernel that has no room for what a socket is to be given, for a moment.

use super::*;
use std::os::fd::{FromRawFd, OwnedFd};

/// One question about the first network interface: a header, and the interface's number.
#[repr(C)]
#[derive(Clone, Copy)]
struct Question {
    header: libc::nlmsghdr,
    interface: [u32; 4],
}

/// A socket to which the kernel had more to say than it had room for: the next receive fails with ENOBUFS, those after it bring what
/// there was room for.
fn overrun() -> OwnedFd {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: plain system call; the result is checked and owned right away.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE);
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    };
    let question = Question {
        header: libc::nlmsghdr {
            nlmsg_len: size_of::<Question>() as u32,
            nlmsg_type: libc::RTM_GETLINK,
            nlmsg_flags: libc::NLM_F_REQUEST as u16,
            nlmsg_seq: 0,
            nlmsg_pid: 0,
        },
        interface: [0, 1, 0, 0],
    };
    // The kernel answers within the call.
    for _ in 0..1000 {
        let at = (&raw const question).cast();
        // SAFETY: so many readable bytes.
        unsafe { libc::send(socket.as_raw_fd(), at, size_of::<Question>(), 0) };
    }
    socket
}

#[test]
fn a_receive_that_found_no_room_goes_on_and_its_socket_lives() {
    on_both(|mut under| {
        let socket = overrun();
        for _ in 0..2 {
            under.driver.receive(5, socket.as_raw_fd(), Until::Stopped);
            match under.next() {
                (Done::Received { token: 5, last }, bytes) => {
                    assert!(!last && !bytes.is_empty());
                    return;
                }
                (Done::ReceiveEnded { token: 5, end }, _) => assert_ne!(end, End::Closed),
                (other, _) => panic!("{other:?}"),
            }
        }
        panic!("nothing came on {}", under.driver.name());
    });
}
