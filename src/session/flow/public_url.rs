//! Layer 2, flow: addresses under which phones and app servers reach this deployment (protocol.md §13.1).

use crate::base::ids::UserId;
use crate::base::settings::{Server, Settings};
use crate::wire::records::AppType;
use std::net::IpAddr;

/// The public base URL without a trailing slash, `http` or `https`.
pub(crate) fn base(cfg: &Settings) -> String {
    with_scheme(&public(&cfg.server), ["http", "https"])
}

/// `ws://host[:port]` that an app is told to dial. System apps get the internal host where one is configured; `given` (from a
/// registration) comes next; then the public address.
pub(crate) fn websocket(cfg: &Settings, package: &str, kind: AppType, given: &str) -> String {
    let internal = &*cfg.server.internal_host;
    if !internal.is_empty() && is_system(cfg, package, kind) {
        // Nobody ends TLS inside: a bare name is plain, whatever it is.
        return match internal.contains("://") {
            true => with_scheme(internal, ["ws", "wss"]),
            false => with_scheme(&format!("ws://{internal}"), ["ws", "wss"]),
        };
    }
    match given {
        "" => with_scheme(&public(&cfg.server), ["ws", "wss"]),
        given => with_scheme(given, ["ws", "wss"]),
    }
}

/// The dashboard app and the assistants that may act for users.
fn is_system(cfg: &Settings, package: &str, kind: AppType) -> bool {
    let assistants = &cfg.apps.system_app_packages;
    kind == AppType::SystemDashboard || assistants.iter().any(|name| name == package)
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
            let url = websocket(&cfg, "com.acme.x", AppType::Standard, "");
            assert_eq!(url, format!("ws{s}://{rest}"));
        }
    }

    #[test]
    fn only_system_apps_are_given_the_internal_host() {
        let mut cfg = with("", "rt.example.net");
        cfg.apps.system_app_packages = vec!["com.acme.assistant".into()];
        for (host, internal) in [
            ("http://prism.internal", "ws://prism.internal"),
            ("https://prism.internal/", "wss://prism.internal"),
            ("cloud", "ws://cloud"),
            ("cloud.default.svc:80", "ws://cloud.default.svc:80"),
        ] {
            cfg.server.internal_host = host.into();
            for (package, kind, given, url) in [
                ("com.acme.assistant", AppType::Background, "", internal),
                ("com.acme.dash", AppType::SystemDashboard, "", internal),
                (
                    "com.acme.dash",
                    AppType::SystemDashboard,
                    "ws://x",
                    internal,
                ),
                (
                    "com.acme.scribe",
                    AppType::Standard,
                    "",
                    "wss://rt.example.net",
                ),
            ] {
                assert_eq!(websocket(&cfg, package, kind, given), url);
            }
        }
    }

    #[test]
    fn a_registered_server_is_told_the_address_it_registered_at() {
        let cfg = with("https://rt.example.net", "");
        assert_eq!(
            websocket(
                &cfg,
                "com.acme.scribe",
                AppType::Standard,
                "ws://10.0.0.7:8080"
            ),
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
