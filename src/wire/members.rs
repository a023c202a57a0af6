//! Layer 1: the members of a JSON object, read tolerantly: a member of an unexpected type counts as absent
//! (protocol.md §0.4). Never fails and never converts between types.

use crate::base::footprint::Footprint;
use serde::Deserialize;
use serde_json::{Map, Value};

impl Footprint for Members {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

/// A parsed JSON object.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Members(pub Map<String, Value>);

impl Members {
    /// From the body of a REST call: whatever is no JSON object counts as `{}` (protocol.md §18).
    #[must_use]
    pub fn lenient(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    /// A member that is present and not null.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// A string.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    /// A string that is not empty.
    #[must_use]
    pub fn filled(&self, key: &str) -> Option<&str> {
        self.text(key).filter(|text| !text.is_empty())
    }

    /// A boolean.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(Value::as_bool)
    }

    /// A finite number.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<f64> {
        self.get(key)
            .and_then(Value::as_f64)
            .filter(|number| number.is_finite())
    }

    /// An object.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<&Map<String, Value>> {
        self.get(key).and_then(Value::as_object)
    }

    /// An array.
    #[must_use]
    pub fn list(&self, key: &str) -> Option<&Vec<Value>> {
        self.get(key).and_then(Value::as_array)
    }
}

/// A number as JavaScript writes it: `12`, not `12.0`.
#[must_use]
pub fn js_number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        Value::from(number as i64)
    } else {
        Value::from(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_type_is_an_absent_member() {
        let members = Members::lenient(br#"{"a":1,"b":null,"c":"","d":"x"}"#);
        assert_eq!(members.text("a"), None);
        assert!(members.get("b").is_none());
        assert_eq!(members.filled("c"), None);
        assert_eq!(members.filled("d"), Some("x"));
    }

    #[test]
    fn a_body_that_is_no_object_is_empty() {
        for body in [&b""[..], b"[]", b"{", b"7"] {
            assert_eq!(Members::lenient(body), Members::default());
        }
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        assert_eq!(js_number(12.0).to_string(), "12");
        assert_eq!(js_number(-9.1399).to_string(), "-9.1399");
    }
}
