//! Layer 5: limits that the system sets the process.

/// Takes the descriptors that the hard limit allows, as a socket needs one and the soft limit is often 1024. Says how many; 0
/// where the system does not tell.
pub(super) fn take_descriptors() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` lives during both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return 0;
        }
        let soft = std::mem::replace(&mut limit.rlim_cur, limit.rlim_max);
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0 {
            return soft;
        }
    }
    limit.rlim_cur
}

/// A file that may not grow further is an error to whoever writes it, as on a full disk, and not the end of all sessions.
pub(super) fn outlive_file_limit() {
    // SAFETY: no handler is installed, and nothing else in this process asks for the signal.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}
