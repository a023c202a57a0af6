//! Layer 1: what each glasses model can do, as data (protocol.md §17.2). A new model is one more line in
//! `capabilities.jsonl`, or in a file of the operator that is laid over it; nothing is interpreted here beyond the has-flags.

use serde_json::{Map, Value};
use std::sync::Arc;

/// One JSON object a line, in wire form.
const PROFILES: &str = include_str!("capabilities.jsonl");

/// Models sold under another name: apps see the profile of the hardware, as in the phone's own table.
const ALIASES: [(&str, &str); 1] = [("Mentra Mach1", "Vuzix Z100")];

/// The profile of a model by its exact name, as JSON; `None` for unknown models.
#[must_use]
pub fn of_model(model: &str) -> Option<&'static str> {
    let alias = ALIASES.iter().find(|(name, _)| *name == model);
    let model = alias.map_or(model, |(_, hardware)| hardware);
    PROFILES.lines().find(|line| {
        line.strip_prefix("{\"modelName\":\"")
            .and_then(|rest| rest.strip_prefix(model))
            .is_some_and(|rest| rest.starts_with("\","))
    })
}

/// Flags that every profile states.
const FLAGS: [&str; 9] = [
    "hasCamera",
    "hasDisplay",
    "hasMicrophone",
    "hasSpeaker",
    "hasIMU",
    "hasButton",
    "hasLight",
    "hasWifi",
    "power",
];

/// The built-in profiles and those of the operator's file, which win. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profiles(Arc<[(Box<str>, Box<str>)]>);

impl Profiles {
    /// Reads a file of profiles: one JSON object a line, in wire form. Empty lines and those that begin with `#` do not count.
    ///
    /// # Errors
    /// What is wrong, and in which line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut profiles = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let profile =
                parse_one(line).map_err(|error| format!("line {}: {error}", index + 1))?;
            profiles.push(profile);
        }
        Ok(Self(profiles.into()))
    }

    /// The profile of a model by its exact name, as JSON; `None` for unknown models.
    #[must_use]
    pub fn of_model(&self, model: &str) -> Option<&str> {
        let own = self.0.iter().find(|(name, _)| **name == *model);
        own.map(|(_, profile)| &**profile)
            .or_else(|| of_model(model))
    }
}

fn parse_one(line: &str) -> Result<(Box<str>, Box<str>), String> {
    let members: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| error.to_string())?;
    let name = members.get("modelName").and_then(Value::as_str);
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or("modelName must be a text")?.into();
    for flag in FLAGS {
        let is_stated = match members.get(flag) {
            Some(Value::Bool(_)) => flag != "power",
            Some(Value::Object(_)) => flag == "power",
            _ => false,
        };
        if !is_stated {
            let kind = if flag == "power" {
                "an object"
            } else {
                "true or false"
            };
            return Err(format!("{flag} must be {kind}"));
        }
    }
    // Without blanks, because flags are looked for as text.
    Ok((name, Value::Object(members).to_string().into()))
}

/// Whether a profile has the hardware of a requirement type. `EXIST` stands for any glasses; unknown types are never
/// available (behaviour.md §7.3.4).
#[must_use]
pub fn has(profile: &str, requirement: &str) -> bool {
    let flag = match requirement {
        "CAMERA" => "\"hasCamera\":true",
        "DISPLAY" => "\"hasDisplay\":true",
        "MICROPHONE" => "\"hasMicrophone\":true",
        "SPEAKER" => "\"hasSpeaker\":true",
        "IMU" => "\"hasIMU\":true",
        "BUTTON" => "\"hasButton\":true",
        "LIGHT" => "\"hasLight\":true",
        "WIFI" => "\"hasWifi\":true",
        "EXIST" => return !profile.starts_with("{\"modelName\":\"None\""),
        _ => return false,
    };
    profile.contains(flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODELS: [&str; 7] = [
        "Even Realities G1",
        "Even Realities G2",
        "Mentra Display",
        "Mentra Live",
        "Simulated Glasses",
        "Vuzix Z100",
        "None",
    ];

    fn value(model: &str) -> serde_json::Value {
        serde_json::from_str(of_model(model).expect(model)).expect("a profile is JSON")
    }

    #[test]
    fn the_vuzix_profile_has_the_bytes_of_the_example() {
        assert_eq!(
            of_model("Vuzix Z100"),
            Some(
                r#"{"modelName":"Vuzix Z100","hasCamera":false,"camera":null,"hasDisplay":true,"display":{"count":1,"isColor":false,"color":"green","canDisplayBitmap":false,"resolution":{"width":640,"height":480},"fieldOfView":{"horizontal":30},"maxTextLines":7,"adjustBrightness":true},"hasMicrophone":false,"microphone":null,"hasSpeaker":false,"speaker":null,"hasIMU":false,"imu":null,"hasButton":false,"button":null,"hasLight":false,"light":null,"power":{"hasExternalBattery":false},"hasWifi":false}"#
            )
        );
    }

    #[test]
    fn every_profile_has_every_member_and_null_for_what_is_missing() {
        for model in MODELS {
            let profile = value(model);
            assert_eq!(profile["modelName"], model);
            for (flag, detail) in [
                ("hasCamera", "camera"),
                ("hasDisplay", "display"),
                ("hasMicrophone", "microphone"),
                ("hasSpeaker", "speaker"),
                ("hasButton", "button"),
                ("hasLight", "light"),
            ] {
                let has = profile[flag].as_bool().expect(flag);
                assert_eq!(profile[detail].is_object(), has, "{model} {detail}");
                assert!(profile.get(detail).is_some());
            }
            assert_eq!(profile["power"]["hasExternalBattery"], false);
            assert!(profile["hasIMU"].is_boolean() && profile["hasWifi"].is_boolean());
        }
    }

    #[test]
    fn the_tables_facts_hold() {
        assert_eq!(
            value("Mentra Live")["camera"]["video"]["supportedStreamTypes"][0],
            "rtmp"
        );
        assert_eq!(value("Mentra Live")["imu"]["axisCount"], 6);
        assert_eq!(
            value("Mentra Live")["light"]["lights"][1]["position"],
            "user_facing"
        );
        assert_eq!(value("Mentra Live")["microphone"]["hasVAD"], true);
        assert_eq!(value("Even Realities G1")["display"]["count"], 2);
        assert_eq!(value("Even Realities G1")["imu"], serde_json::Value::Null);
        assert_eq!(
            value("Even Realities G2")["button"]["buttons"][0]["events"][5],
            "SWIPE_DOWN"
        );
        assert_eq!(
            value("Simulated Glasses")["button"]["buttons"][0]["isCapacitive"],
            false
        );
    }

    #[test]
    fn the_mach1_shows_the_profile_of_its_hardware_its_name_too() {
        assert_eq!(of_model("Mentra Mach1"), of_model("Vuzix Z100"));
        let own = r#"{"modelName":"Mentra Mach1","hasCamera":false,"hasDisplay":false,"hasMicrophone":false,"hasSpeaker":false,"hasIMU":false,"hasButton":false,"hasLight":true,"hasWifi":false,"power":{"hasExternalBattery":false}}"#;
        let profiles = Profiles::parse(own).expect("a good file");
        assert!(has(
            profiles.of_model("Mentra Mach1").expect("known"),
            "LIGHT"
        ));
    }

    #[test]
    fn a_file_adds_models_and_corrects_known_ones() {
        let rest = r#""hasDisplay":false,"hasMicrophone":false,"hasSpeaker":false,"hasIMU":false,"hasButton":false,"hasLight":false,"hasWifi":true,"power":{"hasExternalBattery":false}}"#;
        let text = format!(
            "# ours\n\n{{\"modelName\": \"Acme X\", \"hasCamera\": true, {rest}\n{{\"modelName\":\"Vuzix Z100\",\"hasCamera\":true,{rest}\n"
        );
        let profiles = Profiles::parse(&text).expect("a good file");
        let acme = profiles.of_model("Acme X").expect("known now");
        assert!(has(acme, "CAMERA") && has(acme, "WIFI") && !has(acme, "DISPLAY"));
        assert!(!has(
            profiles.of_model("Vuzix Z100").expect("known"),
            "DISPLAY"
        ));
        assert_eq!(
            profiles.of_model("Mentra Live"),
            of_model("Mentra Live"),
            "the others stay"
        );
        for (wrong, word) in [
            ("nonsense", "line 1"),
            ("\n[]", "line 2"),
            (r#"{"modelName":""}"#, "modelName"),
            (r#"{"modelName":"A","hasCamera":1}"#, "hasCamera"),
        ] {
            let error = Profiles::parse(wrong).expect_err(wrong);
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn only_exact_names_are_known() {
        for model in ["", "Mentra", "Mentra Live ", "mentra live", "Acme"] {
            assert_eq!(of_model(model), None, "{model}");
        }
    }

    #[test]
    fn requirements_follow_the_flags() {
        let live = of_model("Mentra Live").expect("known");
        assert!(has(live, "CAMERA") && has(live, "WIFI") && has(live, "EXIST"));
        assert!(!has(live, "DISPLAY") && !has(live, "TELEPATHY"));
        assert!(!has(of_model("None").expect("known"), "EXIST"));
    }
}
