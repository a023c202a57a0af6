//! Outside thread: memory of this process as the kernel tells it. Zeros where `/proc` is missing.

/// Bytes.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct MemoryUse {
    /// Resident.
    pub(crate) rss: u64,
    /// Resident and private: what the allocator holds (`heapUsed`).
    pub(crate) heap_used: u64,
    /// Mapped for data (`heapTotal`).
    pub(crate) heap_total: u64,
    /// Resident file pages (`external`).
    pub(crate) external: u64,
}

pub(crate) fn memory() -> MemoryUse {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024)
    };
    MemoryUse {
        rss: bytes("VmRSS"),
        heap_used: bytes("RssAnon"),
        heap_total: bytes("VmData"),
        external: bytes("RssFile"),
    }
}
