//! Layer 5: the outside thread as boot sees it, and a stand-in that answers everything with "not available".

use crate::base::clock::Clock;
use crate::base::ids::Origin;
use crate::base::settings::Settings;
use crate::session::effects::RestAnswer;
use crate::session::event::{Event, HttpOutcome, StoreOutcome};
use crate::shard::mailbox::{Answer, Mailboxes, OutsideRoute, ToOutside, ToShard};
use crate::shard::shared::Shared;
use crate::wire::auth::sha256_hex;
use crate::wire::records::{AppRecord, Registry};
use std::sync::Arc;
use std::thread::JoinHandle;

/// What the outside thread is given.
pub struct OutsideParts {
    /// Settings in force.
    pub cfg: Arc<Settings>,
    /// All shards' inboxes.
    pub mail: Mailboxes,
    /// Its own.
    pub inbox: flume::Receiver<ToOutside>,
    /// Time.
    pub clock: Clock,
    /// Words that all threads read.
    pub shared: Arc<Shared>,
}

/// Starts the outside thread, or says why not. The thread ends once all shards have drained and nothing is left to store.
pub type StartOutside = fn(OutsideParts) -> Result<JoinHandle<()>, String>;

/// A thread that has app records but no store, no webhooks and no REST services.
///
/// # Errors
/// The apps file cannot be read.
pub fn stand_in(parts: OutsideParts) -> Result<JoinHandle<()>, String> {
    let registry = Arc::new(read_apps(&parts.cfg.server.apps_file)?);
    for shard in 0..parts.mail.shards() {
        let message = ToShard::Registry(registry.clone());
        let _ = parts.mail.send(crate::base::ids::ShardId(shard), message);
    }
    std::thread::Builder::new()
        .name("outside".into())
        .spawn(move || {
            while let Ok(message) = parts.inbox.recv() {
                if let ToOutside::Drained(_) = message
                    && parts.shared.is_drained()
                {
                    return;
                }
                answer(&parts, message);
            }
        })
        .map_err(|error| error.to_string())
}

fn answer(parts: &OutsideParts, message: ToOutside) {
    let result = match message {
        ToOutside::LoadUser {
            shard, user, epoch, ..
        } => (shard, user, epoch, Event::UserLoaded { record: None }),
        ToOutside::Store {
            shard,
            user,
            epoch,
            ack: Some(call),
            ..
        } => {
            let outcome = StoreOutcome::Failed;
            (shard, user, epoch, Event::Stored { call, outcome })
        }
        ToOutside::Http {
            shard,
            user,
            epoch,
            call,
        } => {
            let outcome = HttpOutcome::Failed {
                error: "outbound calls are not available".into(),
            };
            let call = call.call;
            (shard, user, epoch, Event::Http { call, outcome })
        }
        ToOutside::Request(request) => {
            let answer = match request.route {
                OutsideRoute::Health => RestAnswer::json(200, r#"{"status":"ok"}"#),
                _ => RestAnswer::json(503, r#"{"error":"Service Unavailable"}"#),
            };
            if let Origin::Shard(shard) = request.reply.origin {
                let id = request.reply.id;
                let answer = Answer::Whole(answer);
                let _ = parts.mail.send(shard, ToShard::Reply { id, answer });
            }
            return;
        }
        _ => return,
    };
    let (shard, user, epoch, event) = result;
    let _ = parts
        .mail
        .send(shard, ToShard::Result { user, epoch, event });
}

fn read_apps(path: &str) -> Result<Registry, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::from("apps: []"),
        Err(error) => return Err(format!("{path}: {error}")),
    };
    let file: serde_json::Value =
        serde_saphyr::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    let mut records = Vec::new();
    for entry in file["apps"].as_array().into_iter().flatten() {
        let mut record: AppRecord = AppRecord {
            package_name: entry["packageName"].as_str().unwrap_or_default().to_owned(),
            name: entry["name"].as_str().unwrap_or_default().to_owned(),
            public_url: entry["publicUrl"].as_str().unwrap_or_default().to_owned(),
            ..AppRecord::default()
        };
        record.key_sha256 = match (entry["apiKey"].as_str(), entry["apiKeySha256"].as_str()) {
            (Some(plain), _) => sha256_hex(plain),
            (None, Some(hash)) => hash.to_lowercase(),
            (None, None) => String::new(),
        };
        records.push(record);
    }
    Ok(Registry::new(records, 1))
}
