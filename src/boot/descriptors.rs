//! Layer 5: how many sockets the process may hold.

/// Takes the descriptors that the hard limit allows, as a socket needs one and the soft limit is often 1024. Says how many; 0
/// where the system does not tell.
pub(super) fn take_all() -> u64 {
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
