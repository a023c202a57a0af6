//! Layer 0: every metric, declared once. Each shard owns one [`Metrics`]: plain integers, no atomics; the outside thread
//! merges what the shards hand over every `metrics_interval_ms`. Quantiles are never averaged: histograms are merged.

use hdrhistogram::Histogram;

/// Rows `"name" "help" { Variant = "labels", … }`, or one `{ Variant }` without labels.
macro_rules! counters {
    ($($name:literal $help:literal { $($variant:ident $(= $labels:literal)?),* $(,)? })*) => {
        /// A counter with its fixed labels. Those of one metric stand together.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Counter { $($(#[doc = $help] $variant,)*)* }

        impl Counter {
            /// All of them, in declaration order.
            pub const ALL: &[Self] = &[$($(Self::$variant,)*)*];
            /// How many.
            pub const COUNT: usize = Self::ALL.len();
            /// Metric name.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $($(Self::$variant)|* => $name,)* } }
            /// Label set without braces; may be empty.
            #[must_use]
            pub const fn labels(self) -> &'static str { match self { $($(Self::$variant => concat!($($labels)?),)*)* } }
            /// Help text.
            #[must_use]
            pub const fn help(self) -> &'static str { match self { $($(Self::$variant)|* => $help,)* } }
        }
    };
}

counters! {
    "mentra_ws_client_messages_in_total" "Frames received from phones." { PhoneMessagesIn }
    "mentra_ws_client_messages_out_total" "Frames sent to phones." { PhoneMessagesOut }
    "mentra_ws_miniapp_messages_in_total" "Frames received from app servers." { AppMessagesIn }
    "mentra_ws_miniapp_messages_out_total" "Frames sent to app servers." { AppMessagesOut }
    "mentra_http_requests_total" "HTTP requests answered." {
        Http2xx = "status=\"2xx\"",
        Http3xx = "status=\"3xx\"",
        Http4xx = "status=\"4xx\"",
        Http5xx = "status=\"5xx\"",
    }
    "prism_http_refused_total" "HTTP connections refused or cut off, by reason." {
        HttpRefused = "reason=\"malformed\"",
        HttpTls = "reason=\"tls\"",
        HttpTimeout = "reason=\"timeout\"",
        HttpOverLimit = "reason=\"limit\"",
    }
    "prism_http_upstream_total" "Requests handed to the fallback upstream." { HttpUpstream }
    "mentra_connections_opened_total" "Sockets opened." {
        PhoneOpened = "kind=\"glasses\",result=\"ok\"",
        AppOpened = "kind=\"app\",result=\"ok\"",
    }
    "mentra_connections_closed_total" "Sockets closed." {
        PhoneClosed1000 = "kind=\"glasses\",reason=\"normal_closure\",code=\"1000\"",
        PhoneClosed1001 = "kind=\"glasses\",reason=\"server_restart\",code=\"1001\"",
        PhoneClosed1006 = "kind=\"glasses\",reason=\"network_error\",code=\"1006\"",
        PhoneClosedOther = "kind=\"glasses\",reason=\"unknown\",code=\"other\"",
        AppClosed1000 = "kind=\"app\",reason=\"normal_closure\",code=\"1000\"",
        AppClosed1001 = "kind=\"app\",reason=\"server_restart\",code=\"1001\"",
        AppClosed1006 = "kind=\"app\",reason=\"network_error\",code=\"1006\"",
        AppClosed1008 = "kind=\"app\",reason=\"unknown\",code=\"1008\"",
        AppClosedOther = "kind=\"app\",reason=\"unknown\",code=\"other\"",
    }
    "mentra_upgrade_total" "Upgrade requests." {
        UpgradePhoneOk = "kind=\"glasses\",result=\"ok\"",
        UpgradePhoneNoToken = "kind=\"glasses\",result=\"no_token\"",
        UpgradePhoneBadToken = "kind=\"glasses\",result=\"bad_token\"",
        UpgradePhoneRefused = "kind=\"glasses\",result=\"refused\"",
        UpgradeAppOk = "kind=\"app\",result=\"ok\"",
        UpgradeAppBadToken = "kind=\"app\",result=\"bad_token\"",
        UpgradeShutdown = "kind=\"any\",result=\"shutdown\"",
        UpgradeNoDescriptors = "kind=\"any\",result=\"no_descriptors\"",
        UpgradeUnknownPath = "kind=\"any\",result=\"unknown_path\"",
        UpgradeBadHandshake = "kind=\"any\",result=\"bad_handshake\"",
    }
    "mentra_message_errors_total" "Messages that could not be handled." {
        PhoneBadJson = "side=\"glasses\",type=\"unparsable\",code=\"json\"",
        PhoneHandlerFailed = "side=\"glasses\",type=\"any\",code=\"handler\"",
        AppBadJson = "side=\"app\",type=\"unparsable\",code=\"json\"",
        AppHandlerFailed = "side=\"app\",type=\"any\",code=\"handler\"",
        AppUnknownType = "side=\"app\",type=\"unknown\",code=\"type\"",
        ProtocolErrors = "side=\"any\",type=\"frame\",code=\"protocol\"",
    }
    "prism_app_inits_refused_total" "Inits of apps that were refused." { AppInitsRefused }
    "prism_app_address_refused_total" "App sockets refused for their address." { AppAddressRefused }
    "prism_sessions_created_total" "User sessions created." { SessionsCreated }
    "prism_sessions_without_record_total" "User sessions that began on defaults, as the store did not answer." { SessionsWithoutRecord }
    "prism_sessions_disposed_total" "User sessions disposed." { SessionsDisposed }
    "prism_handler_panics_total" "Messages of phones and apps that were dropped because of a defect of ours." { HandlerPanics }
    "prism_session_panics_total" "User sessions ended by a defect of ours." { SessionPanics }
    "prism_phone_reconnects_total" "Phones that returned within the grace." { PhoneReconnects }
    "prism_phone_takeovers_total" "Second phone sockets that took over." { PhoneTakeovers }
    "prism_app_starts_total" "Ended app starts." {
        AppStartsOk = "outcome=\"ok\"",
        AppStartsWebhook = "outcome=\"WEBHOOK\"",
        AppStartsTimeout = "outcome=\"TIMEOUT\"",
        AppStartsOther = "outcome=\"other\"",
    }
    "mentra_resurrections_total" "Automatic restarts of apps." {
        ResurrectionsOk = "result=\"ok\"",
        ResurrectionsFailed = "result=\"failed\"",
    }
    "mentra_recoveries_total" "App-server recoveries." {
        RecoveriesOk = "result=\"ok\"",
        RecoveriesFailed = "result=\"failed\"",
    }
    "mentra_health_timeouts_total" "Sockets found dead." {
        HealthTimeoutPhone = "kind=\"glasses\"",
        HealthTimeoutApp = "kind=\"app\"",
    }
    "mentra_send_queue_dropped_total" "Messages dropped: from full send queues (audio, interim, display), what an app asked of a phone beyond its share (asked), for closed sockets (closed), while a session loads (pending)." {
        DroppedAudio = "kind=\"app\",class=\"audio\"",
        DroppedInterim = "kind=\"any\",class=\"interim\"",
        DroppedDisplay = "kind=\"glasses\",class=\"display\"",
        DroppedClosed = "kind=\"any\",class=\"closed\"",
        DroppedPending = "kind=\"glasses\",class=\"pending\"",
        DroppedAsked = "kind=\"glasses\",class=\"asked\"",
    }
    "prism_unfinished_overflow_total" "Sockets closed because unfinished messages would have taken more than unfinished_bytes_max." { NoRoom }
    "mentra_backpressure_total" "Sockets closed because control messages overflowed." {
        Overloaded = "kind=\"any\",class=\"control\"",
    }
    "prism_app_messages_refused_total" "Messages of apps to other users that were refused, as they were more than app_messages_per_s." { AppToAppRefused }
    "mentra_audio_bytes_total" "Microphone audio received." {
        AudioBytesWs = "transport=\"ws\"",
        AudioBytesUdp = "transport=\"udp\"",
    }
    "prism_lc3_frames_total" "LC3 frames decoded: 10 ms of sound each." { Lc3Frames }
    "prism_lc3_packets_dropped_total" "LC3 packets dropped whole: some frame did not decode, or more frames than a packet may hold." { Lc3BadPackets }
    "prism_lc3_partial_frames_total" "Ends of LC3 packets that did not fill a frame and were dropped." { Lc3Partial }
    "mentra_display_total" "Display requests." {
        DisplaySent = "outcome=\"sent\"",
        DisplayThrottled = "outcome=\"throttled\"",
        DisplayQueued = "outcome=\"queued\"",
        DisplayRejected = "outcome=\"rejected\"",
        DisplayNotConnected = "outcome=\"not_connected\"",
    }
    "mentra_stt_errors_total" "Recognisers that failed." {
        SttErrorsSonioxTranscription = "provider=\"soniox\",kind=\"transcription\"",
        SttErrorsSonioxTranslation = "provider=\"soniox\",kind=\"translation\"",
        SttErrorsAlibabaTranscription = "provider=\"alibaba\",kind=\"transcription\"",
        SttErrorsAlibabaTranslation = "provider=\"alibaba\",kind=\"translation\"",
    }
    "prism_speech_failures_total" "Recognisers that failed, by class." {
        SpeechUnsupported = "class=\"unsupported\"",
        SpeechPermanent = "class=\"permanent\"",
        SpeechResource = "class=\"resource\"",
        SpeechSessionLength = "class=\"session_length\"",
        SpeechCapacity = "class=\"capacity\"",
        SpeechTimeout = "class=\"timeout\"",
        SpeechServer = "class=\"server\"",
        SpeechTransport = "class=\"transport\"",
    }
    "prism_speech_audio_refused_total" "Chunks of audio for recognisers that the outside thread had no room for." { SpeechAudioLost }
    "mentra_mic_state_changes_total" "Microphone state messages." { MicStateChanges }
    "mentra_unauthorized_audio_total" "Times an unwanted microphone was switched off." { UnauthorizedAudio }
    "mentra_device_state_total" "Device state updates." {
        DeviceStateTotal = "result=\"total\"",
        DeviceStateDeduped = "result=\"deduped\"",
        DeviceStateApplied = "result=\"applied\"",
        DeviceStateRateLimited = "result=\"rate_limited\"",
    }
    "prism_slow_total" "Things that took longer than their threshold." {
        SlowUserLoad = "what=\"user_load\"",
        SlowAudioRelay = "what=\"audio_relay\"",
        SlowUdpAudio = "what=\"udp_audio\"",
        SlowAudioStage = "what=\"audio_stage\"",
    }
    "mentra_correlation_orphans_total" "Results that found their session gone." { CorrelationOrphans }
    "prism_handoffs_total" "Connections handed to their home shard." { HandoffsOut }
    "prism_mailbox_full_total" "Cross-shard messages refused by a full inbox." { MailboxFull }
    "prism_receive_starved_total" "Receive operations ended because all receive buffers were taken." { ReceiveStarved }
    "mentra_udp_packets_received_total" "UDP packets received." { UdpReceived }
    "mentra_udp_packets_dropped_total" "UDP packets dropped." { UdpDropped }
    "mentra_udp_pings_received_total" "UDP probes received." { UdpPings }
    "prism_udp_other_hashes_total" "Phones that announced another UDP hash than that of their user id." { UdpOtherHash }
    "prism_udp_registrations_refused_total" "UDP hashes that were somebody else's already." { UdpRefused }
    "mentra_udp_packets_decrypted_total" "UDP packets decrypted." { UdpDecrypted }
    "mentra_udp_decryption_failures_total" "UDP packets that failed to decrypt." { UdpDecryptionFailures }
}

/// Which peers a table of messages or frames is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Phones.
    Phone,
    /// App servers.
    App,
}

/// Histograms that are not per message type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timing {
    /// `mentra_app_start_seconds`: starts that succeeded. The next seven are starts that failed, by stage (behaviour.md §2.3).
    AppStartOk,
    /// Starts that failed at the webhook.
    AppStartWebhook,
    /// Starts that were stopped meanwhile or found no room.
    AppStartConnection,
    /// Starts that failed for a wrong key.
    AppStartAuthentication,
    /// Starts whose app came from an address that is not on its list.
    AppStartPermission,
    /// Starts whose app did not connect in time.
    AppStartTimeout,
    /// Starts that failed for missing hardware.
    AppStartHardware,
    /// Starts that ended with their session.
    AppStartDisposed,
    /// `mentra_reconnect_downtime_seconds`, phones.
    PhoneDowntime,
    /// `mentra_reconnect_downtime_seconds`, apps.
    AppDowntime,
    /// `mentra_ping_rtt_seconds`, phones.
    PingPhone,
    /// `mentra_ping_rtt_seconds`, apps.
    PingApp,
    /// `mentra_audio_fanout_seconds`: receipt of a frame to its last write.
    AudioFanout,
    /// `mentra_stt_latency_seconds`: from the end of what was said, as given to the recogniser, to its text. Soniox, transcribing.
    SttSonioxTranscription,
    /// The same of Soniox, translating.
    SttSonioxTranslation,
    /// The same of Alibaba, transcribing.
    SttAlibabaTranscription,
    /// The same of Alibaba, translating.
    SttAlibabaTranslation,
    /// Scheduling delay of the shard.
    TurnLag,
    /// Length of one turn of work.
    TurnLength,
}

impl Timing {
    /// All, in declaration order.
    pub const ALL: &[Self] = &[
        Self::AppStartOk,
        Self::AppStartWebhook,
        Self::AppStartConnection,
        Self::AppStartAuthentication,
        Self::AppStartPermission,
        Self::AppStartTimeout,
        Self::AppStartHardware,
        Self::AppStartDisposed,
        Self::PhoneDowntime,
        Self::AppDowntime,
        Self::PingPhone,
        Self::PingApp,
        Self::AudioFanout,
        Self::SttSonioxTranscription,
        Self::SttSonioxTranslation,
        Self::SttAlibabaTranscription,
        Self::SttAlibabaTranslation,
        Self::TurnLag,
        Self::TurnLength,
    ];
}

/// A lazily created histogram in nanoseconds, 1 µs … 10 min, two significant digits (memory: about 15 KiB once used).
#[derive(Clone, Debug, Default)]
pub struct Latency(Option<Box<Histogram<u32>>>);

impl Latency {
    /// Records `count` equal values.
    #[inline]
    pub fn record_n(&mut self, ns: u64, count: u32) {
        let histogram = self.0.get_or_insert_with(Self::empty);
        histogram.saturating_record_n(ns.max(1_000), count);
    }

    #[cold]
    fn empty() -> Box<Histogram<u32>> {
        let empty = Histogram::new_with_bounds(1_000, 600_000_000_000, 2);
        Box::new(empty.expect("constant bounds are valid"))
    }

    /// Records one value.
    pub fn record(&mut self, ns: u64) {
        self.record_n(ns, 1);
    }

    /// The histogram, if anything was recorded.
    #[must_use]
    pub fn histogram(&self) -> Option<&Histogram<u32>> {
        self.0.as_deref()
    }

    /// Adds another one.
    pub fn merge(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (Some(mine), Some(theirs)) => mine.add(&**theirs).expect("equal bounds add"),
            (mine @ None, Some(theirs)) => *mine = Some(theirs.clone()),
            (_, None) => {}
        }
    }
}

/// Room for the types of frames sent to one side (`wire::sent_kinds` numbers them).
pub const SENT_KINDS: usize = 32;

/// All metrics of one shard since its start (counters) or since the last hand-over (histograms). What messages touch stands together.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Metrics {
    last_message: Option<(Side, usize)>,
    messages: [Vec<u64>; 2],
    latencies: [Vec<Latency>; 2],
    timings: Vec<Latency>,
    counters: [u64; Counter::COUNT],
    sent: [[u64; SENT_KINDS]; 2],
}

impl Metrics {
    /// Empty tables for this many message kinds per side (the last slot of each counts unknown types).
    #[must_use]
    pub fn new(phone_kinds: usize, app_kinds: usize) -> Self {
        let kinds = [phone_kinds + 1, app_kinds + 1];
        Self {
            counters: [0; Counter::COUNT],
            timings: vec![Latency::default(); Timing::ALL.len()],
            messages: kinds.map(|count| vec![0; count]),
            sent: [[0; SENT_KINDS]; 2],
            latencies: kinds.map(|count| vec![Latency::default(); count]),
            last_message: None,
        }
    }

    /// Adds one.
    pub fn inc(&mut self, counter: Counter) {
        self.counters[counter as usize] += 1;
    }

    /// Adds `count`.
    pub fn add(&mut self, counter: Counter, count: u64) {
        self.counters[counter as usize] += count;
    }

    /// Current value.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// Records a duration in nanoseconds.
    pub fn time(&mut self, timing: Timing, ns: u64) {
        self.timings[timing as usize].record(ns);
    }

    /// A histogram.
    #[must_use]
    pub fn timing(&self, timing: Timing) -> &Latency {
        &self.timings[timing as usize]
    }

    /// Counts one message of a kind (an index of the side's kind table; its length = unknown).
    pub fn message(&mut self, side: Side, kind: usize) {
        self.messages[side as usize][kind] += 1;
        self.last_message = Some((side, kind));
    }

    /// The kind that [`Metrics::message`] counted last, once: so the shard need not look for it again.
    pub fn take_last_message(&mut self) -> Option<(Side, usize)> {
        self.last_message.take()
    }

    /// Records receipt-to-last-write latency of `count` messages of one kind.
    pub fn message_latency(&mut self, side: Side, kind: usize, ns: u64, count: u32) {
        self.latencies[side as usize][kind].record_n(ns, count);
    }

    /// Counts one frame sent to that side, under the place of its type in `wire::sent_kinds` (below [`SENT_KINDS`]).
    #[inline]
    pub fn frame_sent(&mut self, side: Side, place: usize) {
        self.sent[side as usize][place % SENT_KINDS] += 1;
    }

    /// Frames sent to a side, by the place of their type.
    #[must_use]
    pub fn frames_sent(&self, side: Side) -> &[u64; SENT_KINDS] {
        &self.sent[side as usize]
    }

    /// Messages by kind.
    #[must_use]
    pub fn messages(&self, side: Side) -> &[u64] {
        &self.messages[side as usize]
    }

    /// Latency by kind.
    #[must_use]
    pub fn latencies(&self, side: Side) -> &[Latency] {
        &self.latencies[side as usize]
    }

    /// A copy for the aggregator; the histograms here start anew, the counters go on.
    #[must_use]
    pub fn hand_over(&mut self) -> Self {
        for (counter, sent) in [Counter::PhoneMessagesOut, Counter::AppMessagesOut]
            .into_iter()
            .zip(&self.sent)
        {
            self.counters[counter as usize] = sent.iter().sum();
        }
        let copy = self.clone();
        self.timings
            .iter_mut()
            .chain(self.latencies.iter_mut().flatten())
            .for_each(|latency| *latency = Latency::default());
        copy
    }

    /// Adds another shard's figures: counters of a later hand-over must replace, not be added, so the aggregator keeps the
    /// last copy per shard and merges histograms only.
    pub fn merge_histograms(&mut self, other: &Self) {
        for (mine, theirs) in self.timings.iter_mut().zip(&other.timings) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self
            .latencies
            .iter_mut()
            .flatten()
            .zip(other.latencies.iter().flatten())
        {
            mine.merge(theirs);
        }
    }
}
