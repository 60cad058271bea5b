//! Files of named tensors, as the library safetensors writes them. Those of NumPy, which `npz` reads, become the same list.
//!
//! In come bytes that anyone may have written, out comes a [`TensorList`]: each tensor's type, sizes and place. The format is a length of 8 bytes, a list in
//! JSON of so many, and the elements of all tensors, little-endian. Refused is what is no such list, has a name twice, or has a tensor that does not lie in
//! the file or whose bytes are not those of its sizes. Nothing is allocated in proportion to a number in the file.
//!
//! ```text
//! list   = "{" [ entry { "," entry } ] "}"
//! entry  = string ":" "{" [ member { "," member } ] "}"
//! member = string ":" ( string | "[" [ digits { "," digits } ] "]" )
//! ```
//!
//! An entry is a tensor with the members `dtype`, `shape` and `data_offsets`, in any order; that of the name `__metadata__` is none.

use crate::eval::{Bf16, F16, Float, Stored};
use crate::npz;
use nom::branch::alt;
use nom::bytes::complete::{take_while, take_while_m_n, take_while1};
use nom::character::complete::{char, digit1, one_of};
use nom::combinator::{all_consuming, cut, map_opt, map_res, value};
use nom::multi::{fold_many0, separated_list0};
use nom::sequence::{delimited, preceded, separated_pair, terminated};
use nom::{IResult, Parser};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Cursor, Read, Seek};
use std::ops::Range;
use thiserror::Error;

/// Bytes of the length in front of the list.
const LENGTH_BYTES: usize = 8;

/// Bytes that the list may have, as in the library itself.
const MAX_LIST: u64 = 100_000_000;

/// The entry that is no tensor.
const METADATA: &str = "__metadata__";

/// The types of elements and the bits of each.
const TYPES: [(&str, usize); 22] = [
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("BOOL", 8),
    ("U8", 8),
    ("I8", 8),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("I16", 16),
    ("U16", 16),
    ("F16", 16),
    ("BF16", 16),
    ("I32", 32),
    ("U32", 32),
    ("F32", 32),
    ("C64", 64),
    ("F64", 64),
    ("I64", 64),
    ("U64", 64),
];

/// The tensors of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TensorList {
    tensors: BTreeMap<String, TensorEntry>,
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// As the format calls it: `F32`.
    pub dtype: &'static str,
    /// Sizes of all axes.
    pub shape: Vec<usize>,
    /// Its bytes, counted from the end of the list; in a file of NumPy's from its first byte.
    pub bytes: Range<usize>,
}

/// Why bytes are no list of tensors, or a tensor is none of floats.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TensorError {
    /// There is not even a length.
    #[error("it has {bytes} bytes, and a list of tensors has {LENGTH_BYTES} and more")]
    Short {
        /// Of the file.
        bytes: u64,
    },
    /// The list is longer than the file, or than any list.
    #[error("its list of tensors should have {len} bytes, and the file has {bytes}")]
    Long {
        /// Of the list.
        len: u64,
        /// Of the file.
        bytes: u64,
    },
    /// The list is not written as one.
    #[error("no list of tensors: what is written at its byte {at} does not belong there")]
    Syntax {
        /// From the list's first on.
        at: usize,
    },
    /// Two tensors or two members of one have a name.
    #[error("its list of tensors has `{name}` twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A tensor lacks a member, or has another form of it.
    #[error("`{name}` has no {member}")]
    Member {
        /// The tensor's name.
        name: String,
        /// What it should have.
        member: &'static str,
    },
    /// Its type is none.
    #[error("`{name}` is of {dtype}, which is no type of elements")]
    Type {
        /// The tensor's name.
        name: String,
        /// The type.
        dtype: String,
    },
    /// It does not lie in the file.
    #[error("`{name}` should be bytes {from}..{to} of {bytes}")]
    Outside {
        /// The tensor's name.
        name: String,
        /// Its first byte.
        from: usize,
        /// The one behind its last.
        to: usize,
        /// All that there are.
        bytes: u64,
    },
    /// Its sizes are not those of its bytes.
    #[error("`{name}` has {bytes} bytes, which are not those of {shape:?} {dtype}")]
    Size {
        /// The tensor's name.
        name: String,
        /// That it has.
        bytes: usize,
        /// Its sizes.
        shape: Vec<usize>,
        /// Its type.
        dtype: &'static str,
    },
    /// An archive of arrays, which NumPy writes, or an array of one.
    #[error("{what}")]
    Archive {
        /// What is wrong with it.
        what: String,
    },
    /// Its elements are no floats.
    #[error("`{name}` is of {dtype}, and parameters are floats")]
    NoFloats {
        /// The tensor's name.
        name: String,
        /// Its type.
        dtype: &'static str,
    },
}

impl TensorList {
    /// Bytes of the list, which stands behind `length`, in a file of so many bytes.
    ///
    /// # Errors
    /// If there is no room for it.
    fn len_of(length: [u8; LENGTH_BYTES], file_bytes: u64) -> Result<usize, TensorError> {
        let len = u64::from_le_bytes(length);
        let room = file_bytes.saturating_sub(LENGTH_BYTES as u64).min(MAX_LIST);
        let fits = usize::try_from(len).ok().filter(|_| len <= room);
        fits.ok_or(TensorError::Long { len, bytes: file_bytes })
    }

    /// Reads a list, behind which there are `data_bytes` of elements.
    ///
    /// # Errors
    /// See [`TensorError`].
    pub fn read(list: &[u8], data_bytes: u64) -> Result<Self, TensorError> {
        let text = std::str::from_utf8(list).map_err(|e| TensorError::Syntax { at: e.valid_up_to() })?;
        let (_, entries) = all_consuming(delimited(space, object(object(member)), space)).parse(text).map_err(|e| {
            let rest = match &e {
                nom::Err::Error(e) | nom::Err::Failure(e) => e.input.len(),
                nom::Err::Incomplete(_) => 0,
            };
            TensorError::Syntax { at: text.len() - rest }
        })?;
        let mut list = Self::default();
        for (name, members) in entries.into_iter().filter(|entry| entry.0 != METADATA) {
            let entry = TensorEntry::new(&name, members, data_bytes)?;
            list.add(name, entry)?;
        }
        Ok(list)
    }

    /// Adds a tensor, if there is none of that name.
    pub(crate) fn add(&mut self, name: String, entry: TensorEntry) -> Result<(), TensorError> {
        match self.tensors.entry(name) {
            Entry::Vacant(place) => {
                place.insert(entry);
                Ok(())
            }
            Entry::Occupied(place) => Err(TensorError::Twice { name: place.key().clone() }),
        }
    }

    /// The list of a file of so many bytes, and where the bytes begin from which those of tensors are counted. It may also be one that NumPy's `savez` wrote:
    /// see the errors for what is not read of those.
    ///
    /// # Errors
    /// See [`TensorError`], or if the file cannot be read.
    pub fn of(mut file: impl Read + Seek, bytes: u64) -> io::Result<Result<(Self, u64), TensorError>> {
        let mut begin = Vec::new();
        file.by_ref().take(LENGTH_BYTES as u64).read_to_end(&mut begin)?;
        if npz::is_archive(&begin) {
            return Ok(npz::list(file, bytes)?.map(|list| (list, 0)));
        }
        let Ok(length) = begin.try_into() else { return Ok(Err(TensorError::Short { bytes })) };
        let len = match Self::len_of(length, bytes) {
            Ok(len) => len,
            Err(error) => return Ok(Err(error)),
        };
        let mut list = Vec::new();
        file.take(len as u64).read_to_end(&mut list)?;
        let start = (LENGTH_BYTES + len) as u64;
        Ok(Self::read(&list, bytes.saturating_sub(start)).map(|list| (list, start)))
    }

    /// The same of a file that has been read, and the bytes of its tensors.
    ///
    /// # Errors
    /// See [`TensorError`].
    pub fn of_file(file: &[u8]) -> Result<(Self, &[u8]), TensorError> {
        let read = Self::of(Cursor::new(file), file.len() as u64);
        let (list, start) = read.map_err(|e| TensorError::Archive { what: e.to_string() })??;
        Ok((list, file.get(start as usize..).unwrap_or_default()))
    }

    /// The names of all tensors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&TensorEntry> {
        self.tensors.get(name)
    }

    /// The elements of a tensor of floats among the bytes behind the list, if there is one of that name.
    ///
    /// # Errors
    /// If the tensor is of another type.
    pub fn elements<T: Float>(&self, name: &str, data: &[u8]) -> Result<Option<Vec<T>>, TensorError> {
        let Some(entry) = self.get(name) else { return Ok(None) };
        let mut all = Vec::new();
        entry.floats(name, data.get(entry.bytes.clone()).unwrap_or_default(), &mut all)?;
        Ok(Some(all))
    }
}

/// Little-endian elements.
fn converted<S: Stored, T: Float>(bytes: &[u8]) -> impl Iterator<Item = T> {
    let mut one = Vec::with_capacity(size_of::<S>());
    bytes.chunks_exact(size_of::<S>()).map(move |bytes| {
        one.clear();
        one.extend_from_slice(bytes);
        if cfg!(target_endian = "big") {
            one.reverse();
        }
        // Halves and `f32` are exact in `f64`, so that nothing is rounded twice.
        T::from_number(S::from_bytes(&one).to_number())
    })
}

impl TensorEntry {
    /// Whether the elements are `T`, but for the order of bytes.
    pub fn is_of<T: Float>(&self) -> bool {
        self.dtype.eq_ignore_ascii_case(T::STORAGE.name())
    }

    /// The elements of its bytes, each as the nearest `T`, in place of what is in `all`.
    ///
    /// # Errors
    /// If they are no floats: an error about a tensor called `name`.
    pub fn floats<T: Float>(&self, name: &str, bytes: &[u8], all: &mut Vec<T>) -> Result<(), TensorError> {
        all.clear();
        match self.dtype {
            "F32" => all.extend(converted::<f32, T>(bytes)),
            "F64" => all.extend(converted::<f64, T>(bytes)),
            "F16" => all.extend(converted::<F16, T>(bytes)),
            "BF16" => all.extend(converted::<Bf16, T>(bytes)),
            dtype => return Err(TensorError::NoFloats { name: name.to_owned(), dtype }),
        }
        Ok(())
    }

    fn new(name: &str, members: Vec<(String, Member)>, data_bytes: u64) -> Result<Self, TensorError> {
        let owned = || name.to_owned();
        let mut known: BTreeMap<&str, &Member> = BTreeMap::new();
        for (member, value) in &members {
            if known.insert(member, value).is_some() {
                return Err(TensorError::Twice { name: format!("{name}.{member}") });
            }
        }
        let missing = |member: &'static str| TensorError::Member { name: owned(), member };
        let Some(Member::Text(dtype)) = known.get("dtype") else { return Err(missing("dtype")) };
        let Some(Member::Numbers(shape)) = known.get("shape") else { return Err(missing("shape")) };
        let Some(Member::Numbers(offsets)) = known.get("data_offsets") else { return Err(missing("data_offsets")) };
        let &[from, to] = offsets.as_slice() else { return Err(missing("two data_offsets")) };
        let Some(&(dtype, bits)) = TYPES.iter().find(|known| known.0 == dtype) else {
            return Err(TensorError::Type { name: owned(), dtype: dtype.clone() });
        };
        if from > to || to as u64 > data_bytes {
            return Err(TensorError::Outside { name: owned(), from, to, bytes: data_bytes });
        }
        Self::at(name, (dtype, bits), shape.clone(), from..to)
    }

    /// A tensor of those bytes, if they are those of its sizes; `dtype` is a type and the bits of an element.
    fn at(
        name: &str,
        (dtype, bits): (&'static str, usize),
        shape: Vec<usize>,
        bytes: Range<usize>,
    ) -> Result<Self, TensorError> {
        let expected = shape.iter().try_fold(bits, |bits, &size| bits.checked_mul(size));
        if expected.is_none_or(|bits| bits.div_ceil(8) != bytes.len()) {
            return Err(TensorError::Size { name: name.to_owned(), bytes: bytes.len(), shape, dtype });
        }
        Ok(Self { dtype, shape, bytes })
    }

    /// The same of a type by its name.
    pub(crate) fn of_type(
        name: &str,
        dtype: &str,
        shape: Vec<usize>,
        bytes: Range<usize>,
    ) -> Result<Self, TensorError> {
        match TYPES.iter().find(|known| known.0 == dtype) {
            Some(&known) => Self::at(name, known, shape, bytes),
            None => Err(TensorError::Type { name: name.to_owned(), dtype: dtype.to_owned() }),
        }
    }
}

/// What stands behind a member's name.
#[derive(Clone, Debug)]
enum Member {
    Text(String),
    Numbers(Vec<usize>),
}

fn space(text: &str) -> IResult<&str, &str> {
    take_while(|c| " \t\r\n".contains(c)).parse(text)
}

/// `{ "name": value, … }`, where `value` reads what stands behind the colons.
fn object<'a, T>(
    value: impl Parser<&'a str, Output = T, Error = nom::error::Error<&'a str>>,
) -> impl Parser<&'a str, Output = Vec<(String, T)>, Error = nom::error::Error<&'a str>> {
    let pair = separated_pair(string, cut((space, char(':'), space)), cut(value));
    delimited((char('{'), space), separated_list0((space, char(','), space), pair), (space, cut(char('}'))))
}

fn member(text: &str) -> IResult<&str, Member> {
    let number = map_res(digit1, str::parse::<usize>);
    let numbers = separated_list0((space, char(','), space), number);
    let numbers = delimited((char('['), space), numbers, (space, cut(char(']'))));
    alt((string.map(Member::Text), numbers.map(Member::Numbers))).parse(text)
}

/// A string of JSON.
fn string(text: &str) -> IResult<&str, String> {
    let plain = take_while1(|c: char| c >= ' ' && c != '"' && c != '\\').map(str::to_owned);
    let piece = alt((plain, preceded(char('\\'), cut(escaped)).map(String::from)));
    let pieces = fold_many0(piece, String::new, |all, piece| all + &piece);
    delimited(char('"'), pieces, cut(char('"'))).parse(text)
}

/// What stands behind a backslash.
fn escaped(text: &str) -> IResult<&str, char> {
    let short = [('b', '\u{8}'), ('f', '\u{c}'), ('n', '\n'), ('r', '\r'), ('t', '\t')];
    let short = one_of("\"\\/bfnrt").map(move |c| short.iter().find(|known| known.0 == c).map_or(c, |known| known.1));
    let one = map_opt(unit, char::from_u32);
    // Characters of more than 16 bits are two numbers.
    let pair = map_opt((terminated(unit, value((), (char('\\'), char('u')))), hex), |(high, low)| {
        let is_pair = (0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(&low);
        if is_pair { char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)) } else { None }
    });
    alt((short, one, pair)).parse(text)
}

fn unit(text: &str) -> IResult<&str, u32> {
    preceded(char('u'), hex).parse(text)
}

fn hex(text: &str) -> IResult<&str, u32> {
    map_res(take_while_m_n(4, 4, |c: char| c.is_ascii_hexdigit()), |digits| u32::from_str_radix(digits, 16)).parse(text)
}

#[cfg(test)]
#[path = "safetensors_tests.rs"]
mod tests;
