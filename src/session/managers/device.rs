//! Layer 2, manager: what is known of the glasses (behaviour.md §7.3, protocol.md §17). Decides what an update changes;
//! tells nobody.

use crate::base::footprint::owns;
use crate::base::rarely::Rarely;
use crate::wire::capabilities::{self, Profiles};
use serde_json::{Map, Value};

owns! { Device: state, known_models; }

/// The model that counts as connected glasses although nothing is connected.
pub const SIMULATED: &str = "Simulated Glasses";
/// The member that only apps with permission `ALL` may see.
pub const HOTSPOT_PASSWORD: &str = "hotspotPassword";

/// Members of the state; the protocol knows 26, and phones may add some.
const MEMBERS_MAX: usize = 128;
/// Longest value of a member, as text or JSON (bytes).
const VALUE_BYTES_MAX: usize = 8192;
/// Models remembered per user.
const MODELS_MAX: usize = 64;

/// Whether a value may be kept and sent to every app.
fn is_small(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() <= VALUE_BYTES_MAX,
        Value::Array(_) | Value::Object(_) => value.to_string().len() <= VALUE_BYTES_MAX,
        _ => true,
    }
}

/// Where an update comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The phone reports its glasses: a model without `connected` means connected.
    Glasses,
    /// The user's `default_wearable`: a wish connects nothing.
    Preference,
}

/// What an update changed.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceChange {
    /// Changed members with their new values; never empty.
    pub diff: Map<String, Value>,
    /// The capabilities have to be announced and apps checked against them.
    pub hardware: bool,
    /// `connected` changed.
    pub connection: bool,
}

/// Device state of the session.
#[derive(Default)]
pub struct Device {
    state: Map<String, Value>,
    known_models: Vec<String>,
    profiles: Profiles,
    window_start_ms: u64,
    window_count: u64,
    warned_ms: Option<u64>,
    /// Lines about requests to a phone that is silent.
    pub silent_lines: Rarely,
    /// Lines about models of which nothing is known.
    pub unknown_lines: Rarely,
}

/// What the rate limiter says of one more update.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpdateAdmission {
    /// Go on.
    Accepted,
    /// Too many in this second.
    Refused,
    /// Too many in this second, and a warning is due.
    RefusedWarn,
}

impl Device {
    /// All members, for snapshots.
    #[must_use]
    pub fn state(&self) -> &Map<String, Value> {
        &self.state
    }

    /// The model now, connected or wished for.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.state
            .get("modelName")
            .and_then(Value::as_str)
            .filter(|model| !model.is_empty())
    }

    /// Capabilities of that model as JSON.
    #[must_use]
    pub fn capabilities(&self) -> Option<&str> {
        self.profiles.of_model(self.model()?)
    }

    /// What glasses can do from now on; says whether that changes anything for the model in use.
    pub fn set_profiles(&mut self, profiles: &Profiles) -> bool {
        if self.profiles == *profiles {
            return false;
        }
        let before = self.capabilities().map(str::to_owned);
        self.profiles = profiles.clone();
        self.capabilities() != before.as_deref()
    }

    /// Whether glasses are connected, by their own report.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.flag("connected")
    }

    /// Whether hardware requests have glasses to go to: connected or simulated ones.
    #[must_use]
    pub fn has_glasses(&self) -> bool {
        self.is_connected() || self.model() == Some(SIMULATED)
    }

    /// Whether a stream would have no network: the model has Wi-Fi and is not known to be connected to one.
    #[must_use]
    pub fn lacks_wifi(&self) -> bool {
        let needs = self
            .capabilities()
            .is_some_and(|profile| capabilities::has(profile, "WIFI"));
        needs && !self.flag("wifiConnected")
    }

    /// Whether the model is known to show nothing.
    #[must_use]
    pub fn lacks_display(&self) -> bool {
        self.capabilities()
            .is_some_and(|profile| !capabilities::has(profile, "DISPLAY"))
    }

    /// Adds models that were connected in earlier sessions.
    pub fn add_known_models(&mut self, models: &[String]) {
        for model in models {
            self.learn_model(model);
        }
    }

    /// Remembers a model; says whether it is new and worth it.
    pub fn learn_model(&mut self, model: &str) -> bool {
        let is_new = self.known_models.len() < MODELS_MAX
            && !self.known_models.iter().any(|known| known == model);
        if is_new {
            self.known_models.push(model.to_owned());
        }
        is_new
    }

    /// Merges an update (protocol.md §17.1, steps 1–3). `None`: nothing changed, and a `timestamp` alone is no change.
    pub fn apply(
        &mut self,
        mut update: Map<String, Value>,
        source: Source,
    ) -> Option<DeviceChange> {
        let timestamp = update.remove("timestamp").filter(is_small);
        let gives_connected = update.contains_key("connected");
        let mut room = MEMBERS_MAX.saturating_sub(self.state.len());
        let mut fits = |key: &String, value: &Value| {
            let known = self.state.contains_key(key);
            let fits = (known || room > 0) && key.len() <= VALUE_BYTES_MAX && is_small(value);
            room -= usize::from(fits && !known);
            fits
        };
        let mut diff: Map<String, Value> = update
            .into_iter()
            .filter(|(key, value)| self.state.get(key) != Some(value) && fits(key, value))
            .collect();
        if diff.is_empty() {
            return None;
        }
        if source == Source::Glasses
            && !gives_connected
            && let Some(model) = diff.get("modelName")
        {
            let connected = Value::Bool(model.as_str().is_some_and(|name| !name.is_empty()));
            if self.state.get("connected") != Some(&connected) {
                diff.insert("connected".to_owned(), connected);
            }
        }
        self.state.extend(diff.clone());
        self.state
            .extend(timestamp.map(|stamp| ("timestamp".to_owned(), stamp)));
        let connection = diff.contains_key("connected");
        // Glasses that went away mean nothing more than that, whatever model is named with it (protocol.md §17.1, step 4).
        let told = if connection {
            self.is_connected()
        } else {
            diff.contains_key("modelName")
        };
        Some(DeviceChange {
            hardware: told && self.model().is_some(),
            connection,
            diff,
        })
    }

    /// Counts one REST update against `per_second`; a user who exceeds it is warned of once per `warn_ms`.
    pub fn admit(&mut self, mono_ms: u64, per_second: u64, warn_ms: u64) -> UpdateAdmission {
        if self.window_count == 0 || mono_ms >= self.window_start_ms + 1000 {
            self.window_start_ms = mono_ms;
            self.window_count = 0;
        }
        if self.window_count < per_second {
            self.window_count += 1;
            return UpdateAdmission::Accepted;
        }
        if self.warned_ms.is_some_and(|at| mono_ms < at + warn_ms) {
            return UpdateAdmission::Refused;
        }
        self.warned_ms = Some(mono_ms);
        UpdateAdmission::RefusedWarn
    }

    fn flag(&self, key: &str) -> bool {
        self.state.get(key).and_then(Value::as_bool) == Some(true)
    }
}

/// `state` without what only privileged apps may see.
#[must_use]
pub fn public_part(state: &Map<String, Value>) -> Map<String, Value> {
    state
        .iter()
        .filter(|(key, _)| *key != HOTSPOT_PASSWORD)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    fn report(device: &mut Device, value: Value) -> Option<Value> {
        device
            .apply(map(value), Source::Glasses)
            .map(|change| Value::Object(change.diff))
    }

    #[test]
    fn only_differences_count_and_the_timestamp_never_does() {
        let mut device = Device::default();
        report(
            &mut device,
            json!({"connected": true, "modelName": "Mentra Live", "batteryLevel": 71}),
        );
        assert_eq!(
            report(&mut device, json!({"batteryLevel": 71, "timestamp": 5})),
            None
        );
        assert_eq!(
            report(
                &mut device,
                json!({"batteryLevel": 70, "timestamp": 6, "connected": true})
            ),
            Some(json!({"batteryLevel": 70}))
        );
        assert_eq!(device.state()["timestamp"], 6);
    }

    #[test]
    fn what_no_phone_would_say_is_not_kept() {
        let mut device = Device::default();
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let told = json!({"wifiSsid": &long, "zz": [&long], "batteryLevel": 71});
        assert_eq!(report(&mut device, told), Some(json!({"batteryLevel": 71})));
        for n in 0..MEMBERS_MAX {
            report(&mut device, json!({ format!("own{n}"): n }));
        }
        assert_eq!(device.state().len(), MEMBERS_MAX);
        assert_eq!(report(&mut device, json!({"more": 1})), None);
        let again = json!({"batteryLevel": 70});
        assert_eq!(report(&mut device, again.clone()), Some(again));
        for n in 0..MODELS_MAX {
            assert!(device.learn_model(&n.to_string()));
        }
        assert!(!device.learn_model("one more"));
    }

    #[test]
    fn an_absent_member_erases_nothing() {
        let mut device = Device::default();
        report(
            &mut device,
            json!({"wifiConnected": true, "wifiSsid": "Attic"}),
        );
        report(&mut device, json!({"batteryLevel": 3}));
        assert_eq!(device.state()["wifiSsid"], "Attic");
    }

    #[test]
    fn a_model_without_connected_means_connected_and_no_model_means_not() {
        let mut device = Device::default();
        assert_eq!(
            report(&mut device, json!({"modelName": "Mentra Live"})),
            Some(json!({"modelName": "Mentra Live", "connected": true}))
        );
        assert_eq!(
            report(&mut device, json!({"modelName": null})),
            Some(json!({"modelName": null, "connected": false}))
        );
    }

    #[test]
    fn a_stated_connected_is_believed_even_when_it_is_no_change() {
        let mut device = Device::default();
        report(&mut device, json!({"connected": false}));
        assert_eq!(
            report(
                &mut device,
                json!({"connected": false, "modelName": "Mentra Live"})
            ),
            Some(json!({"modelName": "Mentra Live"}))
        );
        assert!(!device.is_connected());
    }

    #[test]
    fn a_preference_sets_the_model_and_connects_nothing() {
        let mut device = Device::default();
        let change = device
            .apply(map(json!({"modelName": "Mentra Live"})), Source::Preference)
            .expect("a change");
        assert!(change.hardware && !change.connection && !device.is_connected());
    }

    #[test]
    fn simulated_glasses_need_no_connection() {
        let mut device = Device::default();
        assert!(!device.has_glasses());
        report(
            &mut device,
            json!({"connected": false, "modelName": SIMULATED}),
        );
        assert!(device.has_glasses());
    }

    #[test]
    fn ten_updates_a_second_and_one_warning_a_minute() {
        let mut device = Device::default();
        for _ in 0..10 {
            assert_eq!(device.admit(5000, 10, 60_000), UpdateAdmission::Accepted);
        }
        assert_eq!(device.admit(5999, 10, 60_000), UpdateAdmission::RefusedWarn);
        assert_eq!(device.admit(5999, 10, 60_000), UpdateAdmission::Refused);
        assert_eq!(device.admit(6000, 10, 60_000), UpdateAdmission::Accepted);
        let refused = |device: &mut Device, at_ms: u64| {
            (0..11)
                .map(|_| device.admit(at_ms, 10, 60_000))
                .last()
                .expect("eleven")
        };
        assert_eq!(refused(&mut device, 65_998), UpdateAdmission::Refused);
        assert_eq!(refused(&mut device, 66_999), UpdateAdmission::RefusedWarn);
    }
}
