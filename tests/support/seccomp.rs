//! A kernel that refuses a server's process some system calls.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// One step of a filter, as the kernel has it: operation, jumps where it holds and where not, operand.
pub(crate) fn step(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// Loads the word at an offset of the call's description.
pub(crate) const LOAD: u16 = 0x20;
/// Jumps by whether the word equals the operand.
pub(crate) const EQUAL: u16 = 0x15;
/// Jumps by whether the word is the operand at least.
pub(crate) const AT_LEAST: u16 = 0x35;
/// Says what becomes of the call.
pub(crate) const ANSWER: u16 = 0x06;

/// The answer that the call fails with `errno`.
pub(crate) fn fails(errno: i32) -> libc::sock_filter {
    step(ANSWER, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32)
}

/// The answer that the call goes on.
pub(crate) fn allowed() -> libc::sock_filter {
    step(ANSWER, 0, 0, libc::SECCOMP_RET_ALLOW)
}

/// Puts a filter before all system calls of the new process.
pub(crate) fn put<const N: usize>(command: &mut Command, filter: [libc::sock_filter; N]) {
    let install = move || {
        let program = libc::sock_fprog {
            len: N as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: two system calls with constant arguments and a program that lives during the call; nothing is allocated.
        let results = unsafe {
            [
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const program,
                ),
            ]
        };
        match results {
            [0, 0] => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec only the two system calls above are made.
    unsafe { command.pre_exec(install) };
}
