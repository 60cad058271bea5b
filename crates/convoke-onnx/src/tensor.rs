//! Constants: what a `TensorProto` holds, as numbers.
//!
//! All floats become `f32` and all whole numbers and truths `i64`; the type of the file stays beside them. A constant of one number everywhere is
//! kept as that number, however many elements it has. Every number of a file is checked before memory is asked for.

use std::rc::Rc;

use half::{bf16, f16};

use crate::error::{LimitError, TensorError};
use crate::external::External;
use crate::proto::TensorProto;

/// Axes that a tensor may have.
const MAX_AXES: usize = 16;

/// The type of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DType {
    F32,
    F64,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl DType {
    /// ONNX's number for it, back.
    pub(crate) fn of_onnx(code: i32) -> Result<Self, String> {
        Ok(match code {
            1 => Self::F32,
            2 => Self::U8,
            3 => Self::I8,
            4 => Self::U16,
            5 => Self::I16,
            6 => Self::I32,
            7 => Self::I64,
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            12 => Self::U32,
            13 => Self::U64,
            16 => Self::Bf16,
            0 => return Err("undefined".to_owned()),
            8 => return Err("string".to_owned()),
            14 => return Err("complex64".to_owned()),
            15 => return Err("complex128".to_owned()),
            other => return Err(format!("number {other}")),
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::I64 => "int64",
            Self::I32 => "int32",
            Self::I16 => "int16",
            Self::I8 => "int8",
            Self::U64 => "uint64",
            Self::U32 => "uint32",
            Self::U16 => "uint16",
            Self::U8 => "uint8",
            Self::Bool => "bool",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::Bf16)
    }
}

/// Bytes that an import has made so far, and how many it may make.
#[derive(Debug)]
pub(crate) struct Budget {
    used: u64,
    limit: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { used: 0, limit }
    }

    /// Asks for memory of so many elements, before it is allocated.
    pub(crate) fn take(&mut self, elements: usize, bytes: usize) -> Result<(), LimitError> {
        let needed = self.used.saturating_add((elements as u64).saturating_mul(bytes as u64));
        if needed > self.limit {
            return Err(LimitError { needed, limit: self.limit });
        }
        self.used = needed;
        Ok(())
    }
}

/// The elements of a constant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data<T> {
    /// The same everywhere.
    Splat(T),
    /// Each, the last axis innermost.
    Each(Rc<Vec<T>>),
}

impl<T: Copy> Data<T> {
    pub(crate) fn at(&self, index: usize) -> T {
        match self {
            Self::Splat(one) => *one,
            Self::Each(all) => all[index],
        }
    }

    pub(crate) fn of(values: Vec<T>) -> Self {
        if let [one] = values[..] { Self::Splat(one) } else { Self::Each(Rc::new(values)) }
    }

    /// The same elements, `count` of them, in other places: `from` says where each was.
    pub(crate) fn moved(
        &self,
        count: usize,
        from: impl Iterator<Item = usize>,
        budget: &mut Budget,
    ) -> Result<Self, LimitError> {
        Ok(match self {
            Self::Splat(one) => Self::Splat(*one),
            Self::Each(_) if count == 0 => Self::of(Vec::new()),
            Self::Each(all) => {
                budget.take(count, size_of::<T>())?;
                Self::of(from.map(|at| all[at]).collect())
            }
        })
    }

    /// What `f` makes of each.
    pub(crate) fn map<U: Copy>(&self, budget: &mut Budget, f: impl Fn(T) -> U) -> Result<Data<U>, LimitError> {
        Ok(match self {
            Self::Splat(one) => Data::Splat(f(*one)),
            Self::Each(all) => {
                budget.take(all.len(), size_of::<U>())?;
                Data::of(all.iter().map(|&x| f(x)).collect())
            }
        })
    }
}

/// The elements of a constant, by what they are computed in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Elements {
    Float(Data<f32>),
    Int(Data<i64>),
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) dtype: DType,
    pub(crate) dims: Vec<usize>,
    pub(crate) elements: Elements,
}

impl Tensor {
    pub(crate) fn ints(dims: Vec<usize>, values: Vec<i64>) -> Self {
        Self { dtype: DType::I64, dims, elements: Elements::Int(Data::of(values)) }
    }

    pub(crate) fn floats(dims: Vec<usize>, values: Vec<f32>) -> Self {
        Self { dtype: DType::F32, dims, elements: Elements::Float(Data::of(values)) }
    }

    /// One number everywhere, which that type holds.
    pub(crate) fn always(dtype: DType, dims: Vec<usize>, number: i64) -> Self {
        let elements = match dtype.is_float() {
            true => Elements::Float(Data::Splat(number as f32)),
            false => Elements::Int(Data::Splat(number)),
        };
        Self { dtype, dims, elements }
    }

    /// How many elements; that the product is a number is checked where a tensor is made.
    pub(crate) fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// An element as a float.
    pub(crate) fn float(&self, index: usize) -> f64 {
        match &self.elements {
            Elements::Float(data) => f64::from(data.at(index)),
            Elements::Int(data) => data.at(index) as f64,
        }
    }

    /// All elements as whole numbers; `None` if they are floats.
    pub(crate) fn to_ints(&self) -> Option<Vec<i64>> {
        match &self.elements {
            Elements::Int(data) => Some((0..self.len()).map(|i| data.at(i)).collect()),
            Elements::Float(_) => None,
        }
    }

    /// The elements if they are floats.
    pub(crate) fn data(&self) -> Option<&Data<f32>> {
        match &self.elements {
            Elements::Float(data) => Some(data),
            Elements::Int(_) => None,
        }
    }

    /// The one number that all elements are, if they are, and if there are any.
    pub(crate) fn uniform(&self) -> Option<f64> {
        if self.len() == 0 {
            return None;
        }
        match &self.elements {
            Elements::Float(Data::Splat(one)) => Some(f64::from(*one)),
            Elements::Int(Data::Splat(one)) => Some(*one as f64),
            Elements::Float(Data::Each(all)) => {
                all.iter().all(|x| x.to_bits() == all[0].to_bits()).then(|| f64::from(all[0]))
            }
            Elements::Int(Data::Each(all)) => all.iter().all(|x| *x == all[0]).then(|| all[0] as f64),
        }
    }
}

/// How many elements there are of these sizes, if the product of any of them is a number.
pub(crate) fn count(dims: &[usize]) -> Option<usize> {
    let product = dims.iter().try_fold(1_usize, |product, &size| product.checked_mul(size.max(1)))?;
    let product = isize::try_from(product).ok().filter(|_| dims.len() <= MAX_AXES)?.unsigned_abs();
    Some(if dims.contains(&0) { 0 } else { product })
}

/// Reads a constant.
pub(crate) fn read(proto: &TensorProto, external: &External, budget: &mut Budget) -> Result<Tensor, TensorError> {
    if proto.dims.len() > MAX_AXES {
        return Err(TensorError::Axes { axes: proto.dims.len(), limit: MAX_AXES });
    }
    let mut dims = Vec::with_capacity(proto.dims.len());
    for (axis, &size) in proto.dims.iter().enumerate() {
        dims.push(usize::try_from(size).map_err(|_| TensorError::Negative { axis, size })?);
    }
    let too_large = || TensorError::TooLarge { dims: proto.dims.clone() };
    let len = count(&dims).ok_or_else(too_large)?;
    let dtype = DType::of_onnx(proto.data_type).map_err(TensorError::Type)?;
    let bytes = len.checked_mul(dtype.bytes()).ok_or_else(too_large)?;
    let raw = if proto.data_location == 1 {
        Some(external.read(&proto.external_data, (&dims, bytes), budget)?)
    } else if !proto.raw_data.is_empty() {
        Some(proto.raw_data.clone())
    } else {
        None
    };
    let elements = match raw {
        Some(raw) => {
            if raw.len() != bytes {
                return Err(TensorError::Bytes { dims, expected: bytes as u64, found: raw.len() as u64 });
            }
            budget.take(len, if dtype.is_float() { 4 } else { 8 })?;
            of_bytes(dtype, &raw)
        }
        None => of_fields(dtype, &dims, len, proto, budget)?,
    };
    Ok(Tensor { dtype, dims, elements })
}

/// Of bytes, of which there are as many as the type takes.
fn of_bytes(dtype: DType, raw: &[u8]) -> Elements {
    fn each<const N: usize, T: Copy>(raw: &[u8], f: impl Fn([u8; N]) -> T) -> Data<T> {
        Data::of(raw.as_chunks::<N>().0.iter().map(|&chunk| f(chunk)).collect())
    }
    match dtype {
        DType::F32 => Elements::Float(each(raw, f32::from_le_bytes)),
        DType::F64 => Elements::Float(each(raw, |b| f64::from_le_bytes(b) as f32)),
        DType::F16 => Elements::Float(each(raw, |b| f16::from_le_bytes(b).to_f32())),
        DType::Bf16 => Elements::Float(each(raw, |b| bf16::from_le_bytes(b).to_f32())),
        DType::I64 => Elements::Int(each(raw, i64::from_le_bytes)),
        DType::U64 => Elements::Int(each(raw, |b| u64::from_le_bytes(b).cast_signed())),
        DType::I32 => Elements::Int(each(raw, |b| i64::from(i32::from_le_bytes(b)))),
        DType::U32 => Elements::Int(each(raw, |b| i64::from(u32::from_le_bytes(b)))),
        DType::I16 => Elements::Int(each(raw, |b| i64::from(i16::from_le_bytes(b)))),
        DType::U16 => Elements::Int(each(raw, |b| i64::from(u16::from_le_bytes(b)))),
        DType::I8 => Elements::Int(each(raw, |b| i64::from(i8::from_le_bytes(b)))),
        DType::U8 => Elements::Int(each(raw, |b| i64::from(u8::from_le_bytes(b)))),
        DType::Bool => Elements::Int(each(raw, |[b]| i64::from(b != 0))),
    }
}

/// Of the fields by type.
fn of_fields(
    dtype: DType,
    dims: &[usize],
    len: usize,
    proto: &TensorProto,
    budget: &mut Budget,
) -> Result<Elements, TensorError> {
    fn each<S: Copy, T: Copy>(
        (dims, len): (&[usize], usize),
        from: &[S],
        budget: &mut Budget,
        f: impl Fn(S) -> T,
    ) -> Result<Data<T>, TensorError> {
        if from.len() != len {
            return Err(TensorError::Elements { dims: dims.to_vec(), expected: len, found: from.len() });
        }
        budget.take(len, size_of::<T>())?;
        Ok(Data::of(from.iter().map(|&x| f(x)).collect()))
    }
    let at = (dims, len);
    let small = &proto.int32_data;
    Ok(match dtype {
        DType::F32 => Elements::Float(each(at, &proto.float_data, budget, |x| x)?),
        DType::F64 => Elements::Float(each(at, &proto.double_data, budget, |x| x as f32)?),
        DType::F16 => Elements::Float(each(at, small, budget, |x| f16::from_bits(x as u16).to_f32())?),
        DType::Bf16 => Elements::Float(each(at, small, budget, |x| bf16::from_bits(x as u16).to_f32())?),
        DType::I64 => Elements::Int(each(at, &proto.int64_data, budget, |x| x)?),
        DType::U64 | DType::U32 => Elements::Int(each(at, &proto.uint64_data, budget, u64::cast_signed)?),
        DType::Bool => Elements::Int(each(at, small, budget, |x| i64::from(x != 0))?),
        DType::I32 | DType::I16 | DType::I8 | DType::U16 | DType::U8 => {
            Elements::Int(each(at, small, budget, i64::from)?)
        }
    })
}
