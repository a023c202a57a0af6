//! Outside thread: weather is asked for once for all users of a place (behaviour.md §6.2.1). A deploy brings thousands of phones of
//! one city back within seconds.

use super::lock::lock;
use crate::base::settings::Dashboard;
use crate::session::event::HttpOutcome;
use crate::session::managers::dashboard::{WEATHER_PAUSE_MS, distance_km, tells_weather};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;

struct Known {
    lat: f64,
    lng: f64,
    asked_ms: u64,
    outcome: Arc<OnceCell<Outcome>>,
}

struct Outcome {
    answer: HttpOutcome,
    /// Whether it has weather: a 200 that holds an error does not.
    told: bool,
}

impl From<HttpOutcome> for Outcome {
    fn from(answer: HttpOutcome) -> Self {
        let told = match &answer {
            HttpOutcome::Answer { body, .. } => answer.is_success() && tells_weather(body),
            HttpOutcome::Failed { .. } => false,
        };
        Self { answer, told }
    }
}

impl Known {
    fn holds(&self, cfg: &Dashboard, now_ms: u64) -> bool {
        let failed = self.outcome.get().is_some_and(|known| !known.told);
        let limit_ms = if failed {
            WEATHER_PAUSE_MS
        } else {
            cfg.weather_ttl_ms
        };
        now_ms < self.asked_ms + limit_ms
    }
}

/// Answers of the weather service, oldest first; no more than `weather_cache_entries`.
#[derive(Default)]
pub(crate) struct Forecasts(Mutex<VecDeque<Known>>);

impl Forecasts {
    /// The answer for the place that `url` names: one that still holds, one that is under way, or that of `call`.
    pub(crate) async fn ask(
        &self,
        url: &str,
        cfg: &Dashboard,
        now_ms: u64,
        call: impl Future<Output = HttpOutcome>,
    ) -> HttpOutcome {
        match place(url) {
            Some(place) => {
                let outcome = self.near(place, cfg, now_ms);
                let known = outcome.get_or_init(async || call.await.into()).await;
                known.answer.clone()
            }
            None => call.await,
        }
    }

    fn near(&self, (lat, lng): (f64, f64), cfg: &Dashboard, now_ms: u64) -> Arc<OnceCell<Outcome>> {
        let mut all = lock(&self.0);
        all.retain(|known| known.holds(cfg, now_ms));
        let radius_km = cfg.weather_radius_km as f64;
        if let Some(known) = all
            .iter()
            .rev()
            .find(|known| distance_km(known.lat, known.lng, lat, lng) <= radius_km)
        {
            return Arc::clone(&known.outcome);
        }
        while all.len() as u64 >= cfg.weather_cache_entries {
            all.pop_front();
        }
        let outcome = Arc::<OnceCell<Outcome>>::default();
        all.push_back(Known {
            lat,
            lng,
            asked_ms: now_ms,
            outcome: Arc::clone(&outcome),
        });
        outcome
    }
}

/// `lat` and `lon` of a request.
fn place(url: &str) -> Option<(f64, f64)> {
    let (_, query) = url.split_once('?')?;
    let number = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name)?.1.parse().ok()
    };
    Some((number("lat")?, number("lon")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct World {
        forecasts: Forecasts,
        cfg: Dashboard,
        asked: AtomicUsize,
    }

    impl World {
        fn new() -> Self {
            Self {
                forecasts: Forecasts::default(),
                cfg: Dashboard::default(),
                asked: AtomicUsize::new(0),
            }
        }

        async fn ask(&self, lat: f64, now_ms: u64, status: u16) -> HttpOutcome {
            let body = format!(r#"{{"weather":[{{"main":"at {lat}"}}],"main":{{"temp":60}}}}"#);
            self.ask_for(lat, now_ms, status, body).await
        }

        async fn ask_for(&self, lat: f64, now_ms: u64, status: u16, body: String) -> HttpOutcome {
            let url = format!("https://w/data/2.5/weather?lat={lat}&lon=-9.14&appid=k");
            let call = async {
                self.asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                HttpOutcome::Answer {
                    status,
                    body: body.into(),
                    retry_after_s: None,
                }
            };
            self.forecasts.ask(&url, &self.cfg, now_ms, call).await
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn users_of_one_place_share_an_answer_even_one_under_way() {
        let world = World::new();
        let (first, second) = tokio::join!(world.ask(38.72, 0, 200), world.ask(38.73, 0, 200));
        assert_eq!(first, second);
        assert_eq!(world.ask(38.72, 599_999, 200).await, first);
        assert_eq!(world.asked(), 1);
        assert_ne!(world.ask(38.9, 1, 200).await, first, "20 km away");
        world.ask(38.72, 600_000, 200).await;
        assert_eq!(world.asked(), 3, "after ten minutes");
    }

    #[tokio::test]
    async fn a_failure_is_shared_for_a_minute_only() {
        let world = World::new();
        world.ask(38.72, 0, 500).await;
        world.ask(38.72, 59_999, 200).await;
        assert_eq!(world.asked(), 1);
        world.ask(38.72, 60_000, 200).await;
        assert_eq!(world.asked(), 2);
    }

    #[tokio::test]
    async fn a_success_without_weather_is_a_failure() {
        for body in ["", "{}", r#"{"cod":429,"message":"blocked"}"#] {
            let world = World::new();
            world.ask_for(38.72, 0, 200, body.to_owned()).await;
            world.ask(38.72, 59_999, 200).await;
            assert_eq!(world.asked(), 1, "{body}");
            world.ask(38.72, 60_000, 200).await;
            world.ask(38.72, 659_999, 200).await;
            assert_eq!(world.asked(), 2, "{body}");
        }
    }

    #[tokio::test]
    async fn of_too_many_places_the_oldest_is_forgotten() {
        let mut world = World::new();
        world.cfg.weather_cache_entries = 2;
        for lat in [10.0, 20.0, 30.0, 20.0, 30.0] {
            world.ask(lat, 0, 200).await;
        }
        assert_eq!(world.asked(), 3);
        world.ask(10.0, 0, 200).await;
        assert_eq!(world.asked(), 4);
    }
}
