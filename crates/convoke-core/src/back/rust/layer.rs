//! One layer as a module: typed sizes, packing that can run at build time, and `run`, which picks a version.
//!
//! The arrays are as long as the layer says, so a wrong one does not compile; for a named batch the functions take
//! slices of arrays, one an image. Packed weights and bias are one aligned struct that may be a `static`.

use super::isa::{Intrinsics, features_of, stored_as, version_name};
use super::names::ident;
use super::pack::{pack, times, widen};
use super::{RustError, dispatch, integers, kernel};
use crate::ir::{Role, Verified};
use crate::lower::table_starts;
use crate::lower::weights::WeightsPacking;
use crate::spec::{Batch, DType, LayerSpec, QUAD, Storage, WeightsLayout};
use crate::target::Isa;
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

/// What [`layer`] writes a module of.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// The layer.
    pub spec: &'a LayerSpec,
    /// Its kernels, one an instruction set; one of them [`Isa::Portable`].
    pub versions: &'a [Version],
    /// How the module finds out what the CPU has.
    pub detection: Detection,
    /// Where the scratch of kernels that need some comes from.
    pub scratch: ScratchFrom,
}

/// A kernel of a layer.
#[derive(Clone, Debug)]
pub struct Version {
    /// For its instruction set.
    pub kernel: Verified,
    /// How the weights that it reads are packed: as for every other version, but integers as pairs or as quads.
    pub packing: WeightsPacking,
}

/// Where emitted code takes its scratch from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScratchFrom {
    /// `run` takes it.
    Argument,
    /// The stack: for a batch that is known and scratch that is small.
    Stack,
}

/// How emitted code finds out which instructions it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// It asks the CPU, which needs the standard library.
    RunTime,
    /// It uses what the compiler was told that every CPU has.
    CompileTime,
    /// It asks the CPU through `crate::cpu`, which is part of a network's crate.
    Cpuid,
}

/// The module of a layer.
///
/// # Errors
/// If there is no portable version, two are for one instruction set, a kernel's buffers are not the layer's, weights would be packed
/// in several ways, or a kernel has no Rust source.
pub fn layer(layer: &Layer<'_>) -> Result<TokenStream, RustError> {
    let (module, doc, items) = (ident(&layer.spec.name), format!(" {}", summary(layer.spec)), items(layer)?);
    Ok(quote! {
        #[doc = #doc]
        #[allow(dead_code, clippy::approx_constant, clippy::excessive_precision)]
        pub mod #module { #items }
    })
}

/// The module as a file.
pub(super) fn file(layer: &Layer<'_>) -> Result<TokenStream, RustError> {
    let (doc, items) = (format!(" {}", summary(layer.spec)), items(layer)?);
    Ok(quote! {
        #![doc = #doc]
        #![allow(dead_code, clippy::approx_constant, clippy::excessive_precision)]
        #items
    })
}

/// What is in the module.
fn items(layer: &Layer<'_>) -> Result<TokenStream, RustError> {
    let versions = sorted(layer)?;
    let packings = packings(layer)?;
    let longest =
        |role| versions.iter().filter_map(move |v| kernel::buffer_len(&v.kernel, role)).map(|len| len.0).max();
    let scratch = match layer.scratch {
        ScratchFrom::Argument => longest(Role::Scratch),
        ScratchFrom::Stack => None,
    };
    let local = longest(Role::Local);
    let types = types(layer.spec, &packings, scratch, local);
    let (pack, widen) = (pack(layer.spec, &packings), widen(layer.spec));
    let dispatch = dispatch::items(layer, &versions, scratch.is_some(), local.is_some());
    let mut modules = TokenStream::new();
    for kernel in versions.iter().map(|v| &v.kernel) {
        let items = kernel::items(kernel, Intrinsics::Core)?;
        let (cfg, name) = (dispatch::cfg(kernel.isa, &versions), module_of(kernel));
        let doc = format!(" `{}`", kernel.name);
        modules.extend(quote! {
            #cfg
            #[doc = #doc]
            mod #name { #items }
        });
    }
    Ok(quote! {
        #types
        #pack
        #widen
        #dispatch
        #modules
    })
}

/// The versions, best first, checked against the layer.
fn sorted<'a>(layer: &Layer<'a>) -> Result<Vec<&'a Version>, RustError> {
    const ORDER: [Isa; 5] = [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Sse, Isa::Portable];
    let name = || layer.spec.name.clone();
    let mut versions: Vec<&Version> = Vec::new();
    for (isa, vnni) in ORDER.into_iter().flat_map(|isa| [(isa, true), (isa, false)]) {
        let mut of_isa = layer.versions.iter().filter(|v| v.kernel.isa == isa && v.kernel.vnni == vnni);
        versions.extend(of_isa.next());
        if let Some(other) = of_isa.next() {
            return Err(RustError::SameVersion { layer: name(), version: version_name(&other.kernel) });
        }
    }
    if versions.last().is_none_or(|v| v.kernel.isa != Isa::Portable) {
        return Err(RustError::NoPortable { layer: name() });
    }
    let spec = layer.spec;
    let images = spec.fixed_batch().unwrap_or(1);
    for Version { kernel, packing } in versions.iter().copied() {
        if layer.scratch == ScratchFrom::Stack && kernel::buffer_len(kernel, Role::Scratch).is_some_and(|l| l.1) {
            return Err(RustError::StackScratch { kernel: kernel.name.clone() });
        }
        // Bytes may be read as lanes of four.
        let per_element = kernel.storage(Role::Src).bytes() / spec.src_storage().bytes();
        let expected = [
            (Role::Src, spec.src_image() * images / per_element),
            (Role::Weights, packing.packed_len()),
            (Role::Bias, spec.bias_len()),
            (Role::Residual, if spec.has_residual() { spec.dst_image() * images } else { 0 }),
            (Role::Offset, spec.offset_image() * images),
            (Role::Mask, spec.mask_image() * images),
            (Role::Positions, if spec.takes_indices() { spec.src_image() * images } else { 0 }),
            (Role::Dst, spec.dst_image() * images),
            (Role::Indices, if spec.return_indices { spec.dst_image() * images } else { 0 }),
        ];
        for (role, expected) in expected {
            let (expected, found) = (expected as i64, kernel::buffer_len(kernel, role).map_or(0, |l| l.0));
            if expected != found {
                return Err(RustError::Length { kernel: kernel.name.clone(), role: role.name(), expected, found });
            }
        }
    }
    Ok(versions)
}

/// How weights are packed for the versions: in one way, but integers perhaps in two, the fewest a lane first.
fn packings<'a>(layer: &Layer<'a>) -> Result<Vec<&'a WeightsPacking>, RustError> {
    let mut packings: Vec<&WeightsPacking> = Vec::new();
    for Version { packing, .. } in layer.versions {
        match packings.iter().position(|other| other.per_lane >= packing.per_lane) {
            Some(at) if packings[at] == packing => {}
            Some(at) if packings[at].per_lane == packing.per_lane => {
                return Err(RustError::Packings { layer: layer.spec.name.clone() });
            }
            Some(at) => packings.insert(at, packing),
            None => packings.push(packing),
        }
    }
    Ok(packings)
}

/// The field of `Packed` that holds weights packed so.
pub(super) fn weights_field(packing: &WeightsPacking) -> Ident {
    ident(if packing.per_lane == QUAD { "quads" } else { "weights" })
}

/// `conv2d stem: f32[1, 3, 224, 224] to f32[1, 64, 112, 112]`.
fn summary(spec: &LayerSpec) -> String {
    format!("`{} {}`: {} to {}.", spec.kind(), spec.name, shape(spec, true), shape(spec, false))
}

/// `f32[1, 3, 224, 224]`, of `src` or `dst` as memory has it.
fn shape(spec: &LayerSpec, src: bool) -> String {
    let channels = if src { spec.in_channels } else { spec.out_channels };
    let sizes: Vec<usize> =
        spec.spatial[3 - spec.rank..].iter().map(|a| if src { a.input } else { a.output }).collect();
    let sizes = spec.shape(spec.fixed_batch().unwrap_or(0), channels, &sizes);
    let mut sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    if let Batch::Named(name) = &spec.batch {
        sizes[0].clone_from(name);
    }
    let bits = if spec.half.is_some() { ", the bits of each" } else { "" };
    let storage = if src { spec.src_storage() } else { spec.dst_storage() };
    format!("`{}[{}]`{bits}", storage.name(), sizes.join(", "))
}

/// What the user's arrays of `storage` are of.
fn user_element(storage: Storage, lanes: DType) -> &'static str {
    if storage == Storage::I32 { storage.name() } else { stored_as(storage, lanes) }
}

fn array(element: &str, len: usize) -> TokenStream {
    let (element, len) = (ident(element), Literal::usize_unsuffixed(len));
    quote!([#element; #len])
}

/// `Src`, `Weights`, `Bias`, `Channels`, `ZeroPoints`, `Scales`, `Dst`, `Scratch`, `Local` and `Packed`, those that the layer has.
fn types(spec: &LayerSpec, packings: &[&WeightsPacking], scratch: Option<i64>, local: Option<i64>) -> TokenStream {
    let images = spec.fixed_batch().unwrap_or(1);
    let of = if spec.fixed_batch().is_some() { "" } else { ", of which an image is one array" };
    let taps: Vec<String> = spec.spatial[3 - spec.rank..].iter().map(|a| a.kernel.to_string()).collect();
    let (parts, taps) = (spec.parts(), taps.join("]["));
    let (oc, ic) = (spec.out_channels / parts, spec.in_channels / parts);
    let (oc_group, ic_group) = (oc / spec.groups, ic / spec.groups);
    let numbers = if spec.complex { ", the real and the imaginary part of each" } else { "" };
    let weights_shape = match spec.weights_layout {
        WeightsLayout::Oihw => format!("`[{oc}][{ic_group}][{taps}]`"),
        WeightsLayout::Hwio => format!("`[{taps}][{ic_group}][{oc}]`"),
        WeightsLayout::Iohw => format!("`[{ic}][{oc_group}][{taps}]`"),
        WeightsLayout::Hwoi => format!("`[{taps}][{oc_group}][{ic}]`"),
    };
    let mut code = TokenStream::new();
    let lane = spec.dtype.name();
    let mut define_as = |element: &str, name: &str, doc: String, len: usize| {
        let (name, array) = (ident(name), array(element, len));
        code.extend(quote!(#[doc = #doc] pub type #name = #array;));
    };
    let mut define = |storage: Storage, name: &str, doc: String, len: usize| {
        define_as(user_element(storage, spec.dtype), name, doc, len);
    };
    let (src, dst) = (spec.src_storage(), spec.dst_storage());
    define(src, "Src", format!(" The input, {}{of}.", shape(spec, true)), spec.src_image() * images);
    if !spec.operation.is_pooling() {
        define(
            spec.weights_storage(),
            "Weights",
            format!(" The weights, {weights_shape}{numbers}."),
            spec.weights_len(),
        );
    }
    if spec.bias {
        let doc = " The bias, one element an output channel.".to_owned();
        define(spec.bias_storage(), "Bias", doc, spec.out_channels);
    }
    if spec.channel_steps().next().is_some() {
        define(src, "Channels", " A number for each output channel.".to_owned(), spec.out_channels);
    }
    for row in integers::rows(spec) {
        define(row.storage, row.type_name, format!(" {}", row.doc), spec.out_channels);
    }
    if spec.is_deformable() {
        let doc = |what: &str, channels: usize| {
            format!(" {what}: the output's sizes and layout, with {channels} channels{of}.")
        };
        define(src, "Offset", doc("How far taps are moved", spec.offset_channels()), spec.offset_image() * images);
        if spec.mask {
            define(src, "Mask", doc("The factors of taps", spec.mask_channels()), spec.mask_image() * images);
        }
    }
    define(dst, "Dst", format!(" The output, {}{of}.", shape(spec, false)), spec.dst_image() * images);
    if spec.takes_indices() {
        let doc = format!(" Where in the plane of its channel each element of the input goes{of}.");
        define(Storage::I32, "Indices", doc, spec.src_image() * images);
    }
    if spec.return_indices {
        let doc = format!(" Where in the plane of its channel each element of the output is{of}.");
        define(Storage::I32, "Indices", doc, spec.dst_image() * images);
    }
    if let Some(len) = scratch {
        let doc = format!(" Space that `run` needs for itself{of}; what is in it means nothing.");
        define_as(lane, "Scratch", doc, usize::try_from(len).unwrap_or(0));
    }
    if let Some(len) = local {
        let doc = " Space that `run` needs for itself, however many images; what is in it means nothing.";
        define_as(lane, "Local", doc.to_owned(), usize::try_from(len).unwrap_or(0));
    }
    if spec.return_indices {
        code.extend(packings.first().map(|packing| tables(packing)));
    }
    if !has_packed(spec) {
        return code;
    }
    let (element, zero) = if spec.integers.is_some() { ("i32", quote!(0)) } else { (lane, quote!(0.0)) };
    let weights = packings.iter().map(|packing| (weights_field(packing), packing.packed_len()));
    let (mut fields, mut zeros) = (TokenStream::new(), TokenStream::new());
    for (name, len) in weights.chain([(ident("bias"), spec.bias_len())]).filter(|(_, len)| *len > 0) {
        let array = array(element, len);
        fields.extend(quote!(#name: #array,));
        zeros.extend(quote!(#name: [#zero; _],));
    }
    quote! {
        #code
        /// Weights, and what belongs to output channels, as `run` reads them. They may be a `static`:
        /// [`pack`] runs at build time too.
        #[repr(C, align(64))]
        #[derive(Clone, Debug)]
        pub struct Packed {
            #fields
        }
        impl Packed {
            /// All zeros: for [`pack_into`].
            pub const ZERO: Self = Self { #zeros };
        }
    }
}

/// The tables of positions that maxima look up.
fn tables(packing: &WeightsPacking) -> TokenStream {
    let starts = table_starts(packing.tables);
    let [_, height, width] = packing.tables;
    let tables = [height * width, width, 1].into_iter().enumerate().filter(|&(i, _)| starts[i] < starts[i + 1]);
    let loops = tables.map(|(i, step)| {
        let [start, end] = [starts[i], starts[i + 1]].map(Literal::usize_unsuffixed);
        let within = if starts[i] == 0 { quote!(at) } else { quote!((at - #start)) };
        let position = if step == 1 { within } else { times(within, step) };
        let position = if step == 1 { position } else { quote!((#position)) };
        quote! {
            while at < #end {
                positions[at] = #position as i32;
                at += 1;
            }
        }
    });
    let len = Literal::usize_unsuffixed(starts[3]);
    quote! {
        /// Positions along each axis, which make up those of elements.
        static POSITIONS: [i32; #len] = {
            let mut positions = [0; #len];
            let mut at = 0;
            #(#loops)*
            positions
        };
    }
}

/// Whether there is anything that `run` reads beside its input: pooling has no weights.
pub(super) fn has_packed(spec: &LayerSpec) -> bool {
    !spec.operation.is_pooling() || spec.bias_len() > 0
}

/// The name of the variant of the emitted `Isa`.
pub(super) fn variant(version: &Verified) -> Ident {
    ident(match version.isa {
        Isa::Avx512 if version.vnni => "Avx512Vnni",
        Isa::Avx2 if version.vnni => "Avx2Vnni",
        Isa::Avx512 => "Avx512",
        Isa::Avx2 => "Avx2",
        Isa::Sse => "Sse",
        Isa::Neon => "Neon",
        Isa::Portable => "Portable",
    })
}

/// The module that has the version's functions.
pub(super) fn module_of(version: &Verified) -> Ident {
    ident(&version_name(version).replace('+', "_"))
}

/// What a CPU must have to run a version, for `cfg` and for detection.
pub(super) fn required(version: &Verified) -> &'static [&'static str] {
    features_of(version)
}
