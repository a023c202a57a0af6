//! Layer 1: identifiers as they stand on the wire; it knows no live session, the caller tells.

/// The app session id of one app for one user: `<userId>-<packageName>` (`protocol.md §4.2`).
#[must_use]
pub fn app_session_id(user: &str, package: &str) -> String {
    let mut id = String::with_capacity(user.len() + 1 + package.len());
    id.push_str(user);
    id.push('-');
    id.push_str(package);
    id
}

/// Longest user that is looked for among the live ones, in bytes: several times what a mail address may have. The id may come
/// from anybody, and each look-up reads the whole user.
const LIVE_USER_BYTES_MAX: usize = 1024;

/// Splits an app session id into the lower-cased user and the package (`protocol.md §4.3`).
///
/// Both parts may hold hyphens. Of the possible splits the longest user that `is_live` knows wins
/// (it is asked with the lower-cased user), else the shortest user that ends like a mail domain,
/// else the shortest. Time is linear in the length of the id.
pub fn parse_app_session_id(id: &str, is_live: impl Fn(&str) -> bool) -> Option<(String, String)> {
    let lowered = id.to_lowercase();
    let at_sign = lowered.find('@')?;
    // Lower-casing may change byte lengths outside ASCII, so hyphens are paired by their order.
    let splits = || {
        let users = lowered.match_indices('-').map(|(at, _)| &lowered[..at]);
        let packages = id.match_indices('-').map(|(at, _)| &id[at + 1..]);
        users
            .zip(packages)
            .filter(|(user, package)| user.len() > at_sign && !package.is_empty())
    };
    let chosen = splits()
        .take_while(|(user, _)| user.len() <= LIVE_USER_BYTES_MAX)
        .filter(|(user, _)| is_live(user))
        .last()
        .or_else(|| splits().find(|(user, _)| ends_like_a_domain(user)))
        .or_else(|| splits().next())?;
    Some((chosen.0.to_owned(), chosen.1.to_owned()))
}

/// Whether the text ends in a dot and two to five ASCII letters.
fn ends_like_a_domain(user: &str) -> bool {
    let letters = user.bytes().rev().take(6);
    let top = letters.take_while(u8::is_ascii_alphabetic).count();
    (2..=5).contains(&top) && user.as_bytes()[..user.len() - top].ends_with(b".")
}

/// The payload of a protocol ping: eight hexadecimal characters, as the first group of a random UUID (behaviour.md §9.3).
#[must_use]
pub fn ping_id(random: u32) -> [u8; 8] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|index| HEX[(random >> (28 - 4 * index)) as usize & 15])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(id: &str, live: &[&str]) -> Option<(String, String)> {
        parse_app_session_id(id, |user| live.contains(&user))
    }

    fn pair(user: &str, package: &str) -> Option<(String, String)> {
        Some((user.to_owned(), package.to_owned()))
    }

    #[test]
    fn ping_ids_are_eight_hex_characters() {
        assert_eq!(&ping_id(0x0123_abcd), b"0123abcd");
        assert_eq!(&ping_id(u32::MAX), b"ffffffff");
    }

    #[test]
    fn ids_without_a_live_session() {
        for (id, expected) in [
            (
                "nadia@lumen.io-com.acme.scribe",
                pair("nadia@lumen.io", "com.acme.scribe"),
            ),
            (
                "jean-luc@lumen.io-note-taker-app",
                pair("jean-luc@lumen.io", "note-taker-app"),
            ),
            (
                "ops@north-star.co-captions",
                pair("ops@north-star.co", "captions"),
            ),
            (
                "dev@10.1.2.3-com.acme.x",
                pair("dev@10.1.2.3", "com.acme.x"),
            ),
            (
                "ana@fine.museum-com.acme.x",
                pair("ana@fine.museum", "com.acme.x"),
            ),
            ("ana@fine.io-", None),
            ("nadia-com.acme.x", None),
            ("", None),
            ("-", None),
            ("@-x", pair("@", "x")),
        ] {
            assert_eq!(parse(id, &[]), expected, "{id}");
        }
    }

    #[test]
    fn a_live_user_decides_and_the_longest_wins() {
        let id = "ana@x.xn--p1ai-com.acme.x";
        assert_ne!(parse(id, &[]), pair("ana@x.xn--p1ai", "com.acme.x"));
        assert_eq!(
            parse(id, &["ana@x.xn--p1ai"]),
            pair("ana@x.xn--p1ai", "com.acme.x")
        );
        let both = ["ana@x.io", "ana@x.io-lab.io"];
        assert_eq!(
            parse("ana@x.io-lab.io-app", &both),
            pair("ana@x.io-lab.io", "app")
        );
        assert_eq!(
            parse("ana@x.io-lab.io-app", &both[..1]),
            pair("ana@x.io", "lab.io-app")
        );
    }

    #[test]
    fn what_a_stranger_sends_costs_no_more_than_its_length() {
        let asked = std::cell::Cell::new(0);
        let hyphens = "-".repeat(1 << 20);
        let count = |user: &str| {
            asked.set(asked.get() + user.len());
            false
        };
        assert_eq!(parse_app_session_id(&format!("{hyphens}x"), count), None);
        let parsed = parse_app_session_id(&format!("a@{hyphens}x"), count);
        assert_eq!(parsed, pair("a@", &format!("{}x", &hyphens[1..])));
        assert!(asked.get() < 1 << 20, "{} bytes were hashed", asked.get());
    }

    #[test]
    fn the_user_is_lower_cased_and_the_package_is_not() {
        let parsed = parse("Nadia@Lumen.io-com.Acme", &["nadia@lumen.io"]);
        assert_eq!(parsed, pair("nadia@lumen.io", "com.Acme"));
        // A letter whose lower-case form is longer in UTF-8.
        assert_eq!(parse("İa@x.io-app", &[]), pair("i\u{307}a@x.io", "app"));
    }

    #[test]
    fn made_ids_are_parsed_back() {
        let id = app_session_id("nadia@lumen.io", "com.acme.scribe");
        assert_eq!(id, "nadia@lumen.io-com.acme.scribe");
        assert_eq!(parse(&id, &[]), pair("nadia@lumen.io", "com.acme.scribe"));
    }
}
