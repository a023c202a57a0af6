//! Layer 0: section `audio` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// Audio path and app audio output (behaviour.md §5, protocol.md §10).
    audio: Audio {
        /// Hz; fixed by the wire.
        pcm_sample_rate: u64 = 16_000, 16_000..=16_000;
        /// LC3 frame (ms); fixed by the wire.
        lc3_frame_ms: u64 = 10, 10..=10;
        /// LC3 frame where the phone names none or a wrong one (bytes).
        lc3_frame_bytes: u64 = 20, 20..=60;
        /// Audio whose last write comes later after its receipt is counted and logged (ms).
        audio_slow_relay_ms: u64 = 20, 1..=60_000;
        /// More subscribers than this are logged.
        audio_fanout_warn: u64 = 10, 1..=10_000;
        /// Audio that takes longer from its receipt to the last outbox is counted and logged; one turn in 64 is measured (ms).
        audio_stage_slow_ms: u64 = 10, 1..=60_000;
        /// Base URL of the text-to-speech service: ElevenLabs, or what talks like it.
        tts_url: String = "https://api.elevenlabs.io".into();
        /// Its key; empty: GET /api/tts is refused. With it, whoever reaches the server may use it, as players have no token. Established name: ELEVENLABS_API_KEY.
        tts_api_key: String = String::new();
        /// Voice where a player names none. Established name: ELEVENLABS_DEFAULT_VOICE_ID.
        tts_voice_id: String = "8IRrZoKuYTPnpLc6lM6a".into();
        /// Model where a player names none.
        tts_model: String = "eleven_flash_v2_5".into();
        /// Voice settings where a player sends none (numbers): speed. Established name: ELEVENLABS_DEFAULT_SPEED.
        tts_speed: String = "1.13".into();
        /// Established name: ELEVENLABS_DEFAULT_STABILITY.
        tts_stability: String = "0.68".into();
        /// Established name: ELEVENLABS_DEFAULT_SIMILARITY.
        tts_similarity: String = "0.75".into();
        /// Established name: ELEVENLABS_DEFAULT_STYLE.
        tts_style: String = "0.0".into();
        /// The first sound must come within this (ms).
        tts_timeout_ms: u64 = 20_000, 100..=30_000;
        /// No endpoint reads recent audio back (ms).
        audio_recent_buffer_ms: u64 = 0, 0..=600_000 => Never;
        /// Re-sync the microphone when wanted audio stops.
        audio_gap_resync_enabled: bool = false;
        /// Silence that counts as a gap (ms).
        audio_gap_resync_ms: u64 = 15_000, 1000..=600_000;
        /// Between two such re-syncs (ms).
        audio_gap_cooldown_ms: u64 = 30_000, 1000..=3_600_000;
        /// An output stream nobody fetches ends (ms).
        audio_out_claim_timeout_ms: u64 = 15_000, 100..=600_000;
        /// An unanswered play request of ours (ms).
        audio_out_reclaim_timeout_ms: u64 = 10_000, 100..=600_000;
        /// An output stream without writes ends (ms).
        audio_out_abandon_ms: u64 = 60_000, 1000..=3_600_000;
        /// Buffered while nobody reads; the oldest goes first (bytes).
        audio_out_pending_bytes: u64 = 2_097_152, 4096..=1_073_741_824;
        /// An ended stream is forgotten after this (ms).
        audio_out_cleanup_ms: u64 = 1000, 0..=60_000;
        /// No play request of ours before this (ms).
        audio_out_autoplay_delay_ms: u64 = 2000, 0..=60_000;
        /// Output streams per app.
        audio_out_streams_max: u64 = 8, 1..=1000;
        /// A play request waits this long for its answer (ms).
        audio_play_map_ttl_ms: u64 = 600_000, 1000..=86_400_000;
        /// Unanswered play requests per user; the oldest is forgotten.
        audio_play_map_max: u64 = 256, 1..=100_000;
    }
}
