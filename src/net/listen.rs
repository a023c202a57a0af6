//! Layer 4: listening sockets, one per shard on one port (`SO_REUSEPORT`), bound before any shard runs; and those for datagrams.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Connections that wait to be accepted, per shard.
const BACKLOG: i32 = 4096;

/// Datagrams that wait while a shard is busy: a second of some thousand phones.
const DATAGRAM_BUFFER_BYTES: i32 = 4 << 20;

/// A port that is in use is tried this many times, with a pause in between: three seconds in all.
const RELEASE_TRIES: u32 = 60;
const RELEASE_PAUSE: Duration = Duration::from_millis(50);

/// One shard's listening socket, not yet given to its driver.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Its descriptor, ready for the driver.
    pub(crate) fn into_fd(self) -> io::Result<OwnedFd> {
        self.0.set_nonblocking(true)?;
        Ok(self.0.into())
    }
}

/// All shards' listening sockets and the address they share.
#[derive(Debug)]
pub struct Listeners {
    /// One per shard.
    pub sockets: Vec<Listener>,
    /// The port that was given, or found where 0 was asked for.
    pub address: SocketAddr,
}

impl Listeners {
    /// Second descriptors of all of them, to shut them later.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn door(&self) -> io::Result<Door> {
        let holds = self.sockets.iter().map(|listener| listener.0.try_clone());
        Ok(Door(holds.collect::<io::Result<_>>()?))
    }
}

/// Second descriptors of the listening sockets, which the shards own.
#[derive(Debug)]
pub struct Door(Vec<TcpListener>);

impl Door {
    /// Refuses connections from now on. The kernel takes the rings of a process that ended down later, and until then would
    /// accept connections that nobody serves.
    pub fn shut(&self) {
        for listener in &self.0 {
            super::socket::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR);
        }
    }
}

/// Binds `count` sockets to one address.
///
/// # Errors
/// The first failing system call.
pub fn bind(address: SocketAddr, count: u16) -> io::Result<Listeners> {
    if address.port() != 0 {
        wait_until_free(RELEASE_TRIES, || bind_one(address, Sharing::Alone))?;
    }
    let first = bind_one(address, Sharing::Group)?;
    let address = first.local_addr()?;
    let mut sockets = vec![Listener(first)];
    for _ in 1..count {
        sockets.push(Listener(bind_one(address, Sharing::Group)?));
    }
    Ok(Listeners { sockets, address })
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// With `SO_REUSEPORT` two servers would silently share the connections, so the port must be nobody's first. The sockets of a
/// process that died on io_uring live on until the kernel has taken its rings down, and would swallow connections meanwhile.
fn wait_until_free<T>(mut tries: u32, bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => tries -= 1,
            outcome => return outcome,
        }
        std::thread::sleep(RELEASE_PAUSE);
    }
}

/// Whether other sockets may listen on the same port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// None.
    Alone,
    /// Those of our other shards.
    Group,
}

fn bind_one(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let options: &[i32] = match sharing {
        Sharing::Alone => &[libc::SO_REUSEADDR],
        Sharing::Group => &[libc::SO_REUSEADDR, libc::SO_REUSEPORT],
    };
    let fd = bound(address, libc::SOCK_STREAM, options)?;
    // SAFETY: plain system call on an owned descriptor.
    check(unsafe { libc::listen(fd.as_raw_fd(), BACKLOG) })?;
    Ok(TcpListener::from(fd))
}

/// One shard's socket for datagrams.
#[derive(Debug)]
pub struct Datagrams(UdpSocket);

impl Datagrams {
    /// Its descriptor, ready for the driver.
    pub(crate) fn into_fd(self) -> io::Result<OwnedFd> {
        self.0.set_nonblocking(true)?;
        Ok(self.0.into())
    }
}

/// All shards' sockets for datagrams and the address they share.
#[derive(Debug)]
pub struct DatagramSockets {
    /// One per shard.
    pub sockets: Vec<Datagrams>,
    /// The port that was given, or found where 0 was asked for.
    pub address: SocketAddr,
}

/// What to do when a port is somebody's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It may be about to be released: try for a while.
    Wait,
    /// Give up at once.
    GiveUp,
}

/// Binds `count` sockets for datagrams to one address, which must be nobody's, as [`bind`] demands it.
///
/// # Errors
/// The first failing system call.
pub fn bind_datagrams(
    address: SocketAddr,
    count: u16,
    taken: Taken,
) -> io::Result<DatagramSockets> {
    let tries = match taken {
        Taken::Wait => RELEASE_TRIES,
        Taken::GiveUp => 0,
    };
    let alone = wait_until_free(tries, || bound(address, libc::SOCK_DGRAM, &[]))?;
    let address = UdpSocket::from(alone).local_addr()?;
    let mut sockets = Vec::new();
    for _ in 0..count {
        let fd = bound(address, libc::SOCK_DGRAM, &[libc::SO_REUSEPORT])?;
        // As much of it as the kernel allows.
        let _ = set(&fd, libc::SO_RCVBUF, DATAGRAM_BUFFER_BYTES);
        sockets.push(Datagrams(UdpSocket::from(fd)));
    }
    if let Some(Datagrams(first)) = sockets.first()
        && let Err(error) = steer(first, count)
    {
        tracing::info!(%error, "the kernel does not steer datagrams; shards forward them");
    }
    Ok(DatagramSockets { sockets, address })
}

/// Has the kernel give each datagram to the socket, in the order in which they were bound, that its first word names: the user's
/// hash modulo the number of shards (protocol.md §11.1).
fn steer(socket: &UdpSocket, count: u16) -> io::Result<()> {
    let step = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        step(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, count.into()),
        step(libc::BPF_RET | libc::BPF_A, 0),
    ];
    let program = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the program and its steps live during the call, and the sizes are theirs; the kernel copies them.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of_val(&program) as u32,
        )
    })?;
    Ok(())
}

fn set(socket: &impl AsRawFd, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the option value lives during the call and its size is given.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as u32,
        )
    })?;
    Ok(())
}

/// A socket of this kind, with these options switched on, bound to an address.
fn bound(address: SocketAddr, kind: i32, options: &[i32]) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    // SAFETY: plain system call; the result is checked and owned right away.
    let fd = unsafe {
        let fd = check(libc::socket(family, kind | libc::SOCK_CLOEXEC, 0))?;
        OwnedFd::from_raw_fd(fd)
    };
    for option in options {
        set(&fd, *option, 1)?;
    }
    match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as u16,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from(*v4.ip()).to_be(),
                },
                sin_zero: [0; 8],
            };
            // SAFETY: `raw` is a filled address of the given size.
            check(unsafe {
                libc::bind(
                    fd.as_raw_fd(),
                    (&raw const raw).cast(),
                    size_of_val(&raw) as u32,
                )
            })?;
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as u16,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            check(unsafe {
                libc::bind(
                    fd.as_raw_fd(),
                    (&raw const raw).cast(),
                    size_of_val(&raw) as u32,
                )
            })?;
        }
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_shut_door_refuses_though_the_sockets_are_still_held() {
        let listeners = bind("127.0.0.1:0".parse().expect("an address"), 2).expect("bound");
        let door = listeners.door().expect("descriptors");
        TcpStream::connect(listeners.address).expect("open");
        door.shut();
        let refused = TcpStream::connect(listeners.address).expect_err("shut");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        bind(listeners.address, 1).expect("free for the next process");
    }

    #[test]
    fn datagrams_reach_the_socket_that_their_hash_names() {
        let group = bind_datagrams("127.0.0.1:0".parse().expect("an address"), 3, Taken::GiveUp)
            .expect("bound");
        let taken = bind_datagrams(group.address, 1, Taken::GiveUp).expect_err("somebody's");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let phone = UdpSocket::bind("127.0.0.1:0").expect("bound");
        for hash in [0_u32, 1, 2, 3_718_288_755] {
            let packet = [&hash.to_be_bytes()[..], &[0, 0, 1]].concat();
            phone.send_to(&packet, group.address).expect("sent");
            let Datagrams(home) = &group.sockets[(hash % 3) as usize];
            home.set_read_timeout(Some(Duration::from_secs(5)))
                .expect("settable");
            let mut into = [0; 16];
            assert_eq!(home.recv(&mut into).expect("arrived"), 7);
            assert_eq!(into[..7], packet[..]);
        }
    }
}
