//! How much memory this process has, as Linux tells it.

use std::fs;

use crate::protocol::Result;

/// Forgets how much it has been at most; kibibytes that it is now.
pub(crate) fn reset() -> Result<u64> {
    fs::write("/proc/self/clear_refs", "5")?;
    now()
}

/// Kibibytes now.
pub(crate) fn now() -> Result<u64> {
    kibibytes("VmRSS:")
}

/// Kibibytes at most, since [`reset`].
pub(crate) fn most() -> Result<u64> {
    kibibytes("VmHWM:")
}

fn kibibytes(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("no {name} in status"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
