//! The outside thread as a shard sees it: messages in, messages out, over an embedded store in a folder of its own.
#![allow(dead_code, reason = "each user takes its part")]

use prism::base::clock::Clock;
use prism::base::settings::Settings;
use prism::services::{self, Reload, Running, Start, StartError};
use prism::shard::mailbox::{Mailboxes, ToOutside, ToShard};
use prism::shard::shared::Shared;
use std::sync::Arc;
use std::time::Duration;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The thread and a shard's ends of its mailboxes.
pub(crate) struct Outside {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) outside: flume::Sender<ToOutside>,
    pub(crate) shard: flume::Receiver<ToShard>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) running: Running,
}

impl Outside {
    /// Starts it in `folder`, which holds its files and its store, with these changes to the default settings.
    pub(crate) fn start(
        folder: tempfile::TempDir,
        change: impl FnOnce(&mut Settings),
    ) -> Result<Self, StartError> {
        let mut settings = Settings::default();
        settings.server.data_dir = folder.path().join("data").to_string_lossy().into_owned();
        change(&mut settings);
        let (outside, inbox) = flume::bounded(64);
        let (to_shard, shard) = flume::bounded(64);
        let shared = Arc::new(Shared::new(1));
        let reloaded = settings.clone();
        let running = services::start(Start {
            settings: Arc::new(settings),
            config_dir: folder.path().to_path_buf(),
            inbox,
            shards: Mailboxes::new(vec![to_shard]),
            clock: Clock::start(),
            shared: Arc::clone(&shared),
            reload: Reload::new(move || Ok(reloaded.clone()), |_| ()),
            dropped_log_lines: || 0,
        })?;
        Ok(Self {
            folder,
            outside,
            shard,
            shared,
            running,
        })
    }

    pub(crate) fn send(&self, message: ToOutside) {
        assert!(self.outside.send(message).is_ok());
    }

    pub(crate) fn receive(&self) -> ToShard {
        self.shard.recv_timeout(PATIENCE).expect("an answer")
    }
}
