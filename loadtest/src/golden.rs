//! Real-looking phone messages, one of each type that reaches apps unchanged. They are the project's golden samples, so that
//! what the load tester sends is what the unit tests hold the server to.

macro_rules! sample {
    ($kind:literal) => {
        (
            $kind,
            include_str!(concat!(
                "../../tests/golden/phone-to-cloud/",
                $kind,
                ".json"
            )),
        )
    };
}

/// A message as phones send it, by type.
pub(crate) const PHONE: [(&str, &str); 6] = [
    sample!("button_press"),
    sample!("head_position"),
    sample!("touch_event"),
    sample!("glasses_battery_update"),
    sample!("phone_battery_update"),
    sample!("VAD"),
];

/// Head and tail of sample `text` with one more member at its end, whose value goes between the two.
pub(crate) fn split(text: &str) -> (String, &'static str) {
    let body = text.trim_end().strip_suffix('}').unwrap_or(text);
    (format!(r#"{body},"load":""#), r#""}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_stays_json_of_its_type_with_a_tag_in_it() {
        for (kind, text) in PHONE {
            let (head, tail) = split(text);
            let whole: serde_json::Value = serde_json::from_str(&format!("{head}x{tail}")).unwrap();
            assert_eq!(
                (&whole["type"], &whole["load"]),
                (&kind.into(), &"x".into())
            );
        }
    }
}
