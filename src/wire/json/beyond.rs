//! Layer 1: numbers beyond what a double holds, such as `1e400`. `JSON.parse` reads them as Infinity, and Infinity is written
//! `null`; our parsers refuse them. Looked for only in what was refused, so that no other text pays for them.

use serde::de::DeserializeOwned;

use super::kind::is_number;
use super::unicode::repair_surrogates;

/// `text` with `null` in place of every such number; `None`: there is none. What is no JSON does not become JSON by it.
#[cold]
pub(super) fn without(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(first) = text.get(at) {
        match first {
            b'"' => at = after_string(text, at + 1),
            b'-' | b'+' | b'.' | b'0'..=b'9' => {
                let end = after_number(text, at);
                if is_beyond(&text[at..end]) {
                    out.extend_from_slice(&text[copied..at]);
                    out.extend_from_slice(b"null");
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    out.extend_from_slice(&text[copied..]);
    (copied > 0).then_some(out)
}

fn after_string(text: &[u8], mut at: usize) -> usize {
    loop {
        match text.get(at) {
            None | Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

fn after_number(text: &[u8], from: usize) -> usize {
    let is_part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
    let rest = &text[from..];
    from + rest
        .iter()
        .position(|byte| !is_part(byte))
        .unwrap_or(rest.len())
}

fn is_beyond(number: &[u8]) -> bool {
    let value = || std::str::from_utf8(number).ok()?.parse::<f64>().ok();
    is_number(number) && value().is_some_and(f64::is_infinite)
}

/// Most values (and names of members) of a body that is read: thousands of lines of logs, and not the hundredfold of its text in
/// memory.
const VALUES_MAX: usize = 1 << 20;

/// Whether a text has more values and names than are read: each but the first stands behind one of these.
fn has_too_many(text: &[u8]) -> bool {
    if text.len() <= VALUES_MAX {
        return false;
    }
    let (mut at, mut values) = (0, 0);
    while let Some(first) = text.get(at) {
        match first {
            b'"' => {
                at = after_string(text, at + 1);
                continue;
            }
            b',' | b':' | b'[' | b'{' => values += 1,
            _ => {}
        }
        at += 1;
    }
    values > VALUES_MAX
}

/// As `serde_json::from_slice`, with such numbers read as `null` and halves of surrogate pairs as U+FFFD.
///
/// # Errors
/// Those of `serde_json`, and for a text of more values than anybody sends.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    if has_too_many(text) {
        return Err(serde::de::Error::custom("too many values"));
    }
    serde_json::from_slice(text).or_else(|error| {
        let mut mended = without(text).unwrap_or_else(|| text.to_vec());
        repair_surrogates(&mut mended);
        if mended == text {
            return Err(error);
        }
        serde_json::from_slice(&mended)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Scratch;
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_number_beyond_what_a_double_holds_is_null_to_who_reads_it() {
        let long = "9".repeat(400);
        let text = format!(
            r#"{{"a":1e400,"b":[-1e400,1.8e308,{long},1e308],"c":"1e400 \" 2e400","d":1e-400,"e\"":1E+999999999999}}"#
        );
        let wanted = serde_json::json!(
            {"a": null, "b": [null, null, null, 1e308], "c": "1e400 \" 2e400", "d": 0, "e\"": null}
        );
        let read: Value = Scratch::new().parse(text.as_bytes()).unwrap();
        // Beyond the safe integers nothing but the value matters.
        assert_eq!(read["b"][3].as_f64(), Some(1e308));
        assert_eq!(read["d"].as_f64(), Some(0.0));
        for key in ["a", "c", "e\""] {
            assert_eq!(read[key], wanted[key], "{key}");
        }
        for at in 0..3 {
            assert_eq!(read["b"][at], Value::Null, "{at}");
        }
        assert_eq!(from_slice::<Value>(text.as_bytes()).unwrap(), read);
    }

    #[test]
    fn a_number_is_the_one_that_was_written() {
        let numbers = [
            20.790271923561818,
            0.9291584876145165,
            1.9000000000000001,
            -58.940500828378724,
            1.0031744043427136e-9,
            2.2250738585072014e-308,
        ];
        for number in numbers {
            let text = format!("[{number:e}]");
            let read = from_slice::<Value>(text.as_bytes()).unwrap();
            assert_eq!(read[0].as_f64(), Some(number), "{text}");
            let read: Value = Scratch::new().parse(text.as_bytes()).unwrap();
            assert_eq!(read[0].as_f64(), Some(number), "{text}");
        }
    }

    #[test]
    fn a_string_cut_in_the_middle_of_an_emoji_is_read() {
        let text = r#"{"cut \ud83d":"\udc00 \ud83d\ude00 \\ud83d","n":1e400}"#;
        let wanted = serde_json::json!({"cut \u{fffd}": "\u{fffd} 😀 \\ud83d", "n": null});
        assert_eq!(from_slice::<Value>(text.as_bytes()).unwrap(), wanted);
        for broken in [r#"{"a":"\ud83d"#, r#"["\ud8"]"#, r#"["\ud83d",]"#] {
            assert!(from_slice::<Value>(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_body_of_more_values_than_anybody_sends_is_not_read() {
        let numbers = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert!(from_slice::<Value>(numbers(VALUES_MAX).as_bytes()).is_ok());
        assert!(from_slice::<Value>(numbers(VALUES_MAX + 1).as_bytes()).is_err());
        let empty = format!("[{}[]]", "[],".repeat(VALUES_MAX / 2));
        assert!(from_slice::<Value>(empty.as_bytes()).is_err());
        let text = format!(r#"["{}"]"#, r#"a,[{:\\"#.repeat(VALUES_MAX));
        assert!(from_slice::<Value>(text.as_bytes()).is_ok());
    }

    #[test]
    fn what_is_no_json_stays_so_whatever_its_numbers() {
        let mut scratch = Scratch::new();
        for text in [
            "[01e400]",
            "[1.e400]",
            "[+1e400]",
            "[1e400e1]",
            "[1e400",
            "[1e400,]",
            "[\"1e400]",
            "[1e400-]",
            "[--1e400]",
            "[e400]",
            "[.1e400]",
        ] {
            assert!(scratch.parse::<Value>(text.as_bytes()).is_err(), "{text}");
            assert!(from_slice::<Value>(text.as_bytes()).is_err(), "{text}");
        }
    }
}
