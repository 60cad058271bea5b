//! Files with numbers: arrays (npy), pictures (png), recordings (wav).
//!
//! In come the bytes of a file, out goes an [`Array`], or the other way round. What a file says of its own size is checked
//! against its length before memory is taken for it. Which axis is which is for [`fit`] to say.

pub(crate) mod fit;
mod npy;
mod png;
pub(crate) mod preprocess;
mod wav;

use crate::failure::Failure;
use crate::interrupt::Unfinished;
use convoke_core::spec::{LayerSpec, Storage};
use std::path::Path;

/// Numbers, where they come from, and how they are arranged there, the last axis contiguous. Every `f32` and every 16-bit
/// integer is exact in `f64`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f64>,
    pub(crate) kind: Kind,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An array of any shape.
    Npy,
    /// Rows, columns, channels: 1 grey, 2 grey and opacity, 3 colours, 4 colours and opacity. Values are from 0 to 1.
    Png,
    /// Frames, channels. Values are from -1 to 1.
    Wav {
        /// Frames a second.
        rate: u32,
    },
}

/// Why a file is no array.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    /// The file's name does not say what it is.
    #[error("the name must end with .npy, .png or .wav")]
    Extension,
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The file is not what its name says, or is damaged.
    #[error("this is no {format} file that can be read: {reason}")]
    Malformed {
        /// `npy`, `png` or `wav`.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The numbers do not fit the format.
    #[error("a {format} file holds {holds}, and the result is {found}")]
    Shape {
        /// `png` or `wav`.
        format: &'static str,
        /// What such a file can hold.
        holds: &'static str,
        /// The result's shape.
        found: String,
    },
}

impl DataError {
    fn malformed(format: &'static str, reason: impl ToString) -> Self {
        Self::Malformed { format, reason: reason.to_string() }
    }
}

/// Bytes that a file may have.
const MAX_BYTES: u64 = 8 << 30;

/// Reads a file of the kind that its name says.
pub(crate) fn read(path: &Path) -> Result<Array, Failure> {
    let read = || {
        let parse = match extension(path).as_deref() {
            Some("npy") => npy::read,
            Some("png") => png::read,
            Some("wav") => wav::read,
            _ => return Err(DataError::Extension),
        };
        let bytes = std::fs::metadata(path)?.len();
        if bytes > MAX_BYTES {
            return Err(DataError::malformed("data", format!("it has {bytes} bytes, and the most is {MAX_BYTES}")));
        }
        parse(&std::fs::read(path)?)
    };
    read().map_err(|e| Failure::file(path, e))
}

/// Refuses a name that [`write()`] would refuse, before anything is computed.
pub(crate) fn check_name(path: &Path) -> Result<(), Failure> {
    match extension(path).as_deref() {
        Some("npy" | "png" | "wav") => Ok(()),
        _ => Err(Failure::Usage(format!("{}: {}", path.display(), DataError::Extension))),
    }
}

/// What the elements of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elements {
    pub(crate) storage: Storage,
    /// Whether the last axis is one of real and imaginary parts.
    pub(crate) complex: bool,
}

impl Elements {
    /// Those of the output of `spec`.
    pub(crate) fn of_dst(spec: &LayerSpec) -> Self {
        Self { storage: spec.dst_storage(), complex: spec.complex }
    }
}

/// Writes an array to a file of the kind that its name says. `elements` are those of npy; png takes values from 0 to 1.
pub(crate) fn write(path: &Path, array: &Array, elements: Elements) -> Result<(), Failure> {
    let bytes = match extension(path).as_deref() {
        Some("npy") => npy::write(array, elements),
        Some("png") => png::write(array),
        Some("wav") => wav::write(array),
        _ => Err(DataError::Extension),
    };
    write_whole(path, &bytes.map_err(|e| Failure::file(path, e))?)
}

/// The lower-case end of a file's name.
pub(crate) fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

/// How the names of files begin that are not whole yet.
pub(crate) const TEMPORARY: &str = ".convoke-";

/// Writes a file so that it is there whole or not at all. Devices and pipes are written to as they are.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return std::fs::write(path, bytes).map_err(|e| Failure::file(path, e));
    }
    write_file(path, |path| std::fs::write(path, bytes))
}

/// The same, of a file that `write` writes, under another name first.
pub(crate) fn write_file(path: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), Failure> {
    let whole = || -> std::io::Result<()> {
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let old = std::fs::metadata(&target).ok();
        let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY);
        #[cfg(unix)]
        let all_may_read = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        #[cfg(unix)]
        builder.permissions(all_may_read);
        let file = builder.tempfile_in(folder)?;
        let _unfinished = Unfinished::new(file.path());
        write(file.path())?;
        if let Some(old) = old {
            file.as_file().set_permissions(old.permissions())?;
        }
        file.persist(&target).map_err(|e| e.error)?;
        Ok(())
    };
    whole().map_err(|e: std::io::Error| Failure::file(path, e))
}

#[cfg(test)]
mod tests;
