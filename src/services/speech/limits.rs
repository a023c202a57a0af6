//! Outside thread, speech: what this process takes on (behaviour.md §8.2): so many streams, and none while memory is short.

use crate::base::settings::Settings;
use crate::base::share;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MIB: u64 = 1 << 20;
/// Free memory is read at most this often (ms).
const READ_EVERY_MS: u64 = 1000;
/// Shortage is logged at most this often (ms).
const WARN_EVERY_MS: u64 = 30_000;

/// A place for one stream; given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicU64>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Places and free memory.
#[derive(Default)]
pub(super) struct Limits {
    open: Arc<AtomicU64>,
    read: Option<(u64, Option<u64>)>,
    warned_ms: Option<u64>,
}

impl Limits {
    /// A place for one more stream of a session that has `own`, or why there is none. Each stream is of what some app subscribes to,
    /// so that without shares two users of one app could take all.
    pub(super) fn admit(
        &mut self,
        own: usize,
        settings: &Settings,
        now: u64,
    ) -> Result<Place, &'static str> {
        let free = match self.read {
            Some((at, free)) if now.saturating_sub(at) < READ_EVERY_MS => free,
            _ if settings.speech.stt_memory_limit_mb == 0 => None,
            _ => free_mb(|path| std::fs::read_to_string(path).ok()),
        };
        self.read = Some((now, free));
        self.admit_with(own, free, settings, now)
    }

    fn admit_with(
        &mut self,
        own: usize,
        free_mb: Option<u64>,
        settings: &Settings,
        now: u64,
    ) -> Result<Place, &'static str> {
        let speech = &settings.speech;
        if let Some(free_mb) = free_mb
            && free_mb < speech.stt_memory_limit_mb
        {
            self.warn(free_mb, free_mb < speech.stt_memory_critical_mb, now);
            return Err("memory is short");
        }
        let open = self.open.load(Ordering::Relaxed) as usize;
        if !share::may_add(own, open, speech.stt_max_streams) {
            return Err("too many recognisers");
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Place(Arc::clone(&self.open)))
    }

    fn warn(&mut self, free_mb: u64, critical: bool, now: u64) {
        let recent = |at: u64| now.saturating_sub(at) < WARN_EVERY_MS;
        if self.warned_ms.is_some_and(recent) {
            return;
        }
        self.warned_ms = Some(now);
        if critical {
            tracing::error!(free_mb, "memory is critically short: no recogniser starts");
        } else {
            tracing::warn!(free_mb, "memory is short: no recogniser starts");
        }
    }
}

/// What can still be taken: of the machine, or of the control group when that is less. `None` = unknown.
fn free_mb(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let machine = read("/proc/meminfo").and_then(|text| machine_free(&text));
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let group = number("/sys/fs/cgroup/memory.max").and_then(|max| {
        let used = number("/sys/fs/cgroup/memory.current")?;
        // Cached files go when memory is needed.
        let cached = read("/sys/fs/cgroup/memory.stat").and_then(|text| inactive_files(&text));
        Some(max.saturating_sub(used.saturating_sub(cached.unwrap_or(0))))
    });
    let free = match (machine, group) {
        (Some(machine), Some(group)) => machine.min(group),
        (one, other) => one.or(other)?,
    };
    Some(free / MIB)
}

fn machine_free(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

fn inactive_files(stat: &str) -> Option<u64> {
    let line = stat
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(streams: u64) -> Settings {
        let mut settings = Settings::default();
        settings.speech.stt_max_streams = streams;
        settings
    }

    #[test]
    fn no_session_takes_the_places_of_all_others() {
        let (mut limits, settings) = (Limits::default(), limited(8));
        let mut places = Vec::new();
        let mut take = |wanted: usize| {
            for own in 0..wanted {
                match limits.admit_with(own, None, &settings, 0) {
                    Ok(place) => places.push(place),
                    Err(_) => return own,
                }
            }
            wanted
        };
        assert_eq!([take(256), take(256), take(1), take(1)], [4, 2, 1, 1]);
        assert_eq!(take(1), 0, "all are taken");
    }

    #[test]
    fn places_end_and_come_back() {
        let settings = limited(2);
        let mut limits = Limits::default();
        let first = limits.admit_with(0, None, &settings, 0).expect("a place");
        let _second = limits
            .admit_with(0, Some(512), &settings, 0)
            .expect("a place");
        assert!(limits.admit_with(0, None, &settings, 0).is_err());
        drop(first);
        assert!(limits.admit_with(0, None, &settings, 0).is_ok());
    }

    #[test]
    fn short_memory_refuses_and_costs_no_place() {
        let mut settings = limited(1);
        let mut limits = Limits::default();
        assert_eq!(
            limits
                .admit_with(0, Some(511), &settings, 0)
                .expect_err("short"),
            "memory is short"
        );
        assert!(limits.admit_with(0, Some(512), &settings, 0).is_ok());
        settings.speech.stt_memory_limit_mb = 0;
        assert!(limits.admit(0, &settings, 0).is_ok(), "not even read");
    }

    #[test]
    fn the_smaller_of_machine_and_control_group_counts() {
        let machine = "MemTotal: 9 kB\nMemAvailable:    2097152 kB\n";
        let in_group = |path: &str| match path {
            "/proc/meminfo" => Some(machine.to_owned()),
            "/sys/fs/cgroup/memory.max" => Some("1073741824\n".to_owned()),
            "/sys/fs/cgroup/memory.current" => Some("838860800\n".to_owned()),
            "/sys/fs/cgroup/memory.stat" => Some("anon 5\ninactive_file 104857600\n".to_owned()),
            _ => None,
        };
        assert_eq!(free_mb(in_group), Some(1024 - 800 + 100));
        let unlimited = |path: &str| match path {
            "/proc/meminfo" => Some(machine.to_owned()),
            "/sys/fs/cgroup/memory.max" => Some("max\n".to_owned()),
            _ => None,
        };
        assert_eq!(free_mb(unlimited), Some(2048));
        assert_eq!(free_mb(|_| None), None);
    }
}
