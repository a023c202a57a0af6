//! Samples with a member that is not what it should be: of another type, huge, empty, missing, there twice. Peers send such
//! things; none may end a session or a socket, meet a defect, or make the server say what is no message (protocol.md §0.4).

use super::bench::{Bench, PHONE_SOCKET, Sent};
use super::catalogue::{TO_APP, TO_PHONE, samples};
use prism::base::metrics::Counter;
use prism::session::State;
use prism::wire::kinds::{AppKind, PhoneKind};
use serde_json::Value;

/// Anything but what is expected.
fn odd_values() -> Vec<String> {
    let deep = format!("{}{}", "[".repeat(90), "]".repeat(90));
    let long = format!("\"{}\"", "é\\u0000\\\"".repeat(3000));
    let plain = [
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "1e300",
        "18446744073709551616",
        "\"\"",
        "\"5\"",
        "\"\\ud83d\\ude00\\n<end>:*?&\"",
        "[]",
        "[null,[],{},\"*\",7]",
        "{}",
        "{\"a\":{\"b\":null},\"type\":\"ping\"}",
    ];
    let plain = plain.into_iter().map(str::to_owned);
    plain.chain([deep, long]).collect()
}

/// The line with every member but `type` in turn taken away, replaced by every odd value, and said twice.
fn variants(line: &str) -> Vec<String> {
    let Ok(Value::Object(whole)) = serde_json::from_str::<Value>(line) else {
        return Vec::new();
    };
    let mut variants = Vec::new();
    for (name, own) in whole.iter().filter(|(name, _)| *name != "type") {
        let mut rest = whole.clone();
        rest.remove(name);
        let rest = Value::Object(rest).to_string();
        let open = rest.strip_suffix('}').unwrap_or(&rest);
        let with = |value: &str| format!("{open},\"{name}\":{value}}}");
        variants.extend(odd_values().iter().map(|value| with(value)));
        variants.push(format!("{open},\"{name}\":7,\"{name}\":{own}}}"));
        variants.push(rest);
    }
    variants
}

/// What was said is one of the messages that the receiver may get.
fn check(said: &[Sent], because: &str) {
    for (conn, text) in said {
        let known = if *conn == PHONE_SOCKET {
            &TO_PHONE[..]
        } else {
            &TO_APP[..]
        };
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        let kind = message["type"].as_str().unwrap_or_default();
        let because: String = because.chars().take(200).collect();
        assert!(
            known.contains(&kind),
            "{because} makes the server say {text:.200}"
        );
    }
}

fn look_at(bench: &Bench, because: &str) {
    let because: String = because.chars().take(200).collect();
    let panics = bench.workspace.metrics.get(Counter::HandlerPanics);
    assert_eq!(panics, 0, "a defect met by {because}");
    assert_eq!(bench.session.state, State::Connected, "{because}");
}

#[test]
fn an_odd_member_of_a_phones_message_breaks_nothing() {
    let mut bench = Bench::new();
    for kind in PhoneKind::ALL {
        for line in samples("phone-to-cloud", kind.wire()) {
            for text in variants(&line) {
                check(&bench.phone(&text), &text);
                look_at(&bench, &text);
            }
        }
        check(&bench.settle(), kind.wire());
        look_at(&bench, kind.wire());
    }
}

#[test]
fn an_odd_member_of_an_apps_message_breaks_nothing() {
    let mut bench = Bench::new();
    // Refused hellos do close.
    let hellos = [
        AppKind::TpaConnectionInit,
        AppKind::ConnectionInit,
        AppKind::Reconnect,
    ];
    for kind in AppKind::ALL
        .into_iter()
        .filter(|kind| !hellos.contains(kind))
    {
        for line in samples("app-to-cloud", kind.wire()) {
            for text in variants(&line) {
                for conn in [bench.scribe, bench.maps] {
                    check(&bench.app(conn, &text), &text);
                    look_at(&bench, &text);
                    let running = bench.session.m.apps.by_conn(conn);
                    assert!(running.is_some(), "{text:.200} closed its socket");
                }
            }
        }
        check(&bench.settle(), kind.wire());
        look_at(&bench, kind.wire());
    }
}
