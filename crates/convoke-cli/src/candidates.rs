//! The plans that a layer may have: the planner's best of every kind, and others near them.
//!
//! Which kinds there are is the planner's to say; a neighbour is what it makes of a layer that pins a little more. All keep to
//! what the layer pins itself.

use convoke_core::plan::{self, PackInput, Plan};
use convoke_core::span::{Span, Spanned};
use convoke_core::spec::{Axis, LayerSpec, Schedule};
use convoke_core::target::Target;

/// Kinds whose neighbours are looked at.
const KINDS: usize = 3;

/// The plans of a layer in the order of their predicted cost, each once, and which of them is the planner's choice.
#[derive(Debug)]
pub(crate) struct Plans {
    pub(crate) all: Vec<Plan>,
    pub(crate) analytic: usize,
}

impl Plans {
    /// The best plan of every kind, with `neighbours` of each of the best kinds besides. `chosen` is the planner's choice.
    pub(crate) fn new(spec: &LayerSpec, target: &Target, chosen: &Plan, neighbours: usize) -> Self {
        let kinds = plan::candidates(spec, target).into_iter().filter_map(|c| c.outcome.ok());
        let mut all = vec![chosen.clone()];
        all.extend(kinds);
        sort(&mut all);
        let near = all.iter().take(KINDS).flat_map(|kind| near(spec, target, kind, neighbours));
        let near: Vec<Plan> = near.collect();
        all.extend(near);
        sort(&mut all);
        let analytic = all.iter().position(|plan| same(plan, chosen)).unwrap_or(0);
        Self { all, analytic }
    }

    /// Numbers of the plans that are worth a try: the first `least`, the planner's choice, and what should take no more than
    /// `factor` times as long as the best.
    pub(crate) fn promising(&self, factor: f64, least: usize) -> Vec<usize> {
        let limit = self.all.first().map_or(0.0, |best| factor * best.cost.total());
        let promising = |at: &usize| *at < least || *at == self.analytic || self.all[*at].cost.total() <= limit;
        (0..self.all.len()).filter(promising).collect()
    }
}

/// Whether two plans are the same but for the words.
fn same(a: &Plan, b: &Plan) -> bool {
    a.to_schedule() == b.to_schedule()
}

/// By predicted cost, each plan once.
fn sort(plans: &mut Vec<Plan>) {
    plans.sort_by(|a, b| a.cost.total().total_cmp(&b.cost.total()));
    let mut at = 0;
    while at < plans.len() {
        if plans[..at].iter().any(|earlier| same(earlier, &plans[at])) {
            plans.remove(at);
        } else {
            at += 1;
        }
    }
}

/// `most` plans that differ from `plan` in the tile, the blocks or the unrolling, in turn; of each sort those of least cost.
fn near(spec: &LayerSpec, target: &Target, plan: &Plan, most: usize) -> Vec<Plan> {
    let made = |schedules: Vec<Schedule>| {
        let pinned = |schedule| LayerSpec { schedule, ..spec.clone() };
        let chosen = schedules.into_iter().filter_map(|s| plan::choose(&pinned(s), target).ok());
        let mut plans: Vec<Plan> = chosen.filter(|other| !same(other, plan)).collect();
        sort(&mut plans);
        plans.reverse();
        plans
    };
    let mut sorts = [made(tiles(spec, plan)), made(blocks(spec, plan)), made(unrollings(spec, plan))];
    let mut found = Vec::new();
    while found.len() < most && sorts.iter().any(|plans| !plans.is_empty()) {
        found.extend(sorts.iter_mut().filter_map(Vec::pop));
    }
    found.truncate(most);
    found
}

/// What the layer pins, and the kind of `plan`.
fn kind(spec: &LayerSpec, plan: &Plan) -> Schedule {
    let Schedule { algorithm, vector, pack_input, .. } = plan.to_schedule();
    Schedule { algorithm, vector, pack_input, ..spec.schedule.clone() }
}

fn pin<T>(value: T) -> Option<Spanned<T>> {
    Some(Spanned::new(value, Span::default()))
}

/// Tiles a few rows or a vector smaller or larger, with the blocks that the planner gives them.
fn tiles(spec: &LayerSpec, plan: &Plan) -> Vec<Schedule> {
    if spec.schedule.tile.is_some() {
        return Vec::new();
    }
    let (rows, vectors) = (plan.tile.rows, plan.tile.vectors);
    let mut all: Vec<(usize, usize)> = Vec::new();
    for r in [rows / 2, rows.saturating_sub(2), rows.saturating_sub(1), rows, rows + 1, rows + 2, rows * 2] {
        for v in [vectors.saturating_sub(1), vectors, vectors + 1, vectors * 2] {
            if r > 0 && v > 0 && (r, v) != (rows, vectors) && !all.contains(&(r, v)) {
                all.push((r, v));
            }
        }
    }
    all.into_iter().map(|tile| Schedule { tile: pin(tile), ..kind(spec, plan) }).collect()
}

/// The same tile with other blocks, or with none.
fn blocks(spec: &LayerSpec, plan: &Plan) -> Vec<Schedule> {
    if spec.schedule.block.is_some() || spec.schedule.order.is_some() {
        return Vec::new();
    }
    let whole = plan.to_schedule();
    let with_tile = || Schedule { tile: whole.tile, unroll: whole.unroll, ..kind(spec, plan) };
    let with = |block: Vec<(Axis, usize)>| Schedule { block: pin(block), ..with_tile() };
    if plan.block.is_empty() {
        return [2, 4, 8, 16].map(|rows| with(vec![(Axis::Oh, rows)])).into();
    }
    let mut all = Vec::new();
    for at in 0..plan.block.len() {
        let (axis, size) = plan.block[at];
        for size in [size / 2, size * 2, size * 4] {
            let mut block = plan.block.clone();
            block[at] = (axis, size);
            all.push(with(block));
        }
    }
    // Without blocks, every axis stands once; a layer that pins nothing of the order says so with an order.
    let mut order: Vec<Axis> = Vec::new();
    for &axis in &plan.order {
        if !order.contains(&axis) {
            order.push(axis);
        }
    }
    all.push(Schedule { order: pin(order), ..with_tile() });
    all
}

/// The same plan with a loop written out half as far, or twice as far.
fn unrollings(spec: &LayerSpec, plan: &Plan) -> Vec<Schedule> {
    if spec.schedule.unroll.is_some() {
        return Vec::new();
    }
    let to = [plan.unroll / 2, plan.unroll * 2].into_iter().filter(|u| *u > 0);
    to.map(|unroll| Schedule { unroll: pin(unroll), ..plan.to_schedule() }).collect()
}

/// A plan in a few words: `direct oc pad 4x3 (oh: 4) unroll 2`.
pub(crate) fn title(plan: &Plan) -> String {
    let pack = if plan.pack_input == PackInput::None { String::new() } else { format!(" {}", plan.pack_input) };
    let tile = tile(plan);
    let block = block(plan).map_or(String::new(), |block| format!(" {block}"));
    format!("{} {}{pack} {tile}{block} unroll {}", plan.algorithm, plan.vector, plan.unroll)
}

/// `4x3`.
pub(crate) fn tile(plan: &Plan) -> String {
    format!("{}x{}", plan.tile.rows, plan.tile.vectors)
}

/// `(oh: 4)`, as the language writes it.
pub(crate) fn block(plan: &Plan) -> Option<String> {
    let sizes: Vec<_> = plan.block.iter().map(|(axis, size)| format!("{axis}: {size}")).collect();
    if sizes.is_empty() { None } else { Some(format!("({})", sizes.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYER: &str = "conv2d l { input: f32[1, 16, 20, 20] @ nchw, out_channels: 24, kernel_size: 3, padding: 1";

    fn plans(pins: &str, neighbours: usize) -> (LayerSpec, Plans) {
        let spec: LayerSpec = format!("{LAYER}, schedule {{ {pins} }} }}").parse().unwrap();
        let chosen = plan::choose(&spec, &Target::AVX2).unwrap();
        let plans = Plans::new(&spec, &Target::AVX2, &chosen, neighbours);
        assert!(same(&plans.all[plans.analytic], &chosen));
        (spec, plans)
    }

    #[test]
    fn every_kind_that_has_a_plan_is_there_in_the_order_of_cost() {
        let (spec, plans) = plans("", 0);
        let kinds = plan::candidates(&spec, &Target::AVX2).into_iter().filter_map(|c| c.outcome.ok()).count();
        assert!(kinds > 2 && plans.all.len() == kinds, "{kinds} and {}", plans.all.len());
        assert!(plans.all.is_sorted_by(|a, b| a.cost.total() <= b.cost.total()));
    }

    #[test]
    fn neighbours_are_more_plans_and_each_is_chosen_by_its_schedule() {
        let (spec, plans) = plans("", 5);
        assert!(plans.all.len() > self::plans("", 0).1.all.len() + 5, "{}", plans.all.len());
        for (at, plan) in plans.all.iter().enumerate() {
            let pinned = LayerSpec { schedule: plan.to_schedule(), ..spec.clone() };
            assert!(same(&plan::choose(&pinned, &Target::AVX2).unwrap(), plan), "{plan}");
            assert!(plans.all[..at].iter().all(|other| !same(other, plan)), "{plan} twice");
        }
    }

    #[test]
    fn pins_are_kept() {
        for pins in [
            "tile: 2x2",
            "unroll: 2, vector: ow",
            "order: (oh, n, g, oc, od, ow)",
            "block: (oh: 4)",
            "pack_input: pad, parallel: oc",
        ] {
            let (spec, plans) = plans(pins, 6);
            assert!(plans.all.len() > 1, "{pins}");
            for plan in &plans.all {
                let mut merged = plan.to_schedule();
                let Schedule { tile, unroll, vector, order, block, pack_input, parallel, .. } = spec.schedule.clone();
                merged.tile = tile.or(merged.tile);
                merged.unroll = unroll.or(merged.unroll);
                merged.vector = vector.or(merged.vector);
                merged.order = order.or(merged.order);
                merged.block = block.or(merged.block);
                merged.pack_input = pack_input.or(merged.pack_input);
                merged.parallel = parallel.or(merged.parallel);
                assert_eq!(merged, plan.to_schedule(), "{pins}");
            }
        }
    }

    #[test]
    fn what_should_take_too_long_is_left_out_but_for_the_first_few() {
        let (_, plans) = plans("", 0);
        assert_eq!(plans.promising(f64::MAX, 0).len(), plans.all.len());
        let few = plans.promising(1.0, 2);
        assert!(few.len() >= 2 && few.contains(&0) && few.contains(&1) && few.contains(&plans.analytic));
    }
}
