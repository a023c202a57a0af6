//! Ctrl-C: the first one ends the measurement early, so that its figures are not lost; the second one ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

static WANTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    WANTED.store(true, Ordering::Relaxed);
}

/// Takes SIGINT and SIGTERM from here on, once each.
pub(crate) fn catch() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the structure is valid when zeroed; the handler only stores to an atomic, which is async-signal-safe.
        // SA_RESETHAND gives the second signal its usual effect.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note as *const () as usize;
            action.sa_flags = libc::SA_RESETHAND;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// Takes the wish, if there is one: what comes after the measurement is done as usual.
pub(crate) fn take() -> bool {
    WANTED.swap(false, Ordering::Relaxed)
}

/// Whether somebody wants the run to end.
pub(crate) fn wanted() -> bool {
    WANTED.load(Ordering::Relaxed)
}
