//! Test kit: services over the memory store, with a scripted shard instead of sessions.

use super::RestMemory;
use crate::base::clock::Clock;
use crate::base::ids::{Origin, ReplyTo, ShardId, UserId};
use crate::base::metrics::Metrics;
use crate::base::settings::{LoadError, Problem, Settings};
use crate::services::Reload;
use crate::services::context::Services;
use crate::services::lock::lock;
use crate::services::metrics::Aggregate;
use crate::services::registry::AppRecords;
use crate::services::store::writes::Writes;
use crate::services::store::{Store, memory};
use crate::services::webhooks::Webhooks;
use crate::session::effects::RestAnswer;
use crate::session::event::Event;
use crate::session::rest::Call;
use crate::shard::mailbox::{
    Answer, Mailboxes, OutsideRequest, OutsideRoute, ShardReport, ToShard,
};
use crate::shard::memory::Owner;
use crate::shard::shared::Shared;
use crate::wire::auth::{TokenKeys, sha256_hex};
use crate::wire::kinds::{AppKind, PhoneKind};
use crate::wire::records::{AppRecord, Organization};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

pub(crate) const USER: &str = "nadia@lumen.io";
pub(crate) const APP: &str = "com.acme.scribe";
pub(crate) const KEY: &str = "key-of-scribe";

/// From the script of a session: no answer, as yet.
pub(crate) const SILENCE: RestAnswer = RestAnswer {
    status: 0,
    content_type: "",
    body: bytes::Bytes::new(),
    retry_after_s: None,
};

type Script = Arc<Mutex<Box<dyn FnMut(&Call) -> Option<RestAnswer> + Send>>>;

/// Everything a REST test needs.
pub(crate) struct Kit {
    pub(crate) cx: Arc<Services>,
    pub(crate) store: Arc<memory::Memory>,
    /// Calls that reached the user's session, newest last.
    pub(crate) calls: Arc<Mutex<Vec<Call>>>,
    script: Script,
    hearing: Arc<Hearing>,
    _data: tempfile::TempDir,
}

/// Of the scripted shard.
#[derive(Default)]
struct Hearing {
    deaf: AtomicBool,
    /// Version of the app records it was told last.
    told: AtomicU64,
    settings: Mutex<Option<Arc<Settings>>>,
}

fn records() -> Vec<AppRecord> {
    let settings = vec![
        json!({"type": "group", "title": "G"}),
        json!({"type": "select", "key": "lang", "label": "Language", "defaultValue": "en", "options": []}),
    ];
    let record = |package: &str| AppRecord {
        package_name: package.into(),
        key_sha256: sha256_hex(KEY),
        settings: settings.clone(),
        tools: vec![json!({"id": "add_note", "description": "Adds a note"})],
        organization: (package == APP).then(|| Organization {
            name: "Acme".into(),
            website: Some("https://acme.com".into()),
            ..Organization::default()
        }),
        ..AppRecord::default()
    };
    vec![
        record(APP),
        record("com.acme.other"),
        record("com.mentra.assistant"),
    ]
}

impl Kit {
    /// Runs a test with a kit on a runtime of its own.
    pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce(Arc<Self>) -> F) {
        Self::run_with(|_| {}, test);
    }

    pub(crate) fn run_with<F: Future<Output = ()>>(
        change: impl FnOnce(&mut Settings),
        test: impl FnOnce(Arc<Self>) -> F,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        Self::run_on(&runtime, change, test);
    }

    pub(crate) fn run_on<F: Future<Output = ()>>(
        runtime: &tokio::runtime::Runtime,
        change: impl FnOnce(&mut Settings),
        test: impl FnOnce(Arc<Self>) -> F,
    ) {
        runtime.block_on(async { test(Self::new(change).await).await });
    }

    async fn new(change: impl FnOnce(&mut Settings)) -> Arc<Self> {
        let data = tempfile::tempdir().expect("a folder");
        let mut settings = Settings::default();
        settings.server.data_dir = data.path().to_string_lossy().into_owned();
        settings.server.admin_emails = vec!["Root@lumen.io".into()];
        settings.server.public_url = "https://rt.example.net/".into();
        settings.apps.system_app_packages = vec!["com.mentra.assistant".into()];
        settings.apps.preinstalled_apps = vec!["com.acme.other".into(), "com.unknown".into()];
        change(&mut settings);
        let clock = Clock::start();
        let store = Arc::new(memory::Memory::default());
        let dynamic: Arc<dyn Store> = store.clone();
        let (sender, inbox) = flume::bounded(64);
        let cx = Arc::new(Services {
            tokens: TokenKeys::new(&settings.server.auth_jwt_secret),
            writes: Writes::start(Arc::clone(&dynamic), settings.store.clone()),
            webhooks: Arc::new(Webhooks::new(&settings, clock)),
            removals: Default::default(),
            upstream: crate::services::upstream::Upstream::new(),
            weather: Default::default(),
            speech: Default::default(),
            apps: AppRecords::load(records(), &dynamic, Duration::from_secs(5)).await,
            aggregate: Aggregate::new(1).into(),
            rounds: Default::default(),
            bodies: Default::default(),
            memory: RestMemory::new(&settings),
            started_with: Arc::new(settings.clone()),
            settings: RwLock::new(Arc::new(settings)),
            config_dir: data.path().to_path_buf(),
            reload: Reload::new(
                || {
                    Err(LoadError(vec![Problem {
                        place: "config.yaml".into(),
                        text: "not in tests".into(),
                    }]))
                },
                |_| (),
            ),
            dropped_log_lines: || 0,
            shards: Mailboxes::new(vec![sender]),
            clock,
            shared: Arc::new(Shared::new(1)),
            calls: Mutex::default(),
            next_call: Default::default(),
        });
        let script: Script = Arc::new(Mutex::new(Box::new(|_| None)));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let hearing = Arc::<Hearing>::default();
        tokio::spawn(shard(
            Arc::clone(&cx),
            inbox,
            Arc::clone(&script),
            Arc::clone(&calls),
            Arc::clone(&hearing),
        ));
        Arc::new(Self {
            cx,
            store,
            calls,
            script,
            hearing,
            _data: data,
        })
    }

    /// From now on the user has a session that answers like this; `None` = as without a session.
    pub(crate) fn session(&self, script: impl FnMut(&Call) -> Option<RestAnswer> + Send + 'static) {
        *lock(&self.script) = Box::new(script);
    }

    /// Whether the shard takes no mail from now on; then its inbox is full.
    pub(crate) async fn deafen(&self, deaf: bool) {
        self.hearing.deaf.store(deaf, Ordering::SeqCst);
        let user = Self::user();
        let mail = || ToShard::Result {
            user: user.clone(),
            epoch: 0,
            event: Event::UserLoaded { record: None },
        };
        // It may have taken one already.
        for _ in 0..2 {
            while deaf && self.cx.shards.send_home(&user, mail()).is_ok() {}
            tokio::task::yield_now().await;
        }
    }

    /// Version of the app records that the shard was told last.
    pub(crate) fn told_version(&self) -> u64 {
        self.hearing.told.load(Ordering::SeqCst)
    }

    /// Settings that the shard was told last.
    pub(crate) fn told_settings(&self) -> Option<Arc<Settings>> {
        lock(&self.hearing.settings).clone()
    }

    pub(crate) fn token(&self, email: &str) -> String {
        self.cx
            .tokens
            .mint(&json!({ "email": email }))
            .expect("claims")
    }

    /// A request without credentials.
    pub(crate) fn request(
        route: OutsideRoute,
        method: &str,
        params: &[&str],
        body: &Value,
    ) -> OutsideRequest {
        OutsideRequest {
            route,
            method: method.into(),
            params: params.iter().map(|text| (*text).to_owned()).collect(),
            query: Vec::new(),
            headers: Vec::new(),
            body: if body.is_null() {
                bytes::Bytes::new()
            } else {
                body.to_string().into()
            },
            user: None,
            package: None,
            peer: std::net::IpAddr::from([127, 0, 0, 1]),
            correlation_id: "test".into(),
            reply: ReplyTo {
                origin: Origin::Shard(ShardId(0)),
                id: 1,
            },
        }
    }

    /// Sends a request of the test user; returns status and JSON body.
    pub(crate) async fn client(
        &self,
        route: OutsideRoute,
        method: &str,
        params: &[&str],
        body: Value,
    ) -> (u16, Value) {
        let token = self.token(USER);
        self.bearer(&token, route, method, params, body).await
    }

    /// Sends a request of the test app.
    pub(crate) async fn app(
        &self,
        route: OutsideRoute,
        method: &str,
        params: &[&str],
        body: Value,
    ) -> (u16, Value) {
        self.bearer(&format!("{APP}:{KEY}"), route, method, params, body)
            .await
    }

    pub(crate) async fn bearer(
        &self,
        token: &str,
        route: OutsideRoute,
        method: &str,
        params: &[&str],
        body: Value,
    ) -> (u16, Value) {
        let mut request = Self::request(route, method, params, &body);
        request
            .headers
            .push(("authorization".into(), format!("Bearer {token}")));
        self.send(&request).await
    }

    pub(crate) async fn send(&self, request: &OutsideRequest) -> (u16, Value) {
        match super::answer(&self.cx, request).await {
            Answer::Whole(answer) | Answer::WithHeaders(answer, _) => (
                answer.status,
                serde_json::from_slice(&answer.body).unwrap_or_default(),
            ),
            other => panic!("a whole answer, not {other:?}"),
        }
    }

    pub(crate) fn user() -> UserId {
        UserId::new(USER)
    }
}

async fn shard(
    cx: Arc<Services>,
    inbox: flume::Receiver<ToShard>,
    script: Script,
    calls: Arc<Mutex<Vec<Call>>>,
    hearing: Arc<Hearing>,
) {
    while let Ok(message) = inbox.recv_async().await {
        while hearing.deaf.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if let ToShard::Registry(apps) = &message {
            hearing.told.store(apps.version, Ordering::SeqCst);
        }
        if let ToShard::Settings(settings) = &message {
            *lock(&hearing.settings) = Some(Arc::clone(settings));
        }
        if let ToShard::ReportNow(round) = message {
            crate::services::metrics::take_report(&cx, report(round));
        } else if let ToShard::Call { reply, call, .. } = message {
            let answer = (lock(&script))(&call);
            if answer.is_some() {
                lock(&calls).push(call);
            }
            if answer.as_ref() == Some(&SILENCE) {
                continue;
            }
            cx.resolve(
                reply.id,
                Answer::Whole(
                    answer.unwrap_or_else(crate::session::effects::RestAnswer::no_session),
                ),
            );
        }
    }
}

/// What the scripted shard says of itself.
pub(crate) fn report(round: u64) -> ShardReport {
    ShardReport {
        shard: ShardId(0),
        at_ms: 0,
        round,
        sessions: 3,
        phones: 2,
        apps: 5,
        pending_apps: 0,
        http: 1,
        app_states: [0, 0, 5, 0, 0, 0, 0, 0],
        mic_active: 1,
        udp_sessions: 0,
        speech_streams: [0; 2],
        outbound_bytes: 10,
        inbound_bytes: 20,
        owners: vec![Owner {
            name: "calendar",
            bytes: 700,
        }],
        metrics: Metrics::new(PhoneKind::COUNT, AppKind::COUNT),
    }
}
