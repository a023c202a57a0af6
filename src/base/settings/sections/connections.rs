//! Layer 0: section `connections` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// WebSocket transport and the user session's phone side (behaviour.md §1).
    connections: Connections {
        /// A socket from which nothing at all arrives for this long is closed (s).
        ws_idle_timeout_s: u64 = 120, 5..=86_400;
        /// Largest inbound message (bytes); beyond it 1009, as beyond 256 KiB from an app that has not said who it is.
        ws_max_message_bytes: u64 = 16_777_216, 1024..=1_073_741_824;
        /// Bytes queued to a phone, beside one larger message, before messages are shed; control overflow closes 1013.
        ws_send_queue_bytes_phone: u64 = 1_048_576, 16_384..=1_073_741_824;
        /// Bytes queued to an app, beside one larger message: oldest audio goes first; control overflow closes 1013.
        ws_send_queue_bytes_app: u64 = 4_194_304, 16_384..=1_073_741_824;
        /// Payloads from this size up are referenced instead of copied into the send buffer (bytes).
        zero_copy_min_bytes: u64 = 2048, 0..=1_048_576;
        /// One receive buffer (bytes). All sockets of a shard share them; larger messages are put together.
        receive_buffer_bytes: u64 = 4096, 1024..=65_536 => AtStart;
        /// Most receive buffers of a shard, rounded up to a power of two; 1024 are used until they run out.
        receive_buffers: u64 = 4096, 16..=32_768 => AtStart;
        /// Frames handled per socket and turn before others get theirs.
        turn_frames_max: u64 = 64, 1..=65_536;
        /// A shard with little to do lets messages gather for up to so long before it wakes, as a wake-up costs more than a message
        /// (µs; 0: never). By io_uring on kernels from 6.12.
        gather_us: u64 = 1000, 0..=5000;
        /// So many end that wait.
        gather_results: u64 = 16, 2..=1024;
        /// Shards with fewer sockets never wait so.
        gather_sockets_min: u64 = 128, 0..=1_000_000;
        /// Nor do those that receive and send less than this in all, as each message would come alone all the same (1/s).
        gather_rate_min: u64 = 8000, 0..=10_000_000;
        /// Nor do those that receive and send more than this in all: there latency counts (1/s).
        gather_rate_max: u64 = 32_000, 0..=10_000_000;
        /// An app socket neither initialised nor parked by then is closed 1008 (ms).
        app_init_timeout_ms: u64 = 30_000, 100..=600_000;
        /// A session without phone is kept this long (ms).
        reconnect_grace_ms: u64 = 60_000, 100..=86_400_000;
        /// Old phone sockets kept open per user.
        superseded_sockets_max: u64 = 2, 0..=16;
        /// Phone frames held while a session loads; beyond it the oldest audio, then the newest message is dropped.
        pending_frames_max: u64 = 256, 1..=65_536;
        /// A replaced app socket is closed after this (ms).
        replaced_linger_ms: u64 = 5000, 0..=600_000;
        /// Close after reconnect_rejected SESSION_* (ms).
        reject_linger_ms: u64 = 1000, 0..=60_000;
        /// Microphone state is re-sent this long after a phone returns (ms).
        mic_resync_after_reconnect_ms: u64 = 100, 0..=60_000;
        /// Handler failures within the window that close an app socket 1011.
        handler_failures_before_close: u64 = 5, 1..=1000;
        /// That window (ms).
        handler_failure_window_ms: u64 = 60_000, 1000..=3_600_000;
        /// Unparsable app messages in a row before 1007.
        invalid_json_before_close: u64 = 10, 1..=1000;
        /// Dispose a session when its grace ends; off only for debugging.
        grace_period_cleanup_enabled: bool = true;
        /// Abnormal phone closes within the window that raise a storm warning.
        storm_closes: u64 = 50, 1..=1_000_000;
        /// Reconnects within the window that raise a storm warning.
        storm_reconnects: u64 = 25, 1..=1_000_000;
        /// That window (ms).
        storm_window_ms: u64 = 10_000, 100..=600_000;
    }
}
