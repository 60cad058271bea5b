//! What a plan must satisfy, and the words for what it does not.

use super::{Algorithm, Axis, PackInput, TileShape, VectorAxis, accuracy};
use crate::lower::weights::{PANEL_BYTES, WeightsPacking};
use crate::lower::{
    Geometry, POOL_REGISTERS, POSITION_REGISTERS, PackedAxis, REQUANTIZE_REGISTERS, TileAxis, WINOGRAD_PRODUCTS,
    counts_taps, cut_phases, epilogue_registers, slides, winograd_axis, winograd_parts,
};
use crate::spec::{
    Divisor, LayerSpec, Layout, Operation, PAIR, PARTS, QUAD, SpatialAxis, Storage, depthwise, with_article,
};
use crate::target::{Isa, Target};

/// Most steps of a reduction loop that may be written out.
pub(super) const MOST_UNROLL: usize = 16;

/// Whether `algorithm` takes the layer; if not, why.
pub(crate) fn algorithm(spec: &LayerSpec, algorithm: Algorithm, pack: PackInput) -> Result<(), String> {
    integers(spec, algorithm)?;
    let of = |algorithm: Algorithm| match algorithm {
        Algorithm::Pool => "pooling",
        Algorithm::Unpool => "unpooling",
        _ => "convolutions",
    };
    let own = match spec.operation {
        Operation::MaxUnpool => "unpooling",
        operation if operation.is_pooling() => "pooling",
        _ => "convolutions",
    };
    if of(algorithm) != own {
        return Err(format!("{algorithm} is for {}, and this is {}", of(algorithm), with_article(spec.kind())));
    }
    if spec.is_deformable() != (algorithm == Algorithm::Deformable) {
        let what = if spec.is_deformable() { "taps that are not moved" } else { "deformable layers" };
        return Err(format!("{algorithm} is for {what}, and this is {}", with_article(spec.kind())));
    }
    if spec.operation == Operation::Transposed && !matches!(algorithm, Algorithm::Direct | Algorithm::Depthwise) {
        return Err(format!("{algorithm} is for convolutions, and this is {}", with_article(spec.kind())));
    }
    match algorithm {
        Algorithm::Direct | Algorithm::Direct4 | Algorithm::Pool | Algorithm::Unpool | Algorithm::Deformable => Ok(()),
        Algorithm::Pointwise | Algorithm::Pointwise4 => {
            for (name, a) in ["d", "h", "w"].iter().zip(&spec.spatial) {
                if a.kernel != 1 {
                    return Err(format!("{algorithm} needs a window of 1, and along {name} it is {}", a.kernel));
                }
                // A copy for a window of one tap holds just what is read.
                if pack != PackInput::None {
                    continue;
                }
                if a.stride != 1 {
                    return Err(format!("{algorithm} needs stride 1, and along {name} it is {}", a.stride));
                }
                if a.pad_lo + a.pad_hi != 0 {
                    let (lo, hi) = (a.pad_lo, a.pad_hi);
                    return Err(format!("{algorithm} needs no padding, and along {name} it is {lo}..{hi}"));
                }
            }
            Ok(())
        }
        Algorithm::Depthwise => depthwise(spec),
        Algorithm::Winograd2
        | Algorithm::Winograd3
        | Algorithm::Winograd4
        | Algorithm::Winograd5
        | Algorithm::Winograd6 => {
            winograd(spec, algorithm)?;
            accuracy::allows(spec, algorithm)
        }
        Algorithm::Fft => {
            fft(spec)?;
            accuracy::allows(spec, algorithm)
        }
    }
}

/// Whether `algorithm` is for layers of integers where the layer is one, and for others where it is none.
fn integers(spec: &LayerSpec, algorithm: Algorithm) -> Result<(), String> {
    let by_four = algorithm.is_by_four();
    match &spec.integers {
        None if by_four => Err(format!("{algorithm} is for layers of integers")),
        None => Ok(()),
        Some(integers) if by_four && integers.src != Storage::U8 => {
            Err(format!("{algorithm} needs an input of u8, and it is {}", integers.src.name()))
        }
        Some(integers) if by_four && !integers.has_signed_weights() => {
            Err(format!("{algorithm} needs weights that are i8 when what stands for 0 is taken off"))
        }
        Some(_) if !by_four && !matches!(algorithm, Algorithm::Direct | Algorithm::Pointwise | Algorithm::Pool) => {
            Err(format!("{algorithm} is not for integers, whose sums are direct"))
        }
        Some(_) => Ok(()),
    }
}

/// Whether `target` can multiply bytes as `algorithm` does; without VNNI only those whose products fit 16 bits.
pub(crate) fn instructions(spec: &LayerSpec, target: &Target, algorithm: Algorithm) -> Result<(), String> {
    if spec.lane_channels(algorithm) != QUAD || target.vnni {
        return Ok(());
    }
    if !matches!(target.isa, Isa::Avx512 | Isa::Avx2) {
        return Err(format!("{algorithm} is for AVX2 and AVX-512, and the target is {}", target.name()));
    }
    match spec.integers.as_ref().is_some_and(|integers| integers.reduce_range) {
        true => Ok(()),
        false => Err(format!("{algorithm} without VNNI needs weights of `reduce_range: true`")),
    }
}

/// Registers for products, besides the sums and the operands.
fn for_products(spec: &LayerSpec, target: &Target, algorithm: Algorithm) -> usize {
    match spec.lane_channels(algorithm) {
        QUAD if target.vnni => 0,
        QUAD | PAIR => 1,
        _ => usize::from(!target.fma),
    }
}

/// Bytes that transformed weights, or what lies between transforms, may take.
pub(super) const MOST_TRANSFORMED: usize = 1 << 30;

/// Whether Winograd's algorithm takes the layer.
fn winograd(spec: &LayerSpec, algorithm: Algorithm) -> Result<(), String> {
    let names = ["d", "h", "w"];
    let m = algorithm.winograd().unwrap_or(2);
    let mut transformed: Option<(&str, usize)> = None;
    for (name, a) in names.into_iter().zip(&spec.spatial) {
        if a.output == 0 {
            return Err(format!("along {name} there is no output"));
        }
        let ([parts, taps], kernel, stride) = (winograd_parts(a.kernel, a.stride), a.kernel, a.stride);
        if kernel == 1 {
            continue;
        }
        if taps == 1 {
            return Err(format!(
                "Winograd's algorithm needs windows longer than the stride, and along {name} {kernel} is not longer than {stride}"
            ));
        }
        if parts > 1 && a.dilation > 1 {
            let dilation = a.dilation;
            return Err(format!(
                "Winograd's algorithm takes a stride or a dilation, and along {name} they are {stride} and {dilation}"
            ));
        }
        if parts > 1 && spec.groups > 1 {
            let groups = spec.groups;
            return Err(format!("Winograd's algorithm takes one group with a stride, and here are {groups}"));
        }
        if m + taps - 1 > WINOGRAD_PRODUCTS {
            return Err(format!("F({m}, {taps}) along {name} has more than {WINOGRAD_PRODUCTS} products"));
        }
        match transformed {
            Some((other, others)) if others != taps => {
                return Err(format!(
                    "Winograd's algorithm needs as many taps along each axis, and along {other} there are {others} a stride, along {name} {taps}"
                ));
            }
            _ => transformed = Some((name, taps)),
        }
    }
    if transformed.is_none() {
        return Err("Winograd's algorithm needs a window of several taps along some axis".to_owned());
    }
    if depthwise(spec).is_ok() {
        return Err("every channel has a window of its own, which `depthwise` is for".to_owned());
    }
    let bytes = WeightsPacking::new(spec, algorithm).packed_len().saturating_mul(spec.dtype.bytes());
    if bytes > MOST_TRANSFORMED {
        return Err(format!("transformed weights would take {bytes} bytes, and {MOST_TRANSFORMED} are the most"));
    }
    if spec.layout == Layout::Pairs {
        let name = spec.layout.name(spec.rank, spec.dtype);
        return Err(format!("vectors of channels cannot be stored to complex numbers in `{name}`"));
    }
    let block = spec.layout.lanes(spec.out_channels, spec.dtype);
    let oc = spec.oc_per_group();
    if spec.groups > 1 && block > 1 && block < spec.out_channels && !oc.is_multiple_of(block) {
        return Err(format!("groups of {oc} output channels share blocks of {block}"));
    }
    Ok(())
}

/// Whether `fft` takes the layer.
fn fft(spec: &LayerSpec) -> Result<(), String> {
    let [d, h, w] = &spec.spatial;
    let image = h.kernel > 1;
    if d.kernel != 1 {
        return Err(format!("fft is for windows along h and w, and along d it has {} taps", d.kernel));
    }
    if !image && w.kernel == 1 {
        return Err("fft needs a window of several taps along h or w, and in both it has 1".to_owned());
    }
    for (name, a) in [("h", h), ("w", w)] {
        if a.stride != 1 && (image || name == "w") {
            return Err(format!("fft needs stride 1 along {name}, and there it is {}", a.stride));
        }
    }
    if !image {
        if spec.fills_padding() {
            return Err(format!("fft along rows pads with zeros, and `padding_mode` is {}", spec.padding_mode.name()));
        }
        for (name, a) in [("d", d), ("h", h)] {
            if a.pad_lo + a.pad_hi != 0 {
                let (lo, hi) = (a.pad_lo, a.pad_hi);
                return Err(format!("fft along rows needs no padding along {name}, and there it is {lo}..{hi}"));
            }
        }
    }
    if spec.spatial.iter().any(|a| a.output == 0) {
        return Err("there is no output".to_owned());
    }
    let (ic, oc) = (spec.ic_per_group(), spec.oc_per_group());
    for channels in [ic, oc] {
        let block = spec.layout.lanes(channels * spec.groups, spec.dtype);
        let several = block > 1 && block < channels * spec.groups;
        if spec.groups > 1 && several && !channels.is_multiple_of(block) {
            return Err(format!("groups of {channels} channels share blocks of {block}"));
        }
    }
    Ok(())
}

/// Whether vectors can run along that axis.
pub(crate) fn vector(algorithm: Algorithm, vector: VectorAxis) -> Result<(), String> {
    match (algorithm.winograd(), vector) {
        (Some(_), VectorAxis::Ow) => Err("vectors of Winograd's algorithm run along the channels".to_owned()),
        _ if algorithm == Algorithm::Fft && vector == VectorAxis::Oc => Err("vectors of fft run along ow".to_owned()),
        _ if algorithm == Algorithm::Unpool && vector == VectorAxis::Oc => {
            Err("unpooling has no vectors but those of zeros, along ow".to_owned())
        }
        _ => Ok(()),
    }
}

/// What every block must be: not empty, and the only one of its axis.
fn sound_block(block: &[(Axis, usize)], i: usize) -> Result<(), String> {
    let (axis, size) = block[i];
    if block[..i].iter().any(|b| b.0 == axis) {
        return Err(format!("{axis} is blocked twice"));
    }
    if size == 0 {
        return Err(format!("a block of {axis} must hold at least 1 output, and has 0"));
    }
    Ok(())
}

/// Whether the axes of a plan of Winograd's algorithm can be blocked so: one axis of the image, in whole tiles, and the output
/// channels, in whole panels.
pub(crate) fn winograd_block(
    spec: &LayerSpec,
    geometry: &Geometry,
    m: usize,
    block: &[(Axis, usize)],
    panel: usize,
) -> Result<(), String> {
    let mut image = None;
    for (i, &(axis, size)) in block.iter().enumerate() {
        sound_block(block, i)?;
        match axis {
            Axis::G => return Err("groups cannot be blocked".to_owned()),
            Axis::Oc if size < geometry.oc && !size.is_multiple_of(panel) => {
                return Err(format!("a block of {size} output channels is no multiple of a panel's {panel}"));
            }
            Axis::Oc => continue,
            _ => {}
        }
        if let Some(other) = image.replace(axis) {
            return Err(format!("Winograd's tiles are blocked along one axis, and not along {other} and {axis}"));
        }
        let tile = winograd_axis(axis).map_or(1, |a| TileAxis::new(&spec.spatial[a], m).m);
        if !size.is_multiple_of(tile) {
            return Err(format!("a block of {size} outputs along {axis} is no multiple of a tile's {tile}"));
        }
    }
    Ok(())
}

/// Whether divisors of pooling differ from window to window.
fn counts_inputs(spec: &LayerSpec) -> bool {
    let beyond = (0..3).any(|i| counts_taps(spec, i));
    spec.operation == Operation::AvgPool && (spec.divisor == Divisor::Inside || beyond)
}

/// Whether `algorithm`, with vectors along `vector`, can read integers where they are, if `pack` says so: bytes by four, where a lane of them is broadcast.
pub(crate) fn in_place(
    spec: &LayerSpec,
    algorithm: Algorithm,
    vector: VectorAxis,
    pack: PackInput,
) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("{why}, so the input has to be copied"));
    if pack != PackInput::None || spec.integers.is_none() || spec.operation.is_pooling() {
        return Ok(());
    }
    match vector {
        _ if !algorithm.is_by_four() => refuse("integers are widened"),
        _ if !spec.has_whole_quads() => refuse("four channels are not neighbouring bytes, or there is padding"),
        VectorAxis::Ow => refuse("pixels do not lie side by side"),
        VectorAxis::Oc => Ok(()),
    }
}

/// Whether the input can be packed that way.
pub(crate) fn pack_input(spec: &LayerSpec, pack: PackInput) -> Result<(), String> {
    match pack {
        PackInput::Pad | PackInput::ChannelsLast if spec.takes_indices() => {
            Err("every element is read once, where it is".to_owned())
        }
        PackInput::Pad if spec.integers.is_some() && spec.operation.is_pooling() => {
            Err("bytes are widened as they are loaded, and a copy would be four times as large".to_owned())
        }
        PackInput::Pad if spec.integers.is_some() => Ok(()),
        PackInput::ChannelsLast if spec.operation.is_pooling() => Err(format!(
            "{} reads every element about once, so transposing them takes longer than that",
            with_article(spec.kind())
        )),
        PackInput::Pad | PackInput::ChannelsLast if spec.is_deformable() => {
            Err("what moved taps see is written out anyway, and the input is read where they are".to_owned())
        }
        PackInput::Pad if spec.return_indices => {
            Err("indices are positions in the input as it is, and a copy has others".to_owned())
        }
        PackInput::Pad if spec.adaptive => Err("there is no padding".to_owned()),
        PackInput::Pad if counts_inputs(spec) => {
            Err("windows at the border have divisors of their own, which count where the input ends".to_owned())
        }
        PackInput::None if spec.fills_padding() => {
            let mode = spec.padding_mode.name();
            Err(format!("{mode} padding is written out, so the input has to be copied"))
        }
        // The copy widens.
        PackInput::Pad if spec.half.is_some() => Ok(()),
        PackInput::Pad if !spec.spatial.iter().any(|a| PackedAxis::of(spec.operation, a).changes()) => {
            Err("there is no padding to write out and nothing that the stride skips to leave out".to_owned())
        }
        PackInput::ChannelsLast
            if spec.layout.lanes(spec.in_channels, spec.dtype) == spec.in_channels || has_one_pixel(spec) =>
        {
            Err("the channels of a pixel lie side by side as they are".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether each channel of the input is one element and stays that, so that the channels lie side by side in `nchw`.
fn has_one_pixel(spec: &LayerSpec) -> bool {
    let stays = |axis: &SpatialAxis| axis.input == 1 && !PackedAxis::of(spec.operation, axis).changes();
    spec.layout == Layout::ChannelsFirst && spec.integers.is_none() && spec.spatial.iter().all(stays)
}

/// Whether that tile can be computed; if not, why.
pub(crate) fn tile(
    spec: &LayerSpec,
    target: &Target,
    algorithm: Algorithm,
    vector: VectorAxis,
    tile: TileShape,
) -> Result<(), String> {
    fits(spec, target, algorithm, vector, tile).map_err(|fault| {
        let TileShape { rows, vectors } = tile;
        let (name, target_name) = (format!("a tile of {rows}x{vectors}"), target.name());
        match fault {
            TileFault::Multiplier => format!(
                "{name} has {rows} rows; {algorithm} along ow works on one input channel at a time, so a divisor of {}",
                spec.oc_per_group()
            ),
            TileFault::Parts => format!(
                "{name} along {vector} is not for complex numbers in `{}`, of which it computes both parts of a number along ow",
                spec.layout.name(spec.rank, spec.dtype)
            ),
            TileFault::Panel { channels, panel } => {
                format!("{name} computes {channels} output channels at a time, and a panel of the weights has {panel}")
            }
            TileFault::Sums { sums } => format!(
                "{name} needs {sums} registers for sums, and {target_name} keeps at most {} through a loop",
                target.accumulators
            ),
            TileFault::Registers { sums, besides } => format!(
                "{name} needs {sums} registers for sums and {besides} besides, and {target_name} has {}",
                target.registers
            ),
        }
    })
}

/// What keeps a tile from being computed.
pub(super) enum TileFault {
    /// Its rows are of several input channels.
    Multiplier,
    /// It parts complex numbers.
    Parts,
    /// It is wider than a panel of the weights.
    Panel { channels: usize, panel: usize },
    /// It has more sums than stay in registers.
    Sums { sums: usize },
    /// It needs more registers than there are.
    Registers { sums: usize, besides: usize },
}

/// As [`tile`], without words.
pub(super) fn fits(
    spec: &LayerSpec,
    target: &Target,
    algorithm: Algorithm,
    vector: VectorAxis,
    tile: TileShape,
) -> Result<(), TileFault> {
    let bytes = spec.dtype.bytes();
    let (lanes, panel) = (target.lanes(bytes), PANEL_BYTES / bytes);
    let TileShape { rows, vectors } = tile;
    let by_pixels = vector == VectorAxis::Ow;
    if by_pixels && algorithm.is_by_channel() && rows > 0 && !spec.oc_per_group().is_multiple_of(rows) {
        return Err(TileFault::Multiplier);
    }
    if spec.layout == Layout::Pairs && (vector == VectorAxis::Oc || !rows.is_multiple_of(PARTS)) {
        return Err(TileFault::Parts);
    }
    let channels = if vector == VectorAxis::Oc { vectors.saturating_mul(lanes) } else { rows };
    if by_pixels && channels > panel {
        return Err(TileFault::Panel { channels, panel });
    }
    // A position goes with each maximum.
    let each = if spec.return_indices { 2 } else { 1 };
    let sums = rows.saturating_mul(vectors).saturating_mul(each);
    let held = |w: &SpatialAxis| if slides(algorithm, vector, w) { w.kernel } else { 1 };
    let held = cut_phases(spec, 2).map(|run| held(&run.axis)).max().unwrap_or(1);
    let held = held.saturating_mul(vectors);
    let operands = match algorithm {
        Algorithm::Pool if spec.return_indices => POSITION_REGISTERS,
        Algorithm::Pool => POOL_REGISTERS,
        _ => held.saturating_add(1 + for_products(spec, target, algorithm)),
    };
    let epilogue = spec.then.iter().map(|&e| epilogue_registers(e)).max().unwrap_or(0);
    let requantized = spec.integers.as_ref().is_some_and(|integers| integers.output.is_some());
    let epilogue = if requantized { REQUANTIZE_REGISTERS } else { epilogue };
    // What sums products is kept through the tile, behind whatever else it uses.
    let kept = spec.lane_channels(algorithm) == QUAD && !target.vnni;
    let besides = if kept { operands.max(REQUANTIZE_REGISTERS) + 1 } else { operands.max(epilogue) };
    if rows > 0 && sums > target.accumulators {
        return Err(TileFault::Sums { sums });
    }
    if sums == 0 || sums.saturating_add(besides) > target.registers {
        return Err(TileFault::Registers { sums, besides });
    }
    Ok(())
}

/// Whether the axes can be blocked so; `pixels` is a tile's extent along `ow`.
pub(crate) fn block(block: &[(Axis, usize)], pixels: usize) -> Result<(), String> {
    for (i, &(axis, size)) in block.iter().enumerate() {
        sound_block(block, i)?;
        match axis {
            Axis::Oh => {}
            Axis::Ow if size % pixels != 0 => {
                return Err(format!("a block of {size} pixels is no multiple of the tile's {pixels}"));
            }
            Axis::Ow => {}
            _ => return Err(format!("only oh and ow can be blocked, not {axis}")),
        }
    }
    Ok(())
}

/// Whether a deformable layer can be blocked so.
pub(crate) fn deformable_block(block: &[(Axis, usize)]) -> Result<(), String> {
    block.iter().enumerate().try_for_each(|(i, &(axis, _))| {
        sound_block(block, i)?;
        if axis == Axis::Oh {
            Ok(())
        } else {
            Err(format!("what moved taps see is made for rows, which oh blocks, and not {axis}"))
        }
    })
}

/// Whether a deformable layer can have its loops so: what moved taps see is made for some rows of an image.
pub(crate) fn deformable_order(order: &[Axis]) -> Result<(), String> {
    match order {
        [Axis::N, Axis::Oh, ..] | [Axis::Oh, Axis::N, ..] => Ok(()),
        _ => Err("the order of a deformable layer begins with n and oh, or with oh and n".to_owned()),
    }
}

/// Whether `order` names every axis once, and a blocked one twice.
pub(crate) fn order(order: &[Axis], block: &[(Axis, usize)]) -> Result<(), String> {
    for &axis in Axis::ALL {
        let wanted = 1 + usize::from(block.iter().any(|b| b.0 == axis));
        let found = order.iter().filter(|&&a| a == axis).count();
        if found != wanted {
            let why = if wanted == 2 { ", because it is blocked" } else { "" };
            return Err(format!("the order must name {axis} {wanted} time(s){why}, and names it {found} time(s)"));
        }
    }
    Ok(())
}
