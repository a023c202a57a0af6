//! Layer 0: section `connections` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// WebSocket transport and the user session's phone side (behaviour.md §1).
    connections: Connections {
        /// A socket from which nothing at all arrives for this long is closed (s).
        ws_idle_timeout_s: u64 = 120, 5..=86_400;
        /// Largest inbound WebSocket message (bytes); a larger one closes the socket with 1009.
        ws_max_message_bytes: u64 = 16_777_216, 1024..=1_073_741_824;
        /// What a shard holds of messages that have not arrived whole, together (bytes). A socket that exceeds it with more than 256 KiB of its own is closed with 1013; app sockets that have not said who they are find half of it.
        unfinished_bytes_max: u64 = 268_435_456, 1_048_576..=2_147_483_647;
        /// Bytes that may wait for a phone, beside one larger message. Beyond it messages are dropped, the least important first; where only control messages are left the socket is closed with 1013.
        ws_send_queue_bytes_phone: u64 = 1_048_576, 16_384..=1_073_741_824;
        /// Bytes that may wait for an app, beside one larger message. Beyond it the oldest audio is dropped; where only control messages are left the socket is closed with 1013.
        ws_send_queue_bytes_app: u64 = 4_194_304, 16_384..=1_073_741_824;
        /// Payloads from this size up are referenced instead of copied into the send buffer (bytes).
        zero_copy_min_bytes: u64 = 8192, 0..=1_048_576;
        /// Size of one receive buffer (bytes). All sockets of a shard share the buffers; a larger message is put together from several.
        receive_buffer_bytes: u64 = 4096, 1024..=65_536 => AtStart;
        /// Most receive buffers of a shard, rounded up to a power of two; 1024 are used until they run out.
        receive_buffers: u64 = 4096, 16..=32_768 => AtStart;
        /// Frames handled for one socket before the other sockets of its shard get their turn.
        turn_frames_max: u64 = 64, 1..=65_536;
        /// A shard with little to do lets messages gather for up to this long before it wakes, as a wake-up costs more than a message (µs); 0 = never. On io_uring from kernel 6.12 on; on epoll such a wait lasts its whole time.
        gather_us: u64 = 1000, 0..=5000;
        /// This many results end the wait of gather_us.
        gather_results: u64 = 16, 2..=1024;
        /// A shard with fewer sockets than this does not wait for gather_us.
        gather_sockets_min: u64 = 128, 0..=1_000_000;
        /// A shard that receives and sends fewer messages per second than this in all does not wait for gather_us: each would come alone all the same.
        gather_rate_min: u64 = 8000, 0..=10_000_000;
        /// A shard that receives and sends more messages per second than this in all does not wait for gather_us: there latency counts.
        gather_rate_max: u64 = 32_000, 0..=10_000_000;
        /// An app socket that has neither sent its init nor been parked by then is closed with 1008 (ms).
        app_init_timeout_ms: u64 = 30_000, 100..=600_000;
        /// A user session lives on this long without a phone (ms).
        reconnect_grace_ms: u64 = 60_000, 100..=86_400_000;
        /// Older phone sockets kept open per user beside the current one.
        superseded_sockets_max: u64 = 2, 0..=16;
        /// Phone frames held while a session loads its user; beyond it the oldest audio, then the newest message is dropped.
        pending_frames_max: u64 = 256, 1..=65_536;
        /// An app socket that a newer one of the same app replaced is closed after this (ms), if not both of a restarted 2.x app stay.
        replaced_linger_ms: u64 = 5000, 0..=600_000;
        /// An app socket is closed this long after a reconnect_rejected with a SESSION_* code, as an init may follow (ms).
        reject_linger_ms: u64 = 1000, 0..=60_000;
        /// The microphone's state is sent again this long after a phone returned (ms).
        mic_resync_after_reconnect_ms: u64 = 100, 0..=60_000;
        /// This many of our failures to handle an app's messages, within handler_failure_window_ms, close its socket with 1011.
        handler_failures_before_close: u64 = 5, 1..=1000;
        /// Window of handler_failures_before_close (ms).
        handler_failure_window_ms: u64 = 60_000, 1000..=3_600_000;
        /// This many messages in a row of an app that are no JSON close its socket with 1007.
        invalid_json_before_close: u64 = 10, 1..=1000;
        /// End a session when reconnect_grace_ms is over; off only for debugging.
        grace_period_cleanup_enabled: bool = true;
        /// This many broken phone connections within storm_window_ms are logged as a reconnect storm.
        storm_closes: u64 = 50, 1..=1_000_000;
        /// This many phones that return within storm_window_ms are logged as a reconnect storm.
        storm_reconnects: u64 = 25, 1..=1_000_000;
        /// Window of storm_closes and storm_reconnects (ms).
        storm_window_ms: u64 = 10_000, 100..=600_000;
    }
}
