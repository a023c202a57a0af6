//! Outside thread, store semantics: what may become of a document at all, and how much a change weighs while it waits. Pure, as
//! `changes.rs`.

use super::changes::{Change, DocKey, Outcome};
use crate::base::footprint::Footprint as _;
use crate::session::effects::StoreOp;

/// Largest document: that of the database of the replaced server. One that is larger already may shrink. A document is written
/// whole, and one that takes longer than `db_timeout_ms` would hold up all that waits behind it.
const BYTES_MAX: usize = 16 << 20;
/// Deepest nesting of a document: a deeper one could not be parsed again, and all else in it would be lost.
const DEPTH_MAX: usize = 127;
/// Longest owner or name. An index of PostgreSQL takes 2,700 bytes of both.
const NAME_BYTES_MAX: usize = 512;
/// What a waiting change takes beside its values (bytes).
const CHANGE_BYTES: usize = 512;

impl DocKey {
    /// Whether a document can have this name; others (those with NUL too) name nothing that exists.
    #[must_use]
    pub fn is_nameable(&self) -> bool {
        [&self.owner, &self.name]
            .iter()
            .all(|part| part.len() <= NAME_BYTES_MAX && !part.contains('\0'))
    }
}

/// Why `after` must not take the place of `before`. What an import brings was stored before, and may be as large as it is.
pub(super) fn refusal(change: &Change, before: Option<&[u8]>, after: &[u8]) -> Option<Outcome> {
    let largest = before.map_or(0, <[u8]>::len).max(BYTES_MAX);
    if after.len() > largest && !matches!(change, Change::PutUser(..)) {
        return Some(Outcome::TooLarge);
    }
    (depth(after) > DEPTH_MAX).then(|| Outcome::Refused("it is nested too deeply".into()))
}

/// How deep a JSON text nests.
fn depth(json: &[u8]) -> usize {
    let (mut at, mut now, mut most) = (0, 0_usize, 0);
    while let Some(found) = memchr::memchr3(b'"', b'{', b'[', json.get(at..).unwrap_or_default()) {
        let closed = json[at..at + found]
            .iter()
            .filter(|byte| matches!(byte, b'}' | b']'))
            .count();
        now = now.saturating_sub(closed);
        at += found + 1;
        if json[at - 1] == b'"' {
            at += string_len(&json[at..]);
        } else {
            now += 1;
            most = most.max(now);
        }
    }
    most
}

/// Bytes up to and with the quote that ends a string.
fn string_len(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &rest[at..]) {
        at += found + 1;
        if rest[at - 1] == b'"' {
            return at;
        }
        // What is escaped ends nothing.
        at = (at + 1).min(rest.len());
    }
    rest.len()
}

/// Memory that a change takes while it waits, about.
pub(super) fn weight(change: &Change) -> usize {
    let values = match change {
        Change::Session(_, StoreOp::AddGlassesModel(text)) => text.len(),
        Change::AppSettings(_, _, values) => values.heap_bytes(),
        Change::UserSettings(_, values) => values.heap_bytes(),
        Change::StorageMerge(_, _, data, _) => data
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum(),
        Change::PutIncident(_, value) => value.heap_bytes(),
        Change::AppendIncident { entries, .. } => entries.heap_bytes(),
        Change::CountIncidents(_, ids) => ids.heap_bytes(),
        _ => 0,
    };
    CHANGE_BYTES + values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::UserId;
    use crate::services::store::changes::Edit;
    use serde_json::{Map, Value, json};

    fn set(key: &str, value: Value) -> Change {
        let changes = Map::from_iter([(key.to_owned(), value)]);
        Change::UserSettings(UserId::new("nadia@lumen.io"), changes)
    }

    fn put(edit: Edit) -> Vec<u8> {
        match edit {
            Edit::Put(json) => json,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_document_may_grow_to_the_bound_and_shrink_from_beyond_it() {
        let text = |mib: usize| Value::from("x".repeat(mib << 20));
        let stored = put(set("a", text(15)).apply(None).0);
        let (edit, outcome) = set("b", text(2)).apply(Some(&stored));
        assert_eq!((edit, outcome), (Edit::Keep, Outcome::TooLarge));
        // Stored before there was a bound.
        let large = json!({"userSettings": {"a": text(10), "b": text(10)}});
        let large = serde_json::to_vec(&large).expect("JSON");
        assert_eq!(set("c", 1.into()).apply(Some(&large)).1, Outcome::TooLarge);
        let smaller = put(set("a", text(9)).apply(Some(&large)).0);
        assert!(smaller.len() > BYTES_MAX);
    }

    #[test]
    fn what_is_stored_can_be_read_again() {
        let nested = |depth: usize| (0..depth).fold(json!("[{\"[["), |inner, _| json!([inner]));
        let mut stored: Option<Vec<u8>> = None;
        for depth in 100..=127 {
            match set("deep", nested(depth)).apply(stored.as_deref()) {
                (Edit::Put(json), _) => {
                    serde_json::from_slice::<Value>(&json).expect("can be parsed");
                    assert!(depth <= 125);
                    stored = Some(json);
                }
                (edit, outcome) => {
                    assert!(depth > 125, "{depth}");
                    assert!(matches!((edit, outcome), (Edit::Keep, Outcome::Refused(_))));
                }
            }
        }
    }

    #[test]
    fn nesting_is_counted_outside_of_strings() {
        for (json, wanted) in [
            (r#"{}"#, 1),
            (r#"7"#, 0),
            (r#"{"a":[1,[2]],"b":[[[3]]]}"#, 4),
            (r#"["[[[\"[[","]\\",["x"]]"#, 2),
            (r#"[[],[],[[]]]"#, 3),
        ] {
            assert_eq!(depth(json.as_bytes()), wanted, "{json}");
        }
    }

    #[test]
    fn a_waiting_change_weighs_what_it_holds() {
        let weight = weight(&set("a", Value::from("x".repeat(1 << 20))));
        assert!((1 << 20..2 << 20).contains(&weight), "{weight}");
    }
}
