//! Outside thread, store semantics: a user's incidents and what is listed with one of them, bounded. Pure, as `changes.rs`.

use super::changes::{Edit, Outcome, json, parse};
use crate::wire::records::UserRecord;
use serde_json::{Map, Value};

/// Bytes that the entries of one list may name altogether. Logs come in pieces of some hundred KiB, pictures have bounds of their own.
const LISTED_BYTES_MAX: u64 = 64 << 20;

/// Remembers an incident of the user; [`Outcome::Forgotten`] names those that are too many now, the oldest.
pub(super) fn note(record: &mut UserRecord, id: &str, max: usize) -> Outcome {
    if !record.incidents.iter().any(|known| known == id) {
        record.incidents.push(id.to_owned());
    }
    let excess = record.incidents.len().saturating_sub(max);
    Outcome::Forgotten(record.incidents.drain(..excess).collect())
}

/// Appends to a list of an incident.
pub(super) fn append(
    document: Option<&[u8]>,
    list: &str,
    entries: &[Value],
    max: usize,
) -> (Edit, Outcome) {
    match parse::<Map<String, Value>>(document) {
        Err(_) => (Edit::Keep, Outcome::Damaged),
        Ok(None) => (Edit::Keep, Outcome::Absent),
        Ok(Some(mut incident)) => {
            let stored = incident
                .entry(list)
                .or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(stored) = stored else {
                return (Edit::Keep, Outcome::Damaged);
            };
            let bytes = |entry: &Value| entry["bytes"].as_u64().unwrap_or(0);
            let all: u64 = stored.iter().chain(entries).map(bytes).sum();
            if stored.len() + entries.len() > max || all > LISTED_BYTES_MAX {
                return (Edit::Keep, Outcome::TotalTooLong);
            }
            stored.extend(entries.iter().cloned());
            (Edit::Put(json(&incident)), Outcome::Done)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn logs_of_an_incident_have_room_for_so_many_bytes() {
        let document = br#"{"user":"u","logs":[{"bytes":60000000}]}"#;
        let add = |bytes: u64| append(Some(document), "logs", &[json!({ "bytes": bytes })], 64).1;
        assert_eq!(add(7_000_000), Outcome::Done);
        assert_eq!(add(8_000_000), Outcome::TotalTooLong);
    }

    #[test]
    fn the_oldest_incidents_make_room() {
        let mut record = UserRecord::default();
        let note = |record: &mut UserRecord, id: &str, max| match note(record, id, max) {
            Outcome::Forgotten(ids) => ids,
            other => panic!("{other:?}"),
        };
        for id in ["a", "b", "b", "c"] {
            assert!(note(&mut record, id, 3).is_empty(), "{id}");
        }
        assert_eq!(note(&mut record, "d", 3), ["a"]);
        // The bound may have become smaller.
        assert_eq!(note(&mut record, "e", 1), ["b", "c", "d"]);
        assert_eq!(record.incidents, ["e"]);
    }
}
