//! Layer 4: how large a connection's read buffer is. It starts small, doubles while reads fill it, halves when they no longer
//! do, and holds a larger message in progress only while that arrives.

use bytes::BytesMut;

/// Reads far below the target after which it is halved.
const QUIET_READS: u32 = 128;
/// A large message is made room for in steps, so that its announcement alone costs nothing.
const STEP_BYTES: usize = 256 * 1024;

/// The size rule of one connection.
#[derive(Debug)]
pub(crate) struct Sizing {
    target: usize,
    first: usize,
    max: usize,
    quiet: u32,
}

impl Sizing {
    pub(crate) fn new(first: usize, max: usize) -> Self {
        Self {
            target: first,
            first,
            max: max.max(first),
            quiet: 0,
        }
    }

    /// Bytes that this connection means to hold.
    pub(crate) fn target(&self) -> usize {
        self.target
    }

    /// Makes room for the next read. `wanted`: bytes missing of a frame in progress.
    pub(crate) fn prepare(&self, buf: &mut BytesMut, wanted: usize) {
        if buf.is_empty() && buf.capacity() > 2 * self.target {
            *buf = BytesMut::with_capacity(self.target);
            return;
        }
        let room = self.target.max(wanted.min(STEP_BYTES.max(buf.len())));
        // Half the room is enough for now: winding the buffer back costs a look at its reference count, which lies elsewhere.
        let enough = room.div_ceil(2).max(wanted).min(room);
        if buf.capacity() - buf.len() < enough {
            buf.reserve(room);
        }
    }

    /// A read brought `count` bytes into `room`.
    pub(crate) fn note(&mut self, count: usize, room: usize) {
        if count == room {
            self.quiet = 0;
            self.target = (self.target * 2).min(self.max);
        } else if self.target > self.first && count < self.target / 4 {
            self.quiet += 1;
            if self.quiet == QUIET_READS {
                self.quiet = 0;
                self.target = (self.target / 2).max(self.first);
            }
        } else {
            self.quiet = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_buffer_grows_and_a_quiet_one_shrinks_again() {
        let (mut sizing, mut buf) = (Sizing::new(1024, 32_768), BytesMut::with_capacity(1024));
        for _ in 0..10 {
            sizing.note(4096, 4096);
        }
        sizing.prepare(&mut buf, 0);
        assert!(buf.capacity() >= 32_768);
        for _ in 0..QUIET_READS * 10 {
            sizing.note(100, 32_768);
        }
        sizing.prepare(&mut buf, 0);
        assert!(buf.capacity() <= 2048, "{}", buf.capacity());
    }

    #[test]
    fn an_announced_giant_gets_room_in_steps() {
        let (sizing, mut buf) = (Sizing::new(1024, 32_768), BytesMut::with_capacity(1024));
        buf.extend_from_slice(&[0; 14]);
        sizing.prepare(&mut buf, 16 << 20);
        assert!(buf.capacity() < 1 << 20);
    }
}
