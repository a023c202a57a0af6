//! Layer 1: percent-encoding of paths and queries; it splits no request.

use std::borrow::Cow;

/// A header's value. What is no UTF-8 is Latin-1, in which Node's clients send the letters that it has.
#[must_use]
pub fn as_text(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(value.iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// Decodes one path segment as `encodeURIComponent` wrote it; `+` stays a plus.
///
/// `None` for a broken escape or bytes that are not UTF-8.
#[must_use]
pub fn decode_component(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let (byte, tail) = escaped(tail)?;
            bytes.push(byte);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

/// A path with the escapes of letters, digits and `-._~` decoded (RFC 3986 §6.2.2.2); other escapes stay.
pub(super) fn decode_unreserved(path: &str) -> Cow<'_, str> {
    let Some(first) = path.find('%') else {
        return Cow::Borrowed(path);
    };
    let mut out = String::with_capacity(path.len());
    out.push_str(&path[..first]);
    let mut rest = &path[first..];
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match escaped(rest.as_bytes()) {
            Some((byte, _)) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(char::from(byte));
                rest = &rest[2..];
            }
            _ => out.push('%'),
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The first value of `name` in a query string (without its `?`), decoded as browsers decode
/// form data: `+` is a space, a broken escape stands for itself, bad UTF-8 becomes U+FFFD.
#[must_use]
pub fn query_value(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // An empty piece (`a=1&&b=2`) is no parameter.
        (!pair.is_empty() && form(key) == name).then(|| form(value).into_owned())
    })
}

fn form(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (*first, escaped(tail)) {
            (b'+', _) => bytes.push(b' '),
            (b'%', Some((byte, tail))) => {
                bytes.push(byte);
                rest = tail;
            }
            (byte, _) => bytes.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// The byte that two hexadecimal digits at the start of `text` stand for, and what follows.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, tail @ ..] = text else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    Some((digit(*high)? << 4 | digit(*low)?, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_parameters_are_unescaped_and_broken_ones_refused() {
        assert_eq!(
            decode_component("nadia%40lumen.io").as_deref(),
            Some("nadia@lumen.io")
        );
        assert_eq!(decode_component("a+b").as_deref(), Some("a+b"));
        assert_eq!(decode_component("%e2%9C%93").as_deref(), Some("✓"));
        for broken in ["%", "%4", "%zz", "x%+1", "%ff"] {
            assert_eq!(decode_component(broken), None, "{broken}");
        }
    }

    #[test]
    fn only_escapes_that_mean_nothing_are_undone() {
        for (path, plain) in [
            ("/health", "/health"),
            ("/%68e%61lth%7e%2d", "/health~-"),
            ("/a%2Fb%00%25%3f%20%c3%bc", "/a%2Fb%00%25%3f%20%c3%bc"),
            ("/%2568ealth", "/%2568ealth"),
            ("/%25%36%38", "/%2568"),
            ("/%6", "/%6"),
            ("/%", "/%"),
            ("/%zz%6", "/%zz%6"),
            ("/%\u{fc}", "/%\u{fc}"),
        ] {
            assert_eq!(decode_unreserved(path), plain, "{path}");
        }
    }

    #[test]
    fn the_first_value_of_a_query_name_counts_and_is_unescaped() {
        let query = "token=a.b-c&&livekit=true&name=J%C3%BCrgen+K&flag&token=second&100%=x%";
        for (name, value) in [
            ("token", Some("a.b-c")),
            ("livekit", Some("true")),
            ("name", Some("Jürgen K")),
            ("flag", Some("")),
            ("100%", Some("x%")),
            ("", None),
            ("tok", None),
        ] {
            assert_eq!(query_value(query, name).as_deref(), value, "{name}");
        }
        assert_eq!(query_value("to%6ben=x", "token").as_deref(), Some("x"));
        assert_eq!(query_value("a=%ff", "a").as_deref(), Some("\u{fffd}"));
    }
}
