//! Layer 2, manager part: the weather line and when to fetch it anew (behaviour.md §6.2.1). Builds the request and reads the
//! answer of an OpenWeather-compatible service; never calls it.

use crate::base::footprint::owns;
use crate::base::ids::CallId;
use crate::base::settings::Dashboard as Config;
use serde::Deserialize;

owns! { Weather: told; Told: condition; }

/// Units of the temperature.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Units {
    /// °F.
    #[default]
    Imperial,
    /// °C.
    Metric,
}

/// What the last answer told.
#[derive(Clone, PartialEq, Debug)]
struct Told {
    condition: String,
    fahrenheit: f64,
}

/// Weather at the user's place.
#[derive(Default)]
pub struct Weather {
    told: Option<Told>,
    units: Units,
    fetched: Option<Fetch>,
    pending: Option<CallId>,
}

/// A place and a time for which weather was asked.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Fetch {
    at_ms: u64,
    lat: f64,
    lng: f64,
}

/// Shortest pause between two requests of a session, and the pause after an answer without weather (ms).
pub const WEATHER_PAUSE_MS: u64 = 60_000;
/// Path of the call where `weather_url` has none: every key of the service may make this one.
const CURRENT: &str = "/data/2.5/weather";

/// The two forms of an answer: of the current-weather call, and of One Call.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Now {
        weather: Vec<Condition>,
        main: Reading,
    },
    OneCall {
        current: Everything,
    },
}

#[derive(Deserialize)]
struct Everything {
    weather: Vec<Condition>,
    temp: f64,
}

#[derive(Deserialize)]
struct Condition {
    main: String,
}

#[derive(Deserialize)]
struct Reading {
    temp: f64,
}

impl Weather {
    /// Sets the units; says whether they changed.
    pub fn set_units(&mut self, units: Units) -> bool {
        std::mem::replace(&mut self.units, units) != units
    }

    /// `Condition, 72°F`.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let Told {
            condition,
            fahrenheit,
        } = self.told.as_ref()?;
        let (degrees, unit) = match self.units {
            Units::Imperial => (*fahrenheit, 'F'),
            Units::Metric => ((fahrenheit - 32.0) / 1.8, 'C'),
        };
        Some(format!("{condition}, {}°{unit}", degrees.round() as i64))
    }

    /// Address to ask for weather at this place, or `None` while what is known still holds or a request is under way.
    pub fn wanted(&mut self, lat: f64, lng: f64, now_ms: u64, cfg: &Config) -> Option<String> {
        if cfg.weather_url.is_empty()
            || cfg.weather_api_key.is_empty()
            || self.pending.is_some()
            || !lat.is_finite()
            || !lng.is_finite()
        {
            return None;
        }
        // How old an answer may be is judged where answers are shared: it may have been old when it came.
        let pause_ms = WEATHER_PAUSE_MS.min(cfg.weather_ttl_ms);
        let holds = self.fetched.is_some_and(|known| {
            now_ms < known.at_ms + pause_ms
                && distance_km(known.lat, known.lng, lat, lng) <= cfg.weather_radius_km as f64
        });
        if holds {
            return None;
        }
        self.fetched = Some(Fetch {
            at_ms: now_ms,
            lat,
            lng,
        });
        let base = cfg.weather_url.trim_end_matches('/');
        let path = if base.contains("/data/") { "" } else { CURRENT };
        let rest = if base.ends_with("/onecall") {
            "&exclude=minutely,hourly,daily,alerts"
        } else {
            ""
        };
        let key = &cfg.weather_api_key;
        Some(format!(
            "{base}{path}?lat={lat}&lon={lng}{rest}&units=imperial&appid={key}"
        ))
    }

    /// The last place asked about, to ask again when the answer has aged.
    #[must_use]
    pub fn place(&self) -> Option<(f64, f64)> {
        self.fetched.map(|known| (known.lat, known.lng))
    }

    /// The request is under way.
    pub fn started(&mut self, call: CallId) {
        self.pending = Some(call);
    }

    /// Whether `call` is ours; it is over then.
    pub fn ends(&mut self, call: CallId) -> bool {
        self.pending.take_if(|pending| *pending == call).is_some()
    }

    /// Reads a successful answer; an unreadable one keeps the previous line. Says whether the line changed.
    pub fn read(&mut self, body: &[u8]) -> bool {
        let told = told(body);
        let changed = told.is_some() && told != self.told;
        self.told = told.or(self.told.take());
        changed
    }
}

/// Whether the body of a successful answer tells the weather.
#[must_use]
pub fn tells_weather(body: &[u8]) -> bool {
    told(body).is_some()
}

fn told(body: &[u8]) -> Option<Told> {
    let (weather, fahrenheit) = match serde_json::from_slice(body).ok()? {
        Answer::Now { weather, main } => (weather, main.temp),
        Answer::OneCall { current } => (current.weather, current.temp),
    };
    let condition = weather.into_iter().next()?.main;
    Some(Told {
        condition,
        fahrenheit,
    })
}

/// Great-circle distance between two points on the earth: degrees in, kilometres out.
#[must_use]
pub fn distance_km(lat1: f64, lng1: f64, lat2: f64, lng2: f64) -> f64 {
    const EARTH_KM: f64 = 6371.0;
    let half = |a: f64, b: f64| ((b - a).to_radians() / 2.0).sin().powi(2);
    let chord =
        half(lat1, lat2) + lat1.to_radians().cos() * lat2.to_radians().cos() * half(lng1, lng2);
    2.0 * EARTH_KM * chord.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAIN: &[u8] = br#"{"weather":[{"main":"Rain"}],"main":{"temp":60}}"#;

    fn cfg() -> Config {
        Config {
            weather_url: "https://weather.example/".into(),
            weather_api_key: "k".into(),
            ..Config::default()
        }
    }

    #[test]
    fn an_answer_becomes_a_line_in_the_users_units() {
        let mut weather = Weather::default();
        assert!(weather.read(br#"{"weather":[{"main":"Clouds","id":3}],"main":{"temp":71.6}}"#));
        assert_eq!(weather.text().as_deref(), Some("Clouds, 72°F"));
        assert!(weather.set_units(Units::Metric));
        assert_eq!(weather.text().as_deref(), Some("Clouds, 22°C"));
        assert!(!weather.read(b"oops"));
        assert_eq!(weather.text().as_deref(), Some("Clouds, 22°C"));
    }

    #[test]
    fn an_operator_who_pays_for_one_call_may_name_it() {
        let cfg = Config {
            weather_url: "https://api.openweathermap.org/data/3.0/onecall".into(),
            ..cfg()
        };
        let mut weather = Weather::default();
        assert_eq!(
            weather.wanted(38.72, -9.14, 0, &cfg).as_deref(),
            Some(
                "https://api.openweathermap.org/data/3.0/onecall?lat=38.72&lon=-9.14&exclude=minutely,hourly,daily,alerts&units=imperial&appid=k"
            )
        );
        let answer = br#"{"lat":38.7,"current":{"temp":60,"weather":[{"id":500,"main":"Rain"}]}}"#;
        assert!(weather.read(answer));
        assert_eq!(weather.text().as_deref(), Some("Rain, 60°F"));
    }

    #[test]
    fn a_session_asks_again_after_a_minute_or_five_kilometres() {
        let cfg = cfg();
        let mut weather = Weather::default();
        let url = weather.wanted(38.72, -9.14, 1000, &cfg);
        assert_eq!(
            url.as_deref(),
            Some(
                "https://weather.example/data/2.5/weather?lat=38.72&lon=-9.14&units=imperial&appid=k"
            )
        );
        weather.read(RAIN);
        assert_eq!(weather.wanted(38.73, -9.14, 2000, &cfg), None);
        assert!(weather.wanted(38.80, -9.14, 3000, &cfg).is_some());
        weather.read(RAIN);
        assert_eq!(weather.wanted(38.80, -9.14, 62_999, &cfg), None);
        assert!(weather.wanted(38.80, -9.14, 63_000, &cfg).is_some());
    }

    #[test]
    fn what_told_no_weather_is_asked_again_after_a_minute() {
        let cfg = cfg();
        for body in [
            &b""[..],
            b"{}",
            br#"{"cod":200,"weather":[],"main":{"temp":60}}"#,
            br#"{"weather":[{"main":"Rain"}],"main":{"temp":null}}"#,
        ] {
            let mut weather = Weather::default();
            assert!(weather.wanted(38.72, -9.14, 0, &cfg).is_some());
            weather.read(body);
            assert_eq!(weather.wanted(38.72, -9.14, 59_999, &cfg), None);
            assert!(weather.wanted(38.72, -9.14, 60_000, &cfg).is_some());
        }
    }

    #[test]
    fn one_request_at_a_time() {
        let cfg = cfg();
        let mut weather = Weather::default();
        assert!(weather.wanted(1.0, 1.0, 0, &cfg).is_some());
        weather.started(CallId(7));
        assert_eq!(weather.wanted(50.0, 1.0, 0, &cfg), None);
        assert!(!weather.ends(CallId(8)) && weather.ends(CallId(7)));
        assert!(weather.wanted(50.0, 1.0, 0, &cfg).is_some());
    }
}
