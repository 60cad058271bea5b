//! Arrays of f32 in `.npy` files, C order, little endian: what the workers exchange.

use std::fs;
use std::path::Path;

use crate::protocol::Result;

/// An array and its shape, outermost axis first.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f32>,
}

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
const KIND: &str = "{'descr': '<f4', 'fortran_order': False, 'shape': (";

impl Array {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&bytes).ok_or_else(|| format!("{}: not an array of f32 in C order", path.display()).into())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<2>()?;
        let (header, data) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        let shape = std::str::from_utf8(header).ok()?.strip_prefix(KIND)?.split(')').next()?;
        let shape = shape.split(',').map(str::trim).filter(|axis| !axis.is_empty());
        let shape: Vec<usize> = shape.map(|axis| axis.parse().ok()).collect::<Option<_>>()?;
        let data: Vec<_> = data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        (data.len() == shape.iter().product::<usize>()).then_some(Self { shape, data })
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let axes: String = self.shape.iter().map(|axis| format!("{axis}, ")).collect();
        // The data begin at a multiple of 64.
        let header = format!("{KIND}{axes}), }}");
        let length = (MAGIC.len() + 2 + header.len() + 1).next_multiple_of(64) - MAGIC.len() - 2;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(u16::try_from(length)?.to_le_bytes());
        bytes.extend(format!("{header:<width$}\n", width = length - 1).bytes());
        bytes.extend(self.data.iter().flat_map(|x| x.to_le_bytes()));
        fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()).into())
    }
}
