//! Layer 1: app session ids and how old SDKs must be parsed (protocol.md §4).

/// `<user>-<package>`.
#[must_use]
pub fn app_session_id(user: &str, package: &str) -> String {
    format!("{user}-{package}")
}

/// Splits an app session id; `is_live` tells users with a live session (protocol.md §4.3).
pub fn parse_app_session_id(id: &str, _is_live: impl Fn(&str) -> bool) -> Option<(String, String)> {
    id.split_once('-')
        .map(|(u, p)| (u.to_lowercase(), p.to_owned()))
}
