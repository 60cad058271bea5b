//! Where the channels of `src` and `dst` are in memory, and what the layouts are called.
//!
//! Every layout is `[n][planes][d][h][w][lanes]`: channel `c` is lane `c % lanes` of plane `c / lanes`. Channels first have
//! one lane (of complex numbers two, the real and the imaginary part), channels last one plane; a blocked layout has planes of 64 bytes of channels, the lanes past the last
//! channel filled with zeros.

use super::{DType, LayerSpec, PARTS, SpatialAxis, WeightsLayout};

/// Bytes of channels that lie together in a blocked layout.
pub const BLOCK_BYTES: usize = 64;

/// Layout of `src` and `dst`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `ncl`, `nchw`, `ncdhw`: PyTorch's.
    ChannelsFirst,
    /// `nlc`, `nhwc`, `ndhwc`: Keras'.
    ChannelsLast,
    /// Channels first of complex numbers, by the same names: `[n][c][d][h][w][2]`.
    Pairs,
    /// `nCw16c`, `nChw16c`, `nCdhw16c` of f32, and with `8c` of f64: oneDNN's. Sizes are written as for channels first.
    ///
    /// `src` is read up to its last channel; the lanes past that of `dst` are written as zeros.
    Blocked,
}

/// Names of the layouts by rank: channels first, channels last, blocked for f32, blocked for f64.
pub(super) const LAYOUTS: [[&str; 4]; 3] = [
    ["ncl", "nlc", "nCw16c", "nCw8c"],
    ["nchw", "nhwc", "nChw16c", "nChw8c"],
    ["ncdhw", "ndhwc", "nCdhw16c", "nCdhw8c"],
];
/// What the columns of [`LAYOUTS`] stand for, and the one type that a blocked one is for.
pub(super) const MEANINGS: [(Layout, Option<DType>); 4] = [
    (Layout::ChannelsFirst, None),
    (Layout::ChannelsLast, None),
    (Layout::Blocked, Some(DType::F32)),
    (Layout::Blocked, Some(DType::F64)),
];

/// Names of the weights' layouts by rank.
const WEIGHTS_NAMES: [(WeightsLayout, [&str; 3]); 4] = [
    (WeightsLayout::Oihw, ["oil", "oihw", "oidhw"]),
    (WeightsLayout::Hwio, ["lio", "hwio", "dhwio"]),
    (WeightsLayout::Iohw, ["iol", "iohw", "iodhw"]),
    (WeightsLayout::Hwoi, ["loi", "hwoi", "dhwoi"]),
];

impl WeightsLayout {
    /// As the language writes it for a layer of `rank` spatial axes.
    pub fn name(self, rank: usize) -> &'static str {
        let of_layout = WEIGHTS_NAMES.iter().find(|(layout, _)| *layout == self);
        of_layout.map_or("", |(_, names)| names[rank - 1])
    }
}

impl Layout {
    /// As the language writes it for a layer of `rank` spatial axes.
    pub fn name(self, rank: usize, dtype: DType) -> &'static str {
        let plain = if self == Self::Pairs { Self::ChannelsFirst } else { self };
        let of_type = |meant: &(Self, Option<DType>)| meant.0 == plain && meant.1.is_none_or(|only| only == dtype);
        LAYOUTS[rank - 1][MEANINGS.iter().position(of_type).unwrap_or(0)]
    }

    /// Channels that lie side by side, of a tensor of `channels`.
    pub const fn lanes(self, channels: usize, dtype: DType) -> usize {
        match self {
            Self::ChannelsFirst => 1,
            Self::ChannelsLast => channels,
            Self::Pairs => PARTS,
            Self::Blocked => dtype.block(),
        }
    }

    /// Channels that there is memory for: with those that fill up the last block.
    pub const fn stored_channels(self, channels: usize, dtype: DType) -> usize {
        channels.next_multiple_of(self.lanes(channels, dtype))
    }

    /// The element of `channel` at `pixel`, in a tensor of `channels` and images of `pixels`.
    pub const fn index(
        self,
        (channels, pixels): (usize, usize),
        dtype: DType,
        n: usize,
        channel: usize,
        pixel: usize,
    ) -> usize {
        let lanes = self.lanes(channels, dtype);
        let plane = n * channels.div_ceil(lanes) + channel / lanes;
        (plane * pixels + pixel) * lanes + channel % lanes
    }

    /// `sizes` as memory has them, outermost first: the batch, then spatial sizes with channels where they belong.
    pub fn shape(self, batch: usize, channels: usize, sizes: &[usize], dtype: DType) -> Vec<usize> {
        if self != Self::Blocked {
            return self.declared_shape(batch, channels, sizes);
        }
        let lanes = self.lanes(channels, dtype);
        [&[batch, channels.div_ceil(lanes)], sizes, &[lanes]].concat()
    }

    /// `sizes` as the language writes them.
    pub fn declared_shape(self, batch: usize, channels: usize, sizes: &[usize]) -> Vec<usize> {
        match self {
            Self::ChannelsFirst | Self::Pairs | Self::Blocked => [&[batch, channels], sizes].concat(),
            Self::ChannelsLast => [&[batch], sizes, &[channels]].concat(),
        }
    }
}

impl DType {
    /// Channels that lie together in a blocked layout: 16 of f32, 8 of f64.
    pub const fn block(self) -> usize {
        BLOCK_BYTES / self.bytes()
    }
}

impl LayerSpec {
    /// Input channels that `src` has memory for.
    pub const fn src_channels(&self) -> usize {
        self.layout.stored_channels(self.in_channels, self.dtype)
    }

    /// Output channels that `dst` has memory for.
    pub const fn dst_channels(&self) -> usize {
        self.layout.stored_channels(self.out_channels, self.dtype)
    }

    /// Elements of one image of `src`, those included that fill up its last block of channels.
    pub fn src_image(&self) -> usize {
        self.src_channels() * self.pixels(|axis| axis.input)
    }

    /// Elements of one image of `dst`, those included that fill up its last block of channels.
    pub fn dst_image(&self) -> usize {
        self.dst_channels() * self.pixels(|axis| axis.output)
    }

    /// The product of a size over the spatial axes.
    pub(super) fn pixels(&self, size: fn(&SpatialAxis) -> usize) -> usize {
        self.spatial.iter().map(size).product()
    }
}

/// Whether every group of `channels` starts at a block or lies within one.
pub(super) const fn fits_blocks(channels: usize, block: usize) -> bool {
    channels.is_multiple_of(block) || block.is_multiple_of(channels)
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
