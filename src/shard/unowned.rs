//! Layer 3: what an app socket's hello comes to where its user has no session (protocol.md §3.2 row 2, §3.4 rows 3–5). Pure, as
//! `admission.rs`, and on the user's home shard.

use super::admission::{HelloStep, NO_SESSION, Notice};
use crate::base::close::CloseReason;
use crate::session::event::{AppHello, HelloKind};
use crate::wire::auth::api_key_matches;
use crate::wire::hello::{self, KEY_NEEDED};
use crate::wire::records::Registry;

/// What a hello comes to where its user has no session.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Unowned {
    /// Refused.
    Refuse(HelloStep),
    /// Wait for the user (row 5).
    Park,
}

/// protocol.md §3.2 row 2 and §3.4 rows 3–5, on the user's home shard. `addresses`: lists of addresses count.
pub(super) fn without_session(hello: &AppHello, apps: &Registry, addresses: bool) -> Unowned {
    if hello.kind == HelloKind::Init {
        return Unowned::Refuse(HelloStep::Close(
            Some(NO_SESSION),
            CloseReason::SessionNotFound,
        ));
    }
    let Some(key) = hello.api_key.as_deref().filter(|key| !key.is_empty()) else {
        return Unowned::Refuse(HelloStep::Linger(
            Notice::Rejected("SESSION_NOT_FOUND", KEY_NEEDED),
            CloseReason::ReconnectUnauthenticated,
        ));
    };
    if !apps.loaded {
        // Nothing is known about keys: never call one wrong because of that.
        return Unowned::Refuse(HelloStep::Close(
            Some(Notice::Error("INTERNAL_ERROR", "Internal server error")),
            CloseReason::Internal,
        ));
    }
    let known = apps
        .get(&hello.package)
        .filter(|app| api_key_matches(key, &app.key_sha256));
    let Some(app) = known else {
        return Unowned::Refuse(HelloStep::Close(
            Some(Notice::Error("INVALID_API_KEY", "Invalid API key")),
            CloseReason::InvalidApiKey,
        ));
    };
    if addresses && !app.admits(hello.address) {
        return Unowned::Refuse(HelloStep::Close(
            Some(Notice::Error("PERMISSION_DENIED", "Address not allowed")),
            CloseReason::AddressNotAllowed,
        ));
    }
    Unowned::Park
}

/// A parked socket ran out of time.
pub(super) const BOOT_TIMEOUT: Notice = Notice::Rejected("BOOT_TIMEOUT", hello::BOOT_TIMEOUT);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Package;
    use crate::session::event::Sdk;
    use crate::wire::auth::sha256_hex;
    use crate::wire::records::AppRecord;

    #[test]
    fn without_a_session_a_reconnect_parks_only_with_the_right_key() {
        let apps = Registry::new(
            [AppRecord {
                package_name: "com.acme.x".into(),
                key_sha256: sha256_hex("right"),
                ..AppRecord::default()
            }],
            1,
        );
        let hello = |key: Option<&str>| AppHello {
            kind: HelloKind::Reconnect,
            package: Package::new("com.acme.x"),
            api_key: key.map(str::to_owned),
            session_id: None,
            sdk: Sdk::V3,
            address: None,
        };
        assert_eq!(
            without_session(&hello(Some("right")), &apps, true),
            Unowned::Park
        );
        assert!(matches!(
            without_session(&hello(Some("wrong")), &apps, true),
            Unowned::Refuse(HelloStep::Close(_, CloseReason::InvalidApiKey))
        ));
        assert!(matches!(
            without_session(&hello(None), &apps, true),
            Unowned::Refuse(HelloStep::Linger(_, CloseReason::ReconnectUnauthenticated))
        ));
        assert!(matches!(
            without_session(&hello(Some("right")), &Registry::default(), true),
            Unowned::Refuse(HelloStep::Close(_, CloseReason::Internal))
        ));
    }

    #[test]
    fn an_address_list_holds_for_those_who_come_before_their_user_too() {
        let app = AppRecord {
            package_name: "com.acme.x".into(),
            key_sha256: sha256_hex("right"),
            allowed_ips: vec!["10.1.0.0/16".into()],
            ..AppRecord::default()
        };
        let apps = Registry::new([app], 1);
        let from = |address: &str, counts| {
            let hello = AppHello {
                kind: HelloKind::Reconnect,
                package: Package::new("com.acme.x"),
                api_key: Some("right".into()),
                session_id: None,
                sdk: Sdk::V3,
                address: address.parse().ok(),
            };
            without_session(&hello, &apps, counts)
        };
        assert_eq!(from("10.1.7.7", true), Unowned::Park);
        assert_eq!(from("203.0.113.9", false), Unowned::Park);
        assert_eq!(
            from("203.0.113.9", true),
            Unowned::Refuse(HelloStep::Close(
                Some(Notice::Error("PERMISSION_DENIED", "Address not allowed")),
                CloseReason::AddressNotAllowed
            ))
        );
    }
}
