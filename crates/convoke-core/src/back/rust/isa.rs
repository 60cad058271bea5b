//! What a tile's operations are called on each instruction set.
//!
//! Emitted tiles speak of `V`, `load`, `fma`, `store`; a version's module says what these are: another name for a
//! `core::arch` intrinsic where one does exactly that, else a small function. Only those that are used are written.

use super::names::ident;
use super::tile::binary_name;
use super::{halves, portable, x86};
use crate::ir::{BinaryOp, Conversion, Kernel};
use crate::spec::{DType, Storage};
use crate::target::Isa;
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;
use std::collections::BTreeMap;

/// An operation of tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Helper {
    Splat,
    /// This many lanes, contiguous.
    Load(usize),
    /// This many lanes, `STRIDE` elements apart.
    LoadStrided(usize),
    /// This many lanes, each element into `repeat` of them.
    LoadRepeated {
        lanes: usize,
        repeat: usize,
        strided: bool,
    },
    Store(usize),
    StoreStrided(usize),
    /// This many lanes of integers that are converted; contiguous, or `STRIDE` elements apart.
    LoadNarrow {
        storage: Storage,
        lanes: usize,
        strided: bool,
    },
    StoreNarrow {
        storage: Storage,
        lanes: usize,
        strided: bool,
    },
    /// This many lanes of halves, each element into `repeat` of them; contiguous, or `STRIDE` elements apart.
    LoadHalf {
        storage: Storage,
        lanes: usize,
        repeat: usize,
        strided: bool,
    },
    StoreHalf {
        storage: Storage,
        lanes: usize,
        strided: bool,
    },
    /// The bits of a half to the same `f32`.
    Widen(Storage),
    /// An `f32` to the bits of the nearest half.
    Round(Storage),
    /// This many lanes of two elements each.
    Pairs(Storage, usize),
    /// This many lanes of four bytes each.
    Quads(usize),
    Dot4,
    /// The elements that integers say, of the first `OF`.
    Gather,
    Convert(Conversion),
    Fma,
    Binary(BinaryOp),
    Select,
    Exponent,
    Sqrt,
    /// Asks for a line of the cache; nothing, where Rust has no such instruction.
    Prefetch,
    /// What was loaded before is loaded again behind it.
    Reload,
}

/// Where the intrinsics come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Intrinsics {
    /// `core::arch`, in functions that enable the target features they need.
    #[default]
    Core,
    /// The module of this path, which has the same names; functions enable nothing. For running code on a CPU that
    /// lacks the instructions, by a model of them.
    Model(String),
}

/// The instructions of one version, and which of them its tiles use.
pub(super) struct Instructions {
    pub(super) isa: Isa,
    pub(super) dtype: DType,
    pub(super) fma: bool,
    pub(super) vnni: bool,
    /// Whether a buffer holds `f16`.
    has_f16: bool,
    pub(super) lanes: usize,
    intrinsics: Intrinsics,
    used: BTreeMap<String, Helper>,
}

impl Instructions {
    pub(super) fn new(kernel: &Kernel, intrinsics: Intrinsics) -> Self {
        let Kernel { isa, dtype, fma, vnni, .. } = *kernel;
        let lanes = kernel.lanes();
        let has_f16 = has_f16(kernel);
        Self { isa, dtype, fma, vnni, has_f16, lanes, intrinsics, used: BTreeMap::new() }
    }

    /// `f32` or `f64`.
    pub(super) fn element(&self) -> Ident {
        ident(self.dtype.name())
    }

    /// What a pointer to elements of `storage` goes to. Bits of lanes are floats, whatever they mean; halves are bits.
    pub(super) fn element_of(&self, storage: Storage) -> Ident {
        ident(stored_as(storage, self.dtype))
    }

    /// The name of `helper`, which is used from now on.
    pub(super) fn name(&mut self, helper: Helper) -> Ident {
        let partial = |verb: &str, lanes: usize| match lanes == self.lanes {
            true => verb.to_owned(),
            false => format!("{verb}_first{lanes}"),
        };
        let name = match helper {
            Helper::Splat => "splat".to_owned(),
            Helper::Load(lanes) => partial("load", lanes),
            Helper::LoadStrided(lanes) => partial("load_strided", lanes),
            Helper::LoadRepeated { lanes, repeat, strided: false } => partial(&format!("load_repeated{repeat}"), lanes),
            Helper::LoadRepeated { lanes, repeat, strided: true } => {
                partial(&format!("load_strided_repeated{repeat}"), lanes)
            }
            Helper::Store(lanes) => partial("store", lanes),
            Helper::StoreStrided(lanes) => partial("store_strided", lanes),
            Helper::LoadNarrow { storage, lanes, strided } => {
                partial(&format!("load_{}{}", storage.name(), if strided { "_strided" } else { "" }), lanes)
            }
            Helper::StoreNarrow { storage, lanes, strided } => {
                partial(&format!("store_{}{}", storage.name(), if strided { "_strided" } else { "" }), lanes)
            }
            Helper::LoadHalf { storage, lanes, repeat, strided } => {
                let repeated = if repeat > 1 { format!("_repeated{repeat}") } else { String::new() };
                let strided = if strided { "_strided" } else { "" };
                partial(&format!("load_{}{strided}{repeated}", storage.name()), lanes)
            }
            Helper::StoreHalf { storage, lanes, strided } => {
                partial(&format!("store_{}{}", storage.name(), if strided { "_strided" } else { "" }), lanes)
            }
            Helper::Widen(storage) => format!("widen_{}", storage.name()),
            Helper::Round(storage) => format!("round_{}", storage.name()),
            Helper::Pairs(storage, lanes) => partial(&format!("load_pairs_{}", storage.name()), lanes),
            Helper::Quads(lanes) => partial("load_quads", lanes),
            Helper::Dot4 => "dot4".to_owned(),
            Helper::Gather => "gather".to_owned(),
            Helper::Convert(Conversion::Float) => "to_float".to_owned(),
            Helper::Convert(Conversion::Int) => "to_int".to_owned(),
            Helper::Fma => "fma".to_owned(),
            Helper::Binary(op) => binary_name(op).to_owned(),
            Helper::Select => "select".to_owned(),
            Helper::Exponent => "exponent".to_owned(),
            Helper::Sqrt => "sqrt".to_owned(),
            Helper::Prefetch => "prefetch".to_owned(),
            Helper::Reload => "reload".to_owned(),
        };
        let ident = ident(&name);
        self.used.insert(name, helper);
        ident
    }

    /// `value`, rounded to the element type.
    pub(super) fn number(&self, value: f64) -> TokenStream {
        let element = self.element();
        let (finite, negative) = (value.is_finite(), value.is_sign_negative());
        match self.dtype {
            DType::F32 if finite && (value as f32).is_finite() => {
                let magnitude = Literal::f32_unsuffixed((value as f32).abs());
                if negative { quote!(-#magnitude) } else { quote!(#magnitude) }
            }
            DType::F64 if finite => {
                let magnitude = Literal::f64_unsuffixed(value.abs());
                if negative { quote!(-#magnitude) } else { quote!(#magnitude) }
            }
            DType::F32 => {
                let bits = Literal::u32_unsuffixed((value as f32).to_bits());
                quote!(#element::from_bits(#bits))
            }
            DType::F64 => {
                let bits = Literal::u64_unsuffixed(value.to_bits());
                quote!(#element::from_bits(#bits))
            }
        }
    }

    /// `#[target_feature(…)]`, unless the instructions are a model's.
    pub(super) fn attribute(&self) -> TokenStream {
        let features = features(self.isa, self.fma, self.vnni, self.has_f16);
        match self.intrinsics {
            Intrinsics::Core if !features.is_empty() => {
                let features = features.join(",");
                quote!(#[target_feature(enable = #features)])
            }
            _ => TokenStream::new(),
        }
    }

    /// The module that the intrinsics come from.
    pub(super) fn path(&self) -> TokenStream {
        match &self.intrinsics {
            Intrinsics::Model(path) => path.split("::").map(ident).fold(TokenStream::new(), |path, part| {
                if path.is_empty() { quote!(#part) } else { quote!(#path::#part) }
            }),
            Intrinsics::Core if self.isa == Isa::Neon => quote!(::core::arch::aarch64),
            Intrinsics::Core => quote!(::core::arch::x86_64),
        }
    }

    /// Definitions of all that is used.
    pub(super) fn prelude(&mut self) -> TokenStream {
        let used: Vec<Helper> = self.used.values().copied().collect();
        match self.isa {
            Isa::Avx512 | Isa::Avx2 | Isa::Sse => x86::prelude(self, &used),
            Isa::Neon => super::neon::prelude(self, &used),
            Isa::Portable => portable::prelude(self, &used),
        }
    }

    /// A definition of a function of the prelude.
    pub(super) fn function(&self, signature: TokenStream, body: TokenStream) -> TokenStream {
        let attribute = self.attribute();
        let inline = if attribute.is_empty() { quote!(#[inline(always)]) } else { quote!(#attribute #[inline]) };
        quote!(#inline #signature { #body })
    }

    /// Loads and stores of a number of lanes that go element by element; `None` for anything else.
    pub(super) fn by_element(&mut self, helper: Helper) -> Option<TokenStream> {
        let (lanes, repeat) = match helper {
            Helper::Widen(storage) | Helper::Round(storage) => {
                let name = self.name(helper);
                return Some(halves::scalar(self, helper, &name, storage));
            }
            Helper::Gather => return Some(self.gather()),
            Helper::Prefetch => {
                let name = self.name(helper);
                let has_one = matches!(self.isa, Isa::Sse | Isa::Avx2 | Isa::Avx512);
                let (at, body) = match self.intrinsics {
                    Intrinsics::Core if has_one => {
                        let path = self.path();
                        (quote!(at), quote!(#path::_mm_prefetch::<{ #path::_MM_HINT_T0 }>(at.cast());))
                    }
                    _ => (quote!(_), TokenStream::new()),
                };
                return Some(self.function(quote!(unsafe fn #name<T>(#at: *const T)), body));
            }
            Helper::Reload => {
                let (name, sync) = (self.name(helper), quote!(::core::sync::atomic));
                let fence = quote!(#sync::compiler_fence(#sync::Ordering::SeqCst));
                return Some(self.function(quote!(fn #name()), fence));
            }
            Helper::LoadHalf { lanes, repeat, .. } => (lanes, repeat.max(1)),
            Helper::LoadNarrow { lanes, .. }
            | Helper::StoreNarrow { lanes, .. }
            | Helper::StoreHalf { lanes, .. }
            | Helper::Pairs(_, lanes)
            | Helper::Quads(lanes) => (lanes, 1),
            Helper::Load(lanes) | Helper::LoadStrided(lanes) => (lanes, 1),
            Helper::LoadRepeated { lanes, repeat, .. } => (lanes, repeat.max(1)),
            Helper::Store(lanes) | Helper::StoreStrided(lanes) => (lanes, 1),
            _ => return None,
        };
        let storage = match helper {
            Helper::LoadNarrow { storage, .. }
            | Helper::StoreNarrow { storage, .. }
            | Helper::LoadHalf { storage, .. }
            | Helper::StoreHalf { storage, .. }
            | Helper::Pairs(storage, _) => storage,
            Helper::Quads(_) => Storage::U8,
            _ => self.dtype.storage(),
        };
        let (name, element, full) = (self.name(helper), self.element_of(storage), self.lanes);
        let strided = matches!(
            helper,
            Helper::LoadStrided(_)
                | Helper::StoreStrided(_)
                | Helper::LoadRepeated { strided: true, .. }
                | Helper::LoadNarrow { strided: true, .. }
                | Helper::StoreNarrow { strided: true, .. }
                | Helper::LoadHalf { strided: true, .. }
                | Helper::StoreHalf { strided: true, .. }
        );
        let stride = strided.then(|| quote!(<const STRIDE: isize>));
        let at = |pointer: TokenStream, i: usize| match (i, strided) {
            (0, _) => pointer,
            (1, true) => quote!(#pointer.wrapping_offset(STRIDE)),
            (_, true) => {
                let i = Literal::usize_unsuffixed(i);
                quote!(#pointer.wrapping_offset(#i * STRIDE))
            }
            (_, false) => {
                let i = Literal::usize_unsuffixed(i);
                quote!(#pointer.wrapping_add(#i))
            }
        };
        Some(match helper {
            Helper::Load(_) | Helper::LoadStrided(_) | Helper::LoadRepeated { .. } => {
                let elements = (0..full).map(|i| match i < lanes {
                    true => {
                        let p = at(quote!(p), i / repeat);
                        quote!(*#p)
                    }
                    false => quote!(0.0),
                });
                let set = self.vector_of(elements.collect());
                self.function(quote!(unsafe fn #name #stride(p: *const #element) -> V), quote!(unsafe { #set }))
            }
            Helper::LoadHalf { .. } => {
                let widen = self.name(Helper::Widen(storage));
                let elements = (0..full).map(|i| match i < lanes {
                    true => {
                        let p = at(quote!(p), i / repeat);
                        quote!(#widen(*#p))
                    }
                    false => quote!(0.0),
                });
                let set = self.vector_of(elements.collect());
                self.function(quote!(unsafe fn #name #stride(p: *const #element) -> V), quote!(unsafe { #set }))
            }
            Helper::StoreHalf { .. } => {
                let (array, round) = (self.to_array(), self.name(Helper::Round(storage)));
                let stores = (0..lanes).map(|i| {
                    let p = at(quote!(p), i);
                    let i = Literal::usize_unsuffixed(i);
                    quote!(*#p = #round(a[#i]);)
                });
                let body = quote!(unsafe { #array #(#stores)* });
                self.function(quote!(unsafe fn #name #stride(p: *mut #element, v: V)), body)
            }
            Helper::LoadNarrow { .. } => {
                let elements = (0..full).map(|i| match i < lanes {
                    true => {
                        let p = at(quote!(p), i);
                        quote!(f32::from_bits(i32::from(*#p) as u32))
                    }
                    false => quote!(0.0),
                });
                let set = self.vector_of(elements.collect());
                self.function(quote!(unsafe fn #name #stride(p: *const #element) -> V), quote!(unsafe { #set }))
            }
            Helper::Pairs(..) => {
                let elements = (0..full).map(|i| match i < lanes {
                    true => {
                        let (low, high) = (at(quote!(p), 2 * i), at(quote!(p), 2 * i + 1));
                        quote!(f32::from_bits((i32::from(*#low) & 0xffff | i32::from(*#high) << 16) as u32))
                    }
                    false => quote!(0.0),
                });
                let set = self.vector_of(elements.collect());
                self.function(quote!(unsafe fn #name(p: *const #element) -> V), quote!(unsafe { #set }))
            }
            Helper::Quads(_) => {
                let elements = (0..full).map(|i| match i < lanes {
                    true => {
                        let p = at(quote!(p), 4 * i);
                        quote!(f32::from_bits(u32::from_le_bytes(#p.cast::<[u8; 4]>().read())))
                    }
                    false => quote!(0.0),
                });
                let set = self.vector_of(elements.collect());
                self.function(quote!(unsafe fn #name(p: *const #element) -> V), quote!(unsafe { #set }))
            }
            Helper::StoreNarrow { .. } => {
                let array = self.to_array();
                let (least, most) = storage.range();
                let (least, most) = (Literal::i32_unsuffixed(least.abs()), Literal::i32_unsuffixed(most));
                let least = if storage == Storage::I8 { quote!(-#least) } else { quote!(#least) };
                let stores = (0..lanes).map(|i| {
                    let p = at(quote!(p), i);
                    let i = Literal::usize_unsuffixed(i);
                    quote!(*#p = (a[#i].to_bits() as i32).clamp(#least, #most) as #element;)
                });
                let body = quote!(unsafe { #array #(#stores)* });
                self.function(quote!(unsafe fn #name #stride(p: *mut #element, v: V)), body)
            }
            _ => {
                let array = self.to_array();
                let stores = (0..lanes).map(|i| {
                    let p = at(quote!(p), i);
                    let i = Literal::usize_unsuffixed(i);
                    quote!(*#p = a[#i];)
                });
                let body = quote!(unsafe { #array #(#stores)* });
                self.function(quote!(unsafe fn #name #stride(p: *mut #element, v: V)), body)
            }
        })
    }

    /// A vector of `elements`, lane 0 first.
    fn vector_of(&self, elements: Vec<TokenStream>) -> TokenStream {
        let path = self.path();
        match self.isa {
            Isa::Portable => quote!(V([#(#elements),*])),
            Isa::Neon => {
                let load = ident(&format!("vld1q_{}", self.dtype.name()));
                quote!(#path::#load([#(#elements),*].as_ptr()))
            }
            _ => {
                let set = x86::intrinsic(self, "setr");
                quote!(#path::#set(#(#elements),*))
            }
        }
    }

    /// A load of elements that lie anywhere, one by one: the instructions that gather are no faster on many processors.
    fn gather(&mut self) -> TokenStream {
        let (name, element, to_array) = (self.name(Helper::Gather), self.element(), self.to_array());
        let elements = (0..self.lanes).map(|lane| {
            let lane = Literal::usize_unsuffixed(lane);
            quote!(one(a[#lane].to_bits()))
        });
        let set = self.vector_of(elements.collect());
        self.function(
            quote!(unsafe fn #name<const OF: u32>(p: *const #element, v: V) -> V),
            quote! {
                unsafe {
                    #to_array
                    let one = |i: u32| if i < OF { *p.wrapping_add(i as usize) } else { 0.0 };
                    #set
                }
            },
        )
    }

    /// Statements that leave the lanes of `v` in an array `a`.
    fn to_array(&self) -> TokenStream {
        let (path, n) = (self.path(), Literal::usize_unsuffixed(self.lanes));
        let store = match self.isa {
            Isa::Portable => return quote!(let a = v.0;),
            Isa::Neon => ident(&format!("vst1q_{}", self.dtype.name())),
            _ => x86::intrinsic(self, "storeu"),
        };
        quote! {
            let mut a = [0.0; #n];
            #path::#store(a.as_mut_ptr(), v);
        }
    }
}

/// What an element of `storage` is in emitted code: halves are their bits.
pub(super) fn stored_as(storage: Storage, lanes: DType) -> &'static str {
    match storage {
        Storage::F16 | Storage::Bf16 => "u16",
        Storage::U8 | Storage::I8 => storage.name(),
        // Bits of lanes, where these have as many.
        Storage::I32 if lanes == DType::F64 => storage.name(),
        Storage::F32 | Storage::F64 | Storage::I32 => lanes.name(),
    }
}

/// What tells the versions of a layer apart, as the compiler's options write it.
pub(super) const fn version_name(kernel: &Kernel) -> &'static str {
    match kernel.isa {
        Isa::Avx512 if kernel.vnni => "avx512+vnni",
        Isa::Avx2 if kernel.vnni => "avx2+vnni",
        isa => isa.name(),
    }
}

/// The target features that a version is compiled with and that a CPU must have to run it.
pub(super) fn features_of(kernel: &Kernel) -> &'static [&'static str] {
    features(kernel.isa, kernel.fma, kernel.vnni, has_f16(kernel))
}

fn has_f16(kernel: &Kernel) -> bool {
    kernel.buffers.iter().any(|b| b.storage == Storage::F16)
}

const fn features(isa: Isa, fma: bool, vnni: bool, has_f16: bool) -> &'static [&'static str] {
    match (isa, fma) {
        (Isa::Avx2, true) if has_f16 => &["avx2", "fma", "f16c"],
        (Isa::Avx2, false) if has_f16 => &["avx2", "f16c"],
        (Isa::Avx512, _) if vnni => &["avx512f", "avx512vl", "avx512bw", "avx512dq", "avx512vnni"],
        (Isa::Avx2, true) if vnni => &["avx2", "fma", "avxvnni"],
        (Isa::Avx2, false) if vnni => &["avx2", "avxvnni"],
        (Isa::Avx512, _) => &["avx512f", "avx512vl", "avx512bw", "avx512dq"],
        (Isa::Avx2, true) => &["avx2", "fma"],
        (Isa::Avx2, false) => &["avx2"],
        (Isa::Sse, true) => &["sse2", "fma"],
        (Isa::Sse, false) => &["sse2"],
        (Isa::Neon, _) => &["neon"],
        (Isa::Portable, _) => &[],
    }
}
