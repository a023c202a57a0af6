//! Layer 1: what each glasses model can do, as data (protocol.md §17.2). A new model is one more line in
//! `capabilities.jsonl`; nothing is interpreted here beyond the has-flags.

/// One JSON object a line, in wire form.
const PROFILES: &str = include_str!("capabilities.jsonl");

/// The profile of a model by its exact name, as JSON; `None` for unknown models.
#[must_use]
pub fn of_model(model: &str) -> Option<&'static str> {
    PROFILES.lines().find(|line| {
        line.strip_prefix("{\"modelName\":\"")
            .and_then(|rest| rest.strip_prefix(model))
            .is_some_and(|rest| rest.starts_with("\","))
    })
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

    const MODELS: [&str; 8] = [
        "Even Realities G1",
        "Even Realities G2",
        "Mentra Display",
        "Mentra Live",
        "Simulated Glasses",
        "Vuzix Z100",
        "Mentra Mach1",
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
        assert_eq!(
            value("Mentra Mach1")["display"],
            value("Vuzix Z100")["display"]
        );
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
