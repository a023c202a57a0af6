//! Layer 0: section `audio` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// Audio path and app audio output (behaviour.md §5, protocol.md §10).
    audio: Audio {
        /// Sample rate of microphone audio (Hz); fixed by the wire.
        pcm_sample_rate: u64 = 16_000, 16_000..=16_000;
        /// Length of an LC3 frame (ms); fixed by the wire.
        lc3_frame_ms: u64 = 10, 10..=10;
        /// Size of an LC3 frame where the phone names none or a wrong one: 20, 40 or 60 (bytes).
        lc3_frame_bytes: u64 = 20, 20..=60;
        /// Audio that takes longer than this from its receipt to its last write is counted and logged (ms).
        audio_slow_relay_ms: u64 = 20, 1..=60_000;
        /// A user whose audio goes to more apps than this is logged.
        audio_fanout_warn: u64 = 10, 1..=10_000;
        /// Audio that takes longer than this from its receipt to the last outbox is counted and logged; one turn in 64 is measured (ms).
        audio_stage_slow_ms: u64 = 10, 1..=60_000;
        /// Base URL of the text-to-speech service: ElevenLabs, or what talks like it.
        tts_url: String = "https://api.elevenlabs.io".into();
        /// Key of the text-to-speech service; empty = GET /api/tts is refused. With it, whoever reaches the server may use it, as players have no token. Established name: ELEVENLABS_API_KEY.
        tts_api_key: String = String::new();
        /// Voice of speech where a player names none. Established name: ELEVENLABS_DEFAULT_VOICE_ID.
        tts_voice_id: String = "8IRrZoKuYTPnpLc6lM6a".into();
        /// Speech model where a player names none.
        tts_model: String = "eleven_flash_v2_5".into();
        /// Speed of speech where a player sends no voice settings (a number). Established name: ELEVENLABS_DEFAULT_SPEED.
        tts_speed: String = "1.13".into();
        /// Stability of the voice where a player sends no voice settings (a number). Established name: ELEVENLABS_DEFAULT_STABILITY.
        tts_stability: String = "0.68".into();
        /// Similarity of the voice where a player sends no voice settings (a number). Established name: ELEVENLABS_DEFAULT_SIMILARITY.
        tts_similarity: String = "0.75".into();
        /// Style of the voice where a player sends no voice settings (a number). Established name: ELEVENLABS_DEFAULT_STYLE.
        tts_style: String = "0.0".into();
        /// The text-to-speech service must begin to speak within this (ms).
        tts_timeout_ms: u64 = 20_000, 100..=30_000;
        /// No endpoint reads recent audio back (ms).
        audio_recent_buffer_ms: u64 = 0, 0..=600_000 => Never;
        /// Send the microphone's state again when audio that is wanted stops coming.
        audio_gap_resync_enabled: bool = false;
        /// With audio_gap_resync_enabled: silence that counts as a stop (ms).
        audio_gap_resync_ms: u64 = 15_000, 1000..=600_000;
        /// With audio_gap_resync_enabled: at least this long between two repetitions (ms).
        audio_gap_cooldown_ms: u64 = 30_000, 1000..=3_600_000;
        /// An app's audio output stream that no phone fetches ends after this (ms).
        audio_out_claim_timeout_ms: u64 = 15_000, 100..=600_000;
        /// A phone that was told to play an output stream, and does not fetch it, is told again after this (ms).
        audio_out_reclaim_timeout_ms: u64 = 10_000, 100..=600_000;
        /// An app's audio output stream ends when the app writes nothing for this long (ms).
        audio_out_abandon_ms: u64 = 60_000, 1000..=3_600_000;
        /// Audio of an output stream kept while no phone fetches it (bytes); beyond it the oldest is dropped.
        audio_out_pending_bytes: u64 = 2_097_152, 4096..=1_073_741_824;
        /// An audio output stream that ended is forgotten after this (ms).
        audio_out_cleanup_ms: u64 = 1000, 0..=60_000;
        /// A phone is told to play an output stream no sooner than this after its start: the app may ask itself (ms).
        audio_out_autoplay_delay_ms: u64 = 2000, 0..=60_000;
        /// Most audio output streams of an app.
        audio_out_streams_max: u64 = 8, 1..=1000;
        /// A play request that the phone does not answer is forgotten after this (ms).
        audio_play_map_ttl_ms: u64 = 600_000, 1000..=86_400_000;
        /// Most unanswered play requests per user; beyond it the oldest of the app with most is forgotten.
        audio_play_map_max: u64 = 256, 1..=100_000;
    }
}
