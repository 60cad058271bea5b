//! The parameters of a network: a file of named tensors, as PyTorch and others write them with the library safetensors.

use super::DataError;
use crate::failure::Failure;
use convoke::{Bf16, F16, Stored};
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::Path;

/// Bytes that such a file may have.
const MAX_BYTES: u64 = 8 << 30;

/// The elements of each tensor, by name. Types are those of the language that are floats; every number of them is exact in `f64`.
pub(crate) fn read(path: &Path) -> Result<HashMap<String, Vec<f64>>, Failure> {
    let malformed = |reason: String| DataError::malformed("safetensors", reason);
    let read = || {
        let bytes = std::fs::metadata(path)?.len();
        if bytes > MAX_BYTES {
            return Err(malformed(format!("it has {bytes} bytes, and the most is {MAX_BYTES}")));
        }
        let bytes = std::fs::read(path)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| malformed(e.to_string()))?;
        let mut all = HashMap::new();
        for (name, tensor) in file.tensors() {
            let elements = match tensor.dtype() {
                Dtype::F32 => numbers::<f32>(tensor.data()),
                Dtype::F64 => numbers::<f64>(tensor.data()),
                Dtype::F16 => numbers::<F16>(tensor.data()),
                Dtype::BF16 => numbers::<Bf16>(tensor.data()),
                // What PyTorch counts batches with.
                Dtype::I64 => continue,
                other => return Err(malformed(format!("`{name}` is of {other:?}, and parameters are floats"))),
            };
            all.insert(name, elements);
        }
        Ok(all)
    };
    read().map_err(|e| Failure::file(path, e))
}

/// The elements of little-endian bytes.
fn numbers<T: Stored>(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(size_of::<T>()).map(|bytes| T::from_bytes(bytes).to_number()).collect()
}
