//! `pack` and `pack_into` of a layer of integers: what `lower::weights::IntegerParameters::pack` does, as `const fn`s.
//!
//! Instruction sets differ in how many channels they multiply at a time, two or four, and a module does not know the CPU when it packs.
//! Every one has exact products of pairs; those that take four at a time are not worth having without their own order, and others would have to
//! take bytes apart for each product. So a module packs pairs for the ones and quads for the others, if it has both:
//! three bytes a weight, of which a run reads one or two.

use super::layer::weights_field;
use super::names::ident;
use super::pack::times;
use super::tile::signed;
use crate::lower::weights::WeightsPacking;
use crate::spec::{Integers, LayerSpec, PerChannel, REDUCED, Requantized, Storage};
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

/// A number for each output channel that [`pack`] takes.
pub(super) struct Row {
    parameter: &'static str,
    pub(super) type_name: &'static str,
    pub(super) storage: Storage,
    pub(super) doc: &'static str,
}

/// Those that the layer has beside its bias.
pub(super) fn rows(spec: &LayerSpec) -> Vec<Row> {
    let Some(integers) = spec.integers.as_ref().filter(|_| !spec.operation.is_pooling()) else { return Vec::new() };
    let (storage, doc) = (integers.weights, "What stands for 0 among the weights of each output channel.");
    let points = Row { parameter: "zero_points", type_name: "ZeroPoints", storage, doc };
    let (storage, doc) = (Storage::F32, "What a step of the weights of each output channel stands for.");
    let scales = Row { parameter: "scales", type_name: "Scales", storage, doc };
    let has_points = integers.weights_zero_point == PerChannel::Each;
    let has_scales = integers.output.as_ref().is_some_and(|output| output.weights_scale == PerChannel::Each);
    [(points, has_points), (scales, has_scales)].into_iter().filter_map(|(row, has)| has.then_some(row)).collect()
}

/// The functions, for all of `packings`.
pub(super) fn pack(spec: &LayerSpec, packings: &[&WeightsPacking]) -> TokenStream {
    let (Some(integers), Some(first)) = (&spec.integers, packings.first()) else { return TokenStream::new() };
    let mut parameters = vec![(ident("weights"), ident("Weights"))];
    parameters.extend(spec.bias.then(|| (ident("bias"), ident("Bias"))));
    parameters.extend(rows(spec).iter().map(|row| (ident(row.parameter), ident(row.type_name))));
    let arguments: Vec<&Ident> = parameters.iter().map(|(name, _)| name).collect();
    let parameters: Vec<TokenStream> = parameters.iter().map(|(name, array)| quote!(#name: &#array)).collect();
    let weight = weight(integers, first);
    let weights = packings.iter().map(|packing| pack_weights(integers, packing));
    let bias = pack_bias(spec, integers, first);
    let panics = panics(integers);
    quote! {
        /// Packs the parameters for `run`. What takes long at build time (some hundred thousand weights) is better packed
        /// when the program starts, by [`pack_into`].
        #panics
        pub const fn pack(#(#parameters),*) -> Packed {
            let mut packed = Packed::ZERO;
            pack_into(&mut packed, #(#arguments),*);
            packed
        }

        /// Packs the parameters into `packed`: nothing large passes over the stack.
        #panics
        pub const fn pack_into(packed: &mut Packed, #(#parameters),*) {
            #(#weights)*
            #bias
        }

        #weight
    }
}

/// What the functions refuse, as their documentation says it.
fn panics(integers: &Integers) -> TokenStream {
    let scaled = integers.output.as_ref().is_some_and(|output| output.weights_scale == PerChannel::Each);
    let reduced = integers.reduce_range.then(|| quote!(#[doc = #REDUCED_RANGE]));
    let scaled = scaled.then(|| quote!(#[doc = #BAD_SCALE]));
    if reduced.is_none() && scaled.is_none() {
        return TokenStream::new();
    }
    quote! {
        ///
        /// # Panics
        #reduced
        #scaled
    }
}

const REDUCED_RANGE: &str = " If a weight is not from -64 to 63 from what stands for 0, as `reduce_range: true` says.";
const BAD_SCALE: &str = " If a scale is not above 0, or too large for `f32`.";

/// The emitted `weight`: one of the user's weights, less what stands for 0.
fn weight(integers: &Integers, p: &WeightsPacking) -> TokenStream {
    let oc_of_all = if p.groups > 1 {
        let first = times(quote!(g), p.oc);
        quote!(#first + oc)
    } else {
        quote!(oc)
    };
    let (points, point) = match integers.weights_zero_point {
        PerChannel::One(0) => Default::default(),
        PerChannel::One(point) => {
            let magnitude = Literal::u32_unsuffixed(point.unsigned_abs());
            (TokenStream::new(), if point < 0 { quote!(+ #magnitude) } else { quote!(- #magnitude) })
        }
        PerChannel::Each => (quote!(zero_points: &ZeroPoints,), quote!(- zero_points[#oc_of_all] as i32)),
    };
    let from_g = (p.groups > 1).then(|| times(quote!(g), p.group_stride)).map(|g| quote!(#g +));
    let [oc, tap, ic] =
        [times(quote!(oc), p.oc_stride), times(quote!(tap), p.tap_stride), times(quote!(ic), p.ic_stride)];
    let g = ident(if p.groups > 1 { "g" } else { "_g" });
    quote! {
        /// A weight of a group, less what stands for 0.
        const fn weight(weights: &Weights, #points #g: usize, oc: usize, tap: usize, ic: usize) -> i32 {
            weights[#from_g #oc + #tap + #ic] as i32 #point
        }
    }
}

/// A call of the emitted `weight`, for the variables of these names.
fn call(integers: &Integers) -> TokenStream {
    let points = (integers.weights_zero_point == PerChannel::Each).then(|| quote!(zero_points,));
    quote!(weight(weights, #points g, oc, tap, ic))
}

/// Packs the weights, as [`WeightsPacking::pack_integers`] does: the channels of a lane, the first in the lowest bits, 0 where there is none.
fn pack_weights(integers: &Integers, p: &WeightsPacking) -> TokenStream {
    let n = Literal::usize_unsuffixed;
    let (field, weight) = (weights_field(p), call(integers));
    let (groups, taps, lanes, oc, ic) = (n(p.groups), n(p.taps), n(p.lanes), n(p.oc), n(p.plain_ic));
    let (all_oc, all_lanes, panel_len) = (n(p.panels() * p.lanes), n(p.ic), n(p.panel_len()));
    let (g_panels, tap_lanes) = (times(quote!(g), p.panels()), times(quote!(tap), p.ic));
    let (per, bits) = (n(p.per_lane), n(32 / p.per_lane));
    let mask = Literal::u32_unsuffixed(u32::MAX >> (32 - 32 / p.per_lane));
    quote! {
        let mut g = 0;
        while g < #groups {
            let mut oc = 0;
            while oc < #all_oc {
                let to = (#g_panels + oc / #lanes) * #panel_len + oc % #lanes;
                let mut tap = 0;
                while tap < #taps {
                    let mut lane = 0;
                    while lane < #all_lanes {
                        let (mut bits, mut part) = (0, 0);
                        while part < #per {
                            let ic = lane * #per + part;
                            if oc < #oc && ic < #ic {
                                bits |= (#weight & #mask) << (part * #bits);
                            }
                            part += 1;
                        }
                        packed.#field[to + (#tap_lanes + lane) * #lanes] = bits;
                        lane += 1;
                    }
                    tap += 1;
                }
                oc += 1;
            }
            g += 1;
        }
    }
}

/// Packs what is added to the sums, and what they are multiplied by.
fn pack_bias(spec: &LayerSpec, integers: &Integers, p: &WeightsPacking) -> TokenStream {
    let n = Literal::usize_unsuffixed;
    let (groups, taps, oc, ic) = (n(p.groups), n(p.taps), n(p.oc), n(p.plain_ic));
    let weight = call(integers);
    let reduced = integers.reduce_range.then(|| {
        let bound = Literal::i32_unsuffixed(REDUCED);
        let message = "with `reduce_range: true` weights are from -64 to 63 from what stands for 0";
        quote!(assert!(weight >= -#bound && weight < #bound, #message);)
    });
    // Where zeros are 0, constants are the bias alone.
    let point = (integers.src_zero_point != 0).then(|| signed(integers.src_zero_point.into()));
    let sum = point.as_ref().map(|_| quote!(let mut sum = 0_i32;));
    let add = point.as_ref().map(|_| quote!(sum = sum.wrapping_add(weight);));
    let each = (reduced.is_some() || add.is_some()).then(|| {
        quote! {
            #sum
            let mut tap = 0;
            while tap < #taps {
                let mut ic = 0;
                while ic < #ic {
                    let weight = #weight;
                    #reduced
                    #add
                    ic += 1;
                }
                tap += 1;
            }
        }
    });
    let channel = if p.groups > 1 {
        let first = times(quote!(g), p.oc);
        quote!(#first + oc)
    } else {
        quote!(oc)
    };
    let constant = match (spec.bias, point) {
        (true, Some(point)) => quote!(bias[channel].wrapping_sub(sum.wrapping_mul(#point))),
        (false, Some(point)) => quote!(sum.wrapping_mul(#point).wrapping_neg()),
        (true, None) => quote!(bias[channel]),
        (false, None) => quote!(0),
    };
    let factor = integers.output.as_ref().map(|output| factor(spec, output));
    quote! {
        let mut g = 0;
        while g < #groups {
            let mut oc = 0;
            while oc < #oc {
                #each
                let channel = #channel;
                packed.bias[channel] = #constant;
                #factor
                oc += 1;
            }
            g += 1;
        }
    }
}

/// Packs what the sum of `channel` is multiplied by.
fn factor(spec: &LayerSpec, output: &Requantized) -> TokenStream {
    let number = |value: f64| Literal::f32_suffixed(value as f32);
    let (src, dst) = (number(output.src_scale), number(output.dst_scale));
    let at = Literal::usize_unsuffixed(spec.out_channels);
    let (scale, check) = match output.weights_scale {
        PerChannel::One(scale) => {
            let scale = number(scale);
            (quote!(#scale), TokenStream::new())
        }
        PerChannel::Each => (
            quote!(scales[channel]),
            quote! {
                assert!(
                    scales[channel] > 0.0 && factor.is_finite(),
                    "a scale is above 0, and its product with those of the layer a number of `f32`"
                );
            },
        ),
    };
    quote! {
        let factor = #src * #scale / #dst;
        #check
        packed.bias[#at + channel] = factor.to_bits() as i32;
    }
}
