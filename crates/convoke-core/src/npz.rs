//! Files of named arrays, as NumPy's `savez` writes them: an archive of `.npy` files, which are not compressed.
//!
//! In come bytes that anyone may have written, out comes a [`TensorList`], whose tensors are bytes of the whole file. Of the archive the directory at its end
//! counts, and of each array the header in front of its elements. Refused is what is compressed, does not lie in the file, or has elements in another order than
//! rows and the lower byte first. Nothing is allocated in proportion to a number in the file that has not been compared with its length.

use crate::safetensors::{TensorEntry, TensorError, TensorList};
use nom::branch::alt;
use nom::bytes::complete::{tag, take, take_till};
use nom::character::complete::{char, digit1, multispace0};
use nom::combinator::{all_consuming, map_res, opt, value};
use nom::multi::separated_list0;
use nom::number::complete::{le_u16, le_u32};
use nom::sequence::{delimited, preceded, separated_pair, terminated};
use nom::{IResult, Parser};
use std::io::{self, Read, Seek, SeekFrom};

/// What an archive begins with; that of nothing begins with its end.
const BEGIN: [&[u8]; 2] = [b"PK\x03\x04", END];
/// What the directory's end begins with, and its bytes without the comment.
const END: &[u8] = b"PK\x05\x06";
const END_BYTES: u64 = 22;
/// Bytes of a comment at most.
const MAX_COMMENT: u64 = 0xffff;
/// Bytes in front of a member, without its name and what else is said of it.
const LOCAL_BYTES: u64 = 30;
/// Bytes of an array's header at most: NumPy's own limit.
const MAX_HEADER: usize = 10_000;
/// A number that is said elsewhere, since it is larger.
const ELSEWHERE: u32 = u32::MAX;
/// How the name of an array's member ends.
const SUFFIX: &str = ".npy";

/// NumPy's types and how the list of tensors calls them. NumPy has no `bf16`: `V2` is how the package ml_dtypes writes it.
const TYPES: [(&str, &str); 14] = [
    ("<f2", "F16"),
    ("<f4", "F32"),
    ("<f8", "F64"),
    ("|V2", "BF16"),
    ("<V2", "BF16"),
    ("|b1", "BOOL"),
    ("|i1", "I8"),
    ("|u1", "U8"),
    ("<i2", "I16"),
    ("<u2", "U16"),
    ("<i4", "I32"),
    ("<u4", "U32"),
    ("<i8", "I64"),
    ("<u8", "U64"),
];

/// Whether a file that begins so is an archive.
pub(crate) fn is_archive(begin: &[u8]) -> bool {
    BEGIN.iter().any(|known| begin.starts_with(known))
}

/// The arrays of a file of so many bytes.
///
/// # Errors
/// If it cannot be read, or as [`TensorError`] says.
pub(crate) fn list(mut file: impl Read + Seek, bytes: u64) -> io::Result<Result<TensorList, TensorError>> {
    let tail_from = bytes.saturating_sub(END_BYTES + MAX_COMMENT);
    let tail = read(&mut file, tail_from, (bytes - tail_from) as usize)?;
    let Some((count, from, len)) = directory(&tail).filter(|&(_, from, len)| from + len <= bytes) else {
        return Ok(Err(TensorError::Archive { what: "the archive has no directory at its end".to_owned() }));
    };
    let directory = read(&mut file, from, len as usize)?;
    let mut rest = &directory[..];
    let mut list = TensorList::default();
    for _ in 0..count {
        let Ok((behind, member)) = member(rest) else {
            return Ok(Err(TensorError::Archive { what: "the archive's directory ends within a member".to_owned() }));
        };
        rest = behind;
        let Some(name) = member.name.strip_suffix(SUFFIX) else { continue };
        let entry = match array(&mut file, bytes, name, &member)? {
            Ok(entry) => entry,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = list.add(name.to_owned(), entry) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(list))
}

fn read(mut file: impl Read + Seek, from: u64, len: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How many members the last directory in `tail` has, where it is in the file, and its bytes.
fn directory(tail: &[u8]) -> Option<(u16, u64, u64)> {
    let at = tail.windows(END.len()).rposition(|bytes| bytes == END)?;
    let numbers = (take(10_usize), le_u16::<_, nom::error::Error<&[u8]>>, le_u32, le_u32);
    let (_, (_, count, len, from)) = { numbers }.parse(&tail[at..]).ok()?;
    (from != ELSEWHERE).then_some((count, from.into(), len.into()))
}

/// A member of an archive, as the directory says.
struct Member {
    name: String,
    is_stored: bool,
    /// In the archive, and as it was.
    bytes: [u32; 2],
    /// What stands in front of it.
    local: u32,
}

fn member(bytes: &[u8]) -> IResult<&[u8], Member> {
    let (rest, _) = tag(&b"PK\x01\x02"[..]).parse(bytes)?;
    let (rest, (_, flags, method, _)) = (take(4_usize), le_u16, le_u16, take(8_usize)).parse(rest)?;
    let (rest, (packed, plain)) = (le_u32, le_u32).parse(rest)?;
    let (rest, (name, extra, comment, _, local)) = (le_u16, le_u16, le_u16, take(8_usize), le_u32).parse(rest)?;
    let (rest, (name, _, _)) = (take(name), take(extra), take(comment)).parse(rest)?;
    let name = String::from_utf8_lossy(name).into_owned();
    // The first bit says that it is encrypted.
    Ok((rest, Member { name, is_stored: method == 0 && flags & 1 == 0, bytes: [packed, plain], local }))
}

/// Where an array's elements are, and what.
fn array(
    mut file: impl Read + Seek,
    bytes: u64,
    name: &str,
    member: &Member,
) -> io::Result<Result<TensorEntry, TensorError>> {
    let Member { is_stored, bytes: [packed, plain], local, .. } = *member;
    let refused = |what: &str| Ok(Err(TensorError::Archive { what: format!("`{name}` {what}") }));
    if !is_stored || packed != plain {
        return refused("is compressed or encrypted; numpy.savez writes it as it is");
    }
    if [packed, local].contains(&ELSEWHERE) {
        return refused("lies beyond 4 GiB; a file of the library safetensors may be as long");
    }
    let front = read(&mut file, local.into(), LOCAL_BYTES as usize)?;
    let lens = (take(26_usize), le_u16::<_, nom::error::Error<&[u8]>>, le_u16);
    let Ok((_, (_, name_len, extra_len))) = { lens }.parse(&front) else {
        return refused("is not where the archive's directory says");
    };
    let from = u64::from(local) + LOCAL_BYTES + u64::from(name_len) + u64::from(extra_len);
    let to = from + u64::from(packed);
    if to > bytes {
        let (from, to) = (from as usize, to as usize);
        return Ok(Err(TensorError::Outside { name: name.to_owned(), from, to, bytes }));
    }
    let begin = read(&mut file, from, (packed as usize).min(MAX_HEADER + 12))?;
    let Ok((rest, header)) = header(&begin) else { return refused("has no header that is understood") };
    let Header { descr, is_by_column, shape } = header;
    // What NumPy alone has is no type here either.
    let dtype = TYPES.iter().find(|known| known.0 == descr).map_or(descr, |known| known.1);
    if is_by_column && shape.iter().filter(|&&size| size > 1).count() > 1 {
        return refused("lies column by column; numpy.ascontiguousarray brings it in order");
    }
    let start = from as usize + begin.len() - rest.len();
    Ok(TensorEntry::of_type(name, dtype, shape, start..to as usize))
}

/// What is said of an array.
struct Header<'a> {
    descr: &'a str,
    is_by_column: bool,
    shape: Vec<usize>,
}

/// A header, and what is behind it.
fn header(bytes: &[u8]) -> IResult<&[u8], Header<'_>> {
    let short = preceded(tag(&b"\x01\x00"[..]), le_u16).map(usize::from);
    let long = preceded(alt((tag(&b"\x02\x00"[..]), tag(&b"\x03\x00"[..]))), le_u32).map(|len| len as usize);
    let (rest, len) = preceded(tag(&b"\x93NUMPY"[..]), alt((short, long))).parse(bytes)?;
    let (rest, text) = map_res(take(len), std::str::from_utf8).parse(rest)?;
    let failed = || nom::Err::Error(nom::error::Error::new(bytes, nom::error::ErrorKind::Verify));
    let (_, members) = all_consuming(members).parse(text).map_err(|_| failed())?;
    let mut header = Header { descr: "", is_by_column: false, shape: Vec::new() };
    let mut known = [false; 3];
    for member in members {
        let which = match member {
            Said::Descr(descr) => {
                header.descr = descr;
                0
            }
            Said::ByColumn(is) => {
                header.is_by_column = is;
                1
            }
            Said::Shape(shape) => {
                header.shape = shape;
                2
            }
        };
        known[which] = true;
    }
    if known == [true; 3] { Ok((rest, header)) } else { Err(failed()) }
}

#[derive(Clone)]
enum Said<'a> {
    Descr(&'a str),
    ByColumn(bool),
    Shape(Vec<usize>),
}

/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
fn members(text: &str) -> IResult<&str, Vec<Said<'_>>> {
    let comma = || (multispace0, char(','), multispace0);
    let descr = key("descr", quoted).map(Said::Descr);
    let by_column = key("fortran_order", alt((value(true, tag("True")), value(false, tag("False")))));
    let number = map_res(digit1, str::parse::<usize>);
    let numbers = terminated(separated_list0(comma(), number), opt(comma()));
    let shape = key("shape", delimited((char('('), multispace0), numbers, (multispace0, char(')'))));
    let one = alt((descr, by_column.map(Said::ByColumn), shape.map(Said::Shape)));
    let all = terminated(separated_list0(comma(), one), opt(comma()));
    delimited((char('{'), multispace0), all, (multispace0, char('}'), multispace0)).parse(text)
}

fn key<'a, T>(
    name: &'static str,
    of: impl Parser<&'a str, Output = T, Error = nom::error::Error<&'a str>>,
) -> impl Parser<&'a str, Output = T, Error = nom::error::Error<&'a str>> {
    let named = delimited(char('\''), tag(name), char('\''));
    separated_pair(named, (multispace0, char(':'), multispace0), of).map(|pair| pair.1)
}

fn quoted(text: &str) -> IResult<&str, &str> {
    delimited(char('\''), take_till(|c| c == '\''), char('\'')).parse(text)
}

#[cfg(test)]
#[path = "npz_tests.rs"]
mod tests;
