//! Google's liblc3, loaded while running, so that building needs nothing of it.

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::mem::transmute_copy;
use std::ptr::NonNull;

const FRAME_US: c_int = 10_000;
const RATE_HZ: c_int = 16_000;
const SAMPLES: usize = 160;
/// `LC3_PCM_FORMAT_S16`.
const S16: c_int = 0;

type Size = unsafe extern "C" fn(c_int, c_int) -> c_uint;
type Setup = unsafe extern "C" fn(c_int, c_int, c_int, *mut c_void) -> *mut c_void;
type Encode =
    unsafe extern "C" fn(*mut c_void, c_int, *const c_void, c_int, c_int, *mut c_void) -> c_int;
type Decode =
    unsafe extern "C" fn(*mut c_void, *const c_void, c_int, c_int, *mut c_void, c_int) -> c_int;

/// The functions that are compared; the library stays loaded.
pub(crate) struct Library {
    encoder: (Size, Setup, Encode),
    decoder: (Size, Setup, Decode),
}

impl Library {
    /// `None`: not installed.
    pub(crate) fn open() -> Option<Self> {
        // SAFETY: a constant name; the library's initialisers have no side effects.
        let handle = NonNull::new(unsafe { libc::dlopen(c"liblc3.so.1".as_ptr(), libc::RTLD_NOW) })
            .or_else(|| {
                // SAFETY: as above.
                NonNull::new(unsafe { libc::dlopen(c"liblc3.so".as_ptr(), libc::RTLD_NOW) })
            })?;
        // SAFETY: the types are those of lc3.h, version 1.
        unsafe {
            Some(Self {
                encoder: (
                    symbol(handle, c"lc3_encoder_size")?,
                    symbol(handle, c"lc3_setup_encoder")?,
                    symbol(handle, c"lc3_encode")?,
                ),
                decoder: (
                    symbol(handle, c"lc3_decoder_size")?,
                    symbol(handle, c"lc3_setup_decoder")?,
                    symbol(handle, c"lc3_decode")?,
                ),
            })
        }
    }

    pub(crate) fn encode(&self, size: usize, pcm: &[i16]) -> Vec<u8> {
        let (bytes, setup, encode) = self.encoder;
        // SAFETY: both take valid settings; the memory is as large as asked for and outlives the encoder.
        let mut memory = unsafe { vec![0_u64; bytes(FRAME_US, RATE_HZ) as usize / 8 + 1] };
        // SAFETY: as above.
        let encoder = unsafe { setup(FRAME_US, RATE_HZ, 0, memory.as_mut_ptr().cast()) };
        let mut out = vec![0; pcm.len() / SAMPLES * size];
        for (pcm, out) in pcm.chunks_exact(SAMPLES).zip(out.chunks_mut(size)) {
            let (from, to) = (pcm.as_ptr().cast(), out.as_mut_ptr().cast());
            // SAFETY: `pcm` holds a frame's samples and `out` its `size` bytes.
            let result = unsafe { encode(encoder, S16, from, 1, size as c_int, to) };
            assert_eq!(result, 0);
        }
        out
    }

    pub(crate) fn decode(&self, size: usize, stream: &[u8]) -> Vec<i16> {
        let (bytes, setup, decode) = self.decoder;
        // SAFETY: both take valid settings; the memory is as large as asked for and outlives the decoder.
        let mut memory = unsafe { vec![0_u64; bytes(FRAME_US, RATE_HZ) as usize / 8 + 1] };
        // SAFETY: as above.
        let decoder = unsafe { setup(FRAME_US, RATE_HZ, 0, memory.as_mut_ptr().cast()) };
        let mut out = vec![0_i16; stream.len() / size * SAMPLES];
        for (frame, out) in stream.chunks(size).zip(out.chunks_mut(SAMPLES)) {
            let (from, to) = (frame.as_ptr().cast(), out.as_mut_ptr().cast());
            // SAFETY: `frame` holds `size` bytes and `out` a frame's samples.
            let result = unsafe { decode(decoder, from, size as c_int, S16, to, 1) };
            assert_eq!(result, 0);
        }
        out
    }
}

/// # Safety
/// `F` is the function's type.
unsafe fn symbol<F: Copy>(library: NonNull<c_void>, name: &CStr) -> Option<F> {
    // SAFETY: an open library and a terminated name.
    let address = NonNull::new(unsafe { libc::dlsym(library.as_ptr(), name.as_ptr()) })?;
    // SAFETY: a function pointer is as large as an address; the caller vouches for its type.
    Some(unsafe { transmute_copy(&address) })
}
