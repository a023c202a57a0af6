//! Layer 3: app sockets before they belong to a session (protocol.md §3.2 row 1–2, §3.4 rows 1–5). Pure: it judges one
//! message and says what is to be done; it sends nothing and looks up no session itself.

use crate::base::clock::Now;
use crate::base::close::CloseReason;
use crate::base::ids::{Package, UserId};
use crate::session::event::{AppHello, HelloKind, Sdk};
use crate::wire::hello::{self, HelloFields};
use crate::wire::ids::parse_app_session_id;
use crate::wire::json::{ObjectWriter, Scratch, kind};
use crate::wire::upgrade::AppHeaders;
use std::net::IpAddr;

/// What an un-initialised app socket said about itself so far.
#[derive(Clone, Debug, Default)]
pub struct Candidate {
    /// The upgrade's headers, amended by a first message.
    pub headers: AppHeaders,
    /// Effective client address.
    pub address: Option<IpAddr>,
    /// Unparsable messages in a row.
    pub invalid_json: u32,
    /// The user whose home another shard found in the first message; it stands, even if live users have changed since.
    pub resolved: Option<UserId>,
    /// A rejection was sent; unless an init comes, the socket closes with this reason at its deadline.
    pub rejected: Option<CloseReason>,
}

impl Candidate {
    /// The hello that a verified upgrade token stands for (protocol.md §3.3).
    #[must_use]
    pub fn token_hello(&self) -> Option<(UserId, AppHello)> {
        let claims = self.headers.jwt.as_ref()?;
        let user = UserId::new(self.headers.user.as_deref()?);
        Some((
            user,
            AppHello {
                kind: HelloKind::Init,
                package: Package::new(&claims.package_name),
                api_key: Some(claims.api_key.clone()),
                session_id: self.headers.session_id.clone(),
                sdk: Sdk::from_version(self.headers.sdk_version.as_deref()),
                address: self.address,
            },
        ))
    }
}

/// A message of the shard itself, to a socket that no session speaks to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Notice {
    /// `pong`.
    Pong,
    /// `tpa_connection_error`.
    Error(&'static str, &'static str),
    /// `reconnect_rejected`.
    Rejected(&'static str, &'static str),
    /// `reconnect_deferred` `BOOTING`.
    Deferred(u64),
    /// `connection_error` to a phone that is about to be closed 1011.
    PhoneFailed,
}

impl Notice {
    /// Appends the JSON text.
    pub(super) fn write(self, now: Now, out: &mut Vec<u8>) {
        let iso = now.iso();
        let mut object = ObjectWriter::begin(out);
        match self {
            Self::Pong => object.str("type", "pong").num("timestamp", now.unix_ms),
            Self::Error(code, message) => object
                .str("type", "tpa_connection_error")
                .str("code", code)
                .str("message", message)
                .str("timestamp", iso.as_str()),
            Self::PhoneFailed => object
                .str("type", "connection_error")
                .str("message", "Internal server error")
                .str("timestamp", iso.as_str()),
            Self::Rejected(code, message) => object
                .str("type", "reconnect_rejected")
                .str("code", code)
                .str("message", message)
                .str("timestamp", iso.as_str()),
            Self::Deferred(timeout_ms) => object
                .str("type", "reconnect_deferred")
                .str("code", "BOOTING")
                .str("message", "Cloud is still restoring user session state")
                .num("timeoutMs", timeout_ms)
                .str("timestamp", iso.as_str()),
        };
        object.end();
    }
}

/// What a message of an un-initialised socket asks for.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum HelloStep {
    /// Nothing.
    Ignore,
    /// Send this; the socket stays.
    Answer(Notice),
    /// Send this, if any, and close.
    Close(Option<Notice>, CloseReason),
    /// Send this and close after `reject_linger_ms`, unless an init comes first.
    Linger(Notice, CloseReason),
    /// It named itself: to the user's home, and there to the session or to `unowned::without_session`.
    Hello(UserId, AppHello),
}

pub(super) const MALFORMED: Notice = Notice::Error("MALFORMED_MESSAGE", "Invalid JSON message");
pub(super) const NO_SESSION: Notice = Notice::Error("SESSION_NOT_FOUND", "Session not found");

/// Judges one text message of `candidate`; `is_live` tells users with a live session, on any shard.
pub(super) fn judge(
    message: &str,
    candidate: &mut Candidate,
    invalid_json_before_close: u64,
    scratch: &mut Scratch,
    is_live: impl Fn(&str) -> bool,
) -> HelloStep {
    let Ok(kind) = kind(message) else {
        return malformed(candidate, invalid_json_before_close);
    };
    let hello_kind = match &*kind {
        "tpa_connection_init" | "connection_init" => HelloKind::Init,
        "reconnect" => HelloKind::Reconnect,
        other => {
            candidate.invalid_json = 0;
            return match other {
                "ping" => HelloStep::Answer(Notice::Pong),
                "pong" => HelloStep::Ignore,
                _ => HelloStep::Answer(NO_SESSION),
            };
        }
    };
    let Ok(hello) = HelloFields::read(message.as_bytes(), scratch) else {
        return malformed(candidate, invalid_json_before_close);
    };
    candidate.invalid_json = 0;
    match hello_kind {
        HelloKind::Init => init(hello, candidate, is_live),
        HelloKind::Reconnect => reconnect(hello, candidate, is_live),
    }
}

fn malformed(candidate: &mut Candidate, before_close: u64) -> HelloStep {
    candidate.invalid_json += 1;
    if u64::from(candidate.invalid_json) >= before_close {
        HelloStep::Close(Some(MALFORMED), CloseReason::InvalidJson)
    } else {
        HelloStep::Answer(MALFORMED)
    }
}

/// protocol.md §3.2 row 1. The header names the user; only without one the session id does.
fn init(hello: HelloFields, candidate: &Candidate, is_live: impl Fn(&str) -> bool) -> HelloStep {
    let headers = &candidate.headers;
    let session_id = hello.session_id;
    let parsed = session_id
        .as_deref()
        .and_then(|id| parse_app_session_id(id, is_live));
    let (parsed_user, parsed_package) = parsed.unzip();
    let resolved = candidate.resolved.as_ref().map(|user| user.to_string());
    let user = headers.user.clone().or(resolved).or(parsed_user);
    let package = hello
        .package_name
        .or_else(|| headers.package.clone())
        .or(parsed_package);
    let (Some(user), Some(package)) = (user, package) else {
        return HelloStep::Close(None, CloseReason::IdentityMissing);
    };
    // The header counts for other ways in only (protocol.md §0.1).
    let version = hello.sdk_version;
    HelloStep::Hello(
        UserId::new(&user),
        AppHello {
            kind: HelloKind::Init,
            package: Package::new(&package),
            // An absent key is a wrong key (row 4), not another case.
            api_key: hello
                .api_key
                .or_else(|| headers.api_key.clone())
                .or_else(|| Some(String::new())),
            session_id,
            sdk: Sdk::from_version(version.as_deref()),
            address: candidate.address,
        },
    )
}

/// protocol.md §3.4 rows 1 and 2. The user is never taken from the session id.
fn reconnect(
    hello: HelloFields,
    candidate: &Candidate,
    is_live: impl Fn(&str) -> bool,
) -> HelloStep {
    let headers = &candidate.headers;
    let version = hello.sdk_version.or_else(|| headers.sdk_version.clone());
    let sdk = Sdk::from_version(version.as_deref());
    if sdk != Sdk::V3 {
        return HelloStep::Linger(
            Notice::Rejected("SESSION_NOT_FOUND", hello::V3_ONLY),
            CloseReason::ReconnectUnsupported,
        );
    }
    let session_id = hello.session_id;
    let claims = headers.jwt.as_ref();
    let package = headers
        .package
        .clone()
        .or_else(|| claims.map(|claims| claims.package_name.clone()))
        .or_else(|| {
            let id = session_id.as_deref()?;
            parse_app_session_id(id, is_live).map(|(_, package)| package)
        });
    let (Some(user), Some(package)) = (&headers.user, package) else {
        return HelloStep::Linger(
            Notice::Rejected(
                "SESSION_NOT_FOUND",
                "Reconnect missing user or package identity",
            ),
            CloseReason::ReconnectIdentityMissing,
        );
    };
    let api_key = headers
        .api_key
        .clone()
        .or_else(|| claims.map(|claims| claims.api_key.clone()));
    HelloStep::Hello(
        UserId::new(user),
        AppHello {
            kind: HelloKind::Reconnect,
            package: Package::new(&package),
            api_key,
            session_id,
            sdk,
            address: candidate.address,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(user: Option<&str>) -> Candidate {
        Candidate {
            headers: AppHeaders {
                user: user.map(str::to_owned),
                ..AppHeaders::default()
            },
            ..Candidate::default()
        }
    }

    fn say(candidate: &mut Candidate, message: &str) -> HelloStep {
        judge(message, candidate, 10, &mut Scratch::new(), |user| {
            user == "ana@x.xn--p1ai"
        })
    }

    #[test]
    fn a_v2_init_names_its_user_in_the_session_id_and_a_live_user_wins() {
        let mut fresh = candidate(None);
        let step = say(
            &mut fresh,
            r#"{"type":"tpa_connection_init","sessionId":"ana@x.xn--p1ai-com.acme.x","packageName":"com.acme.x","apiKey":"k"}"#,
        );
        let HelloStep::Hello(user, hello) = step else {
            panic!("{step:?}");
        };
        assert_eq!(&*user, "ana@x.xn--p1ai");
        assert_eq!(hello.sdk, Sdk::V2);
        assert_eq!(hello.api_key.as_deref(), Some("k"));
    }

    #[test]
    fn the_header_names_the_user_before_the_session_id() {
        let mut fresh = candidate(Some("nadia@lumen.io"));
        let step = say(
            &mut fresh,
            r#"{"type":"connection_init","sessionId":"eve@evil.io-com.acme.x","packageName":"com.acme.x"}"#,
        );
        let HelloStep::Hello(user, hello) = step else {
            panic!("{step:?}");
        };
        assert_eq!(&*user, "nadia@lumen.io");
        assert_eq!(hello.api_key.as_deref(), Some(""), "no key is a wrong key");
    }

    #[test]
    fn the_version_header_counts_for_a_reconnect_but_not_for_an_init() {
        let mut fresh = candidate(Some("nadia@lumen.io"));
        fresh.headers.sdk_version = Some("3.0.0".into());
        fresh.headers.package = Some("com.acme.x".into());
        for (kind, sdk) in [("tpa_connection_init", Sdk::V2), ("reconnect", Sdk::V3)] {
            let step = say(&mut fresh, &format!(r#"{{"type":"{kind}"}}"#));
            let HelloStep::Hello(_, hello) = step else {
                panic!("{step:?}");
            };
            assert_eq!(hello.sdk, sdk, "{kind}");
        }
    }

    #[test]
    fn a_version_is_read_as_an_integer_before_the_first_dot() {
        for (version, sdk) in [
            ("3.0.0-hono.8", Sdk::V3),
            ("3", Sdk::V3),
            ("3-beta", Sdk::V3),
            (" 3.1", Sdk::V3),
            ("+03x.1", Sdk::V3),
            ("12.0", Sdk::V3),
            ("99999999999999999999", Sdk::V3),
            ("2.1.29", Sdk::V2),
            ("v3.0", Sdk::V2),
            ("-3.0", Sdk::V2),
            ("0x3", Sdk::V2),
            (".3", Sdk::V2),
            ("00", Sdk::V2),
            ("", Sdk::V2),
        ] {
            let step = say(
                &mut candidate(Some("nadia@lumen.io")),
                &format!(
                    r#"{{"type":"tpa_connection_init","packageName":"com.acme.x","sdkVersion":"{version}"}}"#
                ),
            );
            let HelloStep::Hello(_, hello) = step else {
                panic!("{step:?}");
            };
            assert_eq!(hello.sdk, sdk, "{version:?}");
        }
    }

    #[test]
    fn an_init_without_identity_is_closed_without_a_word() {
        assert_eq!(
            say(
                &mut candidate(None),
                r#"{"type":"tpa_connection_init","packageName":"a.b"}"#
            ),
            HelloStep::Close(None, CloseReason::IdentityMissing)
        );
    }

    #[test]
    fn what_no_name_or_key_is_as_long_as_counts_as_absent() {
        let long = "x".repeat(hello::FIELD_BYTES_MAX + 1);
        let named = |user, package: &str, key: &str| {
            let text = format!(
                r#"{{"type":"tpa_connection_init","packageName":"{package}","apiKey":"{key}"}}"#
            );
            say(&mut candidate(user), &text)
        };
        assert_eq!(
            named(Some("nadia@lumen.io"), &long, "k"),
            HelloStep::Close(None, CloseReason::IdentityMissing)
        );
        let HelloStep::Hello(_, hello) = named(Some("nadia@lumen.io"), "a.b", &long) else {
            panic!("it named itself");
        };
        assert_eq!(hello.api_key.as_deref(), Some(""), "no key is a wrong key");
    }

    #[test]
    fn what_is_too_long_for_a_hello_says_nothing_but_its_type() {
        let numbers = "0,".repeat(hello::MESSAGE_BYTES_MAX / 2);
        let long = format!(
            r#"{{"type":"tpa_connection_init","packageName":"a.b","sessionId":[{numbers}0]}}"#
        );
        assert_eq!(
            say(&mut candidate(Some("nadia@lumen.io")), &long),
            HelloStep::Close(None, CloseReason::IdentityMissing)
        );
        let broken = format!("{long}}}");
        assert_eq!(
            say(&mut candidate(None), &broken),
            HelloStep::Answer(MALFORMED)
        );
    }

    #[test]
    fn reconnect_rows_one_and_two_linger() {
        let v2 = say(&mut candidate(Some("a@b.io")), r#"{"type":"reconnect"}"#);
        assert!(matches!(
            v2,
            HelloStep::Linger(_, CloseReason::ReconnectUnsupported)
        ));
        // Unlike init, the user is never taken from the session id.
        let anonymous = say(
            &mut candidate(None),
            r#"{"type":"reconnect","sdkVersion":"3.0.0","sessionId":"a@b.io-com.acme.x"}"#,
        );
        assert!(matches!(
            anonymous,
            HelloStep::Linger(_, CloseReason::ReconnectIdentityMissing)
        ));
    }

    #[test]
    fn the_tenth_unparsable_message_in_a_row_closes() {
        let mut fresh = candidate(None);
        for _ in 0..9 {
            assert_eq!(say(&mut fresh, "{"), HelloStep::Answer(MALFORMED));
        }
        assert_eq!(
            say(&mut fresh, r#"{"type":"ping"}"#),
            HelloStep::Answer(Notice::Pong)
        );
        for _ in 0..9 {
            assert_eq!(say(&mut fresh, "[]"), HelloStep::Answer(MALFORMED));
        }
        assert_eq!(
            say(&mut fresh, "x"),
            HelloStep::Close(Some(MALFORMED), CloseReason::InvalidJson)
        );
    }

    #[test]
    fn other_messages_before_init_get_session_not_found_and_keep_the_socket() {
        assert_eq!(
            say(&mut candidate(None), r#"{"type":"display_event","x":1}"#),
            HelloStep::Answer(NO_SESSION)
        );
    }

    #[test]
    fn a_ping_that_is_no_json_is_no_ping() {
        for text in [r#"{"type":"ping",}"#, r#"{"type":"pong"]"#] {
            let step = say(&mut candidate(None), text);
            assert_eq!(step, HelloStep::Answer(MALFORMED), "{text}");
        }
    }
}
