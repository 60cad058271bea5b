//! The performance choices a source may pin, in the vocabulary that plans are printed in.

use crate::span::Spanned;

/// What a `schedule { }` block pins; `None` leaves the choice to the planner.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    /// `algorithm: direct`.
    pub algorithm: Option<Spanned<Algorithm>>,
    /// `vector: oc`.
    pub vector: Option<Spanned<VectorAxis>>,
    /// `tile: 6x2`, rows by vectors.
    pub tile: Option<Spanned<(usize, usize)>>,
    /// `block: (oh: 4, ow: 84)`: cache blocks in output elements.
    pub block: Option<Spanned<Vec<(Axis, usize)>>>,
    /// `order: (n, g, oc, od, oh, ow)`, outermost first.
    pub order: Option<Spanned<Vec<Axis>>>,
    /// `parallel: oh`.
    pub parallel: Option<Spanned<Axis>>,
    /// `pack_input: pad`.
    pub pack_input: Option<Spanned<PackInput>>,
    /// `unroll: 4`, steps of the innermost reduction loop.
    pub unroll: Option<Spanned<usize>>,
}

/// How a layer is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The sum over the window as it stands; takes every layer.
    Direct,
    /// A 1x1 window without padding and with stride 1, or a copy of the input that makes it one: a matrix product over all
    /// pixels at once.
    Pointwise,
    /// The same as [`Direct`](Self::Direct) for integers, four input channels at a time: `src` of u8, weights of i8.
    Direct4,
    /// The same as [`Pointwise`](Self::Pointwise).
    Pointwise4,
    /// One input and one output channel a group.
    Depthwise,
    /// The taps of deformable layers, block by block of rows, and then the sums; takes no other layer, and no other takes those.
    Deformable,
    /// The windows of pooling; takes no other layer, and no other takes those.
    Pool,
    /// Elements to the places that indices say; takes unpooling alone, and no other takes that.
    Unpool,
    /// F(2, r): windows of r taps, two outputs at a time along each axis, for r + 1 products instead of 2 r.
    Winograd2,
    /// F(3, r): three outputs at a time, for r + 2 products instead of 3 r.
    Winograd3,
    /// F(4, r): four outputs at a time, for r + 3 products instead of 4 r.
    Winograd4,
    /// F(5, r): five outputs at a time, for r + 4 products instead of 5 r.
    Winograd5,
    /// F(6, r): six outputs at a time, for r + 5 products instead of 6 r.
    Winograd6,
    /// Fourier transforms of blocks of a row: windows along `w` alone, with stride 1 there.
    Fft,
}

impl Algorithm {
    /// Outputs that a tile of Winograd's algorithm has along each axis; `None` for what is not Winograd's.
    pub const fn winograd(self) -> Option<usize> {
        match self {
            Self::Winograd2 => Some(2),
            Self::Winograd3 => Some(3),
            Self::Winograd4 => Some(4),
            Self::Winograd5 => Some(5),
            Self::Winograd6 => Some(6),
            Self::Direct | Self::Pointwise | Self::Direct4 | Self::Pointwise4 | Self::Depthwise | Self::Deformable => {
                None
            }
            Self::Pool | Self::Unpool | Self::Fft => None,
        }
    }

    /// Whether it multiplies four input channels at a time, as integers of 8 bits.
    pub const fn is_by_four(self) -> bool {
        matches!(self, Self::Direct4 | Self::Pointwise4)
    }

    /// Whether every output channel is made of one input channel, so that vectors of both go together.
    pub const fn is_by_channel(self) -> bool {
        matches!(self, Self::Depthwise | Self::Pool | Self::Unpool)
    }

    /// Whether all pixels form one matrix product.
    pub const fn is_pointwise(self) -> bool {
        matches!(self, Self::Pointwise | Self::Pointwise4)
    }

    /// Whether outputs are sums of the products that the layer's formula has, in the order of the language.
    pub const fn is_exact(self) -> bool {
        self.winograd().is_none() && !matches!(self, Self::Fft)
    }
}

/// Which output axis the lanes of a vector run along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VectorAxis {
    /// Output channels.
    Oc,
    /// Output pixels of a row.
    Ow,
}

/// An axis of the output that a loop can run over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Axis {
    /// Batch.
    N,
    /// Groups.
    G,
    /// Output channels of a group.
    Oc,
    /// Output depth.
    Od,
    /// Output rows.
    Oh,
    /// Output pixels of a row.
    Ow,
}

/// Whether the input is copied before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PackInput {
    /// The kernel reads `src` itself; padding is left out of the sums.
    None,
    /// `src` is copied to `scratch` with its padding written out as zeros. Along an axis with a window of one tap, only
    /// the elements that outputs read are copied.
    Pad,
    /// The same, with the channels of a pixel side by side.
    ChannelsLast,
}

macro_rules! names {
    ($type:ty { $($variant:ident = $name:literal),* $(,)? }) => {
        impl $type {
            /// Every value, in the order in which help texts list them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As the language writes it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The value of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

names!(Algorithm {
    Pointwise4 = "pointwise4",
    Direct4 = "direct4",
    Pointwise = "pointwise",
    Depthwise = "depthwise",
    Deformable = "deformable",
    Pool = "pool",
    Unpool = "unpool",
    Winograd2 = "winograd2",
    Winograd3 = "winograd3",
    Winograd4 = "winograd4",
    Winograd5 = "winograd5",
    Winograd6 = "winograd6",
    Fft = "fft",
    Direct = "direct",
});
names!(VectorAxis { Oc = "oc", Ow = "ow" });
names!(Axis { N = "n", G = "g", Oc = "oc", Od = "od", Oh = "oh", Ow = "ow" });
names!(PackInput { None = "none", Pad = "pad", ChannelsLast = "channels_last" });
