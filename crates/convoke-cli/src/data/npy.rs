//! NumPy's file format, versions 1 to 3: numbers of either byte order and either axis order. Complex numbers are a last axis of 2.
//!
//! The crate npyz reads and writes it. It trusts a header, so [`check`] looks at it first.

use super::{Array, DataError, Elements, Kind};
use convoke_core::eval::Bf16;
use convoke_core::spec::{PARTS, Storage};
use npyz::{
    AutoSerialize, Deserialize, FixedSizeBytes, NpyFile, Order, Serialize, TypeChar, WriteOptions, WriterBuilder as _,
};
use num_complex::Complex;
use std::io;

/// Bytes that a header may have; NumPy's own limit.
const MAX_HEADER: usize = 10_000;

/// Elements may be `f2`, `f4`, `f8`, `c8`, `c16`, `i1` to `i8`, `u1` to `u4` or `b1`; and `V2`, which are the bits of `bf16`: NumPy has no such type, and
/// this is how that of the package ml_dtypes is written.
pub(super) fn read(bytes: &[u8]) -> Result<Array, DataError> {
    let found = check(bytes)?;
    let file = NpyFile::new(bytes)
        .map_err(|e| DataError::malformed("npy", format!("its header is not understood: {}", message(&e))))?;
    let descr = file.dtype().descr();
    let is_complex = matches!(file.dtype(), npyz::DType::Plain(descr) if descr.type_char() == TypeChar::Complex);
    let (size, numbers) = number_type(&file.dtype()).ok_or_else(|| {
        let reason = format!(
            "its elements are {descr}, not numbers f2, f4, f8, c8, c16, i1 to i8 or u1 to u4, nor V2, the bits of bf16"
        );
        DataError::malformed("npy", reason.replace('\'', "`"))
    })?;
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    let needed = bytes_of(&shape, size);
    if needed != Some(found) {
        return Err(wrong_length(&shape, needed, found));
    }
    let (order, strides) = (file.order(), file.strides().to_vec());
    let data = numbers(file)?;
    let parts = if is_complex { PARTS } else { 1 };
    let data = if order == Order::Fortran { to_c_order(&shape, &strides, parts, &data) } else { data };
    let shape = shape.into_iter().chain(is_complex.then_some(PARTS)).collect();
    Ok(Array { shape, data, kind: Kind::Npy })
}

/// Numbers of that type, the last axis contiguous.
pub(super) fn write(array: &Array, elements: Elements) -> Result<Vec<u8>, DataError> {
    if elements.complex {
        return Ok(match elements.storage {
            Storage::F64 => write_pairs(array, |x| x),
            _ => write_pairs(array, |x| x as f32),
        }?);
    }
    Ok(match elements.storage {
        Storage::F32 => write_as(array, |x| x as f32),
        Storage::F64 => write_as(array, |x| x),
        Storage::F16 => write_as(array, half::f16::from_f64),
        Storage::Bf16 => {
            let raw = npyz::DType::Plain("|V2".parse().map_err(io::Error::other)?);
            write_elements(array, raw, |x| FixedSizeBytes(Bf16::from_f64(x).to_bits().to_le_bytes()))
        }
        Storage::I32 => write_as(array, |x| x as i32),
        Storage::U8 => write_as(array, |x| x as u8),
        Storage::I8 => write_as(array, |x| x as i8),
    }?)
}

fn write_as<T: AutoSerialize>(array: &Array, element: fn(f64) -> T) -> io::Result<Vec<u8>> {
    write_elements(array, T::default_dtype(), element)
}

/// Pairs of numbers, which the last axis is, as complex ones.
fn write_pairs<T>(array: &Array, part: fn(f64) -> T) -> io::Result<Vec<u8>>
where
    Complex<T>: AutoSerialize,
{
    let numbers = array.data.chunks_exact(PARTS).map(|pair| Complex::new(part(pair[0]), part(pair[1])));
    let shape = &array.shape[..array.shape.len() - 1];
    write_iter(shape, Complex::<T>::default_dtype(), numbers)
}

fn write_elements<T: Serialize>(array: &Array, dtype: npyz::DType, element: fn(f64) -> T) -> io::Result<Vec<u8>> {
    write_iter(&array.shape, dtype, array.data.iter().map(|&x| element(x)))
}

fn write_iter<T: Serialize>(
    shape: &[usize],
    dtype: npyz::DType,
    elements: impl Iterator<Item = T>,
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
    let mut writer = WriteOptions::new().dtype(dtype).shape(&shape).writer(&mut bytes).begin_nd()?;
    writer.extend(elements)?;
    writer.finish()?;
    Ok(bytes)
}

/// How many bytes follow the header, if it is one for npyz. That multiplies sizes without a look at overflow, takes memory
/// for a header before it is there, and reads all of Python's literals, in time that grows threefold with every bracket.
fn check(bytes: &[u8]) -> Result<usize, DataError> {
    let bad = |reason: &str| DataError::malformed("npy", reason);
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(|| bad("it does not begin with \\x93NUMPY"))?;
    let (len, rest) = match rest {
        [1, 0, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, 0, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err(bad("its version is not 1, 2 or 3")),
    };
    let (header, data) = rest.split_at_checked(len).ok_or_else(|| bad("it ends within its header"))?;
    if len > MAX_HEADER {
        return Err(bad(&format!("its header has {len} bytes, and the most is {MAX_HEADER}")));
    }
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let brackets = header.iter().filter(|b| b"{(".contains(b)).count();
    let sizes = header.split(|b| !word(b)).filter(|w| w.first().is_some_and(u8::is_ascii_digit));
    let sizes = sizes.map(|w| str::from_utf8(w).ok()?.parse().ok()).collect::<Option<Vec<usize>>>();
    let plain = brackets == 2 && header.iter().all(|b| word(b) || b" \n'\"{}(),:<>|".contains(b));
    let Some(sizes) = sizes.filter(|_| plain) else {
        return Err(bad("its header is not understood as that of an array of numbers"));
    };
    let at_least_one: Vec<_> = sizes.iter().map(|&n| n.max(1)).collect();
    match bytes_of(&at_least_one, 1) {
        Some(_) => Ok(data.len()),
        None => Err(wrong_length(&sizes, None, data.len())),
    }
}

fn bytes_of(shape: &[usize], element: usize) -> Option<usize> {
    shape.iter().try_fold(element, |n, &size| n.checked_mul(size))
}

fn wrong_length(shape: &[usize], needed: Option<usize>, found: usize) -> DataError {
    let needed = needed.map_or("more than can be counted".to_owned(), |n| n.to_string());
    DataError::malformed("npy", format!("shape {shape:?} takes {needed} bytes, and {found} follow the header"))
}

/// Bytes an element, and how all are read.
type Numbers<'a> = (usize, fn(NpyFile<&'a [u8]>) -> io::Result<Vec<f64>>);

fn number_type<'a>(descr: &npyz::DType) -> Option<Numbers<'a>> {
    let npyz::DType::Plain(descr) = descr else { return None };
    Some(match (descr.type_char(), descr.size_field()) {
        (TypeChar::Float, 2) => (2, numbers::<half::f16>),
        (TypeChar::RawData, 2) => (2, bf16_numbers),
        (TypeChar::Float, 4) => (4, numbers::<f32>),
        (TypeChar::Float, 8) => (8, numbers::<f64>),
        (TypeChar::Complex, 8) => (8, pairs::<f32>),
        (TypeChar::Complex, 16) => (16, pairs::<f64>),
        (TypeChar::Int, 1) => (1, numbers::<i8>),
        (TypeChar::Int, 2) => (2, numbers::<i16>),
        (TypeChar::Int, 4) => (4, numbers::<i32>),
        (TypeChar::Int, 8) => (8, long_numbers),
        (TypeChar::Uint, 1) => (1, numbers::<u8>),
        (TypeChar::Uint, 2) => (2, numbers::<u16>),
        (TypeChar::Uint, 4) => (4, numbers::<u32>),
        (TypeChar::Bool, 1) => (1, numbers::<bool>),
        _ => return None,
    })
}

fn numbers<T: Deserialize + Into<f64>>(file: NpyFile<&[u8]>) -> io::Result<Vec<f64>> {
    file.data::<T>().map_err(io::Error::other)?.map(|x| Ok(x?.into())).collect()
}

/// The parts of complex numbers.
fn pairs<T: Into<f64>>(file: NpyFile<&[u8]>) -> io::Result<Vec<f64>>
where
    Complex<T>: Deserialize,
{
    let numbers = file.data::<Complex<T>>().map_err(io::Error::other)?;
    let numbers = numbers.collect::<io::Result<Vec<_>>>()?;
    Ok(numbers.into_iter().flat_map(|number| [number.re.into(), number.im.into()]).collect())
}

/// Integers of 64 bits, of which those are read that `f64` holds.
fn long_numbers(file: NpyFile<&[u8]>) -> io::Result<Vec<f64>> {
    let exact = |x: i64| match x.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS {
        true => Ok(x as f64),
        false => Err(io::Error::other(format!("{x} is beyond what f64 holds"))),
    };
    file.data::<i64>().map_err(io::Error::other)?.map(|x| exact(x?)).collect()
}

/// Bits of `bf16`, the lower byte first.
fn bf16_numbers(file: NpyFile<&[u8]>) -> io::Result<Vec<f64>> {
    let words = file.data::<FixedSizeBytes<2>>().map_err(io::Error::other)?;
    words.map(|word| Ok(Bf16::from_bits(u16::from_le_bytes(word?.0)).into())).collect()
}

/// Elements, each of so many numbers, rearranged so that the last axis is contiguous.
fn to_c_order(shape: &[usize], strides: &[u64], parts: usize, data: &[f64]) -> Vec<f64> {
    let element = |index: usize| {
        let (mut rest, mut from) = (index, 0);
        for (&size, &stride) in shape.iter().zip(strides).rev() {
            from += rest % size * stride as usize;
            rest /= size;
        }
        &data[from * parts..(from + 1) * parts]
    };
    (0..data.len() / parts).flat_map(element).copied().collect()
}

/// What is wrong, without the drawing of where.
fn message(error: &io::Error) -> String {
    error.to_string().split("-->").next().unwrap_or_default().trim_end_matches([' ', ':']).to_owned()
}
