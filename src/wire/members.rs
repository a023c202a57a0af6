//! Layer 1: the members of a JSON object, read tolerantly: a member of an unexpected type counts as absent
//! (protocol.md §0.4). Never fails and never converts between types; `60.0` and `6e1` are the whole number 60, as for the
//! `JSON.parse` of everybody else.

use crate::base::footprint::Footprint;
use crate::wire::json;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

impl Footprint for Members {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

/// A parsed JSON object.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Members(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut members = Map::deserialize(from)?;
        members.values_mut().for_each(settle_numbers);
        Ok(Self(members))
    }
}

impl Members {
    /// From the body of a REST call: whatever is no JSON object counts as `{}` (protocol.md §18).
    #[must_use]
    pub fn lenient(body: &[u8]) -> Self {
        json::from_slice(body).unwrap_or_default()
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

/// At most the first `max` bytes of a text, whole characters only.
#[must_use]
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// 2^53: beyond it JavaScript does not represent every whole number.
const SAFE: f64 = 9_007_199_254_740_992.0;

/// A number as JavaScript writes it: `12`, not `12.0`.
#[must_use]
pub fn js_number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < SAFE {
        Value::from(number as i64)
    } else {
        Value::from(number)
    }
}

/// Turns every number of `value` into what JavaScript would write: phones that count in doubles send `60.0`. As deep as the
/// parsers let a text nest.
pub fn settle_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            *value = js_number(number.as_f64().unwrap_or_default());
        }
        Value::Array(items) => items.iter_mut().for_each(settle_numbers),
        Value::Object(members) => members.values_mut().for_each(settle_numbers),
        _ => {}
    }
}

/// A whole number that is not negative, however it is spelt.
#[must_use]
pub fn whole(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    let spelt_otherwise = || js_number(number).as_u64();
    value.as_u64().or_else(spelt_otherwise)
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

    #[test]
    fn a_whole_number_is_one_in_any_spelling() {
        let text = br#"{"a":60.0,"b":[6e1,{"c":-0.0}],"d":0.5,"e":1e300,"f":18446744073709551615,"g":9007199254740992.0}"#;
        let members = Members::lenient(text);
        assert_eq!(
            Value::Object(members.0).to_string(),
            r#"{"a":60,"b":[60,{"c":0}],"d":0.5,"e":1e+300,"f":18446744073709551615,"g":9007199254740992.0}"#
        );
        for (number, read) in [
            ("60", Some(60)),
            ("60.0", Some(60)),
            ("6e1", Some(60)),
            ("18446744073709551615", Some(u64::MAX)),
            ("60.5", None),
            ("-1.0", None),
            ("1e300", None),
            ("\"60\"", None),
        ] {
            let value: Value = serde_json::from_str(number).expect("JSON");
            assert_eq!(whole(&value), read, "{number}");
        }
    }
}
