//! Layer 4: whose address counts. Behind a trusted proxy it is the last untrusted one in `X-Forwarded-For`.

use crate::base::network::any_contains;
use crate::wire::http::RequestHead;
use std::net::IpAddr;

/// The effective client address. Some proxies lengthen the client's own header, others add one behind it.
pub(crate) fn effective(peer: IpAddr, head: &RequestHead, trusted: &[String]) -> IpAddr {
    let is_trusted = |address| any_contains(trusted, address);
    let peer = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(peer) {
        return peer;
    }
    head.list("x-forwarded-for")
        .rsplit(',')
        .map_while(|part| part.trim().parse::<IpAddr>().ok())
        .map(|address| address.to_canonical())
        .find(|address| !is_trusted(*address))
        .unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::{HeadStatus, parse_head};

    #[test]
    fn only_trusted_proxies_may_name_another_address() {
        let trusted = ["10.0.0.0/8".to_owned(), "fd00::/8".to_owned()];
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (peer, forwarded, effective_address) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            (
                "10.1.2.3",
                &["6.6.6.6, 198.51.100.1, 10.9.9.9"],
                "198.51.100.1",
            ),
            // The client's own, then the proxy's.
            ("10.1.2.3", &["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.1.2.3", &["198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &["nonsense"], "10.1.2.3"),
            ("fd00::1", &["2001:db8::5"], "2001:db8::5"),
        ] {
            let fields = forwarded
                .iter()
                .map(|value| format!("X-Forwarded-For: {value}\r\n"));
            let text = format!(
                "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
                fields.collect::<String>()
            );
            let Ok(HeadStatus::Complete { head, .. }) = parse_head(text.as_bytes()) else {
                panic!("{text}");
            };
            assert_eq!(
                effective(address(peer), &head, &trusted),
                address(effective_address),
                "{peer} {forwarded:?}"
            );
        }
    }
}
