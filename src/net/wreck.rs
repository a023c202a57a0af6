//! Layer 4: the end of a shard whose driver broke. Nothing can be awaited any more, but peers are not to wait for a server that is
//! dead.

use super::links::{Kind, NO_FD};
use super::node::Node;
use super::socket::shutdown;
use crate::base::close::CloseReason;
use crate::wire::frame::encode_close;
use std::os::fd::RawFd;

/// Says goodbye where the kernel takes it at once and no frame may have been cut, and ends every socket. Their memory stays: of what
/// was under way, nobody knows what the kernel still uses.
pub(super) fn leave(node: &Node) {
    let mut goodbye = Vec::new();
    let reason = CloseReason::ServerShutdown;
    encode_close(reason.code(), reason.text(), &mut goodbye);
    shutdown(node.listener(), libc::SHUT_RDWR);
    let links = &mut node.net.borrow_mut().links;
    let flight = links.flight;
    for link in links.all().filter(|link| link.fd != NO_FD) {
        let is_between_frames = link.sending.is_none() && link.flight != flight;
        if link.kind == Kind::Frames && !link.writer_over && is_between_frames {
            say(link.fd, &goodbye);
        }
        link.shutdown(libc::SHUT_RDWR);
    }
}

fn say(fd: RawFd, bytes: &[u8]) {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the bytes are readable. A socket that takes none, or a part, ends without a close frame.
    unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
}
