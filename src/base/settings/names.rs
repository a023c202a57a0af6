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
}
