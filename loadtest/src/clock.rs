//! Clocks of the load tester: the only file that asks the kernel for the time.

/// Nanoseconds in one second.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in one millisecond.
pub(crate) const MILLI: u64 = 1_000_000;

/// Largest process id of a 64-bit Linux.
const PID_MAX: i32 = 1 << 22;

fn read(clock: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `ts` is a valid, writable timespec for the length of the call.
    let rc = unsafe { libc::clock_gettime(clock, &raw mut ts) };
    if rc != 0 {
        return 0;
    }
    u64::try_from(ts.tv_sec).unwrap_or(0) * SECOND + u64::try_from(ts.tv_nsec).unwrap_or(0)
}

/// Monotonic time in nanoseconds; the scale of every latency.
pub(crate) fn mono_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Wall-clock time in milliseconds since the Unix epoch, for message timestamps.
pub(crate) fn wall_ms() -> u64 {
    read(libc::CLOCK_REALTIME) / MILLI
}

/// CPU time of the calling thread in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of a whole process (all threads, the ended ones too) in nanoseconds; `None` when it is gone.
pub(crate) fn process_cpu_ns(pid: i32) -> Option<u64> {
    // Above the kernel's largest pid the clock id would wrap around to some other process.
    if !(1..=PID_MAX).contains(&pid) {
        return None;
    }
    let mut id: libc::clockid_t = 0;
    // SAFETY: `id` is a valid place for the clock id.
    let rc = unsafe { libc::clock_getcpuclockid(pid, &raw mut id) };
    (rc == 0).then(|| read(id)).filter(|ns| *ns > 0)
}

/// Writes `ms` since the epoch as `2026-03-14T09:26:53.589Z` (`protocol.md §0.3`).
pub(crate) fn iso(ms: u64) -> String {
    let days = i64::try_from(ms / 86_400_000).unwrap_or(0);
    let rest = ms % 86_400_000;
    let (year, month, day) = civil_from_days(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        rest / 3_600_000,
        rest / 60_000 % 60,
        rest / 1000 % 60,
        rest % 1000
    )
}

/// Gregorian date of a day number counted from 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    // Count from 1 March of year 0, so that the leap day ends a year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_dates_are_the_ones_javascript_prints() {
        assert_eq!(iso(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso(1_773_480_413_589), "2026-03-14T09:26:53.589Z");
        assert_eq!(iso(951_782_400_001), "2000-02-29T00:00:00.001Z");
    }

    #[test]
    fn a_process_that_does_not_exist_has_no_cpu_clock() {
        assert_eq!(process_cpu_ns(i32::MAX), None);
        assert_eq!(process_cpu_ns(-1), None);
    }
}
