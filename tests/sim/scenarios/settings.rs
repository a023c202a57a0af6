//! Defects of settings. SDK 2.x reads `value` of the entry with the key that the developer asks for.

use super::super::world::World;
use super::{SCRIBE, USER, package, quiet, running};
use prism::base::ids::ConnId;
use prism::session::event::Sdk;
use prism::session::rest::Call;
use serde_json::{Value, json};

/// What a developer reads in the last message of this kind: every key and its value.
fn read(w: &World, conn: ConnId, kind: &str) -> Vec<(String, Value)> {
    let told = w.texts(conn, kind, 0);
    let (_, message) = told.last().expect("a message");
    let list = message["settings"].as_array().expect("a list");
    let entry = |one: &Value| {
        let key = one["key"].as_str();
        let key = key.unwrap_or_else(|| panic!("{one} has no key"));
        assert!(one.get("value").is_some(), "{one} has no value");
        (key.to_owned(), one["value"].clone())
    };
    list.iter().map(entry).collect()
}

fn pairs(lang: &str, loud: bool) -> Vec<(String, Value)> {
    vec![
        ("lang".to_owned(), json!(lang)),
        ("loud".to_owned(), json!(loud)),
    ]
}

#[test]
fn an_app_reads_values_not_the_declaration() {
    for sdk in [Sdk::V2, Sdk::V3] {
        let mut w = running(sdk, SCRIBE);
        let conn = w.conn_of(SCRIBE);
        let defaults = read(&w, conn, "tpa_connection_ack");
        assert_eq!(defaults, pairs("en", false), "{sdk:?}");
        w.rest(
            USER,
            Call::AppSettings {
                package: package(SCRIBE).to_owned(),
                settings: vec![json!({"key": "lang", "value": "pt"})],
            },
        );
        w.run(200);
        let changed = read(&w, conn, "settings_update");
        assert_eq!(changed, pairs("pt", false), "{sdk:?}: the whole set");
        w.hang_up(conn);
        w.server_lost(SCRIBE, conn, 1006, "");
        w.run(2000);
        w.sound();
        let ack = match sdk {
            Sdk::V2 => "tpa_connection_ack",
            Sdk::V3 => "reconnect_ack",
        };
        let again = read(&w, w.conn_of(SCRIBE), ack);
        assert_eq!(again, pairs("pt", false), "{sdk:?}: after its return");
    }
}

#[test]
fn an_app_reads_what_the_user_chose_in_an_earlier_session() {
    let mut w = quiet(Sdk::V2);
    w.rest(USER, Call::Dispose);
    let chosen = vec![json!({"key": "loud", "value": true})];
    let record = w.store.record(USER);
    record
        .app_settings
        .insert(package(SCRIBE).to_owned(), chosen);
    w.run(7000);
    w.start(USER, SCRIBE);
    w.run(3000);
    w.sound();
    let told = read(&w, w.conn_of(SCRIBE), "tpa_connection_ack");
    assert_eq!(told, pairs("en", true));
}
