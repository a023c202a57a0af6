//! Layer 1: the peek, the parser and the writer; no message is handled.

mod agreement;

use super::*;
use serde::Deserialize;
use serde_json::Value;

fn kind_of(text: &str) -> Result<String, KindError> {
    kind(text).map(std::borrow::Cow::into_owned)
}

/// Whether this value could stand in a message.
fn value_is_json(value: &str) -> Result<(), KindError> {
    let text = format!(r#"{{"x":{value},"type":"a"}}"#);
    kind_of(&text).map(|kind| assert_eq!(kind, "a"))
}

#[test]
fn types_are_found_wherever_they_stand() {
    for (text, expected) in [
        (r#"{"type":"ping"}"#, "ping"),
        (" \t\r\n{ \"type\" : \"ping\" } \n", "ping"),
        (
            r#"{"a":1,"b":[{"type":"inner"}],"c":{"type":"inner","x":"}"},"type":"VAD"}"#,
            "VAD",
        ),
        (r#"{"s":"a \" , \"type\":\"no\" \\","type":"yes"}"#, "yes"),
        (
            r#"{"a":-1.5e+10,"b":true,"c":null,"d":false,"e":"","f":{},"g":[],"type":"x"}"#,
            "x",
        ),
        (
            r#"{"\u0074ype":"es\u0063aped \ud83d\ude00\n\/"}"#,
            "escaped 😀\n/",
        ),
        (
            r#"{"type":"a key","typ":1,"types":2,"Type":3,"":4}"#,
            "a key",
        ),
        (r#"{"type":""}"#, ""),
        (r#"{"type":"a","type":"b"}"#, "b"),
        (r#"{"type":1,"x":1,"t\u0079pe":"b"}"#, "b"),
        (r#"{"type":"naïve ✓"}"#, "naïve ✓"),
    ] {
        assert_eq!(kind_of(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn a_plain_type_is_not_copied() {
    let text = r#"{"data":"x","type":"button_press"}"#;
    assert!(matches!(
        kind(text),
        Ok(std::borrow::Cow::Borrowed("button_press"))
    ));
}

#[test]
fn unusable_texts_are_refused() {
    for (text, expected) in [
        ("", KindError::NotAnObject),
        ("[]", KindError::NotAnObject),
        ("\"type\"", KindError::NotAnObject),
        ("null", KindError::NotAnObject),
        ("\u{feff}{}", KindError::NotAnObject),
        ("{}", KindError::Missing),
        (r#"{"x":{"type":"inner"}}"#, KindError::Missing),
        (r#"{"type":1}"#, KindError::NotAString),
        (r#"{"type":null}"#, KindError::NotAString),
        (r#"{"type":{"type":"x"}}"#, KindError::NotAString),
        (r#"{"type":"a","type":1}"#, KindError::NotAString),
        (r#"{"type":"a","t\u0079pe":null}"#, KindError::NotAString),
        (r#"{"type":"a"}x"#, KindError::Malformed),
        (r#"{"type":"a"}{}"#, KindError::Malformed),
        (r#"{"type":"a""#, KindError::Malformed),
        (r#"{"type":"a",}"#, KindError::Malformed),
        (r#"{"type":"a"#, KindError::Malformed),
        (r#"{"type":"a\"#, KindError::Malformed),
        (r#"{"type":"\x"}"#, KindError::Malformed),
        (r#"{"type":"\u12"}"#, KindError::Malformed),
        (r#"{"type" "a"}"#, KindError::Malformed),
        (r#"{"x":[1,2,"type":"a"}"#, KindError::Malformed),
        (r#"{"x":,"type":"a"}"#, KindError::Malformed),
        (r#"{type:"a"}"#, KindError::Malformed),
        ("{", KindError::Malformed),
    ] {
        assert_eq!(kind_of(text), Err(expected), "{text}");
    }
}

#[test]
fn what_is_read_nests_less_deep_than_what_is_passed_on() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        format!(r#"{{"x":{open}{close},"type":"a"}}"#)
    };
    let mut scratch = Scratch::new();
    let mut parses = |text: &str| {
        scratch
            .parse::<serde::de::IgnoredAny>(text.as_bytes())
            .is_ok()
    };
    assert!(parses(&nested(DEPTH_MAX)));
    assert!(!parses(&nested(DEPTH_MAX + 1)));
    assert!(!parses(&"[".repeat(1 << 20)));
    for depth in [DEPTH_MAX, DEPTH_MAX + 1, 500, PROVEN_DEPTH_MAX] {
        assert_eq!(kind_of(&nested(depth)).as_deref(), Ok("a"), "{depth}");
    }
    let deep = nested(PROVEN_DEPTH_MAX + 1);
    assert_eq!(kind_of(&deep), Err(KindError::TooDeep));
    let deep = format!(r#"{{"x":{}"#, "[".repeat(1 << 20));
    assert_eq!(kind_of(&deep), Err(KindError::TooDeep));
}

/// A value wrapped so often that it lies beyond what is proven by recursion.
fn sunk(value: &str) -> String {
    let (open, close) = (r#"[1,{"a":"#.repeat(100), r#","b":[]}, {} ]"#.repeat(100));
    format!("{open}{value}{close}")
}

#[test]
fn what_lies_deep_is_proven_alike() {
    for fine in [
        r#"[1,{"a":[],"b":{}} , "x"]"#,
        "[ ]",
        "{ }",
        "true",
        r#"{"type":"inner"}"#,
    ] {
        assert_eq!(value_is_json(&sunk(fine)), Ok(()), "{fine}");
    }
    for bad in [
        "",
        "[",
        "{",
        "]",
        "}",
        "[}",
        "{]",
        "[1,]",
        r#"{"a":1,}"#,
        r#"{"a"}"#,
        "{1:2}",
        "[1 2]",
        r#"[{"a":]}"#,
        "[,1]",
        r#"[1,"a":2]"#,
    ] {
        assert_eq!(
            value_is_json(&sunk(bad)),
            Err(KindError::Malformed),
            "{bad}"
        );
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Display {
    package_name: String,
    #[serde(default)]
    duration_ms: Option<u64>,
}

#[test]
fn typed_parsing_ignores_unknown_members_and_names_what_is_wrong() {
    let mut scratch = Scratch::new();
    let text = br#"{"type":"display_event","packageName":"com.acme.x","extra":[1,{"a":2}]}"#;
    let display: Display = scratch.parse(text).unwrap();
    assert_eq!(
        display,
        Display {
            package_name: "com.acme.x".to_owned(),
            duration_ms: None
        }
    );
    assert!(matches!(
        scratch.parse::<Display>(b"{\"packageName\":1}"),
        Err(JsonError::Shape(_))
    ));
    assert!(matches!(
        scratch.parse::<Display>(b"{\"packageName\""),
        Err(JsonError::Syntax(_))
    ));
    assert!(matches!(
        scratch.parse::<Display>(b""),
        Err(JsonError::Syntax(_))
    ));
    // An error leaves the scratch usable.
    assert!(scratch.parse::<Display>(text).is_ok());
}

#[test]
fn typed_parsing_reads_what_json_parse_reads() {
    let mut scratch = Scratch::new();
    for text in [
        &br#"{"packageName":"a","durationMs":60.0}"#[..],
        br#"{"packageName":"a","durationMs":6e1}"#,
        br#"{"packageName":1,"packageName":"a","durationMs":5,"durationMs":60}"#,
    ] {
        let display: Display = scratch.parse(text).unwrap();
        assert_eq!(
            (display.package_name.as_str(), display.duration_ms),
            ("a", Some(60))
        );
    }
    for text in [
        &br#"{"packageName":"a","durationMs":60.5}"#[..],
        br#"{"packageName":"a","packageName":1}"#,
    ] {
        assert!(matches!(
            scratch.parse::<Display>(text),
            Err(JsonError::Shape(_))
        ));
    }
    let text = br#"{"durationMs":60.0,"duration":1}"#;
    let error = scratch.parse::<Display>(text).unwrap_err().to_string();
    assert!(error.contains("packageName"), "not what was read: {error}");
}

#[test]
fn strings_can_be_borrowed_from_the_scratch() {
    let mut scratch = Scratch::new();
    let members: Vec<&str> = scratch.parse_borrowed(br#"["a","b\n\u00e9"]"#).unwrap();
    assert_eq!(members, ["a", "b\né"]);
}

#[test]
fn text_cut_within_a_character_by_javascript_is_read() {
    let text = r#"["cut \ud83d","\udc00","\ud83d\ud83d\ude00","\\ud83d","\ud83d\u0041"]"#;
    let mut scratch = Scratch::new();
    assert_eq!(value_is_json(text), Ok(()));
    let read: Vec<String> = scratch.parse(text.as_bytes()).unwrap();
    assert_eq!(
        read,
        [
            "cut \u{fffd}",
            "\u{fffd}",
            "\u{fffd}😀",
            "\\ud83d",
            "\u{fffd}A"
        ]
    );
    assert_eq!(kind_of(r#"{"type":"x\ud83d"}"#).as_deref(), Ok("x\u{fffd}"));
    for broken in [
        r#"["\ud8"]"#,
        r#"["\u"]"#,
        r#"["\ud83d\"]"#,
        r#"["\uzzzz"]"#,
        "\"\\",
    ] {
        assert_eq!(value_is_json(broken), Err(KindError::Malformed), "{broken}");
        assert!(
            scratch.parse::<Value>(broken.as_bytes()).is_err(),
            "{broken}"
        );
    }
}

#[test]
fn what_is_no_json_has_no_type() {
    for bad in [
        "",
        " ",
        "{}{}",
        "{\"a\":1,}",
        "[1,]",
        "[1 2]",
        "01",
        "1.",
        "-",
        "tru",
        "{\"a\"}",
        "{]",
        "\u{feff}{}",
        "{\"a\":\"\n\"}",
        "'a'",
        "{a:1}",
        "NaN",
        "[\"\\x\"]",
        "{\"a\":1}//",
    ] {
        assert_eq!(value_is_json(bad), Err(KindError::Malformed), "{bad:?}");
    }
    for fine in [
        "-0",
        "0.50",
        "1e9",
        "-1.5E+10",
        "1e-400",
        "1e400",
        "123456789012345678901234567890",
        "true",
        "[[],{}]",
    ] {
        assert_eq!(value_is_json(fine), Ok(()), "{fine}");
    }
    // Said of the whole text, whatever its type looks like.
    for bad in [
        r#"{"type":1,}"#,
        r#"{"type":"a","type":"b""#,
        r#"{"x":tru}"#,
        "{\"type\":\"a\tb\"}",
    ] {
        assert_eq!(kind_of(bad), Err(KindError::Malformed), "{bad}");
    }
}

#[test]
fn a_long_text_does_not_keep_its_memory() {
    let mut scratch = Scratch::new();
    let long = format!("[{}1]", "1,         ".repeat(1 << 17));
    assert!(
        scratch
            .parse::<serde::de::IgnoredAny>(long.as_bytes())
            .is_ok()
    );
    assert!(scratch.parse::<serde::de::IgnoredAny>(b"{}").is_ok());
    assert!(format!("{scratch:?}").contains("4096"));
}

#[test]
fn objects_are_written_in_the_order_given() {
    let mut out = Vec::new();
    ObjectWriter::begin(&mut out)
        .str("type", "a \"b\" \\ \u{1}\n✓")
        .opt_str("gone", None)
        .bool("yes", true)
        .num("n", -7i64)
        .num("f", 0.5)
        .null("nothing")
        .raw("raw", b"[1]")
        .array("list", |list| {
            list.str("x").str("y");
        })
        .object("o", |inner| {
            inner.num("x", 1u8).array("empty", |_| {});
        })
        .array("objects", |array| {
            array.object(|inner| {
                inner.bool("b", false);
            });
            array.str("s").value().extend_from_slice(b"null");
        })
        .end();
    let expected = concat!(
        r#"{"type":"a \"b\" \\ \u0001\n✓","yes":true,"n":-7,"f":0.5,"nothing":null,"raw":[1],"#,
        r#""list":["x","y"],"o":{"x":1,"empty":[]},"objects":[{"b":false},"s",null]}"#
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn numbers_are_written_as_javascript_writes_them() {
    for (number, text) in [
        (0.0, "0"),
        (-0.0, "0"),
        (2.0, "2"),
        (0.94, "0.94"),
        (1_773_480_413_589.0, "1773480413589"),
        (1e21, "1e21"),
        (1.5e-7, "1.5e-7"),
        (f64::NAN, "null"),
        (f64::INFINITY, "null"),
    ] {
        let mut out = Vec::new();
        write_number(&mut out, number);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
    let mut out = Vec::new();
    ObjectWriter::begin(&mut out)
        .num("a", 0)
        .num("b", u64::MAX)
        .num("c", i64::MIN)
        .num("d", usize::MIN)
        .end();
    let text = br#"{"a":0,"b":18446744073709551615,"c":-9223372036854775808,"d":0}"#;
    assert_eq!(out, text);
}

#[test]
fn a_text_of_more_values_than_anybody_sends_is_not_read() {
    let mut scratch = Scratch::new();
    let list = |count: usize| format!("[0{}]", ",0".repeat(count - 1));
    let read = scratch.parse::<Vec<u8>>(list(200_000).as_bytes());
    assert_eq!(read.map(|list| list.len()), Ok(200_000));
    for text in [list(300_000), list(300_000).replace('0', "1e400")] {
        let refused = scratch.parse::<serde_json::Value>(text.as_bytes());
        assert!(matches!(refused, Err(JsonError::Syntax(_))));
    }
    assert!(scratch.parse::<Vec<u8>>(b"[1]").is_ok());
}
