//! NumPy's file format, versions 1 to 3: numbers of either byte order and either axis order.

use super::{Array, DataError, Kind};
use convoke_core::spec::DType;

/// Elements may be `f4`, `f8`, `i1` to `i4`, `u1` to `u4` or `b1`.
pub(super) fn read(bytes: &[u8]) -> Result<Array, DataError> {
    let bad = |reason: &str| DataError::malformed("npy", reason);
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(|| bad("it does not begin with \\x93NUMPY"))?;
    let (header_len, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err(bad("its version is not 1, 2 or 3")),
    };
    let (header, data) = rest.split_at_checked(header_len).ok_or_else(|| bad("it ends within its header"))?;
    let header = std::str::from_utf8(header).map_err(|_| bad("its header is no text"))?;
    let header = Header::parse(header).ok_or_else(|| bad("its header is not understood"))?;
    let (size, number) = number_type(&header.descr).ok_or_else(|| {
        DataError::malformed(
            "npy",
            format!("its elements are `{}`, not numbers f4, f8, i1 to i4 or u1 to u4", header.descr),
        )
    })?;
    let elements = header.shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
    let needed = elements.and_then(|n| n.checked_mul(size));
    if needed != Some(data.len()) {
        let shape = &header.shape;
        let needed = needed.map_or("more than can be counted".to_owned(), |n| n.to_string());
        let found = data.len();
        return Err(DataError::malformed(
            "npy",
            format!("shape {shape:?} takes {needed} bytes, and {found} follow the header"),
        ));
    }
    let data: Vec<f64> = data.chunks_exact(size).map(number).collect();
    let data = if header.fortran_order { to_c_order(&header.shape, &data) } else { data };
    Ok(Array { shape: header.shape, data, kind: Kind::Npy })
}

/// `f4` or `f8`, little-endian, the last axis contiguous.
pub(super) fn write(array: &Array, dtype: DType) -> Vec<u8> {
    let sizes: String = array.shape.iter().map(|n| format!("{n}, ")).collect();
    let sizes =
        if array.shape.len() == 1 { sizes.trim_end().to_owned() } else { sizes.trim_end_matches(", ").to_owned() };
    let mut header = format!("{{'descr': '<f{}', 'fortran_order': False, 'shape': ({sizes}), }}", dtype.bytes());
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    match dtype {
        DType::F32 => bytes.extend(array.data.iter().flat_map(|x| (*x as f32).to_le_bytes())),
        DType::F64 => bytes.extend(array.data.iter().flat_map(|x| x.to_le_bytes())),
    }
    bytes
}

#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Reads the dictionary that NumPy writes, its entries in any order.
    fn parse(text: &str) -> Option<Self> {
        let after = |key: &str| {
            let quoted = ["'", "\""].map(|q| format!("{q}{key}{q}"));
            let at = quoted.iter().find_map(|k| text.find(k.as_str()))?;
            Some(text[at + key.len() + 2..].trim_start().strip_prefix(':')?.trim_start())
        };
        let descr = after("descr")?;
        let quote = descr.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let descr = descr[1..].split(quote).next()?.to_owned();
        let fortran_order = after("fortran_order")?.starts_with("True");
        let shape = after("shape")?.strip_prefix('(')?.split(')').next()?;
        let sizes = shape.split(',').map(str::trim).filter(|s| !s.is_empty());
        let shape = sizes.map(|s| s.trim_end_matches('L').parse().ok()).collect::<Option<_>>()?;
        Some(Self { descr, fortran_order, shape })
    }
}

/// Bytes an element, and how it is read.
type Number = (usize, fn(&[u8]) -> f64);

fn number_type(descr: &str) -> Option<Number> {
    macro_rules! reader {
        ($type:ty, $from:ident) => {
            (size_of::<$type>(), |bytes: &[u8]| {
                bytes.try_into().map_or(f64::NAN, |bytes| f64::from(<$type>::$from(bytes)))
            })
        };
    }
    Some(match descr {
        "<f4" => reader!(f32, from_le_bytes),
        ">f4" => reader!(f32, from_be_bytes),
        "<f8" => reader!(f64, from_le_bytes),
        ">f8" => reader!(f64, from_be_bytes),
        "<i2" => reader!(i16, from_le_bytes),
        ">i2" => reader!(i16, from_be_bytes),
        "<u2" => reader!(u16, from_le_bytes),
        ">u2" => reader!(u16, from_be_bytes),
        "<i4" => reader!(i32, from_le_bytes),
        ">i4" => reader!(i32, from_be_bytes),
        "<u4" => reader!(u32, from_le_bytes),
        ">u4" => reader!(u32, from_be_bytes),
        "|i1" | "<i1" | ">i1" => reader!(i8, from_le_bytes),
        "|u1" | "<u1" | ">u1" | "|b1" => reader!(u8, from_le_bytes),
        _ => return None,
    })
}

/// Elements whose first axis is contiguous, rearranged so that the last is.
fn to_c_order(shape: &[usize], data: &[f64]) -> Vec<f64> {
    let mut out = Vec::with_capacity(data.len());
    for index in 0..data.len() {
        let (mut rest, mut from, mut stride) = (index, 0, data.len());
        for &size in shape.iter().rev() {
            stride /= size;
            from += rest % size * stride;
            rest /= size;
        }
        out.push(data[from]);
    }
    out
}
