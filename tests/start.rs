//! How the server starts, or says why it does not: drivers that are forbidden, ports that are taken, files that are wrong.
#![allow(missing_docs, reason = "a test")]

mod support;

use prism::base::clock::Clock;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use support::{
    DRIVERS, Server, Site, close_of, eventually, is_alive, listening, open, seccomp, token,
    wait_for,
};

/// As a container's seccomp profile does: `io_uring_setup` fails with EPERM in the new process.
fn forbid_io_uring(command: &mut Command) {
    let filter = [
        seccomp::step(seccomp::LOAD, 0, 0, 0), // the system call's number
        seccomp::step(seccomp::EQUAL, 0, 1, libc::SYS_io_uring_setup as u32),
        seccomp::fails(libc::EPERM),
        seccomp::allowed(),
    ];
    seccomp::put(command, filter);
}

/// Runs a server that is to fail; its exit code and what it said.
fn refusal(mut command: Command) -> (Option<i32>, String) {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    said_by(command.spawn().expect("it runs"))
}

/// Waits for its end; its exit code and what it said.
fn said_by(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    (output.status.code(), text)
}

#[test]
fn where_io_uring_is_forbidden_auto_runs_on_epoll_and_says_so() {
    let server = Server::with("auto", forbid_io_uring);
    let health = server.json("/health");
    assert_eq!(health["ioDriver"], "epoll");
    let shards = health["shards"].as_array().expect("one row a shard");
    assert_eq!(shards.len(), 2);
    assert!(shards.iter().all(|shard| shard["driver"] == "epoll"));
    let _phone = server.phone("ana@lumen.io");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    assert!(
        log.contains("io_uring is not available; running on epoll"),
        "{log}"
    );
}

#[test]
fn where_io_uring_is_forbidden_and_demanded_nothing_starts() {
    let site = Site::on("uring");
    let mut command = site.serve_command();
    forbid_io_uring(&mut command);
    let (code, text) = refusal(command);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.starts_with("prism: io_uring is not available: ")
            && text.ends_with("use --io-driver auto or epoll"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_driver_that_was_asked_for_is_the_one_that_health_names() {
    for driver in DRIVERS {
        let server = Server::start(driver);
        assert_eq!(server.json("/health")["ioDriver"], driver);
    }
}

/// The new process may use so much of it, and give itself more up to `hard`.
fn limit(command: &mut Command, what: libc::__rlimit_resource_t, soft: u64, hard: u64) {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: one system call with a filled limit.
    let lower = move || match unsafe { libc::setrlimit(what, &raw const limit) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: between fork and exec only that system call is made.
    unsafe { command.pre_exec(lower) };
}

#[test]
fn who_could_start_can_stop_without_another_thread() {
    // SAFETY: no memory is involved.
    let is_root = unsafe { libc::geteuid() } == 0;
    // A limit of processes does not bind root, and counts all that a user runs: one of whom nothing else does.
    let id = 20_000 + std::process::id() % 40_000;
    let mut stopped = 0;
    for threads in 1..9 {
        // One shard, whose thread is the last that a start needs: who is served meets a server that has started.
        let site = Site::new("", &[("shards", "1"), ("db_timeout_ms", "300")]);
        let mut command = site.serve_command();
        if is_root {
            std::os::unix::fs::chown(site.folder.path(), Some(id), Some(id)).expect("root may");
            command.uid(id).gid(id);
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        limit(&mut command, libc::RLIMIT_NPROC, threads, threads);
        let mut child = command.spawn().expect("one process is allowed");
        let path = format!("/glasses-ws?token={}", token("ana@lumen.io"));
        let address = listening(&mut child);
        let phone = address.and_then(|address| {
            eventually(|| {
                let phone = open(address, &path).ok();
                let mut is_over = || child.try_wait().expect("ours").is_some();
                (phone.is_some() || is_over()).then_some(phone)
            })?
        });
        let Some(mut phone) = phone else {
            let (_, said) = said_by(child);
            assert!(said.starts_with("prism: "), "{threads}: {said}");
            assert!(
                said.contains("thread") && !said.contains("panicked"),
                "{said}"
            );
            continue;
        };
        wait_for(&mut phone, "connection_ack");
        // SAFETY: no memory is involved.
        unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        assert_eq!(close_of(&mut phone).0, 1001, "{threads}");
        drop(phone);
        let (code, said) = said_by(child);
        assert_eq!(code, Some(0), "{threads}");
        // Nor does it need one to say so.
        for line in [
            "listening on http://",
            "shutdown-started",
            "shutdown-complete",
        ] {
            assert!(said.contains(line), "{threads}: {said}");
        }
        stopped += 1;
    }
    assert!(stopped > 0 || !is_root, "limits at which it starts");
}

#[test]
fn a_low_soft_limit_of_descriptors_is_raised() {
    let server = Server::with("auto", |command| {
        limit(command, libc::RLIMIT_NOFILE, 64, 1024);
    });
    let phones: Vec<_> = (0..100)
        .map(|n| server.phone(&format!("phone{n}@lumen.io")))
        .collect();
    drop(phones);
    let (_, log) = server.stop();
    assert!(log.contains(r#""descriptors":1024"#), "{log}");
    assert!(!log.contains("accept fails"), "{log}");
}

/// How often each of two shards may have said a thing since then: once in 10 s.
fn most_lines(since: &Clock) -> usize {
    2 * (1 + (since.mono_ns() / 10_000_000_000) as usize)
}

#[test]
fn without_descriptors_users_stay_and_the_log_is_quiet() {
    for driver in DRIVERS {
        let clock = Clock::start();
        let server = Server::with(driver, |command| {
            limit(command, libc::RLIMIT_NOFILE, 64, 64);
        });
        let mut ana = server.phone("ana@lumen.io");
        for _ in 0..10 {
            // None of them says anything; the last wait in vain.
            let crowd: Vec<_> = (0..100).map(|_| server.tcp()).collect();
            assert!(is_alive(&mut ana), "{driver}");
            drop(crowd);
            // Answered when there is room again.
            server.has_figures(&[("/activeSessions", 1)]);
        }
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{driver}");
        let lines = log.matches("accept fails").count();
        let most = most_lines(&clock);
        assert!((1..=most).contains(&lines), "{driver}: {lines} of {most}");
    }
}

#[test]
fn probes_are_answered_when_descriptors_run_out() {
    const PROBE: &str = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for driver in DRIVERS {
        let clock = Clock::start();
        let server = Server::with(driver, |command| {
            limit(command, libc::RLIMIT_NOFILE, 64, 64);
            // Who says nothing is not let go by the clock, as long as a probe is waited for.
            command.env("PRISM_HTTP_HEAD_TIMEOUT_MS", "60000");
        });
        // Phones, as many as come in.
        let path = |n: usize| format!("/glasses-ws?token={}", token(&format!("phone{n}@lumen.io")));
        let mut phones: Vec<_> = (0..100)
            .map_while(|n| open(server.address, &path(n)).ok())
            .collect();
        assert!(
            (1..64).contains(&phones.len()),
            "{driver}: {}",
            phones.len()
        );
        let refused = server.raw(&format!(
            "GET {} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            path(100)
        ));
        assert!(refused.starts_with("HTTP/1.1 503"), "{driver}: {refused}");
        assert!(refused.contains("Retry-After: 5"), "{driver}: {refused}");
        let probed = server.raw(PROBE);
        assert!(probed.starts_with("HTTP/1.1 200"), "{driver}: {probed}");
        // And connections that never say anything: they make room.
        let crowd: Vec<_> = (0..40).map(|_| server.tcp()).collect();
        let probed = server.raw(PROBE);
        assert!(probed.starts_with("HTTP/1.1 200"), "{driver}: {probed}");
        drop(crowd);
        assert!(phones.iter_mut().all(is_alive), "{driver}");
        // Who goes makes room.
        phones.clear();
        let back = eventually(|| open(server.address, &path(0)).ok());
        wait_for(&mut back.expect("room"), "connection_ack");
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{driver}");
        let lines = log.matches("few descriptors are left").count();
        let most = most_lines(&clock);
        assert!((1..=most).contains(&lines), "{driver}: {lines} of {most}");
    }
}

#[test]
fn a_store_that_may_not_grow_refuses_writes_and_ends_no_session() {
    let server = Server::with("auto", |command| {
        limit(command, libc::RLIMIT_FSIZE, 1_200_000, 1_200_000);
        command.env("PRISM_DB_TIMEOUT_MS", "300");
    });
    let mut ana = server.phone("ana@lumen.io");
    let value = serde_json::json!({ "value": "x".repeat(90_000) });
    let refused = (0..100).find_map(|n| {
        let path = format!("/api/client/user/settings/key/k{n}");
        let answer = server.as_user("ana@lumen.io", "PUT", &path, &value);
        (answer.status != 200).then_some(answer.status)
    });
    assert_eq!(refused, Some(503));
    assert!(is_alive(&mut ana));
}

#[test]
fn a_taken_port_is_one_clear_line() {
    // Another program's, and another server's of our own: sharing a port must be meant.
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let sibling = Server::start("epoll");
    let theirs = other.local_addr().expect("bound").port().to_string();
    let ours = sibling.address.port().to_string();
    for port in [theirs, ours] {
        let site = Site::on("auto");
        let mut command = site.serve_command();
        command.env("PRISM_PORT", &port);
        let (code, text) = refusal(command);
        assert_eq!(code, Some(1), "{text}");
        let expected = format!("prism: cannot listen on 127.0.0.1:{port}: ");
        assert!(
            text.starts_with(&expected) && text.contains("in use"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn wrong_files_are_named_with_their_problem() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path.display().to_string()
    };
    let missing = folder.path().join("nowhere.yaml").display().to_string();
    let broken = write("broken.yaml", "apps: [{packageName: a}]");
    let unknown = write("config.yaml", "server:\n  prot: 80\n");
    for (flag, value, words) in [
        (
            "--apps",
            missing.as_str(),
            &["apps file", "nowhere.yaml", "No such file"][..],
        ),
        (
            "--apps",
            &broken,
            &["apps file", "broken.yaml", "publicUrl is missing"],
        ),
        ("--config", &missing, &["nowhere.yaml", "No such file"]),
        ("--config", &unknown, &["config.yaml", "prot"]),
        ("--shards", "many", &["--shards", "many"]),
        ("--shards", "65535", &["server.shards", "outside 0..=1024"]),
    ] {
        let home = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_prism"));
        command
            .args(["serve", "--host", "127.0.0.1", "--port", "0", flag, value])
            .arg("--data-dir")
            .arg(home.path())
            .current_dir(home.path());
        let (code, text) = refusal(command);
        assert_eq!(code, Some(2), "{value}: {text}");
        for word in words {
            assert!(text.contains(word), "{value}: {text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn a_killed_servers_port_can_be_taken_again_at_once() {
    for driver in DRIVERS {
        let mut first = Server::start(driver);
        let port = first.address.port().to_string();
        let _phone = first.phone("ana@lumen.io");
        first.kill_9();
        let second = Server::with_env(driver, &[("PRISM_PORT", &port)]);
        second.phone("ana@lumen.io");
    }
}

#[test]
fn check_config_finds_what_would_stop_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |config: &str, apps: &str| {
        std::fs::write(folder.path().join("config.yaml"), config).expect("writable");
        std::fs::write(folder.path().join("apps.yaml"), apps).expect("writable");
        let mut command = Command::new(env!("CARGO_BIN_EXE_prism"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PRISM_") {
                command.env_remove(name);
            }
        }
        command
            .arg("check-config")
            .env("PRISM_PROT", "80")
            .current_dir(folder.path());
        refusal(command)
    };
    let unknown = "warning: PRISM_PROT is no key's name";
    assert_eq!(check("", ""), (Some(0), unknown.to_owned()));
    for (config, apps, words) in [
        (
            "observability: {log_level: loud}",
            "",
            "observability.log_level",
        ),
        ("", "apps: [{packageName: a}]", "publicUrl is missing"),
        (
            "server: {capabilities_file: none}",
            "",
            "capabilities file none",
        ),
    ] {
        let (code, text) = check(config, apps);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn phones_are_told_of_udp_only_where_a_socket_takes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.yaml");
    let write = |udp: &str| std::fs::write(&config, format!("udp: {udp}\n")).expect("writable");
    write("{udp_enabled: false}");
    let server = Server::with("epoll", |command| {
        command.arg("--config").arg(&config);
        command.env("PRISM_ADMIN_API_KEY", "k");
    });
    write("{udp_enabled: true, udp_host: udp.example.net}");
    let answer = server.raw(
        "POST /api/admin/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let ack = wait_for(&mut server.dial("nadia@lumen.io"), "connection_ack");
    assert!(ack.get("udpHost").is_none(), "{ack}");
    let (_, log) = server.stop();
    assert!(log.contains("phones are not told of UDP"), "{log}");
}

#[test]
fn a_reload_says_what_changed_and_what_waits_for_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.yaml");
    let write = |text: &str| std::fs::write(&config, text).expect("writable");
    write("");
    let server = Server::with("epoll", |command| {
        command.arg("--config").arg(&config);
        command.env("PRISM_ADMIN_API_KEY", "k");
    });
    write("server: {pin_cores: false}\napps: {app_grace_ms: 4000}\n");
    let answer = server.raw(
        "POST /api/admin/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    let line = |words: &str| {
        log.lines()
            .find(|line| line.contains(words))
            .unwrap_or_else(|| panic!("{words}: {log}"))
    };
    assert!(line("configuration reloaded").contains(r#""changed":"pin_cores app_grace_ms""#));
    assert!(line("wait for a restart").contains(r#""keys":"pin_cores""#));
}
