//! Layer 2, flow: addresses under which phones and app servers reach this deployment (protocol.md §13.1).

use crate::base::ids::UserId;
use crate::base::settings::{Server, Settings};
use std::net::IpAddr;

/// The public base URL without a trailing slash, `http` or `https`.
pub(crate) fn base(cfg: &Settings) -> String {
    with_scheme(&public(&cfg.server), ["http", "https"])
}

/// `ws://host[:port]` that an app is told to dial. System apps get the internal host where one is configured; `given` (from a
/// registration) comes next; then the public address.
pub(crate) fn websocket(cfg: &Settings, package: &str, given: &str) -> String {
    let system = &cfg.apps.system_app_packages;
    let internal = if system.iter().any(|name| name == package) {
        &*cfg.server.internal_host
    } else {
        ""
    };
    let address = match (internal, given) {
        ("", "") => public(&cfg.server),
        ("", given) => given.to_owned(),
        (internal, _) => within(internal),
    };
    with_scheme(&address, ["ws", "wss"])
}

/// The internal host with a scheme: what is reached without leaving the operator's network has no TLS, unless it says so.
pub(crate) fn within(internal_host: &str) -> String {
    if internal_host.contains("://") {
        internal_host.to_owned()
    } else {
        format!("ws://{internal_host}")
    }
}

/// Where a phone fetches an app's audio output stream (protocol.md §9.12).
pub(crate) fn audio_stream(cfg: &Settings, user: &UserId, stream_id: &str) -> String {
    let mut url = base(cfg);
    url.push_str("/api/audio/stream/");
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url.push('/');
    url.push_str(stream_id);
    url
}

/// The public URL, the public host, or else the listener's own address.
fn public(server: &Server) -> String {
    [&server.public_url, &server.public_host]
        .into_iter()
        .find(|text| !text.is_empty())
        .cloned()
        .unwrap_or_else(|| own(server))
}

fn own(server: &Server) -> String {
    let (host, port) = (&server.host, server.port);
    if matches!(&**host, "0.0.0.0" | "::" | "[::]" | "") {
        format!("127.0.0.1:{port}")
    } else if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// The address with one of two schemes, plain or secure: what is plain stays plain; a bare host is plain when it is loopback.
fn with_scheme(address: &str, [plain, secure]: [&str; 2]) -> String {
    let address = address.trim_end_matches('/');
    let (scheme, rest) = match address.split_once("://") {
        Some(("http" | "ws", rest)) => (plain, rest),
        Some((_, rest)) => (secure, rest),
        None if is_loopback(address) => (plain, address),
        None => (secure, address),
    };
    format!("{scheme}://{rest}")
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    };
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(url: &str, host: &str) -> Settings {
        let mut cfg = Settings::default();
        cfg.server.public_url = url.into();
        cfg.server.public_host = host.into();
        cfg.server.port = 7002;
        cfg
    }

    #[test]
    fn the_scheme_follows_the_public_address() {
        for (url, host, scheme_and_rest) in [
            ("https://rt.example.net/", "x", ("s", "rt.example.net")),
            ("http://10.0.0.7:8080", "", ("", "10.0.0.7:8080")),
            ("", "rt.example.net", ("s", "rt.example.net")),
            ("", "localhost:8002", ("", "localhost:8002")),
            ("", "127.0.0.1:8002", ("", "127.0.0.1:8002")),
            ("", "[::1]:8002", ("", "[::1]:8002")),
            ("", "", ("", "127.0.0.1:7002")),
        ] {
            let cfg = with(url, host);
            let (s, rest) = scheme_and_rest;
            assert_eq!(base(&cfg), format!("http{s}://{rest}"));
            assert_eq!(websocket(&cfg, "com.acme.x", ""), format!("ws{s}://{rest}"));
        }
    }

    #[test]
    fn only_system_apps_are_given_the_internal_host() {
        let mut cfg = with("", "rt.example.net");
        cfg.apps.system_app_packages = vec!["com.acme.assistant".into()];
        for (host, wanted) in [
            ("http://prism.internal", "ws://prism.internal"),
            ("prism.internal:8002", "ws://prism.internal:8002"),
            ("https://prism.internal/", "wss://prism.internal"),
        ] {
            cfg.server.internal_host = host.into();
            assert_eq!(websocket(&cfg, "com.acme.assistant", ""), wanted);
            // Recoveries of a system dashboard, which is in no list, name it themselves.
            assert_eq!(websocket(&cfg, "system.board", &within(host)), wanted);
            assert_eq!(
                websocket(&cfg, "com.acme.scribe", ""),
                "wss://rt.example.net"
            );
        }
    }

    #[test]
    fn a_registered_server_is_told_the_address_it_registered_at() {
        let cfg = with("https://rt.example.net", "");
        assert_eq!(
            websocket(&cfg, "com.acme.scribe", "ws://10.0.0.7:8080"),
            "ws://10.0.0.7:8080"
        );
    }

    #[test]
    fn the_user_is_percent_encoded() {
        assert_eq!(
            audio_stream(
                &with("https://rt.example.net", ""),
                &UserId::new("nadia+x@lumen.io"),
                "s"
            ),
            "https://rt.example.net/api/audio/stream/nadia%2Bx%40lumen.io/s"
        );
    }
}
