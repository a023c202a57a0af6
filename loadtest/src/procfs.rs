//! What the kernel says about a process and the machine, read from outside through `/proc`.

use std::fs;

use crate::clock;

/// Clock ticks per second of `/proc/<pid>/stat`; fixed by the kernel's ABI.
const TICKS: f64 = 100.0;
/// Page size of `/proc/<pid>/statm` on the platforms we run on, bytes.
const PAGE: u64 = 4096;

/// One look at a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ProcessSample {
    /// CPU time of all threads since its start, nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Of which in user space, seconds (sampled by the kernel's tick: coarse).
    pub(crate) user_s: f64,
    /// Of which in the kernel, seconds (coarse).
    pub(crate) system_s: f64,
    /// Resident memory, bytes.
    pub(crate) rss: u64,
    /// Largest resident memory so far, bytes.
    pub(crate) rss_peak: u64,
    /// Threads alive.
    pub(crate) threads: u64,
}

/// Looks at process `pid`; `None` when it is gone, or ended and only its parent has not noticed.
pub(crate) fn process(pid: i32) -> Option<ProcessSample> {
    let cpu_ns = clock::process_cpu_ns(pid)?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command in brackets may hold blanks: count fields behind its end.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return None;
    }
    let number = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(ProcessSample {
        cpu_ns,
        user_s: number(11)? as f64 / TICKS,
        system_s: number(12)? as f64 / TICKS,
        rss: pages * PAGE,
        rss_peak: peak_rss(pid).unwrap_or(0),
        threads: number(17)?,
    })
}

fn peak_rss(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// CPU time that all processes and interrupts together took on the whole machine, seconds; idle and
/// waiting excluded. Coarse (ticks).
pub(crate) fn machine_busy_s() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = text.lines().next() else {
        return 0.0;
    };
    // user nice system idle iowait irq softirq steal
    line.split_ascii_whitespace()
        .skip(1)
        .take(8)
        .enumerate()
        .filter(|(index, _)| !matches!(index, 3 | 4))
        .filter_map(|(_, text)| text.parse::<f64>().ok())
        .sum::<f64>()
        / TICKS
}

/// Cores that `pid` may run on; 0 when unknown.
pub(crate) fn allowed_cores(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let Some(list) = text
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
    else {
        return 0;
    };
    list.trim()
        .split(',')
        .filter_map(|range| {
            let (low, high) = range.split_once('-').unwrap_or((range, range));
            let (low, high) = (low.parse::<u64>().ok()?, high.parse::<u64>().ok()?);
            Some(high.saturating_sub(low) + 1)
        })
        .sum()
}

/// Name of this machine, for file names and reports.
pub(crate) fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// Kernel release and CPU model, for reports.
pub(crate) fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|rest| rest.split_once(':'))
        .map_or("unknown CPU", |(_, name)| name.trim());
    format!("{cores} x {model}, Linux {}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_has_memory_threads_and_a_core() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let sample = process(pid).unwrap();
        assert!(sample.rss > 0 && sample.rss_peak >= sample.rss / 2);
        assert!(sample.threads >= 1 && sample.cpu_ns > 0);
        assert!(allowed_cores(pid) >= 1);
    }

    #[test]
    fn a_missing_process_is_reported_as_gone() {
        assert!(process(i32::MAX).is_none());
    }

    #[test]
    fn a_process_that_ended_is_gone_before_its_parent_waits_for_it() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // Until it has run at all it has no clock.
        while process(pid).is_none() {
            std::thread::yield_now();
        }
        drop(child.stdin.take());
        while process(pid).is_some() {
            std::thread::yield_now();
        }
        assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
        child.wait().unwrap();
    }
}
