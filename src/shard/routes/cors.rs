//! Layer 3: cross-origin headers (behaviour.md §11.5). Origins come from the settings, never from here.

use crate::base::settings::Http;
use crate::wire::http::{Method, RequestHead};

/// Whether `origin` is one that `pattern` allows: equal, or a subdomain of `https://*.domain`.
fn allows(pattern: &str, origin: &str) -> bool {
    if pattern == "*" || pattern == origin {
        return true;
    }
    let Some((scheme, domain)) = pattern.split_once("*.") else {
        return false;
    };
    origin
        .strip_prefix(scheme)
        .and_then(|host| host.strip_suffix(domain))
        .and_then(|host| host.strip_suffix('.'))
        .is_some_and(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        })
}

/// Headers for the answer to this request; none for a foreign origin.
#[must_use]
pub fn cors(cfg: &Http, head: &RequestHead) -> Vec<(&'static str, String)> {
    let Some(origin) = head.header("origin") else {
        return Vec::new();
    };
    if matches!(
        &*super::canonical(&head.route_path()),
        "/livez" | "/metrics"
    ) {
        return Vec::new();
    }
    let Some(pattern) = cfg
        .cors_origins
        .iter()
        .find(|pattern| allows(pattern, origin))
    else {
        return Vec::new();
    };
    let allowed = if pattern == "*" && !cfg.cors_allow_credentials {
        "*"
    } else {
        origin
    };
    let mut headers = vec![("Access-Control-Allow-Origin", allowed.to_owned())];
    if cfg.cors_allow_credentials {
        headers.push(("Access-Control-Allow-Credentials", "true".into()));
    }
    headers.push(("Vary", "Origin".into()));
    if head.method == Method::Options {
        headers.push(("Access-Control-Allow-Methods", cfg.cors_methods.join(", ")));
        headers.push(("Access-Control-Allow-Headers", cfg.cors_headers.join(", ")));
        headers.push(("Access-Control-Max-Age", cfg.cors_max_age_s.to_string()));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::{HeadStatus, parse_head};

    #[test]
    fn no_page_reads_what_probes_read_however_it_spells_the_path() {
        let cfg = Http {
            cors_origins: vec!["*".into()],
            ..Http::default()
        };
        for (path, is_told) in [
            ("/livez", false),
            ("/livez/", false),
            ("/l%69vez", false),
            ("/metrics", false),
            ("/metrics/?x", false),
            ("/apps/", true),
        ] {
            let text = format!("GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: https://a.io\r\n\r\n");
            let Ok(HeadStatus::Complete { head, .. }) = parse_head(text.as_bytes()) else {
                panic!("{path}");
            };
            assert_eq!(!cors(&cfg, &head).is_empty(), is_told, "{path}");
        }
    }

    #[test]
    fn only_listed_origins_and_real_subdomains_match() {
        let pattern = "https://*.example.net";
        for (origin, matches) in [
            ("https://app.example.net", true),
            ("https://a.b.example.net", true),
            ("https://example.net", false),
            ("https://evil-example.net", false),
            ("http://app.example.net", false),
            ("https://evil.io/.example.net", false),
        ] {
            assert_eq!(allows(pattern, origin), matches, "{origin}");
        }
        assert!(allows("https://a.io", "https://a.io"));
        assert!(!allows("https://a.io", "https://a.io.evil.io"));
    }
}
