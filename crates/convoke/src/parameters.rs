//! Parameters by name from a file that the library safetensors wrote.
//!
//! Tensors are read one by one, when they are asked for: of a large network there is never more in memory than one of them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use convoke_core::eval::{Bf16, F16, Float, Stored};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::error::Error;
use crate::memory::as_bytes_mut;

/// Bytes that the list of tensors may have, as in the library itself.
const MAX_HEADER: u64 = 100_000_000;

/// An open file of named tensors, as PyTorch and others write them with the library safetensors.
///
/// ```no_run
/// let mut file = convoke::Parameters::open("net.safetensors".as_ref())?;
/// let weights: Option<Vec<f32>> = file.read("stem.weight")?;
/// # Ok::<(), convoke::Error>(())
/// ```
#[derive(Debug)]
pub struct Parameters {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the first tensor's bytes are.
    start: u64,
}

impl Parameters {
    /// Reads the list of tensors.
    ///
    /// # Errors
    /// If the file cannot be read, or is no such file: a tensor that does not lie in it, or whose bytes are not those of its sizes.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |reason: String| Error::File { path: path.to_owned(), reason };
        let io = |e: std::io::Error| failed(e.to_string());
        let mut file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let mut len = [0; 8];
        file.read_exact(&mut len)
            .map_err(|_| failed(format!("it has {bytes} bytes, and a list of tensors has 8 and more")))?;
        let len = u64::from_le_bytes(len);
        if len > MAX_HEADER.min(bytes - 8) {
            return Err(failed(format!("its list of tensors should have {len} bytes, and the file has {bytes}")));
        }
        let mut header = Vec::new();
        (&file).take(len).read_to_end(&mut header).map_err(io)?;
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|e| failed(format!("no list of tensors: {e}")))?;
        let start = 8 + len;
        let mut names: Vec<_> = metadata.tensors().into_iter().collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, info) in names {
            check(info, bytes - start).map_err(|reason| failed(format!("`{name}` {reason}")))?;
        }
        Ok(Self { path: path.to_owned(), file, metadata, start })
    }

    /// The names of all tensors.
    pub fn names(&self) -> HashSet<String> {
        self.metadata.tensors().into_keys().collect()
    }

    /// The elements of a tensor, in the file's order, if there is one of that name. `f32`, `f64`, `f16` and `bf16` become the nearest `T`.
    ///
    /// # Errors
    /// If the file cannot be read, or the tensor is of another type.
    pub fn read<T: Float>(&mut self, name: &str) -> Result<Option<Vec<T>>, Error> {
        self.read_in(name, Vec::new())
    }

    /// As [`Parameters::read`], in the memory of `room`: what has been written once need not be asked of the system again.
    pub(crate) fn read_in<T: Float>(&mut self, name: &str, room: Vec<T>) -> Result<Option<Vec<T>>, Error> {
        let Some(TensorInfo { dtype, data_offsets: (from, to), .. }) = self.metadata.info(name) else {
            return Ok(None);
        };
        let (len, dtype, at) = (to - from, *dtype, self.start + *from as u64);
        let failed = |reason: String| Error::File { path: self.path.clone(), reason };
        let io = |e: std::io::Error| failed(format!("the {len} bytes of `{name}`: {e}"));
        self.file.seek(SeekFrom::Start(at)).map_err(io)?;
        match dtype {
            Dtype::F32 => elements::<f32, T>(&self.file, len, room).map(Some).map_err(io),
            Dtype::F64 => elements::<f64, T>(&self.file, len, room).map(Some).map_err(io),
            Dtype::F16 => elements::<F16, T>(&self.file, len, room).map(Some).map_err(io),
            Dtype::BF16 => elements::<Bf16, T>(&self.file, len, room).map(Some).map_err(io),
            other => Err(failed(format!("`{name}` is of {other:?}, and parameters are floats"))),
        }
    }
}

/// Why a tensor cannot lie among so many bytes.
fn check(info: &TensorInfo, bytes: u64) -> Result<(), String> {
    let (from, to) = info.data_offsets;
    if from > to || to as u64 > bytes {
        return Err(format!("should be bytes {from}..{to} of {bytes}"));
    }
    let bits = info.shape.iter().try_fold(info.dtype.bitsize(), |bits, &size| bits.checked_mul(size));
    match bits {
        Some(bits) if bits.div_ceil(8) == to - from => Ok(()),
        _ => Err(format!("has {} bytes, which are not those of {:?} {:?}", to - from, info.shape, info.dtype)),
    }
}

/// The next `len` bytes, which are little-endian `S`, as `T`, in place of what is in `all`.
fn elements<S: Stored, T: Float>(mut file: &File, len: usize, mut all: Vec<T>) -> std::io::Result<Vec<T>> {
    let count = len / size_of::<S>();
    if S::STORAGE == T::STORAGE && cfg!(target_endian = "little") {
        all.try_reserve_exact(count.saturating_sub(all.len()))?;
        all.resize(count, T::default());
        file.read_exact(as_bytes_mut(&mut all))?;
        return Ok(all);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len)?;
    bytes.resize(len, 0);
    file.read_exact(&mut bytes)?;
    let mut one = Vec::with_capacity(size_of::<S>());
    let each = bytes.chunks_exact(size_of::<S>()).map(|bytes| {
        one.clear();
        one.extend_from_slice(bytes);
        if cfg!(target_endian = "big") {
            one.reverse();
        }
        // Halves and `f32` are exact in `f64`, so that nothing is rounded twice.
        T::from_number(S::from_bytes(&one).to_number())
    });
    all.clear();
    all.extend(each);
    Ok(all)
}
