//! Layer 5: how many cores there are for us: the affinity mask, cut by the cgroup's quota.

use std::fs;
use std::mem::{MaybeUninit, size_of};

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Cpus {
    allowed: Vec<usize>,
    quota: Option<f64>,
}

impl Cpus {
    pub(super) fn detect() -> Self {
        Self {
            allowed: affinity(),
            quota: quota(),
        }
    }

    /// One shard per whole core that we may use; at least one.
    pub(super) fn shards(&self) -> u16 {
        let allowed = self.allowed.len().max(1) as f64;
        let usable = self.quota.map_or(allowed, |quota| quota.min(allowed));
        (usable.floor() as u16).clamp(1, 1024)
    }

    /// The core for a shard; none where a quota below the mask lets others use the same cores: all such processes of a
    /// machine would pin themselves to the first few.
    pub(super) fn core_for(&self, shard: usize) -> Option<usize> {
        let own_cores = self
            .quota
            .is_none_or(|quota| quota >= self.allowed.len() as f64);
        (own_cores && shard < self.allowed.len()).then(|| self.allowed[shard])
    }
}

fn affinity() -> Vec<usize> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the set is as large as said and all-zero is a valid value of it.
    let set = unsafe {
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) != 0 {
            return Vec::new();
        }
        set.assume_init()
    };
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the index is below the set's size.
        .filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) })
        .collect()
}

/// Ties the calling thread to a core; a refusal is no reason not to run.
pub(super) fn pin(core: usize) {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: all-zero is a valid set, the index came from a set of the same size, and the size is given.
    let result = unsafe {
        libc::CPU_SET(core, &mut *set.as_mut_ptr());
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set.as_ptr())
    };
    if result != 0 {
        tracing::warn!(core, "a shard could not be pinned");
    }
}

/// Signals are the main thread's business; a shard must not be interrupted by them.
pub(super) fn block_signals() {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `sigfillset` initialises the set before it is used.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// CPUs that the cgroup grants; `None` without a limit.
fn quota() -> Option<f64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let v2 = own
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/");
    let candidates = [
        format!("/sys/fs/cgroup{}/cpu.max", v2.trim_end_matches('/')),
        "/sys/fs/cgroup/cpu.max".to_owned(),
    ];
    let unified = candidates
        .iter()
        .find_map(|path| fs::read_to_string(path).ok());
    if let Some(text) = unified {
        return parse_v2(&text);
    }
    let read = |name: &str| -> Option<f64> {
        let text = fs::read_to_string(format!("/sys/fs/cgroup/cpu/{name}")).ok()?;
        text.trim().parse().ok()
    };
    ratio(read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?)
}

/// `max 100000` or `150000 100000`.
fn parse_v2(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let quota = words.next()?.parse().ok()?;
    let period = words.next()?.parse().ok()?;
    ratio(quota, period)
}

fn ratio(quota: f64, period: f64) -> Option<f64> {
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_cuts_the_mask_and_forbids_pinning() {
        let cpus = |quota| Cpus {
            allowed: vec![4, 5, 6, 7],
            quota,
        };
        assert_eq!((cpus(None).shards(), cpus(None).core_for(1)), (4, Some(5)));
        let limited = cpus(parse_v2("250000 100000\n"));
        assert_eq!((limited.shards(), limited.core_for(0)), (2, None));
        assert_eq!(cpus(parse_v2("50000 100000")).shards(), 1);
        assert_eq!(parse_v2("max 100000"), None);
    }
}
