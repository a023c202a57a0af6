//! Layer 2, manager: the last fix, pending polls and the accuracy tier (behaviour.md §7.1, protocol.md §5.7).

use crate::base::clock::Now;
use crate::base::footprint::owns;
use crate::base::ids::{CallId, Package};
use crate::base::rarely::PerSecond;
use crate::base::share;
use crate::wire::json::ObjectWriter;
use crate::wire::members::{Members, js_number};
use crate::wire::records::StoredLocation;
use serde_json::{Map, Value};

owns! {
    Poll: accuracy, correlation_id;
    Location: polls;
}

/// Tiers from weakest to strongest.
const TIERS: [&str; 8] = [
    "reduced",
    "threeKilometers",
    "kilometer",
    "hundredMeters",
    "tenMeters",
    "standard",
    "high",
    "realtime",
];
/// Age up to which a fix answers a poll of a tier that the settings do not name (s).
const OTHER_AGE_S: u64 = 900;
const STANDARD: usize = 5;

/// One item of `location_tier_ages_s`: tier and seconds.
fn tier_age(item: &str) -> Option<(&str, u64)> {
    let (tier, age_s) = item.split_once(':')?;
    Some((tier.trim(), age_s.trim().parse().ok()?))
}

/// The tier of a phone that was told none.
pub const WEAKEST: &str = "reduced";

/// Where the user was.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Fix {
    /// Degrees.
    pub lat: f64,
    /// Degrees.
    pub lng: f64,
    /// Metres.
    pub accuracy: Option<f64>,
}

impl Fix {
    /// From `{lat, lng}`, `{latitude, longitude}` or `{coords: {…}}`; `None` without finite coordinates.
    #[must_use]
    pub fn from_members(object: &Map<String, Value>) -> Option<Self> {
        let coords = object.get("coords").and_then(Value::as_object);
        let members = Members(coords.unwrap_or(object).clone());
        let either =
            |short: &str, long: &str| members.number(short).or_else(|| members.number(long));
        Some(Self {
            lat: either("lat", "latitude")?,
            lng: either("lng", "longitude")?,
            accuracy: members.number("accuracy"),
        })
    }

    /// The data of a location event.
    #[must_use]
    pub fn event(&self, now: Now, correlation_id: Option<&str>) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        let mut object = ObjectWriter::begin(&mut out);
        object
            .str("type", "location_update")
            .value("lat", &js_number(self.lat))
            .value("lng", &js_number(self.lng));
        if let Some(accuracy) = self.accuracy {
            object.value("accuracy", &js_number(accuracy));
        }
        object.str("timestamp", now.iso().as_str());
        if let Some(id) = correlation_id {
            object.str("correlationId", id);
        }
        object.end();
        out
    }
}

/// A poll that waits for the phone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Poll {
    /// Key of its timer.
    pub call: CallId,
    /// Who asks.
    pub package: Package,
    /// Tier it asked for.
    pub accuracy: String,
    /// The app's own id.
    pub correlation_id: String,
}

/// Location state of the session.
#[derive(Default)]
pub struct Location {
    last: Option<(Fix, Now)>,
    changed: bool,
    polls: Vec<Poll>,
    told: Option<&'static str>,
    /// Tiers told of late.
    pub tiers: PerSecond,
}

impl Location {
    /// Seeds from the store.
    pub fn seed(&mut self, stored: StoredLocation, now: Now) {
        let age_ms = now.unix_ms.saturating_sub(stored.unix_ms);
        let fix = Fix {
            lat: stored.lat,
            lng: stored.lng,
            accuracy: stored.accuracy,
        };
        let at = Now {
            mono_ms: now.mono_ms.saturating_sub(age_ms),
            unix_ms: stored.unix_ms,
        };
        self.last = Some((fix, at));
    }

    /// A new fix.
    pub fn set(&mut self, fix: Fix, now: Now) {
        self.last = Some((fix, now));
        self.changed = true;
    }

    /// The last known one.
    #[must_use]
    pub fn last(&self) -> Option<Fix> {
        self.last.map(|(fix, _)| fix)
    }

    /// What has to be stored: a fix that arrived since the session was loaded.
    pub fn unsaved(&mut self) -> Option<StoredLocation> {
        let (fix, at) = self.last.filter(|_| self.changed)?;
        self.changed = false;
        Some(StoredLocation {
            lat: fix.lat,
            lng: fix.lng,
            accuracy: fix.accuracy,
            unix_ms: at.unix_ms,
        })
    }

    /// A cached fix that is young enough for `tier`; `ages` are those of the settings, as `tier:seconds`.
    #[must_use]
    pub fn fresh(&self, tier: &str, ages: &[String], now: Now) -> Option<Fix> {
        let max_s = ages
            .iter()
            .filter_map(|age| tier_age(age))
            .find(|(name, _)| *name == tier)
            .map_or(OTHER_AGE_S, |(_, max_s)| max_s);
        let (fix, at) = self.last?;
        let age_ms = now.unix_ms.saturating_sub(at.unix_ms);
        (age_ms < max_s * 1000).then_some(fix)
    }

    /// Registers a poll; beyond `max` the oldest of the app with most is forgotten and returned.
    pub fn add_poll(&mut self, poll: Poll, max: u64) -> Option<Poll> {
        self.polls.push(poll);
        if self.polls.len() as u64 <= max {
            return None;
        }
        let at = share::gives_way(self.polls.iter().map(|poll| &poll.package))?;
        Some(self.polls.remove(at))
    }

    /// Whether anybody waits for this id.
    #[must_use]
    pub fn is_pending(&self, correlation_id: &str) -> bool {
        self.polls
            .iter()
            .any(|poll| poll.correlation_id == correlation_id)
    }

    /// Takes every poll with this id.
    pub fn answered(&mut self, correlation_id: &str) -> Vec<Poll> {
        self.polls
            .extract_if(.., |poll| poll.correlation_id == correlation_id)
            .collect()
    }

    /// Takes the polls of a stopped app.
    pub fn app_stopped(&mut self, package: &str) -> Vec<Poll> {
        self.polls
            .extract_if(.., |poll| &*poll.package == package)
            .collect()
    }

    /// Forgets one poll.
    pub fn expired(&mut self, call: CallId) {
        self.polls.retain(|poll| poll.call != call);
    }

    /// Everything that waits.
    #[must_use]
    pub fn polls(&self) -> &[Poll] {
        &self.polls
    }

    /// Forgets all polls.
    pub fn clear_polls(&mut self) {
        self.polls.clear();
    }

    /// The tier that the phone was told on its current socket; empty where only an earlier one told it of another than the
    /// weakest.
    #[must_use]
    pub fn told(&self) -> &'static str {
        self.told.unwrap_or(WEAKEST)
    }

    /// The phone was told a tier.
    pub fn set_told(&mut self, tier: &'static str) {
        self.told = Some(tier);
    }

    /// The phone has a new socket, on which it was told no tier yet. It keeps what earlier ones told it.
    pub fn phone_returned(&mut self) {
        self.told = self.told.filter(|tier| *tier != WEAKEST).map(|_| "");
    }
}

/// The strongest tier of all `location_stream` subscriptions, given their rates: no rate and an unknown one count as
/// `standard`, no subscription as `default`.
pub fn effective_tier<'a>(
    rates: impl IntoIterator<Item = Option<&'a str>>,
    default: &str,
) -> &'static str {
    let rank = |name: &str| TIERS.iter().position(|tier| *tier == name);
    let strongest = rates
        .into_iter()
        .map(|rate| rate.and_then(rank).unwrap_or(STANDARD))
        .max();
    TIERS[strongest.or_else(|| rank(default)).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Now = Now {
        mono_ms: 5_000_000,
        unix_ms: 1_773_480_413_589,
    };
    const FIX: Fix = Fix {
        lat: 38.7169,
        lng: -9.1399,
        accuracy: Some(12.0),
    };

    fn fix(value: Value) -> Option<Fix> {
        Fix::from_members(value.as_object().expect("an object"))
    }

    #[test]
    fn every_form_of_coordinates_is_read() {
        let wanted = Fix {
            lat: 1.5,
            lng: 0.0,
            accuracy: None,
        };
        for form in [
            json!({"lat": 1.5, "lng": 0}),
            json!({"latitude": 1.5, "longitude": 0}),
            json!({"coords": {"latitude": 1.5, "longitude": 0}, "timestamp": 4}),
        ] {
            assert_eq!(fix(form), Some(wanted));
        }
        assert_eq!(fix(json!({"lat": "1.5", "lng": 0})), None);
        assert_eq!(fix(json!({"lat": 1.5})), None);
    }

    #[test]
    fn the_strongest_rate_counts_and_no_rate_is_standard() {
        assert_eq!(effective_tier([], WEAKEST), "reduced");
        assert_eq!(effective_tier([None], WEAKEST), "standard");
        assert_eq!(effective_tier([Some("warp")], WEAKEST), "standard");
        assert_eq!(
            effective_tier([Some("kilometer"), Some("high")], WEAKEST),
            "high"
        );
        assert_eq!(effective_tier([Some("kilometer")], WEAKEST), "kilometer");
    }

    #[test]
    fn a_cached_fix_answers_while_it_is_younger_than_the_tier_allows() {
        let ages = crate::base::settings::Settings::default()
            .device
            .location_tier_ages_s;
        for (tier, max_s) in [
            ("reduced", 900),
            ("threeKilometers", 900),
            ("kilometer", 300),
            ("hundredMeters", 60),
            ("tenMeters", 30),
            ("standard", 30),
            ("high", 10),
            ("realtime", 1),
            ("warp", 900),
        ] {
            let mut location = Location::default();
            location.set(FIX, NOW);
            let fresh = |age_ms: u64| location.fresh(tier, &ages, NOW.plus(age_ms));
            assert!(fresh(max_s * 1000 - 1).is_some(), "{tier}");
            assert!(fresh(max_s * 1000).is_none(), "{tier}");
        }
    }

    #[test]
    fn an_operator_may_allow_older_fixes_per_tier() {
        let mut location = Location::default();
        location.set(FIX, NOW);
        let ages = ["high:120".to_owned()];
        let fresh = |tier: &str, age_ms: u64| location.fresh(tier, &ages, NOW.plus(age_ms));
        assert!(fresh("high", 119_999).is_some() && fresh("high", 120_000).is_none());
        assert!(fresh("standard", 899_999).is_some() && fresh("standard", 900_000).is_none());
    }

    #[test]
    fn a_stored_fix_keeps_its_age_and_is_not_stored_again() {
        let mut location = Location::default();
        let stored = StoredLocation {
            lat: 0.0,
            lng: 0.0,
            accuracy: None,
            unix_ms: NOW.unix_ms - 20_000,
        };
        location.seed(stored, NOW);
        let ages = ["standard:30".to_owned(), "high:10".to_owned()];
        assert!(location.fresh("standard", &ages, NOW).is_some());
        assert!(location.fresh("high", &ages, NOW).is_none());
        assert_eq!(location.unsaved(), None);
        location.set(FIX, NOW);
        assert_eq!(location.unsaved().map(|at| at.unix_ms), Some(NOW.unix_ms));
    }

    #[test]
    fn the_event_has_the_form_of_the_protocol() {
        assert_eq!(
            String::from_utf8(FIX.event(NOW, Some("poll_1"))).expect("text"),
            r#"{"type":"location_update","lat":38.7169,"lng":-9.1399,"accuracy":12,"timestamp":"2026-03-14T09:26:53.589Z","correlationId":"poll_1"}"#
        );
    }
}
