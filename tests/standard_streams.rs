//! Standard output and standard error whose reader is stuck or gone: neither may hold up the server or its end.
#![allow(missing_docs, reason = "a test")]

mod support;

use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command};
use support::{Site, close_of, eventually, listening, open, rest_of, token, wait_for};

/// What a pipe holds (bytes): less than the first lines of a log.
const PIPE_BYTES: i32 = 4096;

fn small_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    // SAFETY: no memory is involved.
    let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE_BYTES) };
    assert!(size >= PIPE_BYTES);
    (reader, writer)
}

/// Waits until it accepts.
fn phone(address: SocketAddr, email: &str) -> support::Socket {
    let path = format!("/glasses-ws?token={}", token(email));
    let mut phone = eventually(|| open(address, &path).ok()).expect("it serves");
    wait_for(&mut phone, "connection_ack");
    phone
}

fn goodbye(mut child: Child, mut phone: support::Socket) {
    let id = child.id().to_string();
    let asked = Command::new("kill").args(["-TERM", &id]).status();
    assert!(asked.expect("kill runs").success());
    let told = close_of(&mut phone);
    assert_eq!(told, (1001, "Server shutting down".to_owned()));
    drop(phone);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_reader_of_both_streams_that_is_stuck_holds_up_no_shutdown() {
    let site = Site::on("auto");
    let mut command = site.serve_command();
    let (reader, writer) = small_pipe();
    command
        .stdout(writer.try_clone().expect("a descriptor"))
        .stderr(writer);
    let child = command.spawn().expect("it starts");
    drop(command);
    // Until it listens; from here on nobody reads.
    let mut lines = BufReader::new(reader).lines().map_while(Result::ok);
    let address = lines
        .find_map(|line| Some(line.split_once("listening on http://")?.1.to_owned()))
        .expect("it listens");
    let address = address.parse().expect("an address");
    let phones: Vec<_> = (0..50)
        .map(|n| phone(address, &format!("phone{n}@lumen.io")))
        .collect();
    drop(phones);
    let last = phone(address, "ana@lumen.io");
    goodbye(child, last);
    drop(lines);
}

#[test]
fn without_readers_it_starts_serves_and_counts_what_nobody_gets() {
    let site = Site::on("auto");
    let mut command = site.serve_command();
    let (reader, writer) = small_pipe();
    drop(reader);
    command
        .stdout(writer.try_clone().expect("a descriptor"))
        .stderr(writer);
    let mut child = command.spawn().expect("it starts");
    let address = listening(&mut child).expect("it listens");
    let ana = phone(address, "ana@lumen.io");
    let counted = eventually(|| {
        let mut stream = TcpStream::connect(address).expect("it accepts");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("written");
        let metrics = rest_of(&mut stream);
        assert!(metrics.starts_with("HTTP/1.1 200 "), "{metrics}");
        assert!(metrics.contains("\nprism_log_lines_dropped_total "));
        (!metrics.contains("\nprism_log_lines_dropped_total 0\n")).then_some(())
    });
    assert!(counted.is_some(), "nothing was dropped");
    goodbye(child, ana);
}
