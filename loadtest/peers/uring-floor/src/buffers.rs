//! A ring of provided buffers: the kernel picks one per receive, we give it back after parsing.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// Buffers in the ring; a power of two. When they run out, every socket's receive ends and must be started again: with 400
/// frames under way at once 128 of them cost a third more than 1,024.
const COUNT: u16 = 1024;
/// Bytes of one buffer; larger than the largest frame of the benchmark.
const SIZE: usize = 4096;
/// The only buffer group.
pub(crate) const GROUP: u16 = 1;

pub(crate) struct Buffers {
    ring: *mut BufRingEntry,
    layout: Layout,
    data: Vec<u8>,
    tail: u16,
}

impl Buffers {
    pub(crate) fn register(uring: &IoUring) -> io::Result<Self> {
        let bytes = usize::from(COUNT) * size_of::<BufRingEntry>();
        let layout = Layout::from_size_align(bytes, 4096).map_err(io::Error::other)?;
        // SAFETY: the layout is not empty; a null result is handled.
        let ring = unsafe { alloc_zeroed(layout) }.cast::<BufRingEntry>();
        if ring.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // SAFETY: `ring` is page-aligned, COUNT entries long, and lives as long as the ring is used.
        unsafe {
            uring
                .submitter()
                .register_buf_ring_with_flags(ring as u64, COUNT, GROUP, 0)?;
        }
        let mut own = Self {
            ring,
            layout,
            data: vec![0; usize::from(COUNT) * SIZE],
            tail: 0,
        };
        for id in 0..COUNT {
            own.give_back(id);
        }
        own.publish();
        Ok(own)
    }

    /// The bytes that the kernel wrote into buffer `id`.
    pub(crate) fn bytes(&mut self, id: u16, length: usize) -> &mut [u8] {
        let start = usize::from(id) * SIZE;
        &mut self.data[start..start + length]
    }

    /// Hands buffer `id` to the kernel with the next [`Buffers::publish`].
    pub(crate) fn give_back(&mut self, id: u16) {
        let address = self.data[usize::from(id) * SIZE..].as_ptr() as u64;
        // SAFETY: the index is below COUNT, and entries at or beyond the published tail are ours.
        let entry = unsafe { &mut *self.ring.add(usize::from(self.tail & (COUNT - 1))) };
        entry.set_addr(address);
        entry.set_len(SIZE as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Makes what was given back visible to the kernel.
    pub(crate) fn publish(&self) {
        // SAFETY: the tail is an aligned u16 inside the ring, which outlives this; the kernel reads it.
        unsafe {
            let tail = BufRingEntry::tail(self.ring).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; the process ends with the ring.
        unsafe { dealloc(self.ring.cast(), self.layout) };
    }
}
