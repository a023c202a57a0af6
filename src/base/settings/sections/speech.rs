//! Layer 0: section `speech` of the configuration file.

use crate::base::settings::DeploymentRegion;
use crate::base::settings::declare::section;

section! {
    /// Speech (behaviour.md §8).
    speech: Speech {
        /// Where recognisers run: global (Soniox) or china (Alibaba). Established name: DEPLOYMENT_REGION.
        deployment_region: DeploymentRegion = DeploymentRegion::Global;
        /// Key of the Soniox service; without it and others below no recogniser runs here (with region global). Established name: SONIOX_API_KEY.
        soniox_api_key: String = String::new();
        /// Keys to use when that one is refused or at its limits, in turn. Established name: SONIOX_FALLBACK_API_KEYS.
        soniox_fallback_api_keys: Vec<String> = Vec::new();
        /// WebSocket address of that service. Established name: SONIOX_ENDPOINT.
        soniox_endpoint: String = "wss://stt-rt.soniox.com/transcribe-websocket".into();
        /// Its model. Established name: SONIOX_MODEL.
        soniox_model: String = "stt-rt-v5".into();
        /// How long it may still change tokens (ms).
        soniox_max_non_final_ms: u64 = 2000, 0..=60_000;
        /// How long it may wait for the end of an utterance (ms). Established name: SONIOX_MAX_ENDPOINT_DELAY_MS.
        soniox_max_endpoint_delay_ms: u64 = 3000, 500..=3000;
        /// WebSocket address of the Alibaba service. Established name: ALIBABA_ENDPOINT.
        alibaba_endpoint: String = "wss://dashscope.aliyuncs.com/api-ws/v1/inference".into();
        /// Its workspace; empty = none. Established name: ALIBABA_WORKSPACE.
        alibaba_workspace: String = String::new();
        /// Its key; empty = no recogniser runs here (with region china). Established name: ALIBABA_DASHSCOPE_API_KEY.
        alibaba_api_key: String = String::new();
        /// Recognisers of this process; beyond it new ones are refused.
        stt_max_streams: u64 = 500, 0..=1_000_000;
        /// Recognisers are refused below this much free memory (MB); 0 = never.
        stt_memory_limit_mb: u64 = 512, 0..=1_000_000;
        /// And it is logged as critical below this much (MB).
        stt_memory_critical_mb: u64 = 256, 0..=1_000_000;
        /// Connecting to a provider (ms).
        stt_connect_timeout_ms: u64 = 10_000, 100..=600_000;
        /// From its start a recogniser must be ready within this (ms).
        stream_ready_timeout_ms: u64 = 10_000, 100..=600_000;
        /// The same for one that speech started, before it is tried again the ordinary way (ms).
        vad_stream_ready_timeout_ms: u64 = 5000, 100..=600_000;
        /// Recognisers are looked after this often (ms).
        stt_health_check_ms: u64 = 60_000, 1000..=3_600_000;
        /// Attempts after a failure, until something asks for the recogniser anew.
        max_stream_retries: u64 = 3, 0..=100;
        /// Step of the pause before them (ms).
        stream_retry_delay_ms: u64 = 5000, 1..=600_000;
        /// Longest such pause (ms).
        stream_retry_cap_ms: u64 = 60_000, 1..=3_600_000;
        /// Pause before a recogniser that its provider closed is started again (ms).
        stream_reconnect_delay_ms: u64 = 1000, 1..=600_000;
        /// Chunks of audio kept while a recogniser starts; beyond it the oldest goes.
        stt_start_buffer_chunks: u64 = 50, 0..=10_000;
        /// They are dropped after this (ms).
        stt_start_buffer_timeout_ms: u64 = 10_000, 100..=600_000;
        /// A recogniser without any activity for this long is dropped (ms).
        dead_stream_idle_ms: u64 = 300_000, 1000..=86_400_000;
        /// So is one after this many writes in a row that failed.
        dead_stream_failures: u64 = 10, 1..=1000;
        /// A provider with so many failures within the window counts as unhealthy.
        provider_unhealthy_failures: u64 = 5, 1..=10_000;
        /// The same for translation.
        translation_unhealthy_failures: u64 = 3, 1..=10_000;
        /// The window (ms).
        provider_unhealthy_window_ms: u64 = 300_000, 1000..=86_400_000;
        /// And as healthy again below so many.
        provider_recovered_below: u64 = 2, 1..=10_000;
        /// Without audio for this long a recogniser pauses (ms).
        stt_pause_after_ms: u64 = 2000, 100..=600_000;
        /// How often that is looked at (ms).
        stt_gap_check_ms: u64 = 1000, 10..=600_000;
        /// Keepalive to the provider while no audio is sent (ms).
        stt_keepalive_ms: u64 = 15_000, 100..=600_000;
        /// A write to a provider that takes longer is logged (ms).
        stt_slow_send_ms: u64 = 50, 1..=600_000;
        /// At most so often (ms).
        stt_slow_send_warn_ms: u64 = 30_000, 0..=3_600_000;
        /// A recogniser this old is replaced in the next silence (ms); 0 = never.
        stt_rotate_after_ms: u64 = 3_600_000, 0..=86_400_000;
        /// The end of an utterance waits this long for more of it (ms). Established name: SONIOX_ENDPOINT_DEBOUNCE_MS.
        endpoint_debounce_ms: u64 = 500, 0..=60_000;
        /// Characters that must overlap for two parts of an utterance to be joined.
        overlap_min_chars: u64 = 3, 1..=1000;
        /// A key that is at its concurrency limit rests (ms).
        key_cooldown_concurrency_ms: u64 = 5000, 0..=86_400_000;
        /// One at its rate limit (ms).
        key_cooldown_rate_ms: u64 = 60_000, 0..=86_400_000;
        /// One whose quota is used up (ms).
        key_cooldown_quota_ms: u64 = 1_800_000, 0..=86_400_000;
        /// One after another passing failure (ms).
        key_cooldown_transient_ms: u64 = 10_000, 0..=86_400_000;
        /// The translated part of an utterance is waited for this long (ms).
        translation_wait_ms: u64 = 3000, 0..=600_000;
        /// Between the last words of a translation and its end (ms).
        translation_close_wait_ms: u64 = 100, 0..=60_000;
        /// Translations show only what does not change any more.
        soniox_finals_only_translation: bool = true;
        /// Times a broken translation is connected again.
        translation_reconnects: u64 = 3, 0..=100;
        /// Recognisers stay this long after speech ends (ms).
        vad_close_linger_ms: u64 = 0, 0..=600_000;
    }
}
