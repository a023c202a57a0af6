//! Layer 4: receive buffers that all sockets of a ring share. The kernel picks one per receive; it goes back when its bytes were
//! taken, so an idle connection holds none.

use super::Sizes;
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// The only buffer group.
pub(super) const GROUP: u16 = 0;
/// The kernel wants the ring page-aligned.
const PAGE: usize = 4096;
/// Buffers in use at first: the ring goes round through all of them, and few stay in the processor's caches.
const FIRST: u16 = 1024;

/// The buffers and the ring in which free ones stand. Must outlive the `IoUring` that it is registered with.
#[derive(Debug)]
pub(super) struct Buffers {
    ring: NonNull<BufRingEntry>,
    layout: Layout,
    data: Box<[u8]>,
    sizes: Sizes,
    /// Buffers in use; the memory of the others was never touched.
    used: u16,
    /// Next place in the ring; published by [`Buffers::publish`].
    tail: u16,
}

impl Buffers {
    /// Registers room for `sizes.buffers` buffers and uses the first of them.
    pub(super) fn register(uring: &IoUring, sizes: Sizes) -> io::Result<Self> {
        assert!(
            sizes.buffers.is_power_of_two(),
            "the kernel masks the index"
        );
        let bytes = usize::from(sizes.buffers) * size_of::<BufRingEntry>();
        let layout = Layout::from_size_align(bytes, PAGE).map_err(io::Error::other)?;
        // SAFETY: the layout is not empty.
        let ring = NonNull::new(unsafe { alloc_zeroed(layout) }.cast::<BufRingEntry>())
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let mut own = Self {
            ring,
            layout,
            data: vec![0; usize::from(sizes.buffers) * sizes.buffer_bytes].into_boxed_slice(),
            sizes,
            used: 0,
            tail: 0,
        };
        // SAFETY: the ring is page-aligned, as many entries long as said, and outlives the registration (see the type).
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                own.ring.as_ptr().expose_provenance() as u64,
                sizes.buffers,
                GROUP,
                0,
            )?;
        }
        own.use_up_to(FIRST);
        own.publish();
        Ok(own)
    }

    /// They ran out: twice as many are used from now on, as far as there are any.
    pub(super) fn grow(&mut self) {
        self.use_up_to(self.used.saturating_mul(2));
    }

    fn use_up_to(&mut self, count: u16) {
        let count = count.min(self.sizes.buffers);
        for id in self.used..count {
            self.give_back(id);
        }
        self.used = count;
    }

    /// What the kernel wrote into buffer `id`; `None` if that was more than a buffer holds.
    #[inline]
    pub(super) fn bytes(&self, id: u16, len: usize) -> Option<&[u8]> {
        let start = usize::from(id) * self.sizes.buffer_bytes;
        (len <= self.sizes.buffer_bytes).then(|| &self.data[start..start + len])
    }

    /// Puts buffer `id` into the ring, to be used after the next [`Buffers::publish`].
    #[inline]
    pub(super) fn give_back(&mut self, id: u16) {
        let at = usize::from(id) * self.sizes.buffer_bytes;
        let address = self.data[at..].as_mut_ptr();
        let place = usize::from(self.tail & (self.sizes.buffers - 1));
        // SAFETY: the place is inside the ring; entries from the published tail on are ours.
        let entry = unsafe { &mut *self.ring.as_ptr().add(place) };
        entry.set_addr(address.expose_provenance() as u64);
        entry.set_len(self.sizes.buffer_bytes as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see what was given back.
    #[inline]
    pub(super) fn publish(&self) {
        // SAFETY: the tail is an aligned u16 inside the ring; the kernel only reads it.
        unsafe {
            let tail = BufRingEntry::tail(self.ring.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    /// Buffers in use.
    pub(super) fn count(&self) -> u16 {
        self.used
    }

    /// Memory of the buffers in use.
    pub(super) fn len(&self) -> usize {
        usize::from(self.used) * self.sizes.buffer_bytes
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; the ring that used it is gone (see the type).
        unsafe { dealloc(self.ring.as_ptr().cast(), self.layout) };
    }
}
