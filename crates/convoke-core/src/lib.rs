//! The Convoke compiler.
//!
//! Text goes through these stages, each a function with a text form on both sides:
//!
//! | stage | from | to |
//! |---|---|---|
//! | [`front`] | source text | [`front::ast`] |
//! | [`spec`] | syntax tree | [`spec::LayerSpec`] |
//! | [`plan`] | layer, [`target::Target`] | [`plan::Plan`] |
//! | [`lower`] | layer, plan | [`ir::Kernel`] |
//! | [`ir`] | kernel | [`ir::Verified`] |
//! | [`back`] | verified kernel | Rust source |
//!
//! [`eval`] holds the two oracles: a naive reference and an interpreter of the IR.
#![forbid(unsafe_code)]

pub mod back;
pub mod diagnostic;
pub mod eval;
pub mod front;
pub mod ir;
pub mod lower;
mod npz;
pub mod pipeline;
pub mod plan;
pub mod safetensors;
pub mod span;
pub mod spec;
pub mod target;
