//! A layer's fields to a [`LayerSpec`].

use super::axes::{self, Steps};
use super::deformable;
use super::error::SpecError;
use super::fields::{Names, Reader, axis_names};
use super::indices;
use super::layout::{LAYOUTS, MEANINGS, fits_blocks};
use super::network;
use super::sizes::{self, Padding, Spans};
use super::suggest::nearest;
use super::{
    Accuracy, Batch, COMPLEX_NAMES, DType, Divisor, Half, LayerSpec, Layout, Limits, Operation, PARTS, PaddingMode,
    Schedule, SpatialAxis, Storage, WeightsLayout,
};
use super::{complex, integers};
use crate::diagnostic::Diagnostic;
use crate::front::ast::{File, Layer, Value, ValueKind};
use crate::span::{Span, Spanned};
use std::collections::{HashMap, HashSet};

/// The layers of a file, in order.
///
/// # Errors
/// Everything that makes a layer illegal, in the order of the layers; a layer with mistakes does not hide those of the
/// others.
pub fn validate(file: &File, limits: &Limits) -> Result<Vec<LayerSpec>, Vec<Diagnostic>> {
    validate_with_sizes(file, limits, &[])
}

/// As [`validate`], where names of sizes stand for the numbers in `sizes`.
///
/// # Errors
/// As [`validate`]; a spatial size whose name is not in `sizes` is such a mistake.
pub fn validate_with_sizes(
    file: &File,
    limits: &Limits,
    sizes: &[(&str, usize)],
) -> Result<Vec<LayerSpec>, Vec<Diagnostic>> {
    let refused = network::refuse(file);
    if refused.is_empty() { read_layers(file, limits, Names::Numbers(sizes)) } else { Err(refused) }
}

/// As [`validate_with_sizes`], of a file that may have networks too, which are left aside.
///
/// # Errors
/// As [`validate_with_sizes`].
pub(crate) fn validate_beside_networks(
    file: &File,
    limits: &Limits,
    sizes: &[(&str, usize)],
) -> Result<Vec<LayerSpec>, Vec<Diagnostic>> {
    read_layers(file, limits, Names::Numbers(sizes))
}

/// Reports what is wrong with the layers whatever sizes their names stand for.
pub(super) fn validate_without_sizes(file: &File, limits: &Limits) -> Result<(), Vec<Diagnostic>> {
    read_layers(file, limits, Names::Later).map(|_| ())
}

fn read_layers(file: &File, limits: &Limits, sizes: Names<'_>) -> Result<Vec<LayerSpec>, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut names: HashMap<&str, Span> = HashMap::new();
    let mut layers = Vec::new();
    for layer in &file.layers {
        if let Some(first) = names.get(layer.name.value.as_str()) {
            errors.push(SpecError::DuplicateLayer { name: layer.name.clone(), first: *first });
        } else if !layer.name.value.is_empty() {
            names.insert(&layer.name.value, layer.name.span);
        }
        layers.extend(read_layer(layer, limits, sizes, &mut errors));
    }
    if errors.is_empty() { Ok(layers) } else { Err(errors.iter().map(SpecError::diagnostic).collect()) }
}

pub(super) fn read_layer(
    layer: &Layer,
    limits: &Limits,
    names: Names<'_>,
    errors: &mut Vec<SpecError>,
) -> Option<LayerSpec> {
    check_name(&layer.name, errors);
    let Some((operation, rank)) = Operation::of_kind(&layer.kind.value) else {
        let (word, known) = (layer.kind.clone(), deformable::kinds_of_layers());
        errors.push(SpecError::UnknownWord { what: "kind of layer", word, known });
        return None;
    };
    let before = errors.len();
    if !deformable::has_rank(operation, rank) {
        errors.push(deformable::other_rank(&layer.kind));
        return None;
    }
    let known = operation.fields();
    let mut reader = Reader { operation, rank, kind: operation.kinds()[rank - 1], names, errors };
    let fields: HashMap<_, _> = reader
        .known_fields(&layer.fields, &known, "field")
        .into_iter()
        .map(|field| (field.name.value.as_str(), &field.value))
        .collect();
    let written = layer.fields.iter().map(|field| field.name.value.as_str());
    let meant = written.filter(|name| !known.contains(name)).filter_map(|name| nearest(name, &known)).collect();
    let spec = Parts { layer, fields, meant }.read(&mut reader, limits);
    spec.filter(|_| errors.len() == before)
}

/// Whether a name is one that Rust code can use: not a keyword, not `_`.
pub(super) fn check_name(name: &Spanned<String>, errors: &mut Vec<SpecError>) {
    const KEYWORDS: &str = " abstract as async await become box break const continue crate do dyn else enum extern false final \
        fn for gen if impl in let loop macro match mod move mut override priv pub ref return self Self static struct super \
        trait true try type typeof unsafe unsized use virtual where while yield _ ";
    if !name.value.is_empty() && KEYWORDS.split_whitespace().any(|keyword| keyword == name.value) {
        errors.push(SpecError::BadName { name: name.clone() });
    }
}

/// What `input` says.
pub(super) struct Input {
    dtype: DType,
    pub(super) storage: Storage,
    complex: bool,
    pub(super) batch: Batch,
    pub(super) channels: Spanned<usize>,
    /// `d h w`; 1 for an axis that is not there. None while a size is a name whose number is said later.
    pub(super) spatial: Option<[usize; 3]>,
    pub(super) layout: Layout,
    span: Span,
}

struct Parts<'a> {
    layer: &'a Layer,
    fields: HashMap<&'a str, &'a Value>,
    /// What fields that do not exist are reported to mean; those are not reported as missing.
    meant: HashSet<&'static str>,
}

impl Parts<'_> {
    /// Reads every field, so that each mistake is reported, and puts them together if all could be read.
    fn read(&self, reader: &mut Reader<'_>, limits: &Limits) -> Option<LayerSpec> {
        let rank = reader.rank;
        let example = ["f32[1, 16, 100]", "f32[1, 3, 224, 224]", "f32[1, 3, 16, 112, 112]"][rank - 1];
        let input = self.required(reader, "input", example).and_then(|v| read_input(reader, v));
        let pooling = reader.operation.is_pooling();
        let unpooling = reader.operation == Operation::MaxUnpool;
        let out_channels = match &input {
            Some(input) if pooling => Some(input.channels),
            _ if pooling => None,
            _ => self.required(reader, "out_channels", "64").and_then(|v| reader.count("out_channels", v, 1)),
        };
        let output_size = self.optional("output_size", Some(None), |v| reader.sizes("output_size", v, 1).map(Some));
        let shared = output_size.flatten().filter(|_| pooling && !unpooling);
        let kernel = match (shared, &input) {
            (Some(outputs), Some(Input { spatial: Some(inputs), .. })) => {
                let span = outputs[2].span;
                Some([0, 1, 2].map(|i| Spanned::new(SpatialAxis::adaptive(inputs[i], outputs[i].value).kernel, span)))
            }
            _ if pooling && !unpooling && self.fields.contains_key("output_size") => None,
            _ => self.required(reader, "kernel_size", "3").and_then(|v| read_kernel(reader, v, input.as_ref())),
        };
        if pooling && !unpooling {
            self.check_alone(reader);
        }
        let ones = Some([Spanned::new(1, self.layer.name.span); 3]);
        let stride = self.optional("stride", if pooling { kernel } else { ones }, |v| reader.sizes("stride", v, 1));
        let dilation = self.optional("dilation", ones, |v| reader.sizes("dilation", v, 1));
        let padding = self.optional("padding", Some([Padding::Sides(0, 0); 3]), |v| reader.padding(v));
        let padding_mode = self.optional("padding_mode", Some(PaddingMode::Zeros), |v| {
            reader.padding_mode(v, input.as_ref().is_none_or(|input| input.dtype == DType::F32))
        });
        let zeros = Some([Spanned::new(0, self.layer.name.span); 3]);
        let output_padding = self.optional("output_padding", zeros, |v| reader.sizes("output_padding", v, 0));
        if let (Some(_), Some(padding)) = (self.fields.get("output_size"), self.fields.get("output_padding")) {
            reader.errors.push(SpecError::BothOutputs { padding: padding.span, size: self.span("output_size") });
        }
        let ceil_mode = self.optional("ceil_mode", Some(false), |v| reader.flag("ceil_mode", v));
        let divisor = self.divisor(reader);
        let p = self.optional("p", Some(2), |v| reader.p(v));
        let return_indices = self.optional("return_indices", Some(false), |v| reader.flag("return_indices", v));
        let one_group = Groups::Count(Spanned::new(1, self.layer.name.span));
        let groups = match &input {
            Some(input) if pooling => Some(Groups::Count(input.channels)),
            _ => self.optional("groups", Some(one_group), |v| read_groups(reader, v)),
        };
        let one = Spanned::new(1, self.layer.name.span);
        let offset_groups = self.optional("offset_groups", Some(one), |v| reader.count("offset_groups", v, 1));
        let mask = self.optional("mask", Some(false), |v| reader.flag("mask", v));
        let bias = self.optional("bias", Some(false), |v| reader.flag("bias", v));
        let default = reader.operation.weights_layouts()[0];
        let weights_layout = self.optional("weights", Some(default), |v| read_weights_layout(reader, v));
        let is_f32 = input.as_ref().is_none_or(|input| input.dtype == DType::F32);
        let then = self.optional("then", Some(Vec::new()), |v| reader.then(v, is_f32));
        let accuracy = self.optional("accuracy", Some(Accuracy::default()), |v| reader.accuracy(v));
        let schedule = self.optional("schedule", Some(Schedule::default()), |v| reader.schedule(v));

        let (input, out_channels) = (input?, out_channels?);
        let get = |field: &str| self.fields.get(field).copied();
        let integers = integers::read(reader, input.storage, get, self.layer.name.span);
        let groups = groups.map(|groups| check_groups(reader, &input, out_channels, groups));
        let steps = Steps {
            input: input.spatial?,
            kernel: kernel?,
            stride: stride.or(ones)?,
            dilation: dilation?,
            padding: padding?,
            output_padding: output_padding?,
            output_size: output_size?,
            ceil_mode: ceil_mode?,
        };
        let adaptive = axes::is_adaptive(reader.operation, &steps);
        let spatial = axes::read(reader, &steps)?;
        stride?;
        check_padding(reader, padding_mode?, &spatial, self.span("padding"))?;
        let parts = if input.complex { PARTS } else { 1 };
        let spec = LayerSpec {
            name: self.layer.name.value.clone(),
            operation: reader.operation,
            rank,
            dtype: input.dtype,
            half: match input.storage {
                Storage::F16 => Some(Half::F16),
                Storage::Bf16 => Some(Half::Bf16),
                _ => None,
            },
            integers: integers?,
            complex: input.complex,
            batch: input.batch,
            in_channels: parts * input.channels.value,
            out_channels: parts * out_channels.value,
            groups: groups?,
            offset_groups: offset_groups?.value,
            mask: mask?,
            layout: match input.layout {
                Layout::ChannelsFirst if input.complex => Layout::Pairs,
                layout => layout,
            },
            weights_layout: weights_layout?,
            spatial,
            padding_mode: padding_mode?,
            divisor: divisor?,
            adaptive,
            p: p?,
            return_indices: return_indices?,
            bias: bias?,
            then: then?,
            accuracy: accuracy?,
            schedule: schedule?,
        };
        integers::check(reader, &spec, |field| self.span(field))?;
        complex::check(reader, &spec, |field| self.span(field))?;
        deformable::check(reader, &spec, |field| self.span(field))?;
        indices::check(reader, &spec, |field| self.span(field))?;
        if let (Some(half), true) = (spec.half, spec.has_softmax()) {
            let storage = half.storage().name();
            return reader.report(SpecError::HalfSoftmax { storage, span: self.span("then") });
        }
        let spans = Spans {
            input: input.span,
            out_channels: out_channels.span,
            kernel_size: self.span("kernel_size"),
            stride: self.span(if adaptive { "output_size" } else { "stride" }),
            padding: self.span("padding"),
        };
        match sizes::check_limits(&spec, limits, &spans) {
            Ok(()) => Some(spec),
            Err(error) => reader.report(error),
        }
    }

    /// Reports what says otherwise than `output_size` where the windows of pooling are.
    fn check_alone(&self, reader: &mut Reader<'_>) {
        let Some(size) = self.fields.get("output_size") else { return };
        const OTHERS: [&str; 7] =
            ["kernel_size", "stride", "padding", "ceil_mode", "dilation", "count_include_pad", "divisor"];
        for field in OTHERS {
            if let Some(value) = self.fields.get(field) {
                reader.errors.push(SpecError::BothWindows { field, span: value.span, size: size.span });
            }
        }
    }

    /// What `count_include_pad` and `divisor` say, of which a layer may have one.
    fn divisor(&self, reader: &mut Reader<'_>) -> Option<Divisor> {
        let includes = self.optional("count_include_pad", Some(true), |v| reader.flag("count_include_pad", v));
        let number = self.optional("divisor", Some(None), |v| reader.count("divisor", v, 1).map(Some));
        match (includes?, number?, self.fields.get("count_include_pad")) {
            (_, Some(number), Some(count)) => {
                reader.report(SpecError::BothDivisors { count: count.span, number: number.span })
            }
            (_, Some(number), None) => Some(Divisor::Number(number.value)),
            (true, None, _) => Some(Divisor::Padded),
            (false, None, _) => Some(Divisor::Inside),
        }
    }

    /// The value of a field that has no default.
    fn required(&self, reader: &mut Reader<'_>, field: &'static str, example: &'static str) -> Option<&Value> {
        let value = self.fields.get(field).copied();
        if value.is_none() && self.layer.closed && !self.meant.contains(field) {
            let named = if self.layer.name.value.is_empty() { &self.layer.kind } else { &self.layer.name };
            return reader.report(SpecError::MissingField { field, example, layer: named.clone() });
        }
        value
    }

    fn optional<T>(&self, field: &str, default: Option<T>, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        self.fields.get(field).map_or(default, |value| read(value))
    }

    fn span(&self, field: &str) -> Span {
        self.fields.get(field).map_or(self.layer.name.span, |value| value.span)
    }
}

/// The window; of pooling it may be `global`, which is the whole input.
fn read_kernel(reader: &mut Reader<'_>, value: &Value, input: Option<&Input>) -> Option<[Spanned<usize>; 3]> {
    match &value.kind {
        ValueKind::Word(word) if reader.operation.is_pooling() && reader.operation != Operation::MaxUnpool => {
            if word == "global" {
                return Some(input?.spatial?.map(|size| Spanned::new(size, value.span)));
            }
            let word = Spanned::new(word.clone(), value.span);
            reader.report(SpecError::UnknownWord { what: "size of a window", word, known: vec!["global"] })
        }
        _ => reader.sizes("kernel_size", value, 1),
    }
}

pub(super) fn read_input(reader: &mut Reader<'_>, value: &Value) -> Option<Input> {
    let ValueKind::Tensor { dtype, dims, layout } = &value.kind else {
        return reader.form("input", "a tensor type such as `f32[1, 3, 224, 224]`", value);
    };
    const TYPES: [(&str, (DType, Storage)); 6] = [
        ("f32", (DType::F32, Storage::F32)),
        ("f64", (DType::F64, Storage::F64)),
        ("f16", (DType::F32, Storage::F16)),
        ("bf16", (DType::F32, Storage::Bf16)),
        ("u8", (DType::F32, Storage::U8)),
        ("i8", (DType::F32, Storage::I8)),
    ];
    let of_integers = matches!(reader.operation, Operation::Convolution | Operation::Deformable | Operation::MaxPool);
    let mut known = if of_integers { TYPES.to_vec() } else { TYPES[..4].to_vec() };
    if complex::has_complex(reader.operation) {
        known.extend(COMPLEX_NAMES.map(|(name, dtype)| (name, (dtype, dtype.storage()))));
    }
    let is_complex = COMPLEX_NAMES.iter().any(|(name, _)| *name == dtype.value);
    let types = reader.word("element type", dtype, &known);
    let (dtype, storage) = types.unzip();
    let layout = match layout {
        None => Some(Layout::ChannelsFirst),
        Some(word) => read_layout(reader, word, dtype),
    };
    let rank = reader.rank;
    if dims.len() != rank + 2 {
        let help =
            format!("write them in the order of the layout, `{}` or `{}`", LAYOUTS[rank - 1][0], LAYOUTS[rank - 1][1]);
        let (kind, expected, found) = (reader.kind, rank + 2, dims.len());
        return reader.report(SpecError::Count { kind, what: "sizes", expected, found, span: value.span, help });
    }
    let batch = read_batch(reader, &dims[0]);
    let (channels_at, spatial_at) = if layout == Some(Layout::ChannelsLast) { (rank + 1, 1) } else { (1, 2) };
    let channels = read_size(reader, "the number of channels", &dims[channels_at]);
    let sizes = dims[spatial_at..spatial_at + rank].iter().zip(axis_names(rank).into_iter().skip(3 - rank));
    let sizes: Vec<_> = sizes.map(|(dim, axis)| read_spatial(reader, axis, dim)).collect();
    let sizes: Vec<_> = sizes.into_iter().collect::<Option<_>>()?;
    let spatial = sizes.into_iter().collect::<Option<Vec<usize>>>().map(|sizes| {
        let mut spatial = [1; 3];
        spatial[3 - rank..].copy_from_slice(&sizes);
        spatial
    });
    let (dtype, storage) = (dtype?, storage?);
    let (batch, channels, layout) = (batch?, channels?, layout?);
    Some(Input { dtype, storage, complex: is_complex, batch, channels, spatial, layout, span: value.span })
}

fn read_batch(reader: &mut Reader<'_>, dim: &Value) -> Option<Batch> {
    match &dim.kind {
        ValueKind::Int(n) => reader.whole("the batch", *n, dim.span, 0).map(Batch::Fixed),
        ValueKind::Word(name) => {
            check_name(&Spanned::new(name.clone(), dim.span), reader.errors);
            match reader.names.number(name) {
                Some(number) => {
                    reader.whole(&format!("the batch `{name}`"), number as i128, dim.span, 0).map(Batch::Fixed)
                }
                None => Some(Batch::Named(name.clone())),
            }
        }
        _ => reader.form("input", "a number or a name as the batch", dim),
    }
}

fn read_size(reader: &mut Reader<'_>, what: &'static str, dim: &Value) -> Option<Spanned<usize>> {
    match &dim.kind {
        ValueKind::Int(n) => Some(Spanned::new(reader.whole(what, *n, dim.span, 1)?, dim.span)),
        ValueKind::Word(_) => reader.report(SpecError::NamedSize { what, spatial: false, span: dim.span }),
        _ => reader.form("input", "whole numbers as sizes", dim),
    }
}

/// The size of an axis; `Some(None)` if it is a name whose number is said later.
fn read_spatial(reader: &mut Reader<'_>, axis: &'static str, dim: &Value) -> Option<Option<usize>> {
    let ValueKind::Word(name) = &dim.kind else {
        return read_size(reader, axis, dim).map(|size| Some(size.value));
    };
    match (reader.names, reader.names.number(name)) {
        (_, Some(number)) => reader.whole(&format!("{axis} `{name}`"), number as i128, dim.span, 1).map(Some),
        (Names::Later, None) => {
            check_name(&Spanned::new(name.clone(), dim.span), reader.errors);
            Some(None)
        }
        (Names::Numbers(_), None) => reader.report(SpecError::NamedSize { what: axis, spatial: true, span: dim.span }),
    }
}

/// A layout's word, which must be one of the layer's rank and, if it says how large a block is, of its type.
fn read_layout(reader: &mut Reader<'_>, word: &Spanned<String>, dtype: Option<DType>) -> Option<Layout> {
    let (layout, only) = MEANINGS[of_rank(reader, "layout", word, &LAYOUTS)?];
    match (only, dtype) {
        (Some(only), Some(dtype)) if only != dtype => {
            let right = layout.name(reader.rank, dtype);
            reader.report(SpecError::BlockOfType { layout: word.clone(), dtype, only, right })
        }
        _ => Some(layout),
    }
}

fn read_weights_layout(reader: &mut Reader<'_>, value: &Value) -> Option<WeightsLayout> {
    let layouts = reader.operation.weights_layouts();
    let ValueKind::Word(word) = &value.kind else {
        let [first, second] = layouts.map(|layout| layout.name(reader.rank));
        return reader.form("weights", format!("a layout such as `{first}` or `{second}`"), value);
    };
    let names = [1, 2, 3].map(|rank| layouts.map(|layout| layout.name(rank)));
    let layout = of_rank(reader, "layout of weights", &Spanned::new(word.clone(), value.span), &names)?;
    Some(layouts[layout])
}

/// Which of the layouts of the layer's rank `word` is.
fn of_rank<const N: usize>(
    reader: &mut Reader<'_>,
    what: &'static str,
    word: &Spanned<String>,
    all: &[[&'static str; N]; 3],
) -> Option<usize> {
    let want = all[reader.rank - 1];
    if let Some(layout) = want.iter().position(|name| *name == word.value) {
        return Some(layout);
    }
    if all.iter().flatten().any(|name| *name == word.value) {
        return reader.report(SpecError::LayoutRank { layout: word.clone(), kind: reader.kind, want: want.to_vec() });
    }
    reader.report(SpecError::UnknownWord { what, word: word.clone(), known: want.to_vec() })
}

/// Reports padding that is more than its mode can take from the input.
fn check_padding(reader: &mut Reader<'_>, mode: PaddingMode, axes: &[SpatialAxis; 3], span: Span) -> Option<()> {
    let before = reader.errors.len();
    for (axis, size) in axis_names(reader.rank).into_iter().zip(axes) {
        let (padding, input) = (size.pad_lo.max(size.pad_hi), size.input);
        if let Some(most) = mode.most(input).filter(|most| padding > *most) {
            let mode = mode.name();
            reader.errors.push(SpecError::PaddingMode { axis, mode, padding, input, most, span });
        }
    }
    (reader.errors.len() == before).then_some(())
}

/// What `groups` says.
enum Groups {
    Count(Spanned<usize>),
    /// As many as there are input channels; the word's span.
    Depthwise(Span),
}

fn read_groups(reader: &mut Reader<'_>, value: &Value) -> Option<Groups> {
    let ValueKind::Word(word) = &value.kind else { return reader.count("groups", value, 1).map(Groups::Count) };
    if word == "depthwise" {
        return Some(Groups::Depthwise(value.span));
    }
    let word = Spanned::new(word.clone(), value.span);
    reader.report(SpecError::UnknownWord { what: "number of groups", word, known: vec!["depthwise"] })
}

/// The number of groups; reported if it does not divide the channels.
fn check_groups(reader: &mut Reader<'_>, input: &Input, oc: Spanned<usize>, groups: Groups) -> usize {
    let in_channels = input.channels.value;
    let (groups, span, depthwise) = match groups {
        Groups::Count(count) => (count.value, count.span, false),
        Groups::Depthwise(span) => (in_channels, span, true),
    };
    for (what, channels) in [("input channels", input.channels), ("out_channels", oc)] {
        if channels.value % groups != 0 {
            let (channels, channels_span) = (channels.value, channels.span);
            reader.errors.push(SpecError::Groups {
                what,
                channels,
                channels_span,
                groups,
                span,
                depthwise,
                in_channels,
            });
        } else if groups > 1 && input.layout == Layout::Blocked {
            check_blocks(reader, input, what, (channels.value / groups, channels.span), span);
        }
    }
    groups
}

/// Reports groups of `channels` that start in the middle of a block and end in another.
fn check_blocks(
    reader: &mut Reader<'_>,
    input: &Input,
    what: &'static str,
    (channels, channels_span): (usize, Span),
    span: Span,
) {
    let block = input.dtype.block();
    if !fits_blocks(channels, block) {
        let layout = input.layout.name(reader.rank, input.dtype);
        reader.errors.push(SpecError::BlockOfGroups { what, channels, channels_span, block, layout, span });
    }
}
