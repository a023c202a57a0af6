//! Layer 0: file + environment → validated [`Settings`], with every problem reported, not just the first.

use super::table::Settings;
use crate::base::network::Network;
use std::fmt;
use std::str::FromStr as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

const HTTP: &[&str] = &["http://", "https://"];
const WS: &[&str] = &["ws://", "wss://"];

/// One thing wrong with the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where: `section.key`, an environment variable, or the file.
    pub place: String,
    /// What was found and what was expected.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Why the configuration cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadError(pub Vec<Problem>);

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

/// Established names that keep working (behaviour.md §11.3) and the keys they set; `PRISM_` names win.
pub(super) const ESTABLISHED_NAMES: &[(&str, &str)] = &[
    ("PORT", "port"),
    ("HOST_NAME", "public_host"),
    ("CLOUD_PUBLIC_URL", "public_url"),
    ("CLOUD_PUBLIC_HOST_NAME", "public_host"),
    ("CLOUD_LOCAL_HOST_NAME", "internal_host"),
    ("AUGMENTOS_AUTH_JWT_SECRET", "auth_jwt_secret"),
    ("NODE_ENV", "env"),
    ("REGION", "region"),
    ("LOG_STDOUT_JSON", "log_json"),
    ("UDP_HOST", "udp_host"),
    ("UDP_PORT", "udp_advertised_port"),
    ("SUPABASE_JWT_SECRET", "supabase_jwt_secret"),
    ("AUTHING_APP_SECRET", "authing_app_secret"),
    ("ADMIN_EMAILS", "admin_emails"),
    ("MENTRA_AGENT_API_KEY", "admin_api_key"),
    ("ADDITIONAL_PRE_INSTALLED_APPS", "preinstalled_apps"),
    ("UPTIME_SERVICE_RUNNING", "uptime_checker_enabled"),
    ("MINIAPP_SDK_PHOTO_UPLOAD_SECRET", "photo_upload_secret"),
    ("TPA_AUTH_JWT_PRIVATE_KEY", "webview_private_key"),
    ("APP_AUTH_JWT_PRIVATE_KEY", "webview_private_key"),
    ("CLOUDFLARE_ACCOUNT_ID", "managed_account_id"),
    ("CLOUDFLARE_API_TOKEN", "managed_api_token"),
    (
        "CLOUDFLARE_CUSTOMER_SUBDOMAIN",
        "managed_customer_subdomain",
    ),
    ("OPEN_WEATHER_API_KEY", "weather_api_key"),
    ("OPENAI_API_KEY", "llm_api_key"),
    ("LLM_MODEL", "llm_model"),
    ("ELEVENLABS_API_KEY", "tts_api_key"),
    ("ELEVENLABS_DEFAULT_VOICE_ID", "tts_voice_id"),
    ("ELEVENLABS_DEFAULT_SPEED", "tts_speed"),
    ("ELEVENLABS_DEFAULT_STABILITY", "tts_stability"),
    ("ELEVENLABS_DEFAULT_SIMILARITY", "tts_similarity"),
    ("ELEVENLABS_DEFAULT_STYLE", "tts_style"),
    ("DEPLOYMENT_REGION", "deployment_region"),
    ("SONIOX_API_KEY", "soniox_api_key"),
    ("SONIOX_FALLBACK_API_KEYS", "soniox_fallback_api_keys"),
    ("SONIOX_ENDPOINT", "soniox_endpoint"),
    ("SONIOX_MODEL", "soniox_model"),
    (
        "SONIOX_MAX_ENDPOINT_DELAY_MS",
        "soniox_max_endpoint_delay_ms",
    ),
    ("SONIOX_ENDPOINT_DEBOUNCE_MS", "endpoint_debounce_ms"),
    ("ALIBABA_ENDPOINT", "alibaba_endpoint"),
    ("ALIBABA_WORKSPACE", "alibaba_workspace"),
    ("ALIBABA_DASHSCOPE_API_KEY", "alibaba_api_key"),
];

/// Variables of the server that this one replaces which mean nothing here, and the keys that do what their operators want:
/// set, they are worth a warning (behaviour.md §11.3).
#[must_use]
pub fn unused_variables(env: impl Fn(&str) -> Option<String>) -> Vec<(&'static str, &'static str)> {
    const UNUSED: [(&str, &str); 6] = [
        ("MONGO_URL", "store_url"),
        ("MONGOOSE_SLOW_QUERY_MS", "db_slow_query_ms"),
        // Its list of apps has been empty for long.
        ("DEBUG_APPS", "preinstalled_apps"),
        ("DELETE_APP_BY_PACKAGE_NAME", "deprecated_packages"),
        // The report is always made.
        ("MEMORY_TELEMETRY_ENABLED", "memory_report_ms"),
        // There is one client here, which is as good.
        ("SONIOX_USE_SDK", "soniox_endpoint"),
    ];
    let is_set = |(name, _): &(&str, &str)| env(name).is_some_and(|text| !text.is_empty());
    UNUSED.into_iter().filter(is_set).collect()
}

/// Variables with our prefix that set nothing: a misspelt name would otherwise be ignored in silence.
#[must_use]
pub fn unknown_variables(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let is_key = |name: &String| Settings::KEYS.iter().any(|key| key.env_name() == *name);
    let mut unknown: Vec<String> = names
        .into_iter()
        .filter(|name| name.starts_with("PRISM_") && !is_key(name))
        .collect();
    unknown.sort();
    unknown
}

/// What is read beside the environment.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// How problems call the file.
    pub file: &'a str,
    /// Its text; empty for built-in defaults.
    pub yaml: &'a str,
    /// Keys given on the command line, with their values: they win over everything.
    pub flags: &'a [(&'static str, String)],
}

/// [`load_from`] a file alone.
///
/// # Errors
/// All problems found.
pub fn load(yaml: &str, env: impl Fn(&str) -> Option<String>) -> Result<Settings, LoadError> {
    let sources = Sources {
        file: "config file",
        yaml,
        flags: &[],
    };
    load_from(&sources, env)
}

/// Reads the file, lays the environment and the flags over it and checks everything.
/// `env` looks a variable up, so that tests need not touch the process's own environment.
///
/// # Errors
/// All problems found.
pub fn load_from(
    sources: &Sources<'_>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Settings, LoadError> {
    let mut settings: Settings = if sources.yaml.trim().is_empty() {
        Settings::default()
    } else {
        serde_saphyr::from_str(sources.yaml).map_err(|error| {
            LoadError(vec![Problem {
                place: sources.file.into(),
                text: error.to_string(),
            }])
        })?
    };
    let mut problems = Vec::new();
    let mut overlay = |place: &str, key: &str, text: Option<String>| {
        // An empty variable counts as unset, as in the deployments that exist.
        if let Some(text) = text.filter(|text| !text.is_empty())
            && let Err(expected) = settings.set(key, &text)
        {
            problems.push(Problem {
                place: place.into(),
                text: format!("expected {expected}, found {text:?}"),
            });
        }
    };
    for (variable, key) in ESTABLISHED_NAMES {
        overlay(variable, key, env(variable));
    }
    for key in Settings::KEYS {
        let variable = key.env_name();
        overlay(&variable, key.name, env(&variable));
    }
    for (key, text) in sources.flags {
        let flag = format!("--{}", key.replace('_', "-"));
        overlay(&flag, key, Some(text.clone()));
    }
    let cleared = |name: &str| env(name).is_some_and(|text| text.is_empty());
    if ["AUGMENTOS_AUTH_JWT_SECRET", "PRISM_AUTH_JWT_SECRET"]
        .into_iter()
        .any(cleared)
        && settings.server.auth_jwt_secret == super::DEVELOPMENT_SECRET
    {
        // Somebody meant to set it: whoever reads our source could then sign tokens.
        problems.push(Problem {
            place: "server.auth_jwt_secret".into(),
            text: "must not be empty (AUGMENTOS_AUTH_JWT_SECRET)".into(),
        });
    }
    settings.check_ranges(&mut problems);
    check_across(&settings, &mut problems);
    check_forms(&settings, &mut problems);
    check_urls(&settings, &mut problems);
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(LoadError(problems))
    }
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

/// Rules of diagnostics, and of values that are more than a range.
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
    let is_network = |item: &String| item.parse::<Network>().is_ok();
    rule(
        s.server.trusted_proxies.iter().all(is_network),
        "server.trusted_proxies",
        "every item must be an address or CIDR",
    );
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
        let is_url = url.is_empty() || schemes.iter().any(|scheme| url.starts_with(scheme));
        let expected = format!("must begin with {}", schemes.join(" or "));
        problems.extend(broken(is_url, place, &expected));
    }
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
    let production = s.server.profile == super::Profile::Production;
    rule(
        !(production && s.server.auth_jwt_secret == super::DEVELOPMENT_SECRET),
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
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it_and_its_line() {
        let error =
            load("server:\n  port: 8002\n  prot: 1\n", none).expect_err("typo must not pass");
        assert!(error.to_string().contains("prot"), "{error}");
        assert!(error.to_string().contains('3'), "{error}");
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
    fn prism_names_beat_established_names_beat_the_file() {
        let env = |name: &str| match name {
            "PORT" => Some("81".to_owned()),
            "PRISM_PORT" => Some("82".to_owned()),
            "UDP_HOST" => Some("udp.example.net".to_owned()),
            _ => None,
        };
        let settings = load("server:\n  port: 80\n", env).expect("valid");
        assert_eq!(settings.server.port, 82);
        assert_eq!(settings.udp.udp_host, "udp.example.net");
    }

    #[test]
    fn flags_beat_everything_and_are_judged_like_the_rest() {
        let env = |name: &str| (name == "PRISM_SHARDS").then(|| "2".to_owned());
        let with = |flags: &[(&'static str, String)]| {
            let sources = Sources {
                file: "a.yaml",
                yaml: "server:\n  shards: 1\n",
                flags,
            };
            load_from(&sources, env)
        };
        assert_eq!(with(&[]).expect("valid").server.shards, 2);
        let three = with(&[("shards", "3".into())]).expect("valid");
        assert_eq!(three.server.shards, 3);
        let error = with(&[("shards", "65535".into())]).expect_err("no such machine");
        assert!(error.to_string().contains("65535 is outside 0..=1024"));
        let error = with(&[("io_driver", "kqueue".into())]).expect_err("no such driver");
        assert!(error.to_string().starts_with("--io-driver: "), "{error}");
    }

    #[test]
    fn a_variable_of_ours_that_sets_nothing_is_named() {
        let names = ["PRISM_PROT", "PATH", "PRISM_PORT", "PORT", "PRISM_A"];
        let unknown = unknown_variables(names.map(str::to_owned));
        assert_eq!(unknown, ["PRISM_A", "PRISM_PROT"]);
    }

    #[test]
    fn the_host_names_in_use_are_the_public_one() {
        let env = |both: bool| {
            move |name: &str| match name {
                "HOST_NAME" => Some("a.example.net".to_owned()),
                "CLOUD_PUBLIC_HOST_NAME" if both => Some("b.example.net".to_owned()),
                "REGION" => Some("eu".to_owned()),
                _ => None,
            }
        };
        let settings = load("", env(false)).expect("valid");
        assert_eq!(settings.server.public_host, "a.example.net");
        assert_eq!(
            settings.server.host, "0.0.0.0",
            "it still listens everywhere"
        );
        assert_eq!(settings.server.region, "eu");
        let settings = load("", env(true)).expect("valid");
        assert_eq!(settings.server.public_host, "b.example.net");
    }

    #[test]
    fn what_only_the_replaced_server_reads_is_named_with_its_successor() {
        let env = |name: &str| {
            let set = [
                "MONGO_URL",
                "DEBUG_APPS",
                "DELETE_APP_BY_PACKAGE_NAME",
                "MEMORY_TELEMETRY_ENABLED",
            ];
            set.contains(&name).then(|| "x".to_owned())
        };
        let expected = [
            ("MONGO_URL", "store_url"),
            ("DEBUG_APPS", "preinstalled_apps"),
            ("DELETE_APP_BY_PACKAGE_NAME", "deprecated_packages"),
            ("MEMORY_TELEMETRY_ENABLED", "memory_report_ms"),
        ];
        assert_eq!(unused_variables(env), expected);
        for (_, key) in unused_variables(|_| Some("x".into())) {
            assert!(
                Settings::KEYS.iter().any(|known| known.name == key),
                "{key}"
            );
        }
        assert!(unused_variables(|_| Some(String::new())).is_empty());
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let env = |name: &str| (name == "PRISM_MIC_DEBOUNCE_MS").then(|| "soon".to_owned());
        let error = load("apps:\n  app_grace_ms: 99999999\n", env).expect_err("two problems");
        let text = error.to_string();
        assert!(
            text.contains("PRISM_MIC_DEBOUNCE_MS") && text.contains("app_grace_ms"),
            "{text}"
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
            ("observability:\n  log_level: loud\n", "log_level"),
            (
                "observability:\n  log_level: \"info,hyper=loud\"\n",
                "log_level",
            ),
            (
                "http:\n  fallback_upstream: old.example.net\n",
                "fallback_upstream",
            ),
            ("speech:\n  soniox_endpoint: https://x\n", "soniox_endpoint"),
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
        ] {
            assert!(load(yaml, none).is_ok(), "{yaml}");
        }
    }

    #[test]
    fn an_empty_secret_is_refused_unless_the_file_has_one() {
        let env = |name: &str| (name == "AUGMENTOS_AUTH_JWT_SECRET").then(String::new);
        let error = load("", env).expect_err("no secret");
        assert!(error.to_string().contains("auth_jwt_secret"), "{error}");
        assert!(load("server:\n  auth_jwt_secret: from-the-file\n", env).is_ok());
        assert!(load("", none).is_ok(), "a development server needs none");
    }

    #[test]
    fn production_refuses_the_development_secret() {
        assert!(load("server:\n  profile: production\n", none).is_err());
    }
}
