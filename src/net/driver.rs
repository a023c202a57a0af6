//! Layer 4: which I/O driver a shard runs on. One ladder, best step first; a silent fall to the worst step is what this avoids.

use crate::base::settings::IoDriver;
use io_uring::Builder;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use std::io;

/// Submission queue entries.
const ENTRIES: u32 = 4096;
/// Completion queue entries.
const COMPLETIONS: u32 = 16_384;

/// The driver could not be built.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// `io_driver: uring`, but the kernel (or a seccomp profile) refuses io_uring.
    #[error("io_uring is not available: {0}; use --io-driver auto or epoll")]
    NoUring(io::Error),
    /// Not even epoll.
    #[error("no I/O driver: {0}")]
    None(io::Error),
}

type Tune = fn(&mut Builder) -> &mut Builder;

/// Flags from best to plain, with the name that logs show.
const LADDER: [(&str, Tune); 4] = [
    ("defer_taskrun", |ring| {
        ring.setup_single_issuer().setup_defer_taskrun()
    }),
    ("coop_taskrun, single_issuer", |ring| {
        ring.setup_single_issuer().setup_coop_taskrun()
    }),
    ("coop_taskrun", |ring| ring.setup_coop_taskrun()),
    ("plain", |ring| ring),
];

/// What runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Uring,
    Epoll,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Builds a runtime on this thread and runs `task` on it.
///
/// # Errors
/// No driver that `choice` allows could be built.
pub(crate) fn block_on<F: Future>(
    choice: IoDriver,
    task: impl FnOnce(Kind, &'static str) -> F,
) -> Result<F::Output, DriverError> {
    let mut refused = io::Error::from(io::ErrorKind::Unsupported);
    if choice != IoDriver::Epoll {
        for (flags, tune) in LADDER {
            let mut ring = io_uring::IoUring::builder();
            tune(&mut ring).setup_cqsize(COMPLETIONS).setup_submit_all();
            let built = RuntimeBuilder::<IoUringDriver>::new()
                .with_entries(ENTRIES)
                .uring_builder(ring)
                .enable_timer()
                .build();
            match built {
                Ok(mut runtime) => return Ok(runtime.block_on(task(Kind::Uring, flags))),
                Err(error) => refused = error,
            }
        }
        if choice == IoDriver::Uring {
            return Err(DriverError::NoUring(refused));
        }
        tracing::warn!(%refused, "io_uring is not available; running on epoll");
    }
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new()
        .with_entries(ENTRIES)
        .enable_timer()
        .build()
        .map_err(DriverError::None)?;
    Ok(runtime.block_on(task(Kind::Epoll, "")))
}
