//! Layer 4: whose address counts. Behind a trusted proxy it is the last untrusted one in `X-Forwarded-For`.

use crate::base::network::any_contains;
use crate::wire::http::RequestHead;
use std::net::{IpAddr, SocketAddr};

/// The effective client address of a request that came from `peer`.
pub(crate) fn effective(peer: IpAddr, head: &RequestHead, trusted: &[String]) -> IpAddr {
    let is_trusted = |address| any_contains(trusted, address);
    let peer = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(peer) {
        return peer;
    }
    // Some proxies lengthen the list, others add a field of their own behind the client's: together they are one list.
    let fields: Vec<&[u8]> = head.values("x-forwarded-for").collect();
    fields
        .iter()
        .rev()
        .flat_map(|field| field.rsplit(|byte| *byte == b','))
        .map_while(address)
        .find(|address| !is_trusted(*address))
        .unwrap_or(peer)
}

/// One member of the list; some proxies write the port too.
fn address(part: &[u8]) -> Option<IpAddr> {
    let part = std::str::from_utf8(part).ok()?.trim();
    let with_port = || part.parse().map(|address: SocketAddr| address.ip());
    let address = part.parse().or_else(|_| with_port()).ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::{HeadStatus, parse_head};

    fn seen(peer: &str, fields: &[&str]) -> String {
        let mut request = String::from("GET /app-ws HTTP/1.1\r\nHost: x\r\n");
        for field in fields {
            request.push_str(&format!("X-Forwarded-For: {field}\r\n"));
        }
        request.push_str("\r\n");
        let Ok(HeadStatus::Complete { head, .. }) = parse_head(request.as_bytes()) else {
            panic!("{request}");
        };
        let trusted = ["10.0.0.0/8".to_owned(), "fd00::/8".to_owned()];
        effective(peer.parse().expect("an address"), &head, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_may_name_another_address() {
        for (peer, forwarded, wanted) in [
            ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
            (
                "10.1.2.3",
                "6.6.6.6, 198.51.100.1, 10.9.9.9",
                "198.51.100.1",
            ),
            ("::ffff:10.1.2.3", "198.51.100.1", "198.51.100.1"),
            ("10.1.2.3", "nonsense", "10.1.2.3"),
            ("10.1.2.3", "6.6.6.6, nonsense", "10.1.2.3"),
            ("fd00::1", "2001:db8::5", "2001:db8::5"),
            ("10.1.2.3", "198.51.100.1:51234", "198.51.100.1"),
            ("fd00::1", "[2001:db8::5]:443", "2001:db8::5"),
        ] {
            assert_eq!(seen(peer, &[forwarded]), wanted, "{peer} {forwarded:?}");
        }
        assert_eq!(seen("10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn what_the_client_claims_in_a_field_of_its_own_does_not_count() {
        let claimed = "192.0.2.7";
        assert_eq!(seen("10.1.2.3", &[claimed, "198.51.100.1"]), "198.51.100.1");
        let two_proxies = [claimed, "198.51.100.1", "10.9.9.9"];
        assert_eq!(seen("10.1.2.3", &two_proxies), "198.51.100.1");
        assert_eq!(seen("10.1.2.3", &[claimed, "10.9.9.9"]), claimed);
    }
}
