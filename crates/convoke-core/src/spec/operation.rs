//! The kinds of layers, and which fields each has.

use super::{LayerSpec, WeightsLayout};

/// What a layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Each output is a sum over a window of the input: PyTorch's `Conv1d` to `Conv3d`, ONNX's `Conv`.
    Convolution,
    /// Each input is spread over a window of the output: PyTorch's `ConvTranspose1d` to `ConvTranspose3d`, ONNX's
    /// `ConvTranspose`, Keras' `Conv2DTranspose`. It is the convolution that goes the other way, from `dst` to `src`: input `i`
    /// goes to output `i * stride - pad_lo + k * dilation` through tap `k`.
    Transposed,
    /// Each output is a sum over a window of the input whose taps are each somewhere else, between the elements: PyTorch's
    /// `torchvision.ops.deform_conv2d`, ONNX's `DeformConv`. Where they are is given to the run, see
    /// [`LayerSpec::offset_groups`].
    Deformable,
    /// Each output is the greatest element of a window, and NaN if there is one: PyTorch's `MaxPool1d` to `MaxPool3d`, ONNX's `MaxPool`
    /// and `GlobalMaxPool`. Padding is never the greatest.
    MaxPool,
    /// Each output is the sum of a window over a [`Divisor`]: PyTorch's `AvgPool1d` to `AvgPool3d`, ONNX's `AveragePool` and
    /// `GlobalAveragePool`.
    AvgPool,
    /// Each output is the norm of a window, `(sum |x|^p)^(1 / p)`: ONNX's `LpPool` and `GlobalLpPool`, and PyTorch's `LPPool1d` to `LPPool3d`,
    /// where `p` is even or the input is not negative.
    LpPool,
    /// Each element of the input goes where its index says in the plane of its channel, and the rest is zero: PyTorch's `MaxUnpool1d` to
    /// `MaxUnpool3d`, ONNX's `MaxUnpool`. Of several for one place the last counts.
    MaxUnpool,
}

use Operation::{AvgPool, Convolution, Deformable, LpPool, MaxPool, MaxUnpool, Transposed};

/// Those with taps.
const WITH_TAPS: [Operation; 6] = [Convolution, Transposed, Deformable, MaxPool, AvgPool, LpPool];

/// The greatest `p` of a norm.
pub(super) const MOST_P: usize = 64;

/// What average pooling divides the sum of a window by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Divisor {
    /// The taps within the input and its padding: all, but for windows that `ceil_mode` lets reach further. PyTorch's default.
    #[default]
    Padded,
    /// The taps within the input: `count_include_pad: false`, the default of ONNX and the only one of Keras.
    Inside,
    /// One number, at least 1: PyTorch's `divisor_override`.
    Number(usize),
}

/// The fields of a layer, in the order of the canonical text, and the operations that have them.
const FIELDS: [(&str, &[Operation]); 31] = [
    ("input", &Operation::ALL),
    ("input_scale", &[Convolution]),
    ("input_zero_point", &[Convolution]),
    ("out_channels", &[Convolution, Transposed, Deformable]),
    ("kernel_size", &Operation::ALL),
    ("stride", &Operation::ALL),
    ("padding", &Operation::ALL),
    ("padding_mode", &[Convolution]),
    ("ceil_mode", &[MaxPool, AvgPool, LpPool]),
    ("output_padding", &[Transposed]),
    ("output_size", &[Transposed, MaxPool, AvgPool, MaxUnpool]),
    ("dilation", &WITH_TAPS),
    ("groups", &[Convolution, Transposed, Deformable]),
    ("offset_groups", &[Deformable]),
    ("mask", &[Deformable]),
    ("bias", &[Convolution, Transposed, Deformable]),
    ("count_include_pad", &[AvgPool]),
    ("divisor", &[AvgPool]),
    ("p", &[LpPool]),
    ("return_indices", &[MaxPool]),
    ("weights", &[Convolution, Transposed, Deformable]),
    ("weights_type", &[Convolution]),
    ("weights_scale", &[Convolution]),
    ("weights_zero_point", &[Convolution]),
    ("reduce_range", &[Convolution]),
    ("output", &[Convolution]),
    ("output_scale", &[Convolution]),
    ("output_zero_point", &[Convolution]),
    ("then", &WITH_TAPS),
    ("accuracy", &[Convolution, Transposed, Deformable]),
    ("schedule", &Operation::ALL),
];

/// The names of all fields that some layer has, in the order of the canonical text.
pub const FIELD_NAMES: [&str; FIELDS.len()] = {
    let mut names = [""; FIELDS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = FIELDS[i].0;
        i += 1;
    }
    names
};

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 7] = [Convolution, Transposed, Deformable, MaxPool, AvgPool, LpPool, MaxUnpool];

    /// What layers of one, two and three spatial axes are called; of deformable ones those of two alone are legal.
    pub const fn kinds(self) -> [&'static str; 3] {
        match self {
            Convolution => ["conv1d", "conv2d", "conv3d"],
            Transposed => ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"],
            Deformable => ["deform_conv1d", "deform_conv2d", "deform_conv3d"],
            MaxPool => ["max_pool1d", "max_pool2d", "max_pool3d"],
            AvgPool => ["avg_pool1d", "avg_pool2d", "avg_pool3d"],
            LpPool => ["lp_pool1d", "lp_pool2d", "lp_pool3d"],
            MaxUnpool => ["max_unpool1d", "max_unpool2d", "max_unpool3d"],
        }
    }

    /// Whether it makes one number of each channel's window, without weights, or undoes that.
    pub const fn is_pooling(self) -> bool {
        matches!(self, MaxPool | AvgPool | LpPool | MaxUnpool)
    }

    /// The operation and the number of spatial axes of a kind of layer.
    pub fn of_kind(kind: &str) -> Option<(Self, usize)> {
        Self::ALL.into_iter().find_map(|operation| {
            let rank = operation.kinds().iter().position(|name| *name == kind)? + 1;
            Some((operation, rank))
        })
    }

    /// The fields that its layers have.
    pub(super) fn fields(self) -> Vec<&'static str> {
        FIELDS.iter().filter(|(_, operations)| operations.contains(&self)).map(|(name, _)| *name).collect()
    }

    /// An operation whose layers have `field`.
    pub(super) fn with_field(field: &str) -> Option<Self> {
        FIELDS.iter().find(|(name, _)| *name == field).map(|(_, operations)| operations[0])
    }

    /// The layouts that its weights may have, the default first.
    pub(super) const fn weights_layouts(self) -> [WeightsLayout; 2] {
        match self {
            // Pooling has none, so that any will do.
            Convolution | Deformable | MaxPool | AvgPool | LpPool | MaxUnpool => {
                [WeightsLayout::Oihw, WeightsLayout::Hwio]
            }
            Transposed => [WeightsLayout::Iohw, WeightsLayout::Hwoi],
        }
    }
}

/// `a conv2d`, `an avg_pool2d`, `an lp_pool2d`.
pub fn with_article(kind: &str) -> String {
    format!("{} {kind}", if kind.starts_with('a') || kind.starts_with("lp") { "an" } else { "a" })
}

impl LayerSpec {
    /// What layers of that operation and rank are called: `conv2d`.
    pub const fn kind(&self) -> &'static str {
        self.operation.kinds()[self.rank - 1]
    }
}
