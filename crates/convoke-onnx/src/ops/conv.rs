//! `Conv` and `ConvTranspose`.

use std::rc::Rc;

use super::{Build, Call};
use crate::error::Reason;
use crate::ir::{Conv, Fill, Numbers, Op, Role, Shape, Weights, Window};
use crate::shapes::{differ, differ_dims};
use crate::tensor::Tensor;
use crate::view::View;

/// A size, stride, padding or dilation.
const MAX_NUMBER: i64 = i32::MAX as i64;

/// Weights that follow nothing yet.
pub(super) fn weights(tensor: Rc<Tensor>, bias: Option<&Tensor>, channels: usize) -> Result<Weights, Reason> {
    if tensor.data().is_none() {
        return Err(Reason::Type(tensor.dtype.name().to_owned()));
    }
    let shift = match bias {
        None => Numbers::One(0.0),
        Some(bias) if bias.len() == channels => {
            Numbers::Each(Rc::new((0..channels).map(|channel| bias.float(channel)).collect()))
        }
        Some(bias) => return Err(differ_dims("output channels and bias", &[channels], &bias.dims)),
    };
    Ok(Weights { tensor, scale: Numbers::One(1.0), shift, bias: bias.is_some() })
}

/// The input as a value of channels and space that weights fit. Where there is one image and the first axis is none of images, it is a spatial one in front of
/// the others, if `may_be_rows`.
fn operands(build: &mut Build, view: &View, weights: &Tensor, may_be_rows: bool) -> Result<(usize, bool), Reason> {
    let dims = view.dims();
    if !(3..=5).contains(&dims.len()) {
        return Err(Reason::Axes { expected: "3 to 5", found: dims.len() });
    }
    if weights.dims.len() != dims.len() || weights.len() == 0 {
        return Err(differ_dims("input and weights", &dims, &weights.dims));
    }
    let has_rows = may_be_rows && build.batch == 1 && dims[0] > 1 && dims.len() < 5;
    let roles = roles(dims.len(), has_rows);
    Ok((build.value(view, &roles)?, has_rows))
}

/// What so many axes of a convolution are.
fn roles(rank: usize, has_rows: bool) -> Vec<Role> {
    let first = if has_rows { Role::Space(0) } else { Role::Batch };
    let space = (0..rank - 2).map(|axis| Role::Space(axis + usize::from(has_rows)));
    [first, Role::Channel].into_iter().chain(space).collect()
}

/// The view of what a layer with channels in front makes.
pub(super) fn made(build: &Build, value: usize) -> View {
    let shape = build.net.shape(value);
    let roles: Vec<_> =
        [Role::Batch, Role::Channel].into_iter().chain((0..shape.sizes.len()).map(Role::Space)).collect();
    View::of(value, shape, &roles)
}

fn groups(call: &Call<'_, '_>) -> Result<usize, Reason> {
    let given = call.params.node.int("group", 1);
    usize::try_from(given).ok().filter(|&groups| groups > 0).ok_or(Reason::Number {
        what: "`group`",
        found: given.to_string(),
        expected: "it is at least 1",
    })
}

pub(super) fn conv(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let weights = call.params.needed(1, "the weights")?;
    let bias = call.params.constant(2, "the bias")?;
    convolution(build, call, call.view(0)?, weights, bias.map(Rc::as_ref))
}

/// A convolution of a view with such weights and bias.
pub(super) fn convolution(
    build: &mut Build,
    call: &Call<'_, '_>,
    view: &View,
    tensor: &Rc<Tensor>,
    bias: Option<&Tensor>,
) -> Result<View, Reason> {
    let (input, has_rows) = operands(build, view, tensor, true)?;
    let (shape, groups) = (build.net.shape(input).clone(), groups(call)?);
    let [out_channels, group, kernel @ ..] = &tensor.dims[..] else { return Err(Reason::NoInput(1)) };
    if group.checked_mul(groups) != Some(shape.channels) || !out_channels.is_multiple_of(groups) {
        return Err(differ(
            "channels of input and weights",
            &[shape.channels, *out_channels],
            &[groups as i64, *group as i64],
        ));
    }
    let mut window = window(call, Some(kernel), &shape.sizes[usize::from(has_rows)..])?;
    let mut weights_of = Rc::clone(tensor);
    if has_rows {
        // Each row for itself.
        for numbers in [&mut window.kernel, &mut window.stride, &mut window.dilation] {
            numbers.insert(0, 1);
        }
        window.padding.insert(0, (0, 0));
        let mut dims = tensor.dims.clone();
        dims.insert(2, 1);
        weights_of = Rc::new(Tensor { dims, ..Tensor::clone(tensor) });
    }
    let conv = Conv {
        transposed: false,
        out_channels: *out_channels,
        groups,
        output_padding: vec![0; window.kernel.len()],
        fill: Fill::Number(0.0),
        weights: weights(weights_of, bias, *out_channels)?,
        window,
    };
    let sizes = outputs(&conv.window, &shape.sizes, false)?;
    let shape = Shape { channels: *out_channels, sizes, ..shape };
    let value = build.push(Op::Conv(Box::new(conv)), vec![input], vec![], shape.clone(), &call.hints)?;
    Ok(View::of(value, &shape, &roles(tensor.dims.len(), has_rows)))
}

pub(super) fn conv_transpose(build: &mut Build, call: &Call<'_, '_>) -> Result<View, Reason> {
    let tensor = call.params.needed(1, "the weights")?;
    let (input, _) = operands(build, call.view(0)?, tensor, false)?;
    let (shape, groups) = (build.net.shape(input).clone(), groups(call)?);
    let [in_channels, group, kernel @ ..] = &tensor.dims[..] else { return Err(Reason::NoInput(1)) };
    let out_channels = group.checked_mul(groups).ok_or(Reason::Overflow)?;
    if *in_channels != shape.channels || !in_channels.is_multiple_of(groups) {
        return Err(differ_dims("channels of input and weights", &[shape.channels], &tensor.dims));
    }
    let node = call.params.node;
    let rank = kernel.len();
    let mut window = window_without_padding(call, Some(kernel), rank)?;
    let output_padding = numbers(call, "output_padding", rank, 0, 0)?;
    let mut conv = Conv {
        transposed: true,
        out_channels,
        groups,
        output_padding,
        fill: Fill::Number(0.0),
        weights: weights(Rc::clone(tensor), call.params.constant(2, "the bias")?.map(Rc::as_ref), out_channels)?,
        window: Window::default(),
    };
    let auto = node.word("auto_pad", "NOTSET");
    let wanted = match node.ints("output_shape") {
        // With images and channels in front in some models.
        Some(given) if given.len() >= rank => Some(&given[given.len() - rank..]),
        Some(given) => return Err(differ("axes and `output_shape`", &[rank], given)),
        None => None,
    };
    let wanted: Option<Vec<usize>> = match (wanted, auto) {
        (Some(wanted), _) => {
            Some(wanted.iter().map(|&size| number("output_shape", size, 1)).collect::<Result<_, _>>()?)
        }
        (None, "SAME_UPPER" | "SAME_LOWER") => {
            Some(shape.sizes.iter().zip(&window.stride).map(|(size, stride)| size * stride).collect())
        }
        _ => None,
    };
    match wanted {
        None => window.padding = if auto == "VALID" { vec![(0, 0); rank] } else { paddings(call, rank)? },
        Some(wanted) => {
            for (axis, &wanted) in wanted.iter().enumerate() {
                let full =
                    (shape.sizes[axis] - 1) * window.stride[axis] + extent(&window, axis) + conv.output_padding[axis];
                if full >= wanted {
                    let total = full - wanted;
                    let lower = if auto == "SAME_UPPER" { total / 2 } else { total - total / 2 };
                    window.padding.push((lower, total - lower));
                } else {
                    conv.output_padding[axis] += wanted - full;
                    window.padding.push((0, 0));
                }
            }
        }
    }
    let mut sizes = Vec::new();
    for (axis, &size) in shape.sizes.iter().enumerate() {
        let full = (size - 1) * window.stride[axis] + extent(&window, axis) + conv.output_padding[axis];
        let (lower, upper) = window.padding[axis];
        sizes.push(
            full.checked_sub(lower + upper)
                .filter(|&size| size > 0)
                .ok_or_else(|| differ("output and padding", &[full], &[lower as i64, upper as i64]))?,
        );
    }
    conv.window = window;
    let shape = Shape { channels: out_channels, sizes, ..shape };
    let value = build.push(Op::Conv(Box::new(conv)), vec![input], vec![], shape, &call.hints)?;
    Ok(made(build, value))
}

fn number(what: &'static str, found: i64, least: i64) -> Result<usize, Reason> {
    let fits = (least..=MAX_NUMBER).contains(&found);
    let expected = if least == 0 { "it has to be from 0 to 2147483647" } else { "it has to be from 1 to 2147483647" };
    let number = usize::try_from(found).ok().filter(|_| fits);
    number.ok_or(Reason::Number { what, found: found.to_string(), expected })
}

/// An attribute with one number for each axis.
fn numbers(
    call: &Call<'_, '_>,
    name: &'static str,
    rank: usize,
    default: usize,
    least: i64,
) -> Result<Vec<usize>, Reason> {
    match call.params.node.ints(name) {
        None | Some([]) => Ok(vec![default; rank]),
        Some(given) if given.len() == rank => given.iter().map(|&n| number(name, n, least)).collect(),
        Some(given) => Err(Reason::Differ {
            what: "axes and numbers",
            first: rank.to_string(),
            second: format!("{name} {given:?}"),
        }),
    }
}

/// What lies around the input by the attribute `pads`: all that is before first.
fn paddings(call: &Call<'_, '_>, rank: usize) -> Result<Vec<(usize, usize)>, Reason> {
    let flat = numbers(call, "pads", 2 * rank, 0, 0)?;
    Ok((0..rank).map(|axis| (flat[axis], flat[axis + rank])).collect())
}

/// Elements that a window spans.
fn extent(window: &Window, axis: usize) -> usize {
    window.dilation[axis] * (window.kernel[axis] - 1) + 1
}

fn window_without_padding(call: &Call<'_, '_>, kernel: Option<&[usize]>, rank: usize) -> Result<Window, Reason> {
    let given = numbers(call, "kernel_shape", rank, 0, 1)?;
    let is_given = given.iter().all(|&size| size > 0);
    let kernel = match kernel {
        Some(kernel) if is_given && kernel != given => {
            return Err(differ_dims("`kernel_shape` and weights", &given, kernel));
        }
        Some(kernel) => kernel.iter().map(|&n| number("the window", n as i64, 1)).collect::<Result<_, _>>()?,
        None if is_given => given,
        None => return Err(Reason::NoAttribute("kernel_shape")),
    };
    let (stride, dilation) = (numbers(call, "strides", rank, 1, 1)?, numbers(call, "dilations", rank, 1, 1)?);
    Ok(Window { kernel, stride, dilation, padding: Vec::new() })
}

/// The window of a convolution or of pooling; of the former the weights say how large it is.
pub(super) fn window(call: &Call<'_, '_>, kernel: Option<&[usize]>, sizes: &[usize]) -> Result<Window, Reason> {
    let mut window = window_without_padding(call, kernel, sizes.len())?;
    let auto = call.params.node.word("auto_pad", "NOTSET");
    window.padding = match auto {
        "NOTSET" | "" => paddings(call, sizes.len())?,
        "VALID" => vec![(0, 0); sizes.len()],
        "SAME_UPPER" | "SAME_LOWER" => {
            let each = sizes.iter().enumerate().map(|(axis, &size)| {
                let stride = window.stride[axis];
                let total = ((size.div_ceil(stride) - 1) * stride + extent(&window, axis)).saturating_sub(size);
                let (less, more) = (total / 2, total - total / 2);
                if auto == "SAME_UPPER" { (less, more) } else { (more, less) }
            });
            each.collect()
        }
        other => {
            let known = "NOTSET, VALID, SAME_UPPER and SAME_LOWER";
            return Err(Reason::Attribute { name: "auto_pad", value: other.to_owned(), known });
        }
    };
    Ok(window)
}

/// The sizes of what windows make, rounded up if `ceil` says so.
pub(super) fn outputs(window: &Window, sizes: &[usize], ceil: bool) -> Result<Vec<usize>, Reason> {
    let each = sizes.iter().enumerate().map(|(axis, &size)| {
        let ((lower, upper), stride, extent) = (window.padding[axis], window.stride[axis], extent(window, axis));
        let padded = size + lower + upper;
        let Some(room) = padded.checked_sub(extent) else {
            return Err(Reason::Differ {
                what: "padded input and window",
                first: padded.to_string(),
                second: extent.to_string(),
            });
        };
        let mut count = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
        if ceil && (count - 1) * stride >= size + lower {
            count -= 1;
        }
        Ok(count)
    });
    each.collect()
}
