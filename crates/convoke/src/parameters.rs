//! Parameters by name from a file that the library safetensors wrote, or NumPy's `savez`.
//!
//! Tensors are read one by one, when they are asked for: of a large network there is never more in memory than one of them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use convoke_core::eval::Float;
use convoke_core::safetensors::TensorList;

use crate::error::Error;
use crate::memory::as_bytes_mut;

/// An open file of named tensors, as PyTorch and others write them with the library safetensors, or NumPy with `savez`.
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
    list: TensorList,
    /// Where those bytes begin from which the list counts.
    start: u64,
}

impl Parameters {
    /// Reads the list of tensors.
    ///
    /// # Errors
    /// If the file cannot be read, or is no such file: a tensor that does not lie in it, or whose bytes are not those of its sizes; of NumPy's files, what is
    /// compressed or does not lie row by row.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |reason: String| Error::File { path: path.to_owned(), reason };
        let io = |e: std::io::Error| failed(e.to_string());
        let mut file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let (list, start) = TensorList::of(&mut file, bytes).map_err(io)?.map_err(|e| failed(e.to_string()))?;
        Ok(Self { path: path.to_owned(), file, list, start })
    }

    /// The names of all tensors.
    pub fn names(&self) -> HashSet<String> {
        self.list.names().map(str::to_owned).collect()
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
        let Some(entry) = self.list.get(name) else { return Ok(None) };
        let (len, at) = (entry.bytes.len(), self.start + entry.bytes.start as u64);
        let failed = |reason: String| Error::File { path: self.path.clone(), reason };
        let io = |e: std::io::Error| failed(format!("the {len} bytes of `{name}`: {e}"));
        self.file.seek(SeekFrom::Start(at)).map_err(io)?;
        if entry.is_of::<T>() && cfg!(target_endian = "little") {
            return exact(&self.file, len / size_of::<T>(), room).map(Some).map_err(io);
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|e| io(e.into()))?;
        bytes.resize(len, 0);
        self.file.read_exact(&mut bytes).map_err(io)?;
        let mut all = room;
        entry.floats(name, &bytes, &mut all).map_err(|e| failed(e.to_string()))?;
        Ok(Some(all))
    }
}

/// The next `count` elements, in place of what is in `all`.
fn exact<T: Float>(mut file: &File, count: usize, mut all: Vec<T>) -> std::io::Result<Vec<T>> {
    all.try_reserve_exact(count.saturating_sub(all.len()))?;
    all.resize(count, T::default());
    file.read_exact(as_bytes_mut(&mut all))?;
    Ok(all)
}
