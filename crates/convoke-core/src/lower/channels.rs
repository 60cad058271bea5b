//! The `oc` axis cut into runs of output channels that one tile computes.
//!
//! A run lies within the panels of the packed weights: it is a whole number of panels, or a panel is a whole number
//! of runs.

/// Equal runs of output channels, in up to two loops: over panels, and over runs within a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChannelPart {
    /// First channel, of the group.
    pub start: usize,
    /// Channels of one tile.
    pub channels: usize,
    /// Outer loop: how often.
    pub outer: usize,
    /// Channels from one outer iteration to the next.
    pub outer_step: usize,
    /// Inner loop: how often; its step is `channels`.
    pub inner: usize,
}

/// Cuts `oc` channels into runs of `run`, where panels hold `panel`; one divides the other.
pub(crate) fn cut(oc: usize, run: usize, panel: usize) -> Vec<ChannelPart> {
    let part = |start, channels, outer, outer_step, inner| ChannelPart { start, channels, outer, outer_step, inner };
    let unit = run.max(panel);
    let (full, rest) = (oc / unit, oc % unit);
    let mut parts = Vec::new();
    if full > 0 {
        parts.push(part(0, run, full, unit, unit / run));
    }
    let (full_runs, tail) = (rest / run, rest % run);
    if full_runs > 0 {
        parts.push(part(full * unit, run, 1, unit, full_runs));
    }
    if tail > 0 {
        parts.push(part(full * unit + full_runs * run, tail, 1, unit, 1));
    }
    parts
}

#[cfg(test)]
#[path = "channels_tests.rs"]
mod tests;
