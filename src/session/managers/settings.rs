//! Layer 2, manager: user (OS) settings and per-app settings in memory (behaviour.md §7.4, §2.6 step 4). The store holds
//! them durably; this copy only answers acks and updates.

use crate::base::footprint::owns;
use crate::base::ids::CallId;
use crate::wire::json::ObjectWriter;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, VecDeque};

owns! { Settings: user, apps, webhooks; }

/// Answers of settings webhooks that may still be recognised; older ones are forgotten.
const WEBHOOKS_MAX: usize = 64;

/// Settings of the session's user.
#[derive(Default)]
pub struct Settings {
    user: Map<String, Value>,
    apps: HashMap<String, Vec<Value>>,
    webhooks: VecDeque<CallId>,
}

/// A stored key, the name apps know it by, and its default.
const FLAGS: [(&str, &str, bool); 2] = [
    ("metricSystemEnabled", "metric_system", false),
    ("contextualDashboard", "contextual_dashboard", true),
];
const NUMBERS: [(&str, &str, u64); 2] = [
    ("headUpAngle", "head_up_angle", 45),
    ("brightness", "brightness", 50),
];
const MORE_FLAGS: [(&str, &str, bool); 5] = [
    ("autoBrightness", "auto_brightness", true),
    ("sensingEnabled", "sensing_enabled", true),
    ("alwaysOnStatusBar", "always_on_status_bar", false),
    ("bypassVad", "bypass_vad_for_debugging", false),
    (
        "bypassAudioEncoding",
        "bypass_audio_encoding_for_debugging",
        false,
    ),
];

impl Settings {
    /// Takes the stored documents. What was set meanwhile is newer.
    pub fn load(&mut self, mut user: Map<String, Value>, mut apps: HashMap<String, Vec<Value>>) {
        user.extend(std::mem::take(&mut self.user));
        apps.extend(std::mem::take(&mut self.apps));
        self.user = user;
        self.apps = apps;
    }

    /// Merges changed keys; null deletes one.
    pub fn merge(&mut self, changes: &Map<String, Value>) {
        for (key, value) in changes {
            if value.is_null() {
                self.user.remove(key);
            } else {
                self.user.insert(key.clone(), value.clone());
            }
        }
    }

    /// One user setting.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.user.get(key).filter(|value| !value.is_null())
    }

    /// One user setting that is a non-empty text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    /// The user's time zone name.
    #[must_use]
    pub fn timezone(&self) -> Option<&str> {
        self.text("timezone")
    }

    /// Whether the user wants metric units.
    #[must_use]
    pub fn is_metric(&self) -> bool {
        self.get("metric_system").and_then(Value::as_bool) == Some(true)
    }

    /// The model that the user wears by default.
    #[must_use]
    pub fn default_wearable(&self) -> Option<&str> {
        self.text("default_wearable")
    }

    /// `mentraosSettings` (protocol.md §9.1.1).
    pub fn write_mentraos(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::begin(out);
        for (name, key, default) in FLAGS {
            object.value(name, self.get(key).unwrap_or(&Value::Bool(default)));
        }
        for (name, key, default) in NUMBERS {
            object.value(name, self.get(key).unwrap_or(&Value::from(default)));
        }
        for (name, key, default) in MORE_FLAGS {
            object.value(name, self.get(key).unwrap_or(&Value::Bool(default)));
        }
        let auto = Value::from("auto");
        let microphone = self
            .default_wearable()
            .and_then(|model| self.get(&format!("preferred_mic:{model}")))
            .or_else(|| self.get("preferred_mic"))
            .unwrap_or(&auto);
        object.value("preferredMic", microphone);
        object.bool("useOnboardMic", microphone == "glasses");
        let timezone = self.get("timezone").unwrap_or(&Value::Null);
        object.value("userTimezone", timezone);
        object.value("timezone", timezone);
        object.end();
    }

    /// Whether stored values of this app were read or set.
    #[must_use]
    pub fn knows_app(&self, package: &str) -> bool {
        self.apps.contains_key(package)
    }

    /// Replaces the values of one app.
    pub fn set_app(&mut self, package: &str, values: Vec<Value>) {
        self.apps.insert(package.to_owned(), values);
    }

    /// `settings` of an ack: everything in force, with what the declaration says of it.
    #[must_use]
    pub fn app_values(&self, package: &str, declared: &[Value]) -> Vec<u8> {
        let stored = self.apps.get(package).map_or(&[][..], Vec::as_slice);
        let mut out = vec![b'['];
        for (key, value, source) in in_force(stored, declared) {
            write_item(&mut out, key, value, source);
        }
        out.push(b']');
        out
    }

    /// Remembers a settings webhook whose answer will be ignored.
    pub fn webhook_sent(&mut self, call: CallId) {
        if self.webhooks.len() == WEBHOOKS_MAX {
            self.webhooks.pop_front();
        }
        self.webhooks.push_back(call);
    }

    /// Whether `call` was such a webhook; forgets it.
    pub fn webhook_answered(&mut self, call: CallId) -> bool {
        let at = self.webhooks.iter().position(|sent| *sent == call);
        at.and_then(|at| self.webhooks.remove(at)).is_some()
    }
}

/// `[{key, value}]` of everything in force: what an app is told of a change. A 2.x SDK replaces its whole set with it, so a
/// setting that the user never touched must not be missing (protocol.md §9.7, 13.3).
#[must_use]
pub fn full_values(stored: &[Value], declared: &[Value]) -> Vec<Value> {
    in_force(stored, declared)
        .into_iter()
        .map(|(key, value, _)| json!({ "key": key, "value": value }))
        .collect()
}

/// Key, value and source of every declared setting that can have a value (the stored one, else its default), then of stored
/// ones that are not declared.
#[must_use]
pub fn in_force<'a>(
    stored: &'a [Value],
    declared: &'a [Value],
) -> Vec<(&'a str, &'a Value, &'a Value)> {
    let mut all: Vec<(&str, &Value, &Value)> = Vec::new();
    for setting in declared.iter().filter(|setting| setting["type"] != "group") {
        let Some(key) = setting["key"].as_str().filter(|key| !key.is_empty()) else {
            continue;
        };
        let value = stored
            .iter()
            .find(|item| item["key"] == key)
            .map(|item| &item["value"])
            .filter(|value| !value.is_null())
            .or_else(|| setting.get("defaultValue"))
            .unwrap_or(&setting["value"]);
        all.push((key, value, setting));
    }
    for item in stored {
        if let Some(key) = item["key"].as_str()
            && !all.iter().any(|(known, ..)| *known == key)
        {
            all.push((key, &item["value"], item));
        }
    }
    all
}

/// `{"key", "value", …}` with everything else that the source says.
fn write_item(out: &mut Vec<u8>, key: &str, value: &Value, source: &Value) {
    if out.len() > 1 {
        out.push(b',');
    }
    let mut item = ObjectWriter::begin(out);
    item.str("key", key).value("value", value);
    for (name, member) in source.as_object().into_iter().flatten() {
        if name != "key" && name != "value" {
            item.value(name, member);
        }
    }
    item.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_user(user: Value) -> Settings {
        let mut settings = Settings::default();
        settings.load(
            user.as_object().cloned().expect("an object"),
            HashMap::new(),
        );
        settings
    }

    fn mentraos(settings: &Settings) -> String {
        let mut out = Vec::new();
        settings.write_mentraos(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn defaults_have_the_members_and_order_of_the_table() {
        assert_eq!(
            mentraos(&Settings::default()),
            r#"{"metricSystemEnabled":false,"contextualDashboard":true,"headUpAngle":45,"brightness":50,"autoBrightness":true,"sensingEnabled":true,"alwaysOnStatusBar":false,"bypassVad":false,"bypassAudioEncoding":false,"preferredMic":"auto","useOnboardMic":false,"userTimezone":null,"timezone":null}"#
        );
    }

    #[test]
    fn the_microphone_of_the_default_wearable_comes_first() {
        let settings = with_user(json!({
            "default_wearable": "Mentra Live", "preferred_mic": "phone", "preferred_mic:Mentra Live": "glasses",
            "timezone": "Europe/Lisbon", "brightness": 70,
        }));
        let text = mentraos(&settings);
        assert!(
            text.contains(r#""preferredMic":"glasses","useOnboardMic":true"#),
            "{text}"
        );
        assert!(text.contains(r#""userTimezone":"Europe/Lisbon","timezone":"Europe/Lisbon""#));
        assert!(text.contains(r#""brightness":70"#));
        let plain = with_user(json!({"default_wearable": "G9", "preferred_mic": "phone"}));
        assert!(mentraos(&plain).contains(r#""preferredMic":"phone""#));
    }

    #[test]
    fn null_deletes_a_key() {
        let mut settings = with_user(json!({"brightness": 70}));
        settings.merge(json!({"brightness": null}).as_object().expect("an object"));
        assert!(mentraos(&settings).contains(r#""brightness":50"#));
    }

    #[test]
    fn app_values_are_stored_ones_then_defaults_and_no_groups() {
        let mut settings = Settings::default();
        assert_eq!(settings.app_values("a", &[]), b"[]");
        let schema = [
            json!({"type": "group"}),
            json!({"key": "size", "defaultValue": 2}),
        ];
        let defaults = settings.app_values("a", &schema);
        assert_eq!(defaults, br#"[{"key":"size","value":2,"defaultValue":2}]"#);
        settings.set_app(
            "a",
            vec![
                json!({"key": "lang", "value": "pt"}),
                json!({"key": "old", "value": 1}),
            ],
        );
        let declared = [
            json!({"type": "group", "title": "Look"}),
            json!({"type": "select", "key": "lang", "defaultValue": "en"}),
            json!({"type": "toggle", "key": "loud", "defaultValue": false}),
        ];
        let text = String::from_utf8(settings.app_values("a", &declared)).expect("text");
        assert_eq!(
            text,
            r#"[{"key":"lang","value":"pt","defaultValue":"en","type":"select"},{"key":"loud","value":false,"defaultValue":false,"type":"toggle"},{"key":"old","value":1}]"#
        );
    }
}
