//! What a process has used, as Linux tells it; elsewhere nothing is known.

use std::fs;
use std::time::Duration;

/// Of all its threads, to the nanosecond. No server ends a thread while it is measured.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let schedstat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        let running: u64 = schedstat.split_whitespace().next()?.parse().ok()?;
        nanoseconds += running;
    }
    Some(Duration::from_nanos(nanoseconds))
}

/// The resident memory at its highest since [`forget_peak_memory`], in bytes.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Without the right to do so, the peak stays that of the process's whole life.
pub(crate) fn forget_peak_memory(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}
