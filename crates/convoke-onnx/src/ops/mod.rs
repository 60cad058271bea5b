//! What each operator of ONNX becomes.
//!
//! In comes a [`Call`], a node with its inputs as constants and views; out come views of values that layers make. Each module has the operators of a kind. What
//! an operator can say and the language cannot is refused with a [`Reason`].

mod binary;
mod conv;
mod linear;
mod moves;
mod norm;
mod numbers;
mod pool;
mod product;
mod quantized;
mod recurrent;
mod reduce;
mod resize;
mod spread;
mod steps;

pub(crate) use moves::contiguous;
pub(crate) use quantized::{Part, Symbol, Task, quantize, sums, task};
pub(crate) use recurrent::{Order, order};

use crate::error::Reason;
use crate::ir::{Network, Op, Role, Shape, Step};
use crate::shapes::Params;
use crate::tensor::Budget;
use crate::view::{View, Views, default_roles};

/// Elements that a value may have.
const MAX_ELEMENTS: u64 = 1 << 40;

/// Parts that one value may be joined of.
const MAX_PARTS: usize = 1024;

/// A size of a value.
const MAX_SIZE: usize = i32::MAX as usize;

/// Operators that are translated, or computed where all inputs are constants, in the order of the alphabet.
pub const OPERATORS: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "DepthToSpace",
    "Div",
    "Dropout",
    "DynamicQuantizeLinear",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "GRU",
    "Gather",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "If",
    "InstanceNormalization",
    "LRN",
    "LSTM",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LpPool",
    "MatMul",
    "MatMulInteger",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Resize",
    "Round",
    "Selu",
    "Shape",
    "Sigmoid",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Tanh",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Upsample",
    "Where",
    "com.microsoft.DynamicQuantizeLSTM",
];

/// A node and its inputs.
pub(crate) struct Call<'n, 'g> {
    pub(crate) params: Params<'n, 'g>,
    /// For each input the view, if it is one.
    pub(crate) views: Vec<Option<View>>,
    /// For each output whether anything takes it.
    pub(crate) used: Vec<bool>,
    /// Whether it is a quotient that is 0 where its divisor is.
    pub(crate) or_zero: bool,
    /// The norm that it is the last node of: of what, along which axes, and what is added to the variance.
    pub(crate) norm: Option<(View, Vec<usize>, f64)>,
    /// Names that its layers could have.
    pub(crate) hints: Vec<String>,
}

impl Call<'_, '_> {
    /// The step that makes one over a divisor.
    fn reciprocal(&self) -> Step {
        if self.or_zero { Step::Plain("reciprocal_no_nan") } else { Step::Pow(-1.0) }
    }

    /// An input that is a value.
    fn view(&self, input: usize) -> Result<&View, Reason> {
        if self.params.node.input(input).is_none() {
            return Err(Reason::NoInput(input));
        }
        self.views.get(input).and_then(Option::as_ref).ok_or(Reason::IsConstant(input))
    }
}

/// What is being made.
pub(crate) struct Build {
    pub(crate) net: Network,
    pub(crate) views: Views,
    pub(crate) budget: Budget,
    /// Images of every value.
    pub(crate) batch: usize,
}

impl Build {
    /// A value in which the axes of the view have these roles.
    fn value(&mut self, view: &View, roles: &[Role]) -> Result<usize, Reason> {
        let value = self.views.value(&mut self.net, view, roles);
        value.ok_or_else(|| Reason::Moves(format!("{:?}", view.dims())))
    }

    /// The view with axes of the value it is of, and what they are; none of an axis of one element that is no axis of it.
    fn aligned(&mut self, view: &View) -> Result<(View, Vec<Option<Role>>), Reason> {
        if let Some(roles) = view.roles(self.net.shape(view.value)) {
            return Ok((view.clone(), roles));
        }
        let dims = view.dims();
        let roles =
            default_roles(&dims, self.batch).ok_or(Reason::Axes { expected: "up to five", found: dims.len() })?;
        let value = self.value(view, &roles)?;
        let view = View::of(value, self.net.shape(value), &roles);
        Ok((view, roles.into_iter().map(Some).collect()))
    }

    /// The view with axes of the value it is of, each of which is one: of one element too.
    fn placed(&mut self, view: &View) -> Result<(View, Vec<Role>), Reason> {
        let (view, roles) = self.aligned(view)?;
        let rank = self.net.shape(view.value).sizes.len();
        if let Some(roles) = filled(roles, self.batch, rank) {
            return Ok((view, roles));
        }
        let dims = view.dims();
        let roles =
            default_roles(&dims, self.batch).ok_or(Reason::Axes { expected: "up to five", found: dims.len() })?;
        let value = self.value(&view, &roles)?;
        Ok((View::of(value, self.net.shape(value), &roles), roles))
    }

    /// The view with axes that are those of a value, in which `wanted` ones are of space: where they are not, one whose only channel is all of an image.
    fn spatial(&mut self, view: &View, wanted: impl Fn(usize) -> bool) -> Result<(View, Vec<Role>), Reason> {
        let is_space = |(axis, role): (usize, &Role)| matches!(role, Role::Space(_)) || !wanted(axis);
        let dims = view.dims();
        if let Ok((view, roles)) = self.placed(view)
            && roles.iter().enumerate().all(is_space)
        {
            return Ok((view, roles));
        }
        let has_batch = dims.first() == Some(&self.batch) && (self.batch > 1 || !wanted(0));
        if self.batch > 1 && (!has_batch || wanted(0)) {
            return Err(Reason::No("it changes how many images there are"));
        }
        let lead = if has_batch { vec![Role::Batch] } else { vec![] };
        let roles: Vec<_> = lead.into_iter().chain((0..3).map(Role::Space)).take(dims.len()).collect();
        if roles.len() < dims.len() {
            return Err(Reason::No("it changes channels as space is changed, which is translated of up to three axes"));
        }
        let value = self.value(view, &roles)?;
        Ok((View::of(value, self.net.shape(value), &roles), roles))
    }

    /// Adds a layer.
    fn push(
        &mut self,
        op: Op,
        inputs: Vec<usize>,
        then: Vec<Step>,
        shape: Shape,
        hints: &[String],
    ) -> Result<usize, Reason> {
        checked(&shape)?;
        Ok(self.net.push(op, inputs, then, shape, hints))
    }

    /// The steps alone, on every element.
    fn steps(&mut self, view: &View, then: Vec<Step>, hints: &[String]) -> Result<View, Reason> {
        let shape = self.net.shape(view.value).clone();
        let value = self.push(Op::Elementwise, vec![view.value], then, shape, hints)?;
        Ok(View { value, axes: view.axes.clone() })
    }
}

/// Roles for all axes, those of one element too; `None` if that cannot be.
fn filled(roles: Vec<Option<Role>>, batch: usize, rank: usize) -> Option<Vec<Role>> {
    let all = [Role::Batch, Role::Channel].into_iter().chain((0..rank).map(Role::Space));
    let mut free: Vec<_> = all.filter(|role| !roles.contains(&Some(*role))).collect();
    if batch > 1 {
        free.retain(|&role| role != Role::Batch);
    }
    free.reverse();
    roles.into_iter().map(|role| role.or_else(|| free.pop())).collect()
}

/// Refuses sizes whose product is too large.
pub(crate) fn checked(shape: &Shape) -> Result<(), Reason> {
    let sizes = shape.sizes.iter().chain([&shape.batch, &shape.channels]);
    let product = sizes.clone().try_fold(1_u64, |product, &size| product.checked_mul(size as u64));
    match product {
        Some(1..=MAX_ELEMENTS) if sizes.clone().all(|&size| size <= MAX_SIZE) => Ok(()),
        Some(0) => Err(Reason::Number { what: "a size", found: "0".to_owned(), expected: "values have elements" }),
        _ => Err(Reason::Overflow),
    }
}

/// What the node makes; `None` if its operator is not known.
pub(crate) fn translate(build: &mut Build, call: &Call<'_, '_>) -> Result<Option<Vec<View>>, Reason> {
    let op = call.params.node.op();
    if let Some((view, axes, epsilon)) = &call.norm {
        return Ok(Some(vec![norm::written_out(build, call, view, axes, *epsilon)?]));
    }
    let one = match op.as_str() {
        "Conv" => conv::conv(build, call)?,
        "ConvTranspose" => conv::conv_transpose(build, call)?,
        "MaxPool" | "AveragePool" | "LpPool" => pool::pool(build, call, &op)?,
        "GlobalMaxPool" | "GlobalAveragePool" | "GlobalLpPool" => pool::global(build, call, &op)?,
        "ReduceMean" | "ReduceSum" | "ReduceSumSquare" | "ReduceMax" | "ReduceMin" | "ReduceL1" | "ReduceL2" => {
            reduce::reduce(build, call, &op)?
        }
        "LayerNormalization" => norm::layer(build, call)?,
        "InstanceNormalization" | "GroupNormalization" => norm::of_channels(build, call, &op)?,
        "LRN" => pool::lrn(build, call)?,
        "Gemm" => linear::gemm(build, call)?,
        "MatMul" => linear::matmul(build, call)?,
        "BatchNormalization" => binary::batch_normalization(build, call)?,
        "PRelu" => binary::prelu(build, call)?,
        "Add" | "Sum" | "Mean" => binary::sum(build, call, &op)?,
        "Sub" => binary::difference(build, call)?,
        "Mul" => binary::product(build, call)?,
        "Div" => binary::quotient(build, call)?,
        "Pow" => binary::power(build, call)?,
        "Max" | "Min" => binary::bound(build, call, &op)?,
        "Softmax" => steps::softmax(build, call)?,
        "Concat" => moves::concat(build, call)?,
        "Slice" => moves::slice(build, call)?,
        "LSTM" => return recurrent::lstm(build, call).map(Some),
        "com.microsoft.DynamicQuantizeLSTM" => return recurrent::lstm_quantized(build, call).map(Some),
        "ConvInteger" | "MatMulInteger" => {
            return Err(Reason::No("its first input is none of `DynamicQuantizeLinear`"));
        }
        "GRU" => return recurrent::gru(build, call).map(Some),
        "Split" => return moves::split(build, call).map(Some),
        "Pad" => moves::pad(build, call)?,
        "Transpose" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => moves::renamed(build, call, &op)?,
        "Identity" | "Dropout" | "Cast" => moves::same(call, &op)?,
        "Resize" | "Upsample" => resize::resize(build, call)?,
        "Expand" => spread::expand(build, call)?,
        "Tile" => spread::tile(build, call)?,
        "DepthToSpace" | "SpaceToDepth" => spread::depth_and_space(build, call, &op)?,
        "Gather" => spread::gather(build, call)?,
        "Equal" | "Where" => {
            return Err(Reason::No(
                "of values it is translated only in `Where(Equal(d, 0), 0, x / d)`, a quotient that is 0 where its divisor is",
            ));
        }
        _ => match steps::steps(call, &op)? {
            Some(then) => build.steps(call.view(0)?, then, &call.hints)?,
            None if OPERATORS.contains(&op.as_str()) => {
                return Err(Reason::No("it is computed of constants alone, not translated"));
            }
            None => return Ok(None),
        },
    };
    Ok(Some(vec![one]))
}
