//! `pack` and `pack_into`: what [`WeightsPacking::pack`] does, as `const fn`s.

use super::layer::has_packed;
use super::names::ident;
use super::{halves, integers};
use crate::lower::weights::WeightsPacking;
use crate::lower::{winograd_taps, winograd_transforms};
use crate::spec::{DType, LayerSpec, PARTS};
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

/// `pack` and `pack_into` for a layer whose channels have numbers and that has no weights.
fn pack_rows(spec: &LayerSpec) -> TokenStream {
    let rows = channel_rows(spec);
    let parameters = rows.iter().map(|(name, array)| quote!(#name: &#array)).collect::<Vec<_>>();
    let arguments = rows.iter().map(|(name, _)| name);
    let copy = copy_rows(spec, &rows);
    let [many, more] = [rows.len(), rows.len() + 1].map(many);
    quote! {
        /// Packs what belongs to output channels for `run`.
        #many
        pub const fn pack(#(#parameters),*) -> Packed {
            let mut packed = Packed::ZERO;
            pack_into(&mut packed, #(#arguments),*);
            packed
        }

        /// Packs what belongs to output channels into `packed`.
        #more
        pub const fn pack_into(packed: &mut Packed, #(#parameters),*) {
            #copy
        }
    }
}

/// `pack` and `pack_into`, with the loops of [`WeightsPacking::pack`].
pub(super) fn pack(spec: &LayerSpec, packings: &[&WeightsPacking]) -> TokenStream {
    match (spec.operation.is_pooling(), packings) {
        (true, _) if !has_packed(spec) => TokenStream::new(),
        (true, _) => pack_rows(spec),
        (false, _) if spec.integers.is_some() => integers::pack(spec, packings),
        (false, [packing]) => pack_floats(spec, packing),
        (false, _) => TokenStream::new(),
    }
}

/// Arguments that clippy lets pass.
const MANY: usize = 7;

/// The attribute that a function of so many arguments needs.
fn many(arguments: usize) -> TokenStream {
    if arguments > MANY { quote!(#[allow(clippy::too_many_arguments)]) } else { TokenStream::new() }
}

fn pack_floats(spec: &LayerSpec, p: &WeightsPacking) -> TokenStream {
    let n = Literal::usize_unsuffixed;
    let (groups, taps, ic, lanes, oc) = (n(p.groups), n(p.taps), n(p.ic), n(p.lanes), n(p.oc));
    let all_oc = n(p.panels() * p.lanes);
    let (tap, orders) = tap(p);
    let channel = if p.parts == [1; 3] {
        quote!(ic)
    } else {
        let plain = n(p.plain_ic);
        quote!((ic % #plain))
    };
    let weight = match p.complex {
        Some(strides) => complex_weight(strides, &tap, &channel),
        None => {
            let [from_tap, from_ic] = [times(tap, p.tap_stride), times(channel, p.ic_stride)];
            let from_oc = if p.group_stride == p.oc * p.oc_stride {
                let g_oc = times(quote!(g), p.oc);
                times(quote!((#g_oc + oc)), p.oc_stride)
            } else {
                let (from_g, from_oc) = (times(quote!(g), p.group_stride), times(quote!(oc), p.oc_stride));
                quote!(#from_g + #from_oc)
            };
            as_lane(spec, quote!(weights[#from_oc + #from_tap + #from_ic]))
        }
    };
    let rows = channel_rows(spec);
    let bias_parameter = rows.iter().map(|(name, array)| quote!(, #name: &#array)).collect::<TokenStream>();
    let bias_argument = rows.iter().map(|(name, _)| quote!(, #name)).collect::<TokenStream>();
    let bias_copy = copy_rows(spec, &rows);
    let tap_ic = times(quote!(tap), p.ic);
    let copy = match p.winograd {
        Some(m) => transformed(p, m, spec, &weight),
        None => quote! {
            let mut tap = 0;
            while tap < #taps {
                packed.weights[to + (#tap_ic + ic) * #lanes] =
                    if oc < #oc { #weight } else { 0.0 };
                tap += 1;
            }
        },
    };
    let positions = positions(p);
    let [many, more] = [rows.len() + 1, rows.len() + 2].map(many);
    let (panel_len, g_panels) = (n(p.panel_len()), times(quote!(g), p.panels()));
    quote! {
        /// Packs `weights` for `run`. What takes long at build time (a million weights and more) is better packed
        /// when the program starts, by [`pack_into`].
        #many
        pub const fn pack(weights: &Weights #bias_parameter) -> Packed {
            let mut packed = Packed::ZERO;
            pack_into(&mut packed, weights #bias_argument);
            packed
        }

        /// Packs `weights` into `packed`: nothing large passes over the stack.
        #more
        pub const fn pack_into(packed: &mut Packed, weights: &Weights #bias_parameter) {
            #orders
            let mut g = 0;
            while g < #groups {
                let mut oc = 0;
                while oc < #all_oc {
                    let to = (#g_panels + oc / #lanes) * #panel_len + oc % #lanes;
                    let mut ic = 0;
                    while ic < #ic {
                        #copy
                        ic += 1;
                    }
                    oc += 1;
                }
                g += 1;
            }
            #positions
            #bias_copy
        }
    }
}

/// The weight of real numbers for `tap` and `channel` of the output `oc` of the group `g`, as [`WeightsPacking::pack`] has it. `strides` are those
/// of the complex numbers.
fn complex_weight(strides: [usize; 4], tap: &TokenStream, channel: &TokenStream) -> TokenStream {
    let parts = Literal::usize_unsuffixed(PARTS);
    let [of_g, of_oc, of_ic, of_tap] = strides;
    let (g, oc) = (times(quote!(g), of_g), times(quote!((oc / #parts)), of_oc));
    let (ic, tap) = (times(quote!((#channel / #parts)), of_ic), times(tap.clone(), of_tap));
    quote!({
        let weight = weights[(#g + #oc + #ic + #tap) * #parts + (oc + #channel) % #parts];
        if oc % #parts < #channel % #parts { -weight } else { weight }
    })
}

/// Writes the positions of a deformable layer's taps without offsets behind the panels.
fn positions(packing: &WeightsPacking) -> TokenStream {
    let n = Literal::usize_unsuffixed;
    let axes = packing.positions.iter().flatten().zip(packing.positions_at());
    axes.map(|(axis, from)| {
        let (kernel, output, from) = (n(axis.kernel), n(axis.output), n(from));
        let (from_o, from_tap) = (times(quote!(o), axis.stride), times(quote!(tap), axis.dilation));
        let (row, pad) = (times(quote!(tap), axis.output), Literal::f64_unsuffixed(axis.pad_lo as f64));
        quote! {
            let mut tap = 0;
            while tap < #kernel {
                let mut o = 0;
                while o < #output {
                    packed.weights[#from + #row + o] = (#from_o + #from_tap) as f32 - #pad;
                    o += 1;
                }
                tap += 1;
            }
        }
    })
    .collect()
}

/// `element` of one of the user's arrays as a lane holds it.
fn as_lane(spec: &LayerSpec, element: TokenStream) -> TokenStream {
    if spec.half.is_some() { quote!(widen(#element)) } else { element }
}

/// The function that [`as_lane`] calls, where there is something to pack.
pub(super) fn widen(spec: &LayerSpec) -> TokenStream {
    match spec.half {
        Some(half) if has_packed(spec) => {
            let body = halves::widened(half.storage());
            quote!(const fn widen(x: u16) -> f32 { #body })
        }
        _ => TokenStream::new(),
    }
}

/// What there is a number of for each output channel, in the order of the buffer `bias`, each with the name of its type.
fn channel_rows(spec: &LayerSpec) -> Vec<(Ident, Ident)> {
    let mut rows: Vec<(Ident, Ident)> = Vec::new();
    if spec.bias {
        rows.push((ident("bias"), ident("Bias")));
    }
    for (at, step) in spec.channel_steps().enumerate() {
        let before = spec.channel_steps().take(at).filter(|other| *other == step).count();
        let name = if before == 0 { step.to_string() } else { format!("{step}_{}", before + 1) };
        rows.push((ident(&name), ident("Channels")));
    }
    rows
}

/// Copies the rows into the packed ones.
fn copy_rows(spec: &LayerSpec, rows: &[(Ident, Ident)]) -> TokenStream {
    let channels = Literal::usize_unsuffixed(spec.out_channels);
    match rows {
        [] => TokenStream::new(),
        [(name, _)] if spec.half.is_none() => quote!(packed.bias = *#name;),
        _ => {
            let copies = rows.iter().enumerate().map(|(row, (name, _))| {
                let number = as_lane(spec, quote!(#name[oc]));
                let first = Literal::usize_unsuffixed(row * spec.out_channels);
                if row == 0 { quote!(packed.bias[oc] = #number;) } else { quote!(packed.bias[#first + oc] = #number;) }
            });
            quote! {
                let mut oc = 0;
                while oc < #channels {
                    #(#copies)*
                    oc += 1;
                }
            }
        }
    }
}

/// The user's tap for position `tap` of the packed weights, and the tables that it reads, see [`WeightsPacking::tap_order`].
fn tap(p: &WeightsPacking) -> (TokenStream, TokenStream) {
    if p.transposed.is_none() || p.taps == 1 {
        return (quote!(tap), TokenStream::new());
    }
    let n = Literal::usize_unsuffixed;
    let (mut terms, mut tables) = (Vec::new(), TokenStream::new());
    for (i, order) in p.tap_order().into_iter().enumerate().filter(|(_, order)| order.len() > 1) {
        let (name, len) = (ident(["DEPTHS", "HEIGHTS", "WIDTHS"][i]), n(order.len()));
        let (outer, inner): (usize, usize) = (p.window[..i].iter().product(), p.window[i + 1..].iter().product());
        let inside = n(inner);
        let mut at = if inner == 1 { quote!(tap) } else { quote!(tap / #inside) };
        if outer > 1 {
            at = quote!(#at % #len);
        }
        let taps = order.into_iter().map(n);
        tables.extend(quote!(const #name: [usize; #len] = [#(#taps),*];));
        terms.push(times(quote!(#name[#at]), inner));
    }
    let sum = quote!(#(#terms)+*);
    (if terms.len() > 1 && p.tap_stride > 1 { quote!((#sum)) } else { sum }, tables)
}

/// `what * factor`, in as few words as clippy asks for.
pub(super) fn times(what: TokenStream, factor: usize) -> TokenStream {
    if factor == 1 {
        return what;
    }
    let factor = Literal::usize_unsuffixed(factor);
    quote!(#what * #factor)
}

/// The statements that transform the window of one output and one input channel, as [`WeightsPacking::pack`] does.
fn transformed(p: &WeightsPacking, m: usize, spec: &LayerSpec, weight: &TokenStream) -> TokenStream {
    let n = Literal::usize_unsuffixed;
    let taps_of_part = winograd_taps(spec);
    let matrix = winograd_transforms(m, taps_of_part).kernel.iter();
    let rows = matrix.map(|row| {
        let row =
            row.iter().map(|&x| Literal::f64_suffixed(x.abs())).zip(row).map(|(abs, x)| match x.is_sign_negative() {
                true => quote!(-#abs),
                false => quote!(#abs),
            });
        quote!([#(#row),*])
    });
    let (taps, lanes, tap_ic) = (n(p.taps), n(p.lanes), times(quote!(tap), p.ic));
    let part_window = p.part_window();
    let plain: usize = part_window.iter().product();
    let (widened, rounded) = match spec.dtype {
        DType::F32 => (quote!(as f64), quote!(as f32)),
        DType::F64 => Default::default(),
    };
    let mut sizes = part_window;
    let mut axes = TokenStream::new();
    let alpha = m + taps_of_part - 1;
    for axis in (0..3).rev().filter(|&a| part_window[a] > 1) {
        let (outer, inner): (usize, usize) = (sizes[..axis].iter().product(), sizes[axis + 1..].iter().product());
        let (all, rows, step) = (n(outer * alpha * inner), n(alpha), n(inner));
        // Neighbours of a window's element along the axis are `inner` apart.
        let (row, at) = match inner {
            1 => (quote!(i % #rows), times(quote!(i / #rows), taps_of_part)),
            _ => {
                let (slab, before) = (n(alpha * inner), n(taps_of_part * inner));
                (quote!(i / #step % #rows), quote!(i / #slab * #before + i % #step))
            }
        };
        let others = (1..taps_of_part).map(|k| {
            let (k, offset) = (n(k), n(k * inner));
            quote!(KERNEL[row][#k] * before[at + #offset])
        });
        axes.extend(quote! {
            let before = window;
            let mut i = 0;
            while i < #all {
                let (row, at) = (#row, #at);
                window[i] = KERNEL[row][0] * before[at] #(+ #others)*;
                i += 1;
            }
        });
        sizes[axis] = alpha;
    }
    let from = quote!(#weight #widened);
    let copy = window_copy(p, plain, &from);
    let (alpha, taps_of_part) = (n(alpha), n(taps_of_part));
    quote! {
        const KERNEL: [[f64; #taps_of_part]; #alpha] = [#(#rows),*];
        let mut window = [0.0_f64; #taps];
        #copy
        #axes
        let mut tap = 0;
        while tap < #taps {
            packed.weights[to + (#tap_ic + ic) * #lanes] = window[tap] #rounded;
            tap += 1;
        }
    }
}

/// The statements that copy the part of a window that `ic` says, of so many taps; `from` is the weight of `tap`.
fn window_copy(p: &WeightsPacking, taps: usize, from: &TokenStream) -> TokenStream {
    let n = Literal::usize_unsuffixed;
    let (oc, plain_ic) = (n(p.oc), n(p.plain_ic));
    let count = n(taps);
    if p.parts == [1; 3] {
        return quote! {
            let mut tap = 0;
            while oc < #oc && tap < #count {
                window[tap] = #from;
                tap += 1;
            }
        };
    }
    let parts: usize = p.parts.iter().product();
    let sources = (0..parts).map(|part| {
        let taps = (0..taps).map(|tap| match p.tap_of_part(part, tap) {
            Some(tap) => {
                let tap = n(tap);
                quote!(Some(#tap))
            }
            None => quote!(None),
        });
        quote!([#(#taps),*])
    });
    let parts = n(parts);
    quote! {
        const SOURCES: [[Option<usize>; #count]; #parts] = [#(#sources),*];
        let mut at = 0;
        while oc < #oc && at < #count {
            if let Some(tap) = SOURCES[ic / #plain_ic][at] {
                window[at] = #from;
            }
            at += 1;
        }
    }
}
