//! Layer 0: addresses as operators write them: `10.1.2.3`, a block such as `10.0.0.0/8`, or the URL of a service.

use std::net::IpAddr;
use std::str::FromStr;

/// An exact address or a CIDR block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    base: IpAddr,
    bits: u32,
}

/// The text is neither an address nor a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is no address or CIDR")]
pub struct NotANetwork;

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (base, bits) = match text.trim().split_once('/') {
            Some((base, bits)) => (base, Some(bits)),
            None => (text.trim(), None),
        };
        // `::ffff:10.0.0.1` is 10.0.0.1.
        let base = base
            .parse::<IpAddr>()
            .map_err(|_| NotANetwork)?
            .to_canonical();
        let width = if base.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => width,
            Some(bits) => bits.parse().map_err(|_| NotANetwork)?,
        };
        if bits > width {
            return Err(NotANetwork);
        }
        Ok(Self { base, bits })
    }
}

impl Network {
    /// Whether `address` lies in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let different = match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                u128::from(u32::from(base) ^ u32::from(address)) << 96
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => u128::from(base) ^ u128::from(address),
            _ => return false,
        };
        different.leading_zeros() >= self.bits
    }
}

/// Whether one of `rules` contains `address`; a rule that is no network contains nothing.
#[must_use]
pub fn any_contains(rules: &[String], address: IpAddr) -> bool {
    rules
        .iter()
        .filter_map(|rule| rule.parse::<Network>().ok())
        .any(|network| network.contains(address))
}

/// Whether a request can go there: `url` begins with one of `schemes`, such as `https://`, names a host, and its port, if any, is one.
/// Our client takes a port beyond 65535 for none, and would call somebody else at the scheme's own.
#[must_use]
pub fn is_url(url: &str, schemes: &[&str]) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return false;
    };
    let names_a_place = uri.authority().is_some_and(|authority| {
        let place = authority.as_str().rsplit('@').next().unwrap_or_default();
        let port = place.strip_prefix(authority.host());
        !authority.host().is_empty()
            && (port.is_some_and(str::is_empty) || authority.port_u16().is_some())
    });
    names_a_place && schemes.iter().any(|scheme| url.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_its_addresses_and_no_others() {
        for (rule, inside, outside) in [
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            (" 10.0.0.128/25 ", "::ffff:10.0.0.200", "10.0.0.127"),
            ("::ffff:10.1.2.3", "10.1.2.3", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
        ] {
            let network: Network = rule.parse().expect(rule);
            assert!(network.contains(inside.parse().expect("an address")));
            assert!(
                !network.contains(outside.parse().expect("an address")),
                "{rule} {outside}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused_and_contains_nothing() {
        for text in ["", "x", "10.0.0.0/33", "10.0.0.0/x", "10.0.0.0/", "::/129"] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text}");
            let address = IpAddr::from([10, 0, 0, 0]);
            assert!(!any_contains(&[text.to_owned()], address), "{text}");
        }
    }

    #[test]
    fn a_url_is_one_that_can_be_called() {
        let is_http = |url| is_url(url, &["http://", "https://"]);
        for url in [
            "http://127.0.0.1:7010",
            "https://scribe.acme.dev",
            "https://scribe.acme.dev/base/",
            "http://[::1]:5/x",
            "http://user:word@host:65535",
        ] {
            assert!(is_http(url), "{url}");
        }
        for url in [
            "",
            "scribe.acme.dev",
            "ftp://scribe.acme.dev",
            "http://",
            "http:///x",
            "http://:80",
            "http://host:99999",
            "http://host:port",
            "http://[::1]:65536/x",
            "http://a b",
            "http://bücher.example",
        ] {
            assert!(!is_http(url), "{url}");
        }
    }
}
