//! The `oc` axis cut into runs of output channels that one tile computes.
//!
//! Where vectors run along the channels, runs follow each other without a gap, and one may start within a panel of the packed
//! weights and end in another; its tile is then written for that start. Where they run along the pixels, a run stays within
//! a panel, and what is left of the panel is a shorter run.

use crate::plan::VectorAxis;

/// Equal runs of output channels, in up to two loops: over units of whole panels, and over runs within a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChannelPart {
    /// First channel, of the group.
    pub start: usize,
    /// Channels of one tile.
    pub channels: usize,
    /// Where in a panel a run starts that does not end with it.
    pub phase: usize,
    /// Outer loop: how often.
    pub outer: usize,
    /// Channels from one outer iteration to the next.
    pub outer_step: usize,
    /// Inner loop: how often; its step is `channels`.
    pub inner: usize,
}

impl ChannelPart {
    /// The same in parts whose runs read input channels at equal distances, where `multiplier` outputs read each: runs that
    /// do not fill up the last input channel are apart.
    pub(crate) fn by_inputs(&self, multiplier: usize) -> Vec<Self> {
        let shared = multiplier / self.channels;
        if shared <= 1 || self.inner <= shared || self.inner.is_multiple_of(shared) {
            return vec![*self];
        }
        let rest = self.inner % shared;
        let full = self.inner - rest;
        vec![Self { inner: full, ..*self }, Self { start: self.start + full * self.channels, inner: rest, ..*self }]
    }
}

/// Cuts `oc` channels into runs of `run`, where panels hold `panel`.
pub(crate) fn cut(oc: usize, run: usize, panel: usize, vector: VectorAxis) -> Vec<ChannelPart> {
    let aligned = run.is_multiple_of(panel) || panel.is_multiple_of(run);
    let unit = match vector {
        _ if aligned => run.max(panel),
        VectorAxis::Oc => least_common_multiple(run, panel),
        VectorAxis::Ow => panel,
    };
    let (full, rest) = (oc / unit, oc % unit);
    let mut parts = Vec::new();
    let mut push = |start: usize, channels: usize, outer: usize, inner: usize| {
        let phase = if aligned || vector == VectorAxis::Ow { 0 } else { start % panel };
        if outer * inner * channels > 0 {
            parts.push(ChannelPart { start, channels, phase, outer, outer_step: unit, inner });
        }
    };
    let mut unit_of = |start: usize, len: usize, outer: usize| {
        let (runs, tail) = (len / run, len % run);
        if aligned || vector == VectorAxis::Ow {
            push(start, run, outer, runs);
        } else {
            // Each run of a unit starts at another place of a panel.
            (0..runs).for_each(|i| push(start + i * run, run, outer, 1));
        }
        push(start + runs * run, tail, outer, 1);
    };
    unit_of(0, unit, full);
    unit_of(full * unit, rest, 1);
    parts
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

#[cfg(test)]
#[path = "channels_tests.rs"]
mod tests;
