//! Layer 1: the peek, the parser and the writer agree with `serde_json` on whatever comes: random values as some odd client might
//! write them, damaged texts, random bytes.

use super::{sunk, value_is_json};
use crate::wire::json::{KindError, ObjectWriter, Scratch, kind, write_str};
use proptest::prelude::*;
use serde_json::Value;

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9f64..1e9).prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((key(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("type".to_owned()), "[a-z]{1,6}", ".{0,6}"]
}

/// Writes a value as some odd client might: space anywhere, keys and strings escaped at random.
fn odd_text(value: &Value, dice: &mut impl FnMut() -> u8) -> String {
    let space = [" ", "\t", "\r\n", "", "", ""];
    let string = |text: &str, dice: &mut dyn FnMut() -> u8| {
        let mut out = String::from("\"");
        for character in text.chars() {
            if dice().is_multiple_of(7) {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                let quoted = serde_json::to_string(&character.to_string()).unwrap();
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
        out + "\""
    };
    let gap = |dice: &mut dyn FnMut() -> u8| space[usize::from(dice()) % space.len()];
    match value {
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|(key, value)| {
                    let (before, after) = (gap(dice), gap(dice));
                    let key = string(key, dice);
                    format!(
                        "{before}{key}{after}:{before}{}{after}",
                        odd_text(value, dice)
                    )
                })
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(|value| odd_text(value, dice)).collect();
            format!("[{}{}]", gap(dice), values.join(&format!("{},", gap(dice))))
        }
        Value::String(text) => string(text, dice),
        other => other.to_string(),
    }
}

/// What is JSON, and of which type, is said as `serde_json` sees it.
fn assert_agreement(text: &str) -> Result<(), TestCaseError> {
    let seen = kind(text);
    if text
        .trim_start_matches([' ', '\t', '\r', '\n'])
        .starts_with('{')
    {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        let refused = matches!(seen, Err(KindError::Malformed | KindError::TooDeep));
        prop_assert_eq!(is_json, !refused, "{:?}", seen);
    }
    if let Ok(Value::Object(members)) = serde_json::from_str::<Value>(text) {
        let expected = match members.get("type") {
            None => Err(KindError::Missing),
            Some(Value::String(kind)) => Ok(kind.as_str()),
            Some(_) => Err(KindError::NotAString),
        };
        let seen = seen.as_deref().map_err(|error| *error);
        prop_assert_eq!(seen, expected);
    }
    Ok(())
}

proptest! {
    #[test]
    fn peek_and_parse_agree(value in json(), seed in any::<u64>()) {
        let mut state = seed;
        let mut dice = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let text = odd_text(&value, &mut dice);
        prop_assert_eq!(value_is_json(&text), Ok(()), "{}", text);
        prop_assert_eq!(value_is_json(&sunk(&text)), Ok(()), "{}", text);
        prop_assert!(Scratch::new().parse::<Value>(text.as_bytes()).is_ok(), "{}", text);
        assert_agreement(&text)?;
    }

    #[test]
    fn peek_and_parse_agree_on_damaged_texts(
        value in json(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![Just(b'"'), Just(b'\\'), Just(b'{'), Just(b'}'), Just(b','), any::<u8>()],
    ) {
        let mut text = value.to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(text) = std::str::from_utf8(&text) {
            assert_agreement(text)?;
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            prop_assert_eq!(value_is_json(&sunk(text)).is_ok(), is_json, "{}", text);
        }
    }

    #[test]
    fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let braced = [b"{\"type\":", &text[..]].concat();
        let _ = Scratch::new().parse::<Value>(&braced);
        let _ = kind(&String::from_utf8_lossy(&text));
        assert_agreement(&String::from_utf8_lossy(&braced))?;
    }

    #[test]
    fn written_strings_are_read_back(text in ".{0,80}|[\\x00-\\x7f]{0,80}") {
        let mut out = Vec::new();
        write_str(&mut out, &text);
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }

    #[test]
    fn written_integers_are_read_back(signed: i64, unsigned: u64, float in -1e30f64..1e30) {
        let mut out = Vec::new();
        ObjectWriter::begin(&mut out).num("a", signed).num("b", unsigned).num("c", float).end();
        let read: Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!((read["a"].as_i64(), read["b"].as_u64()), (Some(signed), Some(unsigned)));
        let back = read["c"].as_f64().unwrap();
        prop_assert!((back - float).abs() <= float.abs() * 1e-15);
    }
}
