//! The part of a layer's module that chooses: `Isa`, `run` and `run_with`.

use super::isa::version_name;
use super::kernel;
use super::layer::{Detection, Layer, ScratchFrom, Version, has_packed, module_of, required, variant, weights_field};
use super::names::ident;
use crate::ir::{Role, Verified};
use crate::spec::LayerSpec;
use crate::target::Isa;
use proc_macro2::{Literal, TokenStream};
use quote::quote;

/// The condition under which a version is compiled; the portable one where no other is sure to run.
pub(super) fn cfg(isa: Isa, versions: &[&Version]) -> Option<TokenStream> {
    match isa {
        Isa::Avx512 | Isa::Avx2 | Isa::Sse => Some(quote!(#[cfg(target_arch = "x86_64")])),
        Isa::Neon => Some(quote!(#[cfg(target_arch = "aarch64")])),
        Isa::Portable => {
            let sure: Vec<TokenStream> = versions.iter().filter_map(|v| sure(&v.kernel)).collect();
            (!sure.is_empty()).then(|| quote!(#[cfg(not(any(#(#sure),*)))]))
        }
    }
}

/// Where every CPU runs `version`, if that is known from the architecture.
fn sure(version: &Verified) -> Option<TokenStream> {
    match version.isa {
        Isa::Sse if !version.fma => Some(quote!(all(target_arch = "x86_64", target_feature = "sse2"))),
        Isa::Neon => Some(quote!(all(target_arch = "aarch64", target_feature = "neon"))),
        _ => None,
    }
}

/// The items.
pub(super) fn items(layer: &Layer<'_>, versions: &[&Version], scratch: bool, local: bool) -> TokenStream {
    let isa = isa(layer.detection, versions);
    let batch = layer.spec.fixed_batch();
    let of = |name: &str| {
        let name = ident(name);
        if batch.is_some() { quote!(#name) } else { quote!([#name]) }
    };
    let (src_type, dst_type, scratch_type) = (of("Src"), of("Dst"), of("Scratch"));
    let (scratch_parameter, scratch_argument) = match scratch {
        true => (quote!(, scratch: &mut #scratch_type), quote!(, scratch)),
        false => Default::default(),
    };
    let (local_parameter, local_argument) = match local {
        true => (quote!(, local: &mut Local), quote!(, local)),
        false => Default::default(),
    };
    let (packed_parameter, packed_argument) = match has_packed(layer.spec) {
        true => (quote!(packed: &Packed,), quote!(packed,)),
        false => Default::default(),
    };
    let (residual_parameter, residual_argument) = match layer.spec.has_residual() {
        true => (quote!(residual: &#dst_type,), quote!(residual,)),
        false => Default::default(),
    };
    let (mut moved, mut moved_given) = (TokenStream::new(), TokenStream::new());
    let is_there = [
        ("offset", "Offset", layer.spec.is_deformable()),
        ("mask", "Mask", layer.spec.mask),
        ("indices", "Indices", layer.spec.takes_indices()),
    ];
    let further: Vec<_> = is_there.into_iter().filter(|f| f.2).map(|(name, kind, _)| (ident(name), of(kind))).collect();
    for (name, kind) in &further {
        moved.extend(quote!(#name: &#kind,));
        moved_given.extend(quote!(#name,));
    }
    let (inputs, inputs_given) = (
        quote!(#packed_parameter #residual_parameter #moved),
        quote!(#packed_argument #residual_argument #moved_given),
    );
    let indices_type = of("Indices");
    let (outputs, outputs_given) = match layer.spec.return_indices {
        true => (quote!(dst: &mut #dst_type, indices: &mut #indices_type), quote!(dst, indices)),
        false => (quote!(dst: &mut #dst_type), quote!(dst)),
    };
    // The versions that are compiled may all be ones without.
    let lacks = |role| versions.iter().any(|v| kernel::buffer_len(&v.kernel, role).is_none());
    let unused =
        (local && lacks(Role::Local) || scratch && lacks(Role::Scratch)).then(|| quote!(#[allow(unused_variables)]));
    let check = batch.is_none().then(|| {
        let scratch =
            scratch.then(|| quote!(assert_eq!(src.len(), scratch.len(), "src and scratch must have as many images");));
        let residual = layer
            .spec
            .has_residual()
            .then(|| quote!(assert_eq!(src.len(), residual.len(), "src and residual must have as many images");));
        let moved = further.iter().map(|(name, _)| {
            let message = format!("src and {name} must have as many images");
            quote!(assert_eq!(src.len(), #name.len(), #message);)
        });
        let has_indices = layer.spec.return_indices || layer.spec.takes_indices();
        let indices = has_indices
            .then(|| quote!(assert_eq!(src.len(), indices.len(), "src and indices must have as many images");));
        quote! {
            assert_eq!(src.len(), dst.len(), "src and dst must have as many images");
            #(#moved)*
            #residual
            #indices
            #scratch
        }
    });
    let panics = match (batch.is_none(), layer.spec.takes_indices()) {
        (false, false) => None,
        (true, false) => Some("If the slices have different lengths."),
        (false, true) => Some("If an index is of no element of its plane."),
        (true, true) => Some("If the slices have different lengths, or an index is of no element of its plane."),
    };
    let panics = panics.map(|when| {
        let when = format!(" {when}");
        quote! {
            ///
            /// # Panics
            #[doc = #when]
        }
    });
    let positions = layer.spec.takes_indices().then(|| positions(layer.spec));
    let n = match batch {
        Some(n) => {
            let n = Literal::usize_unsuffixed(n);
            quote!(#n)
        }
        None => quote!(src.len() as isize),
    };
    let arms = versions.iter().map(|Version { kernel: k, packing }| {
        let (variant, module, cfg) = (variant(k), module_of(k), cfg(k.isa, versions));
        let weights = weights_field(packing);
        // Integers are bits of lanes.
        let lanes = layer.spec.integers.as_ref().map(|_| quote!(.cast()));
        let arguments = k.buffers.iter().map(|buffer| match buffer.role {
            Role::Src => quote!(src.as_ptr().cast()),
            Role::Weights if layer.spec.return_indices => quote!(POSITIONS.as_ptr().cast()),
            Role::Weights => quote!(packed.#weights.as_ptr() #lanes),
            Role::Bias => quote!(packed.bias.as_ptr() #lanes),
            Role::Residual => quote!(residual.as_ptr().cast()),
            Role::Offset => quote!(offset.as_ptr().cast()),
            Role::Mask => quote!(mask.as_ptr().cast()),
            Role::Positions => quote!(indices.as_ptr().cast()),
            Role::Dst => quote!(dst.as_mut_ptr().cast()),
            Role::Indices => quote!(indices.as_mut_ptr().cast()),
            Role::Scratch => quote!(scratch.as_mut_ptr().cast()),
            Role::Local => quote!(local.as_mut_ptr()),
        });
        let own =
            kernel::buffer_len(k, Role::Scratch).filter(|_| layer.scratch == ScratchFrom::Stack).map(|(len, _)| {
                let (element, len) = (ident(k.dtype.name()), Literal::i64_unsuffixed(len));
                quote!(let mut scratch = ::core::mem::MaybeUninit::<[#element; #len]>::uninit();)
            });
        quote! {
            #cfg
            Isa::#variant => {
                #own
                unsafe { #module::run(#(#arguments,)* #n) }
            }
        }
    });
    quote! {
        #isa

        /// Computes `dst` from `src`, in the best version that the CPU has: [`isa`].
        #panics
        pub fn run(src: &#src_type, #inputs #outputs #scratch_parameter #local_parameter) {
            run_with(isa(), src, #inputs_given #outputs_given #scratch_argument #local_argument);
        }

        /// Computes `dst` from `src` in the version for `isa`, if the CPU has it; else returns `false`.
        ///
        /// It is sound: the arrays have the lengths that the version was compiled for, and the CPU was asked.
        #panics
        #unused
        pub fn run_with(
            isa: Isa, src: &#src_type, #inputs #outputs #scratch_parameter #local_parameter
        ) -> bool {
            #check
            #positions
            if !isa.is_available() {
                return false;
            }
            match isa {
                #(#arms)*
                #[allow(unreachable_patterns)]
                _ => return false,
            }
            true
        }
    }
}

/// Refuses indices of no element. Those of what fills up a block of channels mean nothing.
fn positions(spec: &LayerSpec) -> TokenStream {
    let plane = Literal::usize_unsuffixed(spec.indexed_plane());
    let all = if spec.fixed_batch().is_some() { quote!(indices.iter()) } else { quote!(indices.iter().flatten()) };
    let (stored, channels) = (spec.src_channels(), spec.in_channels);
    let filled = (stored != channels).then(|| {
        let block = spec.dtype.block();
        let [plane, blocks, block, channels] =
            [spec.src_image() / stored * block, stored / block, block, channels].map(Literal::usize_unsuffixed);
        quote!(.enumerate().filter(|(at, _)| at / #plane % #blocks * #block + at % #block < #channels).map(|(_, index)| index))
    });
    quote! {
        if let Some(index) = #all #filled.find(|index| !(0..#plane).contains(*index)) {
            panic!("index {index} is of none of the {} elements of a plane", #plane);
        }
    }
}

/// The enum, its methods and `isa()`.
fn isa(detection: Detection, versions: &[&Version]) -> TokenStream {
    let kernels = || versions.iter().map(|v| &v.kernel);
    let variants: Vec<_> = kernels().map(variant).collect();
    let names: Vec<_> = kernels().map(|k| version_name(k)).collect();
    let docs = kernels().map(|k| format!(" Version `{}`.", k.name));
    let available = kernels().map(|k| {
        let (variant, cfg, has) = (variant(k), cfg(k.isa, versions), has(detection, k));
        quote!(#cfg Self::#variant => #has,)
    });
    let constant = (detection == Detection::CompileTime).then(|| quote!(const));
    let count = Literal::usize_unsuffixed(versions.len());
    quote! {
        /// The instruction sets that this layer has a version for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Isa {
            #(#[doc = #docs] #variants,)*
        }

        impl Isa {
            /// Every one, best first.
            pub const ALL: [Self; #count] = [#(Self::#variants),*];

            /// As the compiler's options write it.
            pub const fn name(self) -> &'static str {
                match self { #(Self::#variants => #names),* }
            }

            /// Whether its version is compiled for this machine and can run on it.
            pub #constant fn is_available(self) -> bool {
                match self {
                    #(#available)*
                    #[allow(unreachable_patterns)]
                    _ => false,
                }
            }
        }

        /// The version that [`run`] takes.
        pub fn isa() -> Isa {
            Isa::ALL.into_iter().find(|isa| isa.is_available()).unwrap_or(Isa::Portable)
        }
    }
}

/// Whether the CPU has what `version` needs, as an expression.
fn has(detection: Detection, version: &Verified) -> TokenStream {
    let features = required(version);
    if sure(version).is_some() || features.is_empty() {
        return quote!(true);
    }
    match detection {
        Detection::RunTime => quote!(#(::std::arch::is_x86_feature_detected!(#features))&&*),
        Detection::CompileTime => quote!(cfg!(all(#(target_feature = #features),*))),
        Detection::Cpuid => {
            let bits = features.iter().map(|feature| ident(&feature.to_uppercase()));
            quote!(crate::cpu::has(#(crate::cpu::#bits)|*))
        }
    }
}
