//! Which number of a file is which number of a layer.
//!
//! An array has to have the layer's shape, where axes of size 1 may be left out. A picture's rows are `h`, its columns `w`; a
//! recording's frames are `w`; two channels of one are a complex number, as radios record. Channels come to where the layer's layout has them. Nothing is scaled or cut, and only the last
//! block of a blocked layout is filled up. Results come as the layer's text has their sizes.

use super::{Array, Kind};
use crate::args::Tone;
use crate::numbers::sizes;
use convoke::shape;
use convoke_core::spec::{LayerSpec, Layout};

/// The input of a layer.
#[derive(Debug, PartialEq)]
pub(crate) struct Input {
    /// In the layer's layout.
    pub(crate) data: Vec<f64>,
    /// How many images.
    pub(crate) batch: usize,
    /// What was done to the channels, if anything.
    pub(crate) note: Option<&'static str>,
}

/// Why a file does not fit a layer, with both sizes.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum FitError {
    /// An array of another shape.
    #[error("{what} {found}, and the layer takes {expected}")]
    Shape { what: &'static str, expected: String, found: String },
    /// A picture or a recording for a layer of another rank.
    #[error("{what} fits a conv{expected}d, and the layer is a conv{found}d")]
    Rank { what: &'static str, expected: usize, found: usize },
    /// A picture or a recording of another size.
    #[error(
        "the {what} is {found} ({unit}), and the layer takes {expected}; write `input: {fixed}` in the layer, or give it another {what}"
    )]
    Size { what: &'static str, unit: &'static str, found: String, expected: String, fixed: String },
    /// A picture or a recording is one image.
    #[error("the {what} is one image, and the layer takes a batch of {batch}; write 1 or a name for the batch")]
    Batch { what: &'static str, batch: usize },
    /// A picture for a layer of complex numbers.
    #[error("a picture has no imaginary parts, and the layer is one of complex numbers; give it an .npy file")]
    Complex,
    /// The result is no picture or recording.
    #[error("the result is {found}, which is no {what}; write an .npy file instead")]
    Result { what: &'static str, found: String },
}

/// The input of `spec` from a file.
pub(crate) fn input(spec: &LayerSpec, array: &Array) -> Result<Input, FitError> {
    match array.kind {
        Kind::Npy => {
            let axes = spec.rank + 2 + usize::from(spec.complex);
            let leading = array.shape.first().copied().filter(|_| array.shape.len() == axes);
            let batch = spec.fixed_batch().or(leading).unwrap_or(1);
            let data = same_shape("the input is", &shape::declared_src(spec, batch), array)?;
            let (channels, pixels) = (spec.in_channels, spec.src_image() / spec.src_channels());
            Ok(Input { data: declared_to_memory(spec, (channels, pixels), batch, data), batch, note: None })
        }
        Kind::Png => picture(spec, array),
        Kind::Wav { .. } => recording(spec, array),
    }
}

/// The numbers of an array whose shape is `expected`, but for axes of size 1.
pub(crate) fn same_shape(what: &'static str, expected: &[usize], array: &Array) -> Result<Vec<f64>, FitError> {
    let long = |shape: &[usize]| shape.iter().copied().filter(|&n| n != 1).collect::<Vec<_>>();
    if array.shape == expected || long(&array.shape) == long(expected) {
        return Ok(array.data.clone());
    }
    Err(FitError::Shape { what, expected: sizes(expected), found: sizes(&array.shape) })
}

fn picture(spec: &LayerSpec, array: &Array) -> Result<Input, FitError> {
    let what = "picture";
    one_image(spec, what, "a picture", 2)?;
    if spec.complex {
        return Err(FitError::Complex);
    }
    let [height, width, channels] = [array.shape[0], array.shape[1], array.shape[2]];
    let [_, h, w] = spec.spatial.map(|a| a.input);
    let wanted = spec.in_channels;
    let Some((data, note)) = with_channels(array, wanted) else {
        let fixed = declaration(spec, channels, &[height, width]);
        let (found, expected) = (channels.to_string(), wanted.to_string());
        return Err(FitError::Size { what, unit: "channels", found, expected, fixed });
    };
    if (height, width) != (h, w) {
        let fixed = declaration(spec, wanted, &[height, width]);
        let (found, expected) = (sizes(&[height, width]), sizes(&[h, w]));
        return Err(FitError::Size { what, unit: "rows x columns", found, expected, fixed });
    }
    Ok(Input { data: channels_to_layout(spec, &data, wanted), batch: 1, note })
}

/// A picture with so many channels, if colours can be made such.
pub(crate) fn colours(picture: &Array, wanted: usize) -> Option<Array> {
    let (data, _) = with_channels(picture, wanted)?;
    Some(Array { shape: vec![picture.shape[0], picture.shape[1], wanted], data, kind: Kind::Png })
}

/// The values of a picture with so many channels, and what was done to get them.
fn with_channels(picture: &Array, wanted: usize) -> Option<(Vec<f64>, Option<&'static str>)> {
    let pixels = || picture.data.chunks_exact(picture.shape[2]);
    let grey = |p: &[f64]| if p.len() < 3 { p[0] } else { 0.2126 * p[0] + 0.7152 * p[1] + 0.0722 * p[2] };
    Some(match (picture.shape[2], wanted) {
        (have, want) if have == want => (picture.data.clone(), None),
        (2, 1) => (pixels().map(|p| p[0]).collect(), Some("opacity left out")),
        (4, 3) => (pixels().flat_map(|p| &p[..3]).copied().collect(), Some("opacity left out")),
        (3 | 4, 1) => (pixels().map(grey).collect(), Some("colours made grey")),
        (1 | 2, 3) => (pixels().flat_map(|p| [p[0]; 3]).collect(), Some("grey used for every colour")),
        _ => return None,
    })
}

fn recording(spec: &LayerSpec, array: &Array) -> Result<Input, FitError> {
    let what = "recording";
    one_image(spec, what, "a recording", 1)?;
    let (frames, channels) = (array.shape[0], array.shape[1]);
    let (w, c) = (spec.spatial[2].input, spec.in_channels);
    if (frames, channels) != (w, c) {
        let fixed = declaration(spec, channels, &[frames]);
        let (found, expected) = (sizes(&[frames, channels]), sizes(&[w, c]));
        return Err(FitError::Size { what, unit: "frames x channels", found, expected, fixed });
    }
    Ok(Input { data: channels_to_layout(spec, &array.data, c), batch: 1, note: None })
}

fn one_image(spec: &LayerSpec, what: &'static str, title: &'static str, rank: usize) -> Result<(), FitError> {
    if spec.rank != rank {
        return Err(FitError::Rank { what: title, expected: rank, found: spec.rank });
    }
    match spec.fixed_batch() {
        Some(1) | None => Ok(()),
        Some(batch) => Err(FitError::Batch { what, batch }),
    }
}

/// What the layer's `input` would have to say.
fn declaration(spec: &LayerSpec, channels: usize, spatial: &[usize]) -> String {
    let all = spec.layout.declared_shape(1, channels.div_ceil(spec.parts()), spatial);
    let all: Vec<_> = all.iter().map(ToString::to_string).collect();
    format!("{}[{}] @ {}", spec.element_name(spec.src_storage()), all.join(", "), crate::numbers::layout_name(spec))
}

/// One image with the channels last to the layer's layout.
fn channels_to_layout(spec: &LayerSpec, data: &[f64], channels: usize) -> Vec<f64> {
    let pixels = data.len() / channels;
    let mut memory = vec![0.0; spec.src_image()];
    for (i, x) in data.iter().enumerate() {
        memory[spec.layout.index((channels, pixels), spec.dtype, 0, i % channels, i / channels)] = *x;
    }
    memory
}

/// A tensor of the shape of the output, which is added to it.
pub(crate) fn residual(spec: &LayerSpec, batch: usize, array: &Array) -> Result<Vec<f64>, FitError> {
    let data = same_shape("the residual is", &shape::declared_dst(spec, batch), array)?;
    let (channels, pixels) = (spec.out_channels, spec.dst_image() / spec.dst_channels());
    Ok(declared_to_memory(spec, (channels, pixels), batch, data))
}

/// Indices of the shape of the input.
pub(crate) fn indices(spec: &LayerSpec, batch: usize, array: &Array) -> Result<Vec<f64>, FitError> {
    let data = same_shape("the indices are", &shape::declared_src(spec, batch), array)?;
    let (channels, pixels) = (spec.in_channels, spec.src_image() / spec.src_channels());
    Ok(declared_to_memory(spec, (channels, pixels), batch, data))
}

/// A tensor of that many channels and pixels as the layer's text has it to the tensor as memory has it: blocks of channels are put together.
fn declared_to_memory(spec: &LayerSpec, (channels, pixels): (usize, usize), batch: usize, data: Vec<f64>) -> Vec<f64> {
    if spec.layout != Layout::Blocked {
        return data;
    }
    let mut memory = vec![0.0; batch * channels.next_multiple_of(spec.dtype.block()) * pixels];
    for (i, x) in data.iter().enumerate() {
        let (n, c) = (i / pixels / channels, i / pixels % channels);
        memory[spec.layout.index((channels, pixels), spec.dtype, n, c, i % pixels)] = *x;
    }
    memory
}

/// The output as memory has it to the output as the layer's text would have it: without what fills up blocks.
pub(crate) fn output(spec: &LayerSpec, data: Vec<f64>) -> Vec<f64> {
    if spec.layout != Layout::Blocked {
        return data;
    }
    let channels = spec.out_channels;
    let pixels = spec.dst_image() / spec.dst_channels();
    let images = data.len() / spec.dst_image();
    let at = |i: usize| (i / pixels / channels, i / pixels % channels, i % pixels);
    let element = |(n, c, p)| data[spec.layout.index((channels, pixels), spec.dtype, n, c, p)];
    (0..images * channels * pixels).map(at).map(element).collect()
}

/// The result of `spec`, as [`output`] gives it, as an array.
pub(crate) fn array(spec: &LayerSpec, batch: usize, data: &[f64]) -> Array {
    Array { shape: shape::declared_dst(spec, batch), data: data.to_vec(), kind: Kind::Npy }
}

/// The result of `spec` as a picture, and how its values became grey levels. It has to be one image of 1 or 3 channels.
pub(crate) fn to_picture(
    spec: &LayerSpec,
    batch: usize,
    data: &[f64],
    tone: Tone,
) -> Result<(Array, &'static str), FitError> {
    let [_, h, w] = spec.spatial.map(|a| a.output);
    let channels = spec.out_channels;
    if spec.rank != 2 || batch != 1 || !matches!(channels, 1 | 3) || h * w == 0 {
        return Err(FitError::Result { what: "picture", found: sizes(&shape::declared_dst(spec, batch)) });
    }
    let (least, greatest) = data.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    let tone = match tone {
        // A sum of weights that is 1 but for rounding may reach a little past white.
        Tone::Auto if least >= -1e-3 && greatest <= 1.001 => Tone::Clamp,
        Tone::Auto => Tone::Abs,
        other => other,
    };
    let most = least.abs().max(greatest.abs());
    let (note, data): (_, Vec<f64>) = match tone {
        Tone::Abs => (
            "white is the greatest absolute value",
            data.iter().map(|x| x.abs() / most.max(f64::MIN_POSITIVE)).collect(),
        ),
        Tone::Stretch => {
            let range = (greatest - least).max(f64::MIN_POSITIVE);
            ("black is the least value, white the greatest", data.iter().map(|x| (x - least) / range).collect())
        }
        Tone::Clamp | Tone::Auto => ("black is 0, white is 1", data.iter().map(|x| x.clamp(0.0, 1.0)).collect()),
    };
    let data = channels_last(spec, &data);
    Ok((Array { shape: vec![h, w, channels], data, kind: Kind::Png }, note))
}

/// The result of `spec` as a recording of `rate` frames a second.
pub(crate) fn to_recording(spec: &LayerSpec, batch: usize, data: &[f64], rate: u32) -> Result<Array, FitError> {
    if spec.rank != 1 || batch != 1 {
        return Err(FitError::Result { what: "recording", found: sizes(&shape::declared_dst(spec, batch)) });
    }
    let shape = vec![spec.spatial[2].output, spec.out_channels];
    Ok(Array { shape, data: channels_last(spec, data), kind: Kind::Wav { rate } })
}

/// An image as [`output`] gives it to channels last.
fn channels_last(spec: &LayerSpec, data: &[f64]) -> Vec<f64> {
    if spec.layout == Layout::ChannelsLast {
        return data.to_vec();
    }
    let parts = spec.parts();
    let pixels = data.len() / spec.out_channels;
    let numbers: Vec<&[f64]> = data.chunks_exact(parts).collect();
    (0..pixels).flat_map(|p| numbers.iter().skip(p).step_by(pixels).copied().flatten()).copied().collect()
}
