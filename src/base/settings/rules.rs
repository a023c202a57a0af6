//! Layer 0: rules that a configuration must keep besides the ranges of its numbers: forms, URLs, and keys that depend on others.

use super::{DEVELOPMENT_SECRET, Problem, Profile, Settings};
use crate::base::network::{Network, is_url};
use std::str::FromStr as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

const HTTP: &[&str] = &["http://", "https://"];
const WS: &[&str] = &["ws://", "wss://"];

/// Adds every rule that does not hold.
pub(super) fn check(settings: &Settings, problems: &mut Vec<Problem>) {
    check_across(settings, problems);
    check_forms(settings, problems);
    check_urls(settings, problems);
}

/// A rule that does not hold.
fn broken(holds: bool, place: &str, text: &str) -> Option<Problem> {
    (!holds).then(|| Problem {
        place: place.into(),
        text: text.into(),
    })
}

/// Whether the log can be filtered so. A bare word that is no level would be taken for the name of a module, and everything
/// else fall silent.
fn is_log_filter(text: &str) -> bool {
    let is_clear = |item: &str| {
        let item = item.trim();
        item.contains(['=', '['])
            || item.starts_with("prism")
            || LevelFilter::from_str(item).is_ok()
    };
    text.split(',').all(is_clear) && EnvFilter::try_new(text).is_ok()
}

/// Values of a certain form, and keys of diagnostics that depend on each other.
fn check_forms(s: &Settings, problems: &mut Vec<Problem>) {
    let mut rule = |holds: bool, place: &str, text: &str| {
        problems.extend(broken(holds, place, text));
    };
    let observability = &s.observability;
    rule(
        is_log_filter(&observability.log_level),
        "observability.log_level",
        "must be a level or a filter such as info,prism::session=debug",
    );
    rule(
        observability.gap_warn_ms > observability.gap_interval_ms,
        "observability.gap_warn_ms",
        "must exceed gap_interval_ms",
    );
    rule(
        observability.gap_fine_warn_ms > observability.gap_fine_interval_ms,
        "observability.gap_fine_warn_ms",
        "must exceed gap_fine_interval_ms",
    );
    rule(
        observability.memory_fast_growth_bytes >= observability.memory_growth_bytes,
        "observability.memory_fast_growth_bytes",
        "must not be below memory_growth_bytes",
    );
    rule(
        s.http
            .upstream_paths
            .iter()
            .all(|path| path.starts_with('/')),
        "http.upstream_paths",
        "every item must begin with /",
    );
    let is_origin = |item: &String| item == "*" || item.contains("://") && !item.ends_with('/');
    rule(
        s.http.cors_origins.iter().all(is_origin),
        "http.cors_origins",
        "every item must be \"*\", scheme://host or scheme://*.domain, without a path",
    );
    let is_network = |item: &String| item.parse::<Network>().is_ok();
    for (place, list) in [
        ("server.trusted_proxies", &s.server.trusted_proxies),
        ("apps.assistant_addresses", &s.apps.assistant_addresses),
    ] {
        let text = "every item must be an address or CIDR";
        rule(list.iter().all(is_network), place, text);
    }
    let is_age = |item: &String| {
        item.split_once(':')
            .is_some_and(|(_, age_s)| age_s.trim().parse::<u32>().is_ok())
    };
    rule(
        s.device.location_tier_ages_s.iter().all(is_age),
        "device.location_tier_ages_s",
        "every item must be tier:seconds",
    );
    rule(
        matches!(s.audio.lc3_frame_bytes, 20 | 40 | 60),
        "audio.lc3_frame_bytes",
        "must be 20, 40 or 60",
    );
    for (place, number) in [
        ("audio.tts_speed", &s.audio.tts_speed),
        ("audio.tts_stability", &s.audio.tts_stability),
        ("audio.tts_similarity", &s.audio.tts_similarity),
        ("audio.tts_style", &s.audio.tts_style),
    ] {
        let is_number = number.parse::<f64>().is_ok_and(f64::is_finite);
        rule(is_number, place, "must be a number");
    }
}

/// Addresses of services.
fn check_urls(s: &Settings, problems: &mut Vec<Problem>) {
    for (place, url, schemes) in [
        ("http.fallback_upstream", &s.http.fallback_upstream, HTTP),
        (
            "streaming.managed_api_url",
            &s.streaming.managed_api_url,
            HTTP,
        ),
        ("dashboard.weather_url", &s.dashboard.weather_url, HTTP),
        ("dashboard.llm_url", &s.dashboard.llm_url, HTTP),
        ("audio.tts_url", &s.audio.tts_url, HTTP),
        ("speech.soniox_endpoint", &s.speech.soniox_endpoint, WS),
        ("speech.alibaba_endpoint", &s.speech.alibaba_endpoint, WS),
    ] {
        let expected = format!(
            "must begin with {} and name a host that can be called",
            schemes.join(" or ")
        );
        let holds = url.is_empty() || is_url(url, schemes);
        problems.extend(broken(holds, place, &expected));
    }
    let is_base = !s.http.fallback_upstream.contains(['?', '#']);
    let text = "must end before any query";
    problems.extend(broken(is_base, "http.fallback_upstream", text));
    let store = &s.server.store_url;
    let is_postgres = store.starts_with("postgres://") || store.starts_with("postgresql://");
    // Also taken: host=… user=…
    let is_pairs = store.contains('=') && !store.contains("://");
    let text = "must begin with postgres:// or postgresql://";
    let is_store = store.is_empty() || is_postgres || is_pairs;
    problems.extend(broken(is_store, "server.store_url", text));
    let has_query = s.dashboard.weather_url.contains(['?', '#']);
    let text = "must end before the query, which is added";
    problems.extend(broken(!has_query, "dashboard.weather_url", text));
}

/// Cross-field rules of behaviour.md §11.1 and §11.5.
fn check_across(s: &Settings, problems: &mut Vec<Problem>) {
    let mut rule = |holds: bool, place: &str, text: &str| {
        problems.extend(broken(holds, place, text));
    };
    let beat = s.health.heartbeat_interval_ms;
    rule(
        s.health.app_timeout_ms > 2 * beat,
        "health.app_timeout_ms",
        "must exceed twice heartbeat_interval_ms",
    );
    rule(
        s.health.glasses_timeout_ms > 2 * beat,
        "health.glasses_timeout_ms",
        "must exceed twice heartbeat_interval_ms",
    );
    rule(
        s.microphone.mic_off_holddown_ms > s.microphone.mic_subscription_debounce_ms,
        "microphone.mic_off_holddown_ms",
        "must exceed mic_subscription_debounce_ms",
    );
    rule(
        s.apps.app_grace_ms < s.connections.reconnect_grace_ms,
        "apps.app_grace_ms",
        "must be below reconnect_grace_ms",
    );
    rule(
        s.apps.deferred_timeout_ms >= s.apps.app_start_timeout_ms,
        "apps.deferred_timeout_ms",
        "must not be below app_start_timeout_ms",
    );
    rule(
        s.speech.stt_keepalive_ms < 20_000,
        "speech.stt_keepalive_ms",
        "must be below 20000: providers close what is silent for longer",
    );
    rule(
        s.connections.unfinished_bytes_max / 2 >= s.connections.ws_max_message_bytes,
        "connections.unfinished_bytes_max",
        "must be at least twice ws_max_message_bytes",
    );
    rule(
        s.http.http_bodies_bytes_max
            >= s.http.http_body_bytes_max.max(s.http.http_upload_bytes_max),
        "http.http_bodies_bytes_max",
        "must hold one body of http_body_bytes_max and of http_upload_bytes_max",
    );
    let wildcard = s.http.cors_origins.iter().any(|origin| origin == "*");
    rule(
        !(wildcard && s.http.cors_allow_credentials),
        "http.cors_origins",
        "\"*\" needs cors_allow_credentials: false (browsers refuse the combination)",
    );
    rule(
        !s.server.auth_jwt_secret.is_empty(),
        "server.auth_jwt_secret",
        "must not be empty (or set AUGMENTOS_AUTH_JWT_SECRET)",
    );
    let production = s.server.profile == Profile::Production;
    rule(
        !(production && s.server.auth_jwt_secret == DEVELOPMENT_SECRET),
        "server.auth_jwt_secret",
        "profile production refuses the development secret",
    );
    rule(
        !production || s.server.auth_jwt_secret.len() >= 16,
        "server.auth_jwt_secret",
        "profile production needs at least 16 characters",
    );
}

#[cfg(test)]
mod tests {
    use crate::base::settings::load;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn a_keepalive_that_comes_too_late_for_providers_is_refused() {
        assert!(load("speech:\n  stt_keepalive_ms: 19999\n", none).is_ok());
        let error = load("speech:\n  stt_keepalive_ms: 20000\n", none).expect_err("too long");
        assert!(
            error.to_string().contains("speech.stt_keepalive_ms"),
            "{error}"
        );
    }

    #[test]
    fn values_that_no_range_can_judge_are_judged() {
        for (yaml, key) in [
            ("audio:\n  lc3_frame_bytes: 30\n", "lc3_frame_bytes"),
            (
                "observability:\n  gap_fine_warn_ms: 500\n",
                "gap_fine_warn_ms",
            ),
            ("observability:\n  gap_warn_ms: 900\n", "gap_warn_ms"),
            (
                "observability:\n  memory_growth_bytes: 20000000\n",
                "memory_fast_growth_bytes",
            ),
            (
                "server:\n  trusted_proxies: [\"10.0.0.0/8\", \"proxy.example.net\"]\n",
                "trusted_proxies",
            ),
            (
                "apps:\n  assistant_addresses: [\"mira.example.net\"]\n",
                "assistant_addresses",
            ),
            ("server:\n  store_url: mysql://db\n", "store_url"),
            ("server:\n  store_url: db.example.net\n", "store_url"),
            ("observability:\n  log_level: loud\n", "log_level"),
            (
                "observability:\n  log_level: \"info,hyper=loud\"\n",
                "log_level",
            ),
            ("http:\n  upstream_paths: [apps]\n", "upstream_paths"),
            (
                "http:\n  cors_origins: [\"*.example.net\"]\n",
                "cors_origins",
            ),
            (
                "http:\n  cors_origins: [\"https://a.io/\"]\n",
                "cors_origins",
            ),
            (
                "device:\n  location_tier_ages_s: [\"high:ten\"]\n",
                "location_tier_ages_s",
            ),
        ] {
            let error = load(yaml, none).expect_err(yaml);
            assert!(error.to_string().contains(key), "{error}");
        }
        for yaml in [
            "device:\n  location_tier_ages_s: [\"high:10\"]\n",
            "observability:\n  log_level: \"info,prism::session=debug,h2=off\"\n",
            "observability:\n  log_level: WARN\n",
            "server:\n  store_url: postgresql://prism@db/prism\n",
            "server:\n  store_url: \"host=/run/postgresql user=prism\"\n",
        ] {
            assert!(load(yaml, none).is_ok(), "{yaml}");
        }
    }

    #[test]
    fn urls_that_cannot_be_called_are_refused() {
        for (yaml, key) in [
            (
                "http:\n  fallback_upstream: old.example.net\n",
                "fallback_upstream",
            ),
            ("http:\n  fallback_upstream: http://\n", "fallback_upstream"),
            (
                "http:\n  fallback_upstream: \"https://old.example.net/?a=b\"\n",
                "fallback_upstream",
            ),
            (
                "http:\n  fallback_upstream: http://old.example.net:99999\n",
                "fallback_upstream",
            ),
            ("audio:\n  tts_url: \"https://a b\"\n", "tts_url"),
            ("speech:\n  soniox_endpoint: https://x\n", "soniox_endpoint"),
            (
                "dashboard:\n  weather_url: https://x/data/3.0/onecall?lang=en\n",
                "weather_url",
            ),
        ] {
            let error = load(yaml, none).expect_err(yaml);
            assert!(error.to_string().contains(key), "{error}");
        }
    }

    #[test]
    fn production_refuses_the_development_secret() {
        assert!(load("server:\n  profile: production\n", none).is_err());
    }
}
