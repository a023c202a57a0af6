//! Outside thread, store semantics: a user's incidents and what is listed with one of them, bounded. Pure, as `changes.rs`, but
//! for the search.

use super::changes::{Edit, Outcome, json, parse};
use super::{Space, Store, StoreError};
use crate::wire::records::UserRecord;
use serde_json::{Map, Value};

/// Incidents of a user that are counted; what is older than these stays, whatever comes.
const COUNTED_MAX: usize = 10_000;
/// Found at a time.
const PAGE: usize = 64;

/// Bytes that the entries of one list may name altogether. Logs come in pieces of some hundred KiB, pictures have bounds of their own.
const LISTED_BYTES_MAX: u64 = 64 << 20;

/// Remembers an incident of the user; [`Outcome::Forgotten`] names the one whose place it takes. No more than that one: what is
/// beyond a lowered bound stays.
pub(super) fn note(record: &mut UserRecord, id: &str, max: usize) -> Outcome {
    if record.incidents.iter().any(|known| known == id) {
        return Outcome::Forgotten(Vec::new());
    }
    record.incidents.push(id.to_owned());
    let excess = record.incidents.len().saturating_sub(max).min(1);
    Outcome::Forgotten(record.incidents.drain(..excess).collect())
}

/// From now on these count, too; what was noted since they were looked for is newer.
pub(super) fn count(record: &mut UserRecord, found: &[String]) {
    let noted = std::mem::replace(&mut record.incidents, found.to_vec()).into_iter();
    record
        .incidents
        .extend(noted.filter(|id| !found.contains(id)));
    record.incidents_counted = true;
}

/// The newest 10,000 incidents that a store has of a user, the oldest first. It looks through all users' incidents.
///
/// # Errors
/// When the backend fails.
pub async fn incidents_of(store: &dyn Store, user: &str) -> Result<Vec<String>, StoreError> {
    let owned = format!("\"user\":{}", Value::from(user));
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = store.find(Space::Incident, &owned, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.owner);
        for document in page {
            // The text may also stand elsewhere in it.
            let incident: Map<String, Value> =
                serde_json::from_slice(&document.json).unwrap_or_default();
            let text = |name: &str| incident.get(name).and_then(Value::as_str);
            if text("user") == Some(user) {
                let at = text("createdAt").unwrap_or_default().to_owned();
                found.push((at, document.owner));
            }
        }
        // They come in the order of their ids.
        if found.len() >= 2 * COUNTED_MAX {
            keep_newest(&mut found, COUNTED_MAX);
        }
    }
    keep_newest(&mut found, COUNTED_MAX);
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

/// Of times and ids; sorted afterwards.
fn keep_newest(found: &mut Vec<(String, String)>, max: usize) {
    found.sort_unstable();
    found.drain(..found.len().saturating_sub(max));
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
        assert_eq!(note(&mut record, "e", 1), ["b"]);
        assert!(note(&mut record, "e", 1).is_empty(), "once more");
        assert_eq!(record.incidents, ["c", "d", "e"]);
    }

    #[test]
    fn a_search_keeps_the_newest_however_many_there_are() {
        let all = [("3", "a"), ("1", "b"), ("2", "c")];
        let mut found = all.map(|(at, id)| (at.to_owned(), id.to_owned())).to_vec();
        keep_newest(&mut found, 2);
        let ids: Vec<_> = found.iter().map(|(_, id)| &**id).collect();
        assert_eq!(ids, ["c", "a"]);
    }

    #[test]
    fn those_from_before_they_were_counted_are_the_older_ones() {
        let texts = |list: &[&str]| list.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let mut record = UserRecord {
            incidents: texts(&["c", "d"]),
            ..UserRecord::default()
        };
        for _ in 0..2 {
            count(&mut record, &texts(&["a", "b", "c"]));
            assert!(record.incidents_counted);
            assert_eq!(record.incidents, ["a", "b", "c", "d"]);
        }
    }
}
