//! Layer 3: where a turn went in memory. The next turn of the same connection goes nearly the same way, so its reader asks for all
//! of it at once, instead of waiting for one cache miss after another. With thousands of users in turn these misses are most of
//! what a relayed message costs outside the kernel.

/// Places remembered; what exceeds them is fetched when it is needed.
const PLACES: usize = 12;
/// Bytes per cache line.
const LINE: usize = 64;

/// The places of one turn. Addresses only: nothing is read through them.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
pub struct Trail {
    len: usize,
    /// Address of a line; its free low bits hold the number of lines.
    places: [usize; PLACES],
}

impl Trail {
    /// Forgets all places.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// A thing was used; its first `lines` cache lines (at most 63) matter. Null stands for none.
    #[inline]
    pub fn note<T>(&mut self, thing: *const T, lines: usize) {
        if !thing.is_null()
            && let Some(place) = self.places.get_mut(self.len)
        {
            *place = (thing.addr() & !(LINE - 1)) | lines;
            self.len += 1;
        }
    }

    /// Asks the processor for every place.
    #[inline]
    pub fn fetch(&self) {
        self.lines().for_each(fetch);
    }

    /// The addresses of all lines.
    #[inline]
    pub fn lines(&self) -> impl Iterator<Item = usize> {
        self.places[..self.len].iter().flat_map(|place| {
            let (first, lines) = (place & !(LINE - 1), place & (LINE - 1));
            (0..lines).map(move |line| first.wrapping_add(line * LINE))
        })
    }
}

#[inline]
fn fetch(address: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let pointer: *const i8 = std::ptr::without_provenance(address);
        // SAFETY: a hint. It reads nothing that the program could see and faults on no address, whatever became of the thing
        // that was there.
        unsafe { _mm_prefetch(pointer, _MM_HINT_T0) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_beyond_the_bound_and_things_that_are_gone_do_no_harm() {
        let mut trail = Trail::default();
        for n in 0..100 {
            let gone = Box::new([n; 64]);
            trail.note(&raw const *gone, 4);
        }
        trail.note(std::ptr::null::<u8>(), 63);
        trail.fetch();
        assert_eq!(trail.len, PLACES);
        trail.clear();
        trail.fetch();
    }
}
