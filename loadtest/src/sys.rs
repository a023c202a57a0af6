//! Thin, checked wrappers around the system calls that the engine needs: epoll, sockets, core pinning.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

fn check(rc: libc::c_int) -> io::Result<libc::c_int> {
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(rc)
    }
}

/// Events taken from the kernel per wait.
pub(crate) const EVENTS_PER_WAIT: usize = 512;

/// An epoll instance whose registrations are edge-triggered, for reading and writing at once.
pub(crate) struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// One readiness report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    /// The token given at registration.
    pub(crate) token: u64,
    /// Bytes, the end of the stream, or an error are there.
    pub(crate) readable: bool,
    /// There is room to send, or the connect ended.
    pub(crate) writable: bool,
    /// The peer has ended its side, or the connection broke: said once.
    pub(crate) ended: bool,
}

impl Epoll {
    /// A new instance.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are involved; a non-negative result is a new descriptor that we own.
        let fd = unsafe {
            let raw = check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
            OwnedFd::from_raw_fd(raw)
        };
        Ok(Self {
            fd,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_PER_WAIT],
        })
    }

    /// Registers `fd` under `token`.
    pub(crate) fn add(&self, fd: RawFd, token: u64) -> io::Result<()> {
        let interest = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        let mut event = libc::epoll_event {
            events: interest.cast_unsigned(),
            u64: token,
        };
        // SAFETY: `event` lives through the call; the kernel copies it.
        let rc = unsafe {
            libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event)
        };
        check(rc).map(|_| ())
    }

    /// Waits at most `timeout_ns` (0 polls) and returns how many reports [`Epoll::ready`] can give.
    pub(crate) fn wait(&mut self, timeout_ns: u64) -> io::Result<usize> {
        let timeout = libc::timespec {
            tv_sec: i64::try_from(timeout_ns / crate::clock::SECOND).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(timeout_ns % crate::clock::SECOND).unwrap_or(0),
        };
        // SAFETY: the buffer holds EVENTS_PER_WAIT events, the timeout lives through the call, and the
        // signal mask is absent. epoll_pwait2 takes nanoseconds, which an exact schedule needs.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS_PER_WAIT,
                &raw const timeout,
                std::ptr::null::<libc::sigset_t>(),
                0,
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted {
                Ok(0)
            } else {
                Err(error)
            };
        }
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Report number `index` of the last wait.
    pub(crate) fn ready(&self, index: usize) -> Ready {
        let event = self.events[index];
        let bits = event.events.cast_signed();
        let ended = libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLRDHUP;
        Ready {
            token: event.u64,
            readable: bits & (libc::EPOLLIN | ended) != 0,
            writable: bits & (libc::EPOLLOUT | libc::EPOLLERR | libc::EPOLLHUP) != 0,
            ended: bits & ended != 0,
        }
    }
}

fn socket_address(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.ip().octets()),
        },
        sin_zero: [0; 8],
    }
}

const ADDRESS_BYTES: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;

fn tcp_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers; a non-negative result is a new descriptor that we own.
    unsafe {
        let raw = check(libc::socket(libc::AF_INET, kind, 0))?;
        Ok(OwnedFd::from_raw_fd(raw))
    }
}

fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let bytes = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` lives through the call and `bytes` is its size.
    let rc = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), bytes) };
    check(rc).map(|_| ())
}

/// Begins to connect; the result shows when the socket becomes writable. `receive_buffer` bounds the
/// kernel's receive buffer (for readers that are meant to get stuck).
pub(crate) fn connect(to: SocketAddrV4, receive_buffer: Option<i32>) -> io::Result<OwnedFd> {
    let fd = tcp_socket()?;
    set_option(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    if let Some(bytes) = receive_buffer {
        set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)?;
    }
    let address = socket_address(to);
    // SAFETY: `address` is a valid sockaddr_in of ADDRESS_BYTES bytes.
    let rc = unsafe { libc::connect(fd.as_raw_fd(), (&raw const address).cast(), ADDRESS_BYTES) };
    match check(rc) {
        Ok(_) => Ok(fd),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(fd),
        Err(error) => Err(error),
    }
}

/// Listens; port 0 takes a free one. Returns the port.
pub(crate) fn listen(at: SocketAddrV4) -> io::Result<(OwnedFd, u16)> {
    let fd = tcp_socket()?;
    set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    let mut address = socket_address(at);
    let mut bytes = ADDRESS_BYTES;
    // SAFETY: `address` is a valid sockaddr_in of ADDRESS_BYTES bytes, also as a place to write one.
    unsafe {
        check(libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            bytes,
        ))?;
        check(libc::listen(fd.as_raw_fd(), 1024))?;
        check(libc::getsockname(
            fd.as_raw_fd(),
            (&raw mut address).cast(),
            &raw mut bytes,
        ))?;
    }
    Ok((fd, u16::from_be(address.sin_port)))
}

/// Takes one waiting connection; `None` when there is none.
pub(crate) fn accept(listener: RawFd) -> io::Result<Option<OwnedFd>> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: null address pointers are allowed; a non-negative result is a new descriptor that we own.
    let result = unsafe {
        check(libc::accept4(
            listener,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            flags,
        ))
        .map(|raw| OwnedFd::from_raw_fd(raw))
    };
    match result {
        Ok(fd) => {
            set_option(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
            Ok(Some(fd))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// How the connect that was begun on `fd` ended.
pub(crate) fn connect_result(fd: RawFd) -> io::Result<()> {
    let mut code: libc::c_int = 0;
    let mut bytes = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `code` is a writable int and `bytes` its size.
    let rc = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut code).cast(),
            &raw mut bytes,
        )
    };
    check(rc)?;
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code))
    }
}

/// Receives into `buffer`; 0 is the end of the stream.
pub(crate) fn receive(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length describe `buffer`.
    let count = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Sends as much of `bytes` as the kernel takes.
pub(crate) fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length describe `bytes`.
    let count = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Makes the close of `fd` a reset: what the network sees when a phone vanishes.
pub(crate) fn reset_on_close(fd: RawFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let bytes = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: `linger` lives through the call and `bytes` is its size. A failure leaves an orderly close.
    unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            bytes,
        );
    }
}

/// Binds the calling thread to one core.
pub(crate) fn pin_to(cpu: usize) -> io::Result<()> {
    if cpu >= usize::try_from(libc::CPU_SETSIZE).unwrap_or(0) {
        return Err(io::Error::other("no such core"));
    }
    // SAFETY: an all-zero cpu_set_t is an empty set; `cpu` is below CPU_SETSIZE.
    let rc = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    check(rc).map(|_| ())
}

/// Prepares the process: all descriptors that the hard limit allows, and timers that fire on time.
/// Returns the number of descriptors.
pub(crate) fn prepare_process() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit; PR_SET_TIMERSLACK takes a plain number. Failures change nothing.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
    limit.rlim_cur
}
