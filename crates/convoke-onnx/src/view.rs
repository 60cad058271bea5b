//! ONNX's tensors as views of values.
//!
//! A value has channels, spatial axes and an order in memory; a tensor of ONNX has axes that mean nothing by themselves. A [`View`] says for every axis of the
//! tensor which elements of the value it runs over, as factors: a size and a stride in the memory of the value. So `Transpose`, `Reshape`, `Squeeze` and
//! their like move nothing. Only when a layer needs the axes to be channels and space does [`Views::value`] make a value in which they are, and most
//! often that is the one there is.

use std::collections::HashMap;

use crate::ir::{Network, Op, Role, Shape};

/// A part of an axis: how many, and how far apart in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Factor {
    pub(crate) size: usize,
    pub(crate) stride: usize,
}

/// A tensor of ONNX: a value, and for each axis what it runs over, the outermost factor first. Factors of one element are left out, and neighbours are
/// one where they can be. Every element of the value is in the tensor once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct View {
    pub(crate) value: usize,
    pub(crate) axes: Vec<Vec<Factor>>,
}

/// Puts neighbouring factors together that are one.
pub(crate) fn merged(factors: impl IntoIterator<Item = Factor>) -> Vec<Factor> {
    let mut out: Vec<Factor> = Vec::new();
    for factor in factors.into_iter().filter(|factor| factor.size != 1) {
        match out.last_mut() {
            Some(outer) if outer.stride == factor.size * factor.stride => {
                *outer = Factor { size: outer.size * factor.size, stride: factor.stride };
            }
            _ => out.push(factor),
        }
    }
    out
}

impl View {
    /// A value whose axes are the tensor's, in this order. Axes that are not named have one element.
    pub(crate) fn of(value: usize, shape: &Shape, roles: &[Role]) -> Self {
        Self { value, axes: axes_of(shape, roles) }
    }

    /// The sizes of the tensor.
    pub(crate) fn dims(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.iter().map(|factor| factor.size).product()).collect()
    }

    /// The same elements with other sizes, if no element has to move for that.
    pub(crate) fn reshaped(&self, dims: &[usize]) -> Option<Self> {
        let mut rest = merged(self.axes.iter().flatten().copied());
        rest.reverse();
        let mut axes = Vec::with_capacity(dims.len());
        for &size in dims {
            let (mut needed, mut axis) = (size, Vec::new());
            while needed > 1 {
                let factor = rest.pop()?;
                if needed.is_multiple_of(factor.size) {
                    needed /= factor.size;
                    axis.push(factor);
                } else if factor.size.is_multiple_of(needed) {
                    let inner = factor.size / needed;
                    rest.push(Factor { size: inner, stride: factor.stride });
                    axis.push(Factor { size: needed, stride: factor.stride * inner });
                    needed = 1;
                } else {
                    return None;
                }
            }
            axes.push(merged(axis));
        }
        rest.is_empty().then_some(Self { value: self.value, axes })
    }

    /// The axes in another order.
    pub(crate) fn transposed(&self, order: &[usize]) -> Self {
        Self { value: self.value, axes: order.iter().map(|&axis| self.axes[axis].clone()).collect() }
    }

    /// What each axis is of the value, if each is one of its axes. Of equal ones any will do.
    pub(crate) fn roles(&self, shape: &Shape) -> Option<Vec<Option<Role>>> {
        let find = |axis: &Vec<Factor>| {
            if axis.is_empty() {
                return Some(None);
            }
            shape.order().into_iter().find(|&role| axis_of(shape, role) == *axis).map(Some)
        };
        self.axes.iter().map(find).collect()
    }
}

fn axis_of(shape: &Shape, role: Role) -> Vec<Factor> {
    merged([Factor { size: shape.size(role), stride: shape.stride(role) }])
}

fn axes_of(shape: &Shape, roles: &[Role]) -> Vec<Vec<Factor>> {
    roles.iter().map(|&role| axis_of(shape, role)).collect()
}

/// What the axes of a tensor are if nothing else says: the batch, the channels, space. Without a batch if there is one image and no axis for it. None if there
/// are more axes than values have.
pub(crate) fn default_roles(dims: &[usize], batch: usize) -> Option<Vec<Role>> {
    let has_batch = dims.first() == Some(&batch) && (dims.len() > 1 || batch > 1);
    let lead = if has_batch { vec![Role::Batch, Role::Channel] } else { vec![Role::Channel] };
    if !has_batch && batch != 1 || dims.len() > lead.len() + 3 {
        return None;
    }
    let space = dims.len().saturating_sub(lead.len());
    Some(lead.into_iter().chain((0..space).map(Role::Space)).take(dims.len()).collect())
}

/// The axes as those of a product with a matrix: the last is the channels. Also if that is none of the batch.
pub(crate) fn roles_with_channel(dims: &[usize], batch: usize, channel: usize) -> Option<Vec<Role>> {
    let has_batch = channel != 0 && dims.first() == Some(&batch);
    if !has_batch && batch != 1 {
        return None;
    }
    let mut space = 0;
    let roles: Vec<_> = (0..dims.len())
        .map(|axis| match axis {
            _ if axis == channel => Role::Channel,
            0 if has_batch => Role::Batch,
            _ => {
                space += 1;
                Role::Space(space - 1)
            }
        })
        .collect();
    (space <= 3).then_some(roles)
}

/// The shape in which these axes have these roles.
pub(crate) fn shape_of(dims: &[usize], roles: &[Role], batch: usize, last: bool) -> Shape {
    let mut shape = Shape { batch, channels: 1, sizes: vec![1], last };
    for (&size, &role) in dims.iter().zip(roles) {
        match role {
            Role::Batch => {}
            Role::Channel => shape.channels = size,
            Role::Space(at) => {
                shape.sizes.resize(shape.sizes.len().max(at + 1), 1);
                shape.sizes[at] = size;
            }
        }
    }
    shape
}

/// A part of an axis in the memory of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Step {
    size: usize,
    from: usize,
    to: usize,
}

/// What has been moved already.
#[derive(Debug, Default)]
pub(crate) struct Views {
    done: HashMap<(usize, Vec<Step>, Shape), usize>,
}

impl Views {
    /// A value in which the axes of the view have these roles, its memory in either order: that which is there already, if it is in one.
    pub(crate) fn value(&mut self, net: &mut Network, view: &View, roles: &[Role]) -> Option<usize> {
        let own = net.shape(view.value).clone();
        let dims = view.dims();
        let shapes = [own.last, !own.last].map(|last| shape_of(&dims, roles, own.batch, last));
        if shapes[0].image() != own.image() || dims.iter().product::<usize>() != own.image() * own.batch {
            return None;
        }
        let free = shapes.iter().find(|shape| axes_of(shape, roles) == view.axes);
        let shape = free.unwrap_or(&shapes[0]).clone();
        self.arranged(net, view, &axes_of(&shape, roles), &shape)
    }

    /// A value of this shape in which the axes of the view run over `axes`.
    pub(crate) fn arranged(
        &mut self,
        net: &mut Network,
        view: &View,
        axes: &[Vec<Factor>],
        shape: &Shape,
    ) -> Option<usize> {
        let own = net.shape(view.value).clone();
        let steps = common(&view.axes, axes)?;
        let steps = within_images(steps, own.batch, own.image())?;
        let steps = merged_steps(steps);
        if steps.len() <= 1 && own == *shape {
            return Some(view.value);
        }
        let key = (view.value, steps.clone(), shape.clone());
        if let Some(&value) = self.done.get(&key) {
            return Some(value);
        }
        let value = moved(net, view.value, steps, shape);
        self.done.insert(key, value);
        Some(value)
    }
}

/// The factors of both, cut so that they are the same sizes.
fn common(first: &[Vec<Factor>], second: &[Vec<Factor>]) -> Option<Vec<Step>> {
    if first.len() != second.len() {
        return None;
    }
    let mut steps = Vec::new();
    for (first, second) in first.iter().zip(second) {
        let (mut first, mut second) = (first.clone(), second.clone());
        // From the innermost on.
        while let (Some(&a), Some(&b)) = (first.last(), second.last()) {
            let size = a.size.min(b.size);
            if !a.size.is_multiple_of(size) || !b.size.is_multiple_of(size) {
                return None;
            }
            steps.push(Step { size, from: a.stride, to: b.stride });
            for (factors, factor) in [(&mut first, a), (&mut second, b)] {
                factors.pop();
                if factor.size > size {
                    factors.push(Factor { size: factor.size / size, stride: factor.stride * size });
                }
            }
        }
        if !first.is_empty() || !second.is_empty() {
            return None;
        }
    }
    Some(steps)
}

/// The steps that stay in an image, if the others are the same images in both.
fn within_images(steps: Vec<Step>, batch: usize, image: usize) -> Option<Vec<Step>> {
    if batch == 1 {
        return Some(steps);
    }
    let mut inside = Vec::new();
    for step in steps {
        let mut step = step;
        if step.from < image && step.from * step.size > image {
            let inner = image / step.from;
            if step.from * inner != image || !step.size.is_multiple_of(inner) {
                return None;
            }
            inside.push(Step { size: inner, ..step });
            step = Step { size: step.size / inner, from: image, to: step.to * inner };
        }
        match (step.from >= image, step.to >= image) {
            (true, true) if step.from == step.to => {}
            (false, false) if step.to * step.size <= image => inside.push(step),
            _ => return None,
        }
    }
    Some(inside)
}

/// In the order of memory, with neighbours together that stay neighbours.
fn merged_steps(mut steps: Vec<Step>) -> Vec<Step> {
    steps.retain(|step| step.size != 1);
    steps.sort_by_key(|step| std::cmp::Reverse(step.from));
    let mut out: Vec<Step> = Vec::new();
    for step in steps {
        match out.last_mut() {
            Some(outer) if outer.from == step.size * step.from && outer.to == step.size * step.to => {
                *outer = Step { size: outer.size * step.size, ..step };
            }
            _ => out.push(step),
        }
    }
    out
}

/// The layers that move elements so.
fn moved(net: &mut Network, from: usize, mut steps: Vec<Step>, shape: &Shape) -> usize {
    let mut value = from;
    let own = net.shape(value).clone();
    let is_same_image = Shape { last: own.last, ..shape.clone() } == own && shape.last != own.last;
    let first = if own.last { own.pixels() } else { own.channels };
    if is_same_image && steps.len() == 2 && steps[0].size == first {
        return net.push(Op::Reorder, vec![value], vec![], shape.clone(), &[]);
    }
    while steps.len() > 1 {
        let (blocks, order) = next_transpose(&steps);
        let cut = block_shape(own.batch, &blocks);
        let mut at = net.shape(value).clone();
        if at.memory() != cut.memory() {
            value = net.push(Op::Reshape, vec![value], vec![], cut.clone(), &[]);
            at = cut;
        }
        let sizes: Vec<_> = order.iter().map(|&block| blocks[block]).collect();
        let axes = std::iter::once(0).chain(order.iter().map(|&block| block + 1)).collect();
        let made = renamed_sizes(&at, &sizes);
        value = net.push(Op::Transpose(axes), vec![value], vec![], made, &[]);
        steps = permuted(steps, &blocks, &order);
    }
    if net.shape(value) != shape {
        value = net.push(Op::Reshape, vec![value], vec![], shape.clone(), &[]);
    }
    value
}

/// A shape of these sizes, of two to four of them.
fn block_shape(batch: usize, blocks: &[usize]) -> Shape {
    Shape { batch, channels: blocks[0], sizes: blocks[1..].to_vec(), last: false }
}

/// A shape of the same layout whose sizes in memory are these.
fn renamed_sizes(like: &Shape, sizes: &[usize]) -> Shape {
    match like.last {
        false => Shape { channels: sizes[0], sizes: sizes[1..].to_vec(), ..like.clone() },
        true => Shape { channels: sizes[sizes.len() - 1], sizes: sizes[..sizes.len() - 1].to_vec(), ..like.clone() },
    }
}

/// Sizes in the order of memory, two to four of them, and their order behind the next transposition: all that is wanted if there are so few, else the
/// first that is in a wrong place comes to its own.
fn next_transpose(steps: &[Step]) -> (Vec<usize>, Vec<usize>) {
    let mut wanted: Vec<usize> = (0..steps.len()).collect();
    wanted.sort_by_key(|&at| std::cmp::Reverse(steps[at].to));
    if steps.len() <= 4 {
        return (steps.iter().map(|step| step.size).collect(), wanted);
    }
    let product = |range: std::ops::Range<usize>| steps[range].iter().map(|step| step.size).product::<usize>();
    let first = (0..steps.len()).find(|&at| wanted[at] != at).unwrap_or(0);
    let from = wanted[first];
    let run = (0..steps.len() - from).take_while(|&more| wanted.get(first + more) == Some(&(from + more))).count();
    let parts = [0..first, first..from, from..from + run, from + run..steps.len()];
    let kept: Vec<usize> = (0..4).filter(|&part| !parts[part].is_empty()).collect();
    let blocks = kept.iter().map(|&part| product(parts[part].clone())).collect();
    let order = [0, 2, 1, 3].iter().filter_map(|part| kept.iter().position(|other| other == part)).collect();
    (blocks, order)
}

/// The steps in the memory behind a transposition of blocks.
fn permuted(steps: Vec<Step>, blocks: &[usize], order: &[usize]) -> Vec<Step> {
    let mut groups: Vec<Vec<Step>> = vec![Vec::new(); blocks.len()];
    let (mut group, mut product) = (0, 1);
    for step in steps {
        groups[group].push(step);
        product *= step.size;
        if product == blocks[group] {
            (group, product) = (group + 1, 1);
        }
    }
    let mut steps: Vec<_> = order.iter().flat_map(|&block| groups[block].clone()).collect();
    let mut stride = 1;
    for step in steps.iter_mut().rev() {
        step.from = stride;
        stride *= step.size;
    }
    merged_steps(steps)
}
