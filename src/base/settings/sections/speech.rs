//! Layer 0: section `speech` of the configuration file.

use crate::base::settings::DeploymentRegion;
use crate::base::settings::declare::section;

section! {
    /// Speech (behaviour.md §8).
    speech: Speech {
        /// Whose speech recognition is used: global (Soniox) or china (Alibaba). Established name: DEPLOYMENT_REGION.
        deployment_region: DeploymentRegion = DeploymentRegion::Global;
        /// Key of the Soniox service; in region global speech is recognised only with this or a fallback key. Established name: SONIOX_API_KEY.
        soniox_api_key: String = String::new();
        /// Further Soniox keys, used in turn while soniox_api_key is refused or at its limits. Established name: SONIOX_FALLBACK_API_KEYS.
        soniox_fallback_api_keys: Vec<String> = Vec::new();
        /// WebSocket address of the Soniox service. Established name: SONIOX_ENDPOINT.
        soniox_endpoint: String = "wss://stt-rt.soniox.com/transcribe-websocket".into();
        /// Model of the Soniox service. Established name: SONIOX_MODEL.
        soniox_model: String = "stt-rt-v5".into();
        /// How long the Soniox service may still change a token (ms); 0 = as the service likes.
        soniox_max_non_final_ms: u64 = 2000, 0..=60_000;
        /// How long the Soniox service may wait before it ends an utterance (ms). Established name: SONIOX_MAX_ENDPOINT_DELAY_MS.
        soniox_max_endpoint_delay_ms: u64 = 3000, 500..=3000;
        /// WebSocket address of the Alibaba service. Established name: ALIBABA_ENDPOINT.
        alibaba_endpoint: String = "wss://dashscope.aliyuncs.com/api-ws/v1/inference".into();
        /// Workspace at the Alibaba service; empty = none. Established name: ALIBABA_WORKSPACE.
        alibaba_workspace: String = String::new();
        /// Key of the Alibaba service; without it no speech is recognised in region china. Established name: ALIBABA_DASHSCOPE_API_KEY.
        alibaba_api_key: String = String::new();
        /// Most recognisers of this process; beyond it new ones are refused, and before it to a user who has as many as are still free: alone a user gets half of them, rounded up.
        stt_max_streams: u64 = 500, 0..=1_000_000;
        /// No recogniser starts while less memory than this is free (MB); 0 = never refused.
        stt_memory_limit_mb: u64 = 512, 0..=1_000_000;
        /// Below this much free memory the refusal of recognisers is logged as an error (MB).
        stt_memory_critical_mb: u64 = 256, 0..=1_000_000;
        /// Time to connect to a speech provider, and for the provider's own start (ms).
        stt_connect_timeout_ms: u64 = 10_000, 100..=600_000;
        /// A recogniser that is not ready this long after its start has failed (ms).
        stream_ready_timeout_ms: u64 = 10_000, 100..=600_000;
        /// A recogniser that the begin of speech started, and that is not ready within this, is started once more under stream_ready_timeout_ms (ms).
        vad_stream_ready_timeout_ms: u64 = 5000, 100..=600_000;
        /// The recognisers of a session are looked after this often: idle ones end, and what was given up is tried again while audio comes (ms).
        stt_health_check_ms: u64 = 60_000, 1000..=3_600_000;
        /// A failed recogniser is tried again this many times; then only when speech, a subscription or stt_health_check_ms asks for it.
        max_stream_retries: u64 = 3, 0..=100;
        /// Unit of the pause before a failed recogniser is tried again: it grows with each attempt, by class of failure (ms).
        stream_retry_delay_ms: u64 = 5000, 1..=600_000;
        /// Longest pause before a failed recogniser is tried again (ms).
        stream_retry_cap_ms: u64 = 60_000, 1..=3_600_000;
        /// Pause before a recogniser is started again that its provider closed (ms).
        stream_reconnect_delay_ms: u64 = 1000, 1..=600_000;
        /// Chunks of audio kept while a recogniser starts; beyond it the oldest is dropped.
        stt_start_buffer_chunks: u64 = 50, 0..=10_000;
        /// Audio kept for a starting recogniser is dropped when it is older than this (ms).
        stt_start_buffer_timeout_ms: u64 = 10_000, 100..=600_000;
        /// A recogniser that gets no audio and reports nothing for this long is ended (ms).
        dead_stream_idle_ms: u64 = 300_000, 1000..=86_400_000;
        /// A recogniser whose connection takes nothing is ended once this many chunks in a row were lost for it.
        dead_stream_failures: u64 = 10, 1..=1000;
        /// This many failed transcriptions within provider_unhealthy_window_ms make a speech provider count as unhealthy.
        provider_unhealthy_failures: u64 = 5, 1..=10_000;
        /// This many failed translations within provider_unhealthy_window_ms make a speech provider count as unhealthy.
        translation_unhealthy_failures: u64 = 3, 1..=10_000;
        /// Window in which the failures of a speech provider are counted (ms).
        provider_unhealthy_window_ms: u64 = 300_000, 1000..=86_400_000;
        /// An unhealthy speech provider is healthy again with fewer failures than this in the window.
        provider_recovered_below: u64 = 2, 1..=10_000;
        /// A recogniser is paused when no audio came for this long (ms).
        stt_pause_after_ms: u64 = 2000, 100..=600_000;
        /// Recognisers are checked for missing audio this often (ms).
        stt_gap_check_ms: u64 = 1000, 10..=600_000;
        /// While no audio is sent, a speech provider gets a keepalive this often (ms).
        stt_keepalive_ms: u64 = 15_000, 100..=600_000;
        /// A write to a speech provider that takes longer is logged (ms).
        stt_slow_send_ms: u64 = 50, 1..=600_000;
        /// A recogniser's slow writes are logged at most once per this time (ms).
        stt_slow_send_warn_ms: u64 = 30_000, 0..=3_600_000;
        /// A recogniser older than this is replaced in the next silence, before its provider ends it (ms); 0 = never.
        stt_rotate_after_ms: u64 = 3_600_000, 0..=86_400_000;
        /// The end of an utterance is held back this long, because providers split sentences (ms). Established name: SONIOX_ENDPOINT_DEBOUNCE_MS.
        endpoint_debounce_ms: u64 = 500, 0..=60_000;
        /// Text that begins by repeating at least this many characters of the utterance before it continues that utterance.
        overlap_min_chars: u64 = 3, 1..=1000;
        /// A provider key at its limit of simultaneous streams is left alone for this long (ms).
        key_cooldown_concurrency_ms: u64 = 5000, 0..=86_400_000;
        /// A provider key at its limit of requests is left alone for this long (ms).
        key_cooldown_rate_ms: u64 = 60_000, 0..=86_400_000;
        /// A provider key whose quota is used up is left alone for this long (ms).
        key_cooldown_quota_ms: u64 = 1_800_000, 0..=86_400_000;
        /// A provider key is left alone for this long after a failure of the provider (ms).
        key_cooldown_transient_ms: u64 = 10_000, 0..=86_400_000;
        /// A translated utterance waits this long for its translation (ms).
        translation_wait_ms: u64 = 3000, 0..=600_000;
        /// Pause between the request for a translation's last words and the end of its stream (ms).
        translation_close_wait_ms: u64 = 100, 0..=60_000;
        /// Show translations only when their words are final; false shows the interim ones too.
        soniox_finals_only_translation: bool = true;
        /// A translation whose connection breaks is connected again this many times.
        translation_reconnects: u64 = 3, 0..=100;
        /// Recognisers go on for this long after speech ended (ms).
        vad_close_linger_ms: u64 = 0, 0..=600_000;
        /// What was said goes to apps and is not kept (ms).
        transcript_history_ms: u64 = 0, 0..=86_400_000 => Never;
    }
}
