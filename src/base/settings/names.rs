//! Layer 0: names of environment variables: those that deployments of the replaced server have set already, those that mean nothing
//! here, and misspelt ones of our own.

use super::Settings;

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

/// Adds its items to those of `preinstalled_apps`, whoever set them (behaviour.md §12.2).
pub(super) const ADDITIONAL_APPS: &str = "ADDITIONAL_PRE_INSTALLED_APPS";

/// Variables of the server that this one replaces which mean nothing here, and the keys that do what their operators want
/// (behaviour.md §11.3). A name that ends in `_` stands for all that begin so.
const UNUSED: &[(&str, &str)] = &[
    ("MONGO_URL", "store_url"),
    ("MONGOOSE_SLOW_QUERY_MS", "db_slow_query_ms"),
    // Its list of apps has been empty for long.
    ("DEBUG_APPS", "preinstalled_apps"),
    ("DELETE_APP_BY_PACKAGE_NAME", "deprecated_packages"),
    // The report is always made.
    ("MEMORY_TELEMETRY_ENABLED", "memory_report_ms"),
    // There is one client here, which is as good.
    ("SONIOX_USE_SDK", "soniox_endpoint"),
    // Photos are files.
    ("R2_", "data_dir"),
    // It made the internal host's name.
    ("PORTER_APP_NAME", "internal_host"),
    ("LOG_LEVEL", "log_level"),
    ("LOG_SERVICES", "log_level"),
    ("LOG_FEATURES", "log_level"),
    ("LOG_EXCLUDE_", "log_level"),
    // Log lines go to standard output, for whatever collects them there, and figures to `/metrics`.
    ("BETTERSTACK_", "log_json"),
    ("POSTHOG_", "metrics_interval_ms"),
    // An app that is down is a log line.
    ("SLACK_WEBHOOK_", "uptime_notify_min_ms"),
    ("AUTO_SEND_DOWNTIME_EMAILS", "uptime_notify_min_ms"),
];

/// Those variables that are set to anything and mean nothing, each with the key to see instead: worth a warning.
#[must_use]
pub fn unused_variables(
    variables: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, &'static str)> {
    let is_of = |name: &str, row: &str| match row.ends_with('_') {
        true => name.starts_with(row),
        false => name == row,
    };
    let key_of = |name: &str| UNUSED.iter().find(|(row, _)| is_of(name, row));
    let mut unused: Vec<_> = variables
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .filter_map(|(name, _)| key_of(&name).map(|(_, key)| (name, *key)))
        .collect();
    unused.sort();
    unused
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::settings::load;

    #[test]
    fn a_variable_of_ours_that_sets_nothing_is_named() {
        let names = ["PRISM_PROT", "PATH", "PRISM_PORT", "PORT", "PRISM_A"];
        let unknown = unknown_variables(names.map(str::to_owned));
        assert_eq!(unknown, ["PRISM_A", "PRISM_PROT"]);
    }

    #[test]
    fn what_describes_a_key_tells_its_established_names() {
        let untold: Vec<_> = ESTABLISHED_NAMES
            .iter()
            .filter(|(name, row)| {
                let told = Settings::KEYS
                    .iter()
                    .any(|key| key.name == *row && key.doc.contains(name));
                !told
            })
            .collect();
        assert!(untold.is_empty(), "{untold:?}");
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
        let set = |names: &[&str]| {
            let pairs = names
                .iter()
                .map(|name| ((*name).to_owned(), "x".to_owned()));
            unused_variables(pairs.collect::<Vec<_>>())
        };
        let expected = [
            ("BETTERSTACK_SOURCE_TOKEN", "log_json"),
            ("DEBUG_APPS", "preinstalled_apps"),
            ("DELETE_APP_BY_PACKAGE_NAME", "deprecated_packages"),
            ("LOG_EXCLUDE_SERVICES", "log_level"),
            ("LOG_FEATURES", "log_level"),
            ("MEMORY_TELEMETRY_ENABLED", "memory_report_ms"),
            ("MONGO_URL", "store_url"),
            ("PORTER_APP_NAME", "internal_host"),
            ("POSTHOG_PROJECT_API_KEY", "metrics_interval_ms"),
            ("R2_BUCKET_NAME", "data_dir"),
            ("SLACK_WEBHOOK_URL", "uptime_notify_min_ms"),
        ];
        let expected = expected.map(|(name, key)| (name.to_owned(), key));
        assert_eq!(
            set(&expected
                .clone()
                .map(|(name, _)| name)
                .each_ref()
                .map(|name| &**name)),
            expected
        );
        let others = [
            "LOG_STDOUT_JSON",
            "MONGO_URL_2",
            "PORTER_POD_REVISION",
            "R2D2",
            "LOG_DIR",
        ];
        assert_eq!(set(&others), []);
        let empty = ("MONGO_URL".to_owned(), String::new());
        assert_eq!(unused_variables([empty]), []);
    }

    #[test]
    fn no_name_that_sets_something_is_called_unused() {
        for (row, key) in UNUSED {
            assert!(
                Settings::KEYS.iter().any(|known| known.name == *key),
                "{key}"
            );
            assert!(!row.starts_with("PRISM_"), "{row}");
        }
        let ours = Settings::KEYS.iter().map(|key| key.env_name());
        let established = ESTABLISHED_NAMES.iter().map(|(name, _)| (*name).to_owned());
        let set = ours.chain(established).map(|name| (name, "x".to_owned()));
        assert_eq!(unused_variables(set), []);
    }
}
