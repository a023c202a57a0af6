//! The catalogue of messages held against the code: every type has its row, its sample and its handler; every sample is taken
//! by a running session; everything a session says is of a known type and has no member that its sample lacks. Writes
//! `docs/messages.md` (`PRISM_UPDATE_DOCS=1 cargo test --test registry`) and fails when that file is not up to date.

#[path = "registry/bench.rs"]
mod bench;
#[path = "registry/catalogue.rs"]
mod catalogue;
#[path = "registry/odd.rs"]
mod odd;
#[path = "registry/page.rs"]
mod page;

use bench::{Bench, MAPS, PHONE_SOCKET, SCRIBE, Sent};
use catalogue::{ADDED, TO_APP, TO_PHONE, VERBATIM, root, sample_file, samples};
use page::page;
use prism::session::State;
use prism::session::handlers::ErrorCode;
use prism::session::handlers::app::APP;
use prism::session::handlers::phone::PHONE;
use prism::wire::kinds::{AppKind, PhoneKind};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Feeds every sample of both directions to a session; the failed types, and everything that was said.
fn feed_all() -> (Vec<String>, Vec<Sent>) {
    let (mut failed, mut said) = (Vec::new(), Vec::new());
    for kind in PhoneKind::ALL {
        for line in samples("phone-to-cloud", kind.wire()) {
            let mut bench = Bench::new();
            let outcome = Bench::new().handle(kind, &line);
            if outcome.is_err_and(|reject| reject.code == ErrorCode::MalformedMessage) {
                failed.push(format!("phone {}: {line}", kind.wire()));
            }
            said.extend(bench.phone(&line));
            said.extend(bench.settle());
            assert_eq!(bench.session.state, State::Connected, "{line}");
        }
    }
    let mut bench = Bench::new();
    for kind in AppKind::ALL {
        for line in samples("app-to-cloud", kind.wire()) {
            for own in [SCRIBE, MAPS] {
                let conn = if own == SCRIBE {
                    bench.scribe
                } else {
                    bench.maps
                };
                let answers = bench.app(conn, &line);
                if answers
                    .iter()
                    .any(|one| one.1.contains("MALFORMED_MESSAGE"))
                {
                    failed.push(format!("app {}: {line}", kind.wire()));
                }
                said.extend(answers);
                said.extend(bench.settle());
            }
        }
    }
    assert_eq!(
        bench.session.state,
        State::Connected,
        "no sample ends a session"
    );
    (failed, said)
}

#[test]
fn every_kind_has_one_row_and_a_name_of_its_own() {
    let phone: BTreeSet<&str> = PHONE.iter().map(|row| row.kind.wire()).collect();
    let app: BTreeSet<&str> = APP.iter().map(|row| row.kind.wire()).collect();
    assert_eq!(phone.len(), PhoneKind::COUNT);
    assert_eq!(app.len(), AppKind::COUNT);
    for kind in PhoneKind::ALL {
        assert_eq!(PhoneKind::from_wire(kind.wire()), Some(kind));
    }
    for kind in AppKind::ALL {
        assert_eq!(AppKind::from_wire(kind.wire()), Some(kind));
    }
}

#[test]
fn every_kind_has_a_sample_of_its_type() {
    let mut wanting = Vec::new();
    let phone = PhoneKind::ALL.map(|kind| ("phone-to-cloud", kind.wire()));
    let app = AppKind::ALL.map(|kind| ("app-to-cloud", kind.wire()));
    let sent = TO_PHONE.map(|name| ("cloud-to-phone", name));
    let to_apps = TO_APP.map(|name| ("cloud-to-app", name));
    let inbound = phone.into_iter().chain(app);
    for (direction, name) in inbound.chain(sent).chain(to_apps) {
        let lines = samples(direction, name);
        let right = |line: &String| {
            let value: Value = serde_json::from_str(line).unwrap_or_default();
            value["type"] == name
        };
        if lines.is_empty() || !lines.iter().all(right) {
            wanting.push(sample_file(direction, name));
        }
    }
    assert!(
        wanting.is_empty(),
        "no sample, or not of its type: {wanting:?}"
    );
}

#[test]
fn a_running_session_takes_every_sample() {
    let (failed, _) = feed_all();
    assert!(failed.is_empty(), "refused: {failed:#?}");
}

#[test]
fn what_a_session_says_is_known_and_has_no_unknown_member() {
    let (_, said) = feed_all();
    let mut wrong = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for (conn, text) in &said {
        let (known, direction) = if *conn == PHONE_SOCKET {
            (&TO_PHONE[..], "cloud-to-phone")
        } else {
            (&TO_APP[..], "cloud-to-app")
        };
        let Ok(Value::Object(message)) = serde_json::from_str::<Value>(text) else {
            wrong.insert(format!("{direction}: not an object: {text}"));
            continue;
        };
        let kind = message
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        kinds.insert(kind.to_owned());
        if !known.contains(&kind) {
            wrong.insert(format!("{direction}: unknown type {kind:?}"));
        }
        let lines = samples(direction, kind);
        if lines.is_empty() || VERBATIM.contains(&kind) {
            continue;
        }
        let members = members_of(&lines);
        for name in message.keys().filter(|name| !members.contains(*name)) {
            if !ADDED.contains(&(kind, name)) {
                wrong.insert(format!(
                    "{direction}: {kind} has {name:?}, its sample has not"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(
        kinds.len() > 15,
        "the samples should provoke most answers, not only {kinds:?}"
    );
}

fn members_of(lines: &[String]) -> BTreeSet<String> {
    lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|value| value.as_object().cloned())
        .flat_map(|object| object.keys().cloned().collect::<Vec<_>>())
        .collect()
}

#[test]
fn the_page_of_messages_is_up_to_date() {
    let path = root().join("docs/messages.md");
    let page = page();
    if std::env::var_os("PRISM_UPDATE_DOCS").is_some() {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).expect("docs can be made");
        fs::write(&path, &page).expect("docs can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/messages.md is not up to date; run PRISM_UPDATE_DOCS=1 cargo test --test registry"
    );
}
