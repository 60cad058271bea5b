//! A plan of a layer as a line of JSON, the same for every verb that writes some.

use crate::candidates::{block, tile};
use crate::measure::{Measured, Timer, gflops};
use crate::source::Selected;
use convoke_core::plan::Plan;
use serde::Serialize;

/// A plan and what is known of it; what is not is left out.
#[derive(Default, Serialize)]
pub(super) struct PlanLine<'a> {
    pub(super) file: &'a str,
    pub(super) layer: &'a str,
    pub(super) backend: &'a str,
    pub(super) status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
    pub(super) algorithm: &'a str,
    pub(super) vector: &'a str,
    pub(super) pack_input: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) block: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unroll: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) predicted_cycles: Option<f64>,
    /// From 1, in the order of predicted cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rank: Option<usize>,
    /// Whether it is the planner's choice.
    pub(super) analytic: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fastest: Option<bool>,
    /// The time over that of the planner's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gflops: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) threads: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) clock: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cached: Option<bool>,
    /// The kernel's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plan: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schedule: Option<String>,
}

impl<'a> PlanLine<'a> {
    /// A line about a layer.
    pub(super) fn new(layer: Selected<'a>, status: &'a str) -> Self {
        Self { file: &layer.text.name, layer: &layer.spec.name, backend: "jit", status, ..Self::default() }
    }

    /// The same about `plan`.
    pub(super) fn of(self, plan: &Plan) -> Self {
        Self {
            algorithm: plan.algorithm.name(),
            vector: plan.vector.name(),
            pack_input: plan.pack_input.name(),
            tile: Some(tile(plan)),
            block: block(plan),
            unroll: Some(plan.unroll),
            predicted_cycles: Some(plan.cost.total()),
            schedule: Some(plan.to_string()),
            ..self
        }
    }

    /// The same with what was measured.
    pub(super) fn measured(self, layer: Selected<'a>, timer: &Timer, measured: &'a Measured) -> Self {
        Self {
            plan: Some(&measured.kernel),
            gflops: Some(gflops(layer.spec, measured.seconds)).filter(|x| x.is_finite()),
            run_us: Some(measured.seconds * 1e6),
            threads: Some(timer.threads),
            clock: Some(timer.clock.text()),
            ..self
        }
    }
}
