//! Layer 4: whose address counts. Behind a trusted proxy it is the last untrusted one in `X-Forwarded-For`.

use crate::base::network::any_contains;
use std::net::IpAddr;

/// The effective client address.
pub(crate) fn effective(peer: IpAddr, forwarded: Option<&str>, trusted: &[String]) -> IpAddr {
    let is_trusted = |address| any_contains(trusted, address);
    let peer = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(peer) {
        return peer;
    }
    forwarded
        .unwrap_or_default()
        .rsplit(',')
        .map_while(|part| part.trim().parse::<IpAddr>().ok())
        .map(|address| address.to_canonical())
        .find(|address| !is_trusted(*address))
        .unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_may_name_another_address() {
        let trusted = ["10.0.0.0/8".to_owned(), "fd00::/8".to_owned()];
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (peer, forwarded, effective_address) in [
            ("203.0.113.9", Some("198.51.100.1"), "203.0.113.9"),
            (
                "10.1.2.3",
                Some("6.6.6.6, 198.51.100.1, 10.9.9.9"),
                "198.51.100.1",
            ),
            ("::ffff:10.1.2.3", Some("198.51.100.1"), "198.51.100.1"),
            ("10.1.2.3", None, "10.1.2.3"),
            ("10.1.2.3", Some("nonsense"), "10.1.2.3"),
            ("fd00::1", Some("2001:db8::5"), "2001:db8::5"),
        ] {
            assert_eq!(
                effective(address(peer), forwarded, &trusted),
                address(effective_address),
                "{peer} {forwarded:?}"
            );
        }
    }
}
