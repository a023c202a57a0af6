//! Layer 2, flow: addresses under which the outside reaches this deployment (protocol.md §13.1).

use crate::base::ids::UserId;
use crate::base::settings::Settings;

/// The public base URL without a trailing slash. Where only a host is configured, loopback means `http`.
pub(crate) fn base(cfg: &Settings) -> String {
    let server = &cfg.server;
    if !server.public_url.is_empty() {
        return server.public_url.trim_end_matches('/').to_owned();
    }
    let host = if server.public_host.is_empty() {
        let any = matches!(server.host.as_str(), "0.0.0.0" | "::" | "[::]");
        let name = if any { "localhost" } else { &server.host };
        format!("{name}:{}", server.port)
    } else {
        server.public_host.trim_end_matches('/').to_owned()
    };
    let scheme = if is_loopback(&host) { "http" } else { "https" };
    format!("{scheme}://{host}")
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
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
    fn the_scheme_follows_the_public_base() {
        assert_eq!(
            base(&with("https://rt.example.net/", "x")),
            "https://rt.example.net"
        );
        assert_eq!(base(&with("", "rt.example.net")), "https://rt.example.net");
        assert_eq!(base(&with("", "localhost:8002")), "http://localhost:8002");
        assert_eq!(base(&with("", "127.0.0.1:8002")), "http://127.0.0.1:8002");
        assert_eq!(base(&with("", "[::1]:8002")), "http://[::1]:8002");
        assert_eq!(base(&with("", "")), "http://localhost:7002");
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
