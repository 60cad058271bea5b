//! Nodes whose inputs are all constants, computed while the file is read.
//!
//! Sizes of models are often computed by nodes, and weights are made by them. What is not here is left to be translated, which then says that an
//! input is a constant. Everything that takes memory asks the [`Budget`] for it before.

use std::rc::Rc;

use crate::error::Reason;
use crate::shapes::{Cut, Params, axis, broadcast, differ_dims};
use crate::tensor::{Budget, DType, Data, Elements, Tensor, count};

/// What the node makes of constants; `None` if it is none of the operators here.
pub(crate) fn fold(params: &Params<'_, '_>, budget: &mut Budget) -> Result<Option<Vec<Tensor>>, Reason> {
    let node = params.node;
    let first = || params.needed(0, "the data").map(Rc::as_ref);
    let op = node.op();
    let one = match op.as_str() {
        "Constant" => constant(params)?,
        "ConstantOfShape" => filled(params)?,
        "Identity" | "Dropout" => first()?.clone(),
        "Cast" => cast(
            first()?,
            DType::of_onnx(i32::try_from(node.int("to", 1)).unwrap_or(-1)).map_err(Reason::Type)?,
            budget,
        )?,
        "Reshape" => renamed(first()?, params.reshaped(&first()?.dims)?),
        "Squeeze" => renamed(first()?, params.squeezed(&first()?.dims)?),
        "Unsqueeze" => renamed(first()?, params.unsqueezed(&first()?.dims)?),
        "Flatten" => renamed(first()?, params.flattened(&first()?.dims)?),
        "Shape" => return Ok(Some(vec![shape(params, &first()?.dims)?])),
        "Size" => Tensor::ints(vec![], vec![first()?.len() as i64]),
        "Transpose" => transpose(first()?, &params.order(first()?.dims.len())?, budget)?,
        "Slice" => slice(first()?, &params.cuts(&first()?.dims)?, budget)?,
        "Split" => {
            let from = first()?;
            let at = axis(node.int("axis", 0), from.dims.len())?;
            let (mut start, mut parts) = (0, Vec::new());
            for len in params.parts(from.dims[at], node.outputs.len())? {
                let mut cuts: Vec<_> = from.dims.iter().map(|&len| Cut { start: 0, step: 1, len }).collect();
                cuts[at] = Cut { start, step: 1, len };
                parts.push(slice(from, &cuts, budget)?);
                start += len;
            }
            return Ok(Some(parts));
        }
        "Gather" => gather(params, budget)?,
        "Concat" => concat(params, budget)?,
        "Expand" => expand(params, budget)?,
        "Tile" => tile(params, budget)?,
        "Range" => range(params, budget)?,
        "Where" => choose(params, budget)?,
        "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" => reduce(params, &op, budget)?,
        _ => match (unary(&op), binary(&op)) {
            (Some(f), _) => apply(first()?, f, budget)?,
            (_, Some(f)) => combine(params, f, budget)?,
            _ => return Ok(None),
        },
    };
    Ok(Some(vec![one]))
}

/// The sizes of a value, all or some of them.
pub(crate) fn shape(params: &Params<'_, '_>, dims: &[usize]) -> Result<Tensor, Reason> {
    let rank = dims.len() as i64;
    let at = |name, default: i64| {
        let given = params.node.int(name, default);
        (if given < 0 { given.saturating_add(rank) } else { given }).clamp(0, rank) as usize
    };
    let (start, end) = (at("start", 0), at("end", rank));
    let sizes: Vec<_> = dims[start..end.max(start)].iter().map(|&size| size as i64).collect();
    Ok(Tensor::ints(vec![sizes.len()], sizes))
}

/// `Constant`, in the attributes that are no `value`.
fn constant(params: &Params<'_, '_>) -> Result<Tensor, Reason> {
    let node = params.node;
    if node.has("value_float") {
        return Ok(Tensor::floats(vec![], vec![node.float("value_float", 0.0) as f32]));
    }
    if node.has("value_int") {
        return Ok(Tensor::ints(vec![], vec![node.int("value_int", 0)]));
    }
    if let Some(all) = node.floats("value_floats").filter(|_| node.has("value_floats")) {
        return Ok(Tensor::floats(vec![all.len()], all.to_vec()));
    }
    match node.ints("value_ints") {
        Some(all) => Ok(Tensor::ints(vec![all.len()], all.to_vec())),
        None => Err(Reason::NoAttribute("value")),
    }
}

/// `ConstantOfShape`; the number is the constant behind the inputs, if it is given.
fn filled(params: &Params<'_, '_>) -> Result<Tensor, Reason> {
    let given = params.ints(0, "the shape")?.ok_or(Reason::NoInput(0))?;
    let dims = given.iter().map(|&size| usize::try_from(size)).collect::<Result<Vec<_>, _>>();
    let dims = dims.map_err(|_| Reason::Overflow)?;
    count(&dims).ok_or(Reason::Overflow)?;
    let value = params.known.get(params.node.inputs.len()).and_then(Option::as_ref);
    let Some(value) = value else {
        return Ok(Tensor { dtype: DType::F32, dims, elements: Elements::Float(Data::Splat(0.0)) });
    };
    if value.len() != 1 {
        return Err(Reason::Number {
            what: "`value`",
            found: format!("{} numbers", value.len()),
            expected: "it is one",
        });
    }
    let elements = match &value.elements {
        Elements::Float(data) => Elements::Float(Data::Splat(data.at(0))),
        Elements::Int(data) => Elements::Int(Data::Splat(data.at(0))),
    };
    Ok(Tensor { dtype: value.dtype, dims, elements })
}

fn renamed(from: &Tensor, dims: Vec<usize>) -> Tensor {
    Tensor { dims, ..from.clone() }
}

/// The elements of `from` in other places.
fn moved(
    from: &Tensor,
    dims: Vec<usize>,
    places: impl Iterator<Item = usize>,
    budget: &mut Budget,
) -> Result<Tensor, Reason> {
    let len = count(&dims).ok_or(Reason::Overflow)?;
    let elements = match &from.elements {
        Elements::Float(data) => Elements::Float(data.moved(len, places, budget)?),
        Elements::Int(data) => Elements::Int(data.moved(len, places, budget)?),
    };
    Ok(Tensor { dtype: from.dtype, dims, elements })
}

/// The strides of sizes whose last axis is innermost.
pub(crate) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; dims.len()];
    for at in (1..dims.len()).rev() {
        strides[at - 1] = strides[at].saturating_mul(dims[at]);
    }
    strides
}

/// All places of a box of these sizes and steps, the last axis innermost.
pub(crate) fn places(dims: Vec<usize>, start: i64, steps: Vec<i64>) -> impl Iterator<Item = usize> {
    let len = count(&dims).unwrap_or(0);
    let mut index = vec![0_usize; dims.len()];
    let mut at = start;
    (0..len).map(move |_| {
        let here = at;
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            at = at.wrapping_add(steps[axis]);
            if index[axis] < dims[axis] {
                break;
            }
            at = at.wrapping_sub(steps[axis].wrapping_mul(dims[axis] as i64));
            index[axis] = 0;
        }
        here as usize
    })
}

pub(crate) fn transpose(from: &Tensor, order: &[usize], budget: &mut Budget) -> Result<Tensor, Reason> {
    let strides = strides(&from.dims);
    let dims: Vec<_> = order.iter().map(|&axis| from.dims[axis]).collect();
    let steps = order.iter().map(|&axis| strides[axis] as i64).collect();
    moved(from, dims.clone(), places(dims, 0, steps), budget)
}

fn slice(from: &Tensor, cuts: &[Cut], budget: &mut Budget) -> Result<Tensor, Reason> {
    let strides = strides(&from.dims);
    let dims: Vec<_> = cuts.iter().map(|cut| cut.len).collect();
    let start = cuts.iter().zip(&strides).map(|(cut, &stride)| (cut.start * stride) as i64).sum();
    let steps = cuts.iter().zip(&strides).map(|(cut, &stride)| cut.step.wrapping_mul(stride as i64)).collect();
    moved(from, dims.clone(), places(dims, start, steps), budget)
}

fn gather(params: &Params<'_, '_>, budget: &mut Budget) -> Result<Tensor, Reason> {
    let from = params.needed(0, "the data")?;
    let indices = params.needed(1, "the indices")?;
    let at = axis(params.node.int("axis", 0), from.dims.len())?;
    let size = from.dims[at];
    budget.take(indices.len(), 8)?;
    let picked = params.ints(1, "the indices")?.ok_or(Reason::NoInput(1))?;
    let picked = picked.into_iter().map(|index| axis(index, size)).collect::<Result<Vec<_>, _>>()?;
    let mut dims = from.dims[..at].to_vec();
    dims.extend(&indices.dims);
    dims.extend(&from.dims[at + 1..]);
    let inner: usize = from.dims[at + 1..].iter().product();
    let outer: usize = from.dims[..at].iter().product();
    let places = (0..outer).flat_map(|outer| {
        picked.iter().flat_map(move |&index| (0..inner).map(move |inner_at| (outer * size + index) * inner + inner_at))
    });
    moved(from, dims, places, budget)
}

fn concat(params: &Params<'_, '_>, budget: &mut Budget) -> Result<Tensor, Reason> {
    let parts =
        (0..params.node.inputs.len()).map(|at| params.needed(at, "a part")).collect::<Result<Vec<_>, Reason>>()?;
    let first = parts.first().ok_or(Reason::NoInput(0))?;
    let at = axis(params.node.int("axis", 1), first.dims.len())?;
    let mut dims = first.dims.clone();
    for part in &parts[1..] {
        let alike = part.dims.len() == dims.len() && (0..dims.len()).all(|i| i == at || part.dims[i] == dims[i]);
        if !alike || part.dtype.is_float() != first.dtype.is_float() {
            return Err(differ_dims("parts", &first.dims, &part.dims));
        }
        dims[at] = dims[at].checked_add(part.dims[at]).ok_or(Reason::Overflow)?;
    }
    let len = count(&dims).ok_or(Reason::Overflow)?;
    if len == 0 {
        let dtype = first.dtype;
        let empty = |float| if float { Elements::Float(Data::of(vec![])) } else { Elements::Int(Data::of(vec![])) };
        return Ok(Tensor { dtype, dims, elements: empty(dtype.is_float()) });
    }
    budget.take(len, 8)?;
    let outer: usize = dims[..at].iter().product();
    let elements = (0..outer).flat_map(|outer| {
        parts.iter().flat_map(move |part| {
            let run: usize = part.dims[at..].iter().product();
            (outer * run..(outer + 1) * run).map(move |i| (part, i))
        })
    });
    let elements = match first.elements {
        Elements::Float(_) => {
            Elements::Float(Data::of(elements.filter_map(|(part, i)| part.data().map(|data| data.at(i))).collect()))
        }
        Elements::Int(_) => Elements::Int(Data::of(
            elements
                .filter_map(|(part, i)| if let Elements::Int(data) = &part.elements { Some(data.at(i)) } else { None })
                .collect(),
        )),
    };
    Ok(Tensor { dtype: first.dtype, dims, elements })
}

/// `from` with elements that stand for many written out.
pub(crate) fn expanded(from: &Tensor, dims: Vec<usize>, budget: &mut Budget) -> Result<Tensor, Reason> {
    if from.dims == dims {
        return Ok(from.clone());
    }
    let steps = spread(&from.dims, &dims);
    moved(from, dims.clone(), places(dims, 0, steps), budget)
}

/// The strides of a tensor along the axes of what it is spread over; 0 where one element stands for all.
pub(crate) fn spread(from: &[usize], over: &[usize]) -> Vec<i64> {
    let strides = strides(from);
    let lead = over.len() - from.len();
    let step = |axis: usize| match axis.checked_sub(lead) {
        Some(at) if from[at] != 1 => strides[at] as i64,
        _ => 0,
    };
    (0..over.len()).map(step).collect()
}

fn expand(params: &Params<'_, '_>, budget: &mut Budget) -> Result<Tensor, Reason> {
    let from = params.needed(0, "the data")?;
    let given = params.ints(1, "the shape")?.ok_or(Reason::NoInput(1))?;
    let dims = given.iter().map(|&size| usize::try_from(size)).collect::<Result<Vec<_>, _>>();
    let dims = broadcast(&from.dims, &dims.map_err(|_| Reason::Overflow)?)?;
    expanded(from, dims, budget)
}

fn tile(params: &Params<'_, '_>, budget: &mut Budget) -> Result<Tensor, Reason> {
    let from = params.needed(0, "the data")?;
    let repeats = params.ints(1, "the repeats")?.ok_or(Reason::NoInput(1))?;
    if repeats.len() != from.dims.len() || repeats.iter().any(|&n| n < 0) {
        return Err(crate::shapes::differ("sizes and repeats", &from.dims, &repeats));
    }
    let strides = strides(&from.dims);
    // Each axis as two, the outer of which goes nowhere.
    let (mut wide, mut steps, mut dims) = (Vec::new(), Vec::new(), Vec::new());
    for (axis, &n) in repeats.iter().enumerate() {
        let n = usize::try_from(n).map_err(|_| Reason::Overflow)?;
        wide.extend([n, from.dims[axis]]);
        steps.extend([0, strides[axis] as i64]);
        dims.push(n.checked_mul(from.dims[axis]).ok_or(Reason::Overflow)?);
    }
    count(&dims).ok_or(Reason::Overflow)?;
    moved(from, dims, places(wide, 0, steps), budget)
}

fn range(params: &Params<'_, '_>, budget: &mut Budget) -> Result<Tensor, Reason> {
    let number = |at, what| params.number(at, what)?.ok_or(Reason::NoInput(at));
    let (start, limit, delta) = (number(0, "the start")?, number(1, "the limit")?, number(2, "the step")?);
    let steps = ((limit - start) / delta).ceil().max(0.0);
    if delta == 0.0 || !steps.is_finite() || steps > 1e9 {
        return Err(Reason::Overflow);
    }
    let len = steps as usize;
    budget.take(len, 8)?;
    let each = (0..len).map(|i| start + i as f64 * delta);
    Ok(if params.needed(0, "the start")?.dtype.is_float() {
        Tensor::floats(vec![len], each.map(|x| x as f32).collect())
    } else {
        Tensor::ints(vec![len], each.map(|x| x as i64).collect())
    })
}

fn choose(params: &Params<'_, '_>, budget: &mut Budget) -> Result<Tensor, Reason> {
    let (condition, yes, no) =
        (params.needed(0, "the condition")?, params.needed(1, "a value")?, params.needed(2, "a value")?);
    let dims = broadcast(&condition.dims, &broadcast(&yes.dims, &no.dims)?)?;
    let [condition, yes, no] = [
        expanded(condition, dims.clone(), budget)?,
        expanded(yes, dims.clone(), budget)?,
        expanded(no, dims.clone(), budget)?,
    ];
    let len = count(&dims).ok_or(Reason::Overflow)?;
    budget.take(len, 8)?;
    let chosen = (0..len).map(|i| if condition.float(i) != 0.0 { (&yes, i) } else { (&no, i) });
    let elements = if yes.dtype.is_float() {
        Elements::Float(Data::of(chosen.map(|(from, i)| from.float(i) as f32).collect()))
    } else {
        let int = |(from, i): (&Tensor, usize)| if let Elements::Int(data) = &from.elements { data.at(i) } else { 0 };
        Elements::Int(Data::of(chosen.map(int).collect()))
    };
    Ok(Tensor { dtype: yes.dtype, dims, elements })
}

fn reduce(params: &Params<'_, '_>, op: &str, budget: &mut Budget) -> Result<Tensor, Reason> {
    let from = params.needed(0, "the data")?;
    let rank = from.dims.len();
    let axes = params.axes(1, rank)?.filter(|axes| !axes.is_empty()).unwrap_or_else(|| (0..rank).collect());
    let keep = params.node.flag("keepdims", true)?;
    let order: Vec<_> = (0..rank).filter(|axis| !axes.contains(axis)).chain(axes.iter().copied()).collect();
    let run: usize = axes.iter().map(|&axis| from.dims[axis]).product();
    let mut dims = Vec::new();
    for (axis, &size) in from.dims.iter().enumerate() {
        match (axes.contains(&axis), keep) {
            (true, true) => dims.push(1),
            (true, false) => {}
            (false, _) => dims.push(size),
        }
    }
    let inner = transpose(from, &order, budget)?;
    let len = count(&dims).ok_or(Reason::Overflow)?;
    let work = len.checked_mul(run).ok_or(Reason::Overflow)?;
    budget.take(len.max(work), 8)?;
    let float = |x: f64, y: f64| match op {
        "ReduceProd" => x * y,
        "ReduceSum" => x + y,
        "ReduceMax" => x.max(y),
        _ => x.min(y),
    };
    let int = |x: i64, y: i64| match op {
        "ReduceProd" => x.wrapping_mul(y),
        "ReduceSum" => x.wrapping_add(y),
        "ReduceMax" => x.max(y),
        _ => x.min(y),
    };
    if run == 0 {
        return Err(Reason::No("there is nothing to reduce"));
    }
    let elements = match &inner.elements {
        Elements::Float(data) => Elements::Float(Data::of(
            (0..len)
                .map(|at| {
                    (at * run + 1..(at + 1) * run)
                        .fold(f64::from(data.at(at * run)), |x, i| float(x, f64::from(data.at(i))))
                        as f32
                })
                .collect(),
        )),
        Elements::Int(data) => Elements::Int(Data::of(
            (0..len)
                .map(|at| (at * run + 1..(at + 1) * run).fold(data.at(at * run), |x, i| int(x, data.at(i))))
                .collect(),
        )),
    };
    Ok(Tensor { dtype: from.dtype, dims, elements })
}

fn cast(from: &Tensor, to: DType, budget: &mut Budget) -> Result<Tensor, Reason> {
    let elements = match (&from.elements, to.is_float()) {
        (Elements::Float(data), true) => Elements::Float(match to {
            DType::F16 => data.map(budget, |x| half::f16::from_f32(x).to_f32())?,
            DType::Bf16 => data.map(budget, |x| half::bf16::from_f32(x).to_f32())?,
            _ => data.clone(),
        }),
        (Elements::Int(data), true) => Elements::Float(data.map(budget, |x| x as f32)?),
        (Elements::Float(data), false) if to == DType::Bool => {
            Elements::Int(data.map(budget, |x| i64::from(x != 0.0))?)
        }
        (Elements::Float(data), false) => Elements::Int(data.map(budget, |x| wrapped(x as i64, to))?),
        (Elements::Int(data), false) => Elements::Int(data.map(budget, |x| wrapped(x, to))?),
    };
    Ok(Tensor { dtype: to, dims: from.dims.clone(), elements })
}

/// A whole number as that type holds it.
pub(crate) fn wrapped(x: i64, dtype: DType) -> i64 {
    match dtype {
        DType::Bool => i64::from(x != 0),
        DType::I32 => i64::from(x as i32),
        DType::U32 => i64::from(x as u32),
        DType::I16 => i64::from(x as i16),
        DType::U16 => i64::from(x as u16),
        DType::I8 => i64::from(x as i8),
        DType::U8 => i64::from(x as u8),
        _ => x,
    }
}

/// What an operator does to a float, and to a whole number.
type Unary = (fn(f64) -> f64, Option<fn(i64) -> i64>);

fn unary(op: &str) -> Option<Unary> {
    Some(match op {
        "Neg" => (|x| -x, Some(i64::wrapping_neg)),
        "Abs" => (f64::abs, Some(i64::wrapping_abs)),
        "Floor" => (f64::floor, None),
        "Ceil" => (f64::ceil, None),
        "Round" => (f64::round_ties_even, None),
        "Sqrt" => (f64::sqrt, None),
        "Reciprocal" => (|x| 1.0 / x, None),
        "Exp" => (f64::exp, None),
        "Log" => (f64::ln, None),
        "Relu" => (|x| x.max(0.0), Some(|x| x.max(0))),
        "Not" => (|x| f64::from(u8::from(x == 0.0)), Some(|x| i64::from(x == 0))),
        _ => return None,
    })
}

fn apply(from: &Tensor, (float, int): Unary, budget: &mut Budget) -> Result<Tensor, Reason> {
    let elements = match &from.elements {
        Elements::Float(data) => Elements::Float(data.map(budget, |x| float(f64::from(x)) as f32)?),
        Elements::Int(data) => {
            Elements::Int(data.map(budget, int.ok_or_else(|| Reason::Type(from.dtype.name().to_owned()))?)?)
        }
    };
    Ok(Tensor { elements, ..from.clone() })
}

/// What an operator does to two floats, and to two whole numbers; `None` if there is no result; and whether that is a truth.
type Binary = (fn(f64, f64) -> f64, fn(i64, i64) -> Option<i64>, bool);

fn binary(op: &str) -> Option<Binary> {
    fn truth(x: bool) -> f64 {
        f64::from(u8::from(x))
    }
    Some(match op {
        "Add" | "Sum" => (|x, y| x + y, |x, y| Some(x.wrapping_add(y)), false),
        "Sub" => (|x, y| x - y, |x, y| Some(x.wrapping_sub(y)), false),
        "Mul" => (|x, y| x * y, |x, y| Some(x.wrapping_mul(y)), false),
        "Div" => (|x, y| x / y, i64::checked_div, false),
        "Mod" => (|x, y| x % y, |x, y| x.checked_rem(y)?.checked_add(y)?.checked_rem(y), false),
        "Pow" => (f64::powf, |x, y| u32::try_from(y).ok().map(|y| x.wrapping_pow(y)), false),
        "Min" => (f64::min, |x, y| Some(x.min(y)), false),
        "Max" => (f64::max, |x, y| Some(x.max(y)), false),
        "Equal" => (|x, y| truth(x == y), |x, y| Some(i64::from(x == y)), true),
        "Greater" => (|x, y| truth(x > y), |x, y| Some(i64::from(x > y)), true),
        "GreaterOrEqual" => (|x, y| truth(x >= y), |x, y| Some(i64::from(x >= y)), true),
        "Less" => (|x, y| truth(x < y), |x, y| Some(i64::from(x < y)), true),
        "LessOrEqual" => (|x, y| truth(x <= y), |x, y| Some(i64::from(x <= y)), true),
        "And" => (|x, y| truth(x != 0.0 && y != 0.0), |x, y| Some(i64::from(x != 0 && y != 0)), true),
        "Or" => (|x, y| truth(x != 0.0 || y != 0.0), |x, y| Some(i64::from(x != 0 || y != 0)), true),
        _ => return None,
    })
}

fn combine(params: &Params<'_, '_>, (float, int, is_truth): Binary, budget: &mut Budget) -> Result<Tensor, Reason> {
    if params.node.inputs.len() != 2 {
        return Err(Reason::Number {
            what: "the number of inputs",
            found: params.node.inputs.len().to_string(),
            expected: "of constants it has to be 2",
        });
    }
    let (first, second) = (params.needed(0, "a part")?, params.needed(1, "a part")?);
    let dims = broadcast(&first.dims, &second.dims)?;
    let len = count(&dims).ok_or(Reason::Overflow)?;
    let (a, b) = (expanded(first, dims.clone(), budget)?, expanded(second, dims.clone(), budget)?);
    let none = || Reason::No("a whole number is divided by 0");
    let elements = match (&a.elements, &b.elements) {
        (Elements::Int(Data::Splat(x)), Elements::Int(Data::Splat(y))) => {
            Elements::Int(Data::Splat(int(*x, *y).ok_or_else(none)?))
        }
        (Elements::Float(Data::Splat(x)), Elements::Float(Data::Splat(y))) => {
            let z = float(f64::from(*x), f64::from(*y));
            if is_truth { Elements::Int(Data::Splat(z as i64)) } else { Elements::Float(Data::Splat(z as f32)) }
        }
        (Elements::Int(x), Elements::Int(y)) => {
            budget.take(len, 8)?;
            let each = (0..len).map(|i| int(x.at(i), y.at(i)).ok_or_else(none));
            Elements::Int(Data::of(each.collect::<Result<_, _>>()?))
        }
        (Elements::Float(x), Elements::Float(y)) => {
            budget.take(len, 8)?;
            let each = (0..len).map(|i| float(f64::from(x.at(i)), f64::from(y.at(i))));
            if is_truth {
                Elements::Int(Data::of(each.map(|z| z as i64).collect()))
            } else {
                Elements::Float(Data::of(each.map(|z| z as f32).collect()))
            }
        }
        _ => {
            let (first, second) = (first.dtype.name().to_owned(), second.dtype.name().to_owned());
            return Err(Reason::Differ { what: "types", first, second });
        }
    };
    Ok(Tensor { dtype: if is_truth { DType::Bool } else { first.dtype }, dims, elements })
}
