//! Constants whose data is in a file beside the model.
//!
//! The name of that file comes from whoever made the model. It is read only if it lies in the model's folder or below it, links followed, and only as far as
//! the file reaches.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use crate::error::TensorError;
use crate::proto::StringStringEntryProto;
use crate::tensor::Budget;

/// The folder that data may be in.
#[derive(Clone, Debug)]
pub(crate) struct External {
    /// The model's folder.
    folder: PathBuf,
}

impl External {
    /// For the model at `path`.
    pub(crate) fn beside(path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self { folder: folder.to_owned() }
    }

    /// The data that a tensor's entries say, which has to be `expected` bytes.
    pub(crate) fn read(
        &self,
        entries: &[StringStringEntryProto],
        (dims, expected): (&[usize], usize),
        budget: &mut Budget,
    ) -> Result<Bytes, TensorError> {
        let entry = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str());
        let number = |key: &'static str| {
            let Some(value) = entry(key) else { return Ok(None) };
            let number = value.trim().parse::<u64>();
            number.map(Some).map_err(|_| TensorError::Entry { key, value: format!("`{value}`, which is no number") })
        };
        let location =
            entry("location").ok_or(TensorError::Entry { key: "location", value: String::new() })?.to_owned();
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if let Some(found) = length.filter(|&length| length != expected as u64) {
            return Err(TensorError::Bytes { dims: dims.to_vec(), expected: expected as u64, found });
        }
        let path = self.inside(&location)?;
        let failed =
            |error: std::io::Error| TensorError::File { location: location.clone(), message: error.to_string() };
        // Before it is opened: to open a pipe is to wait.
        let metadata = fs::metadata(&path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(TensorError::File { location, message: "it is no file".to_owned() });
        }
        let (size, end) = (metadata.len(), offset.saturating_add(expected as u64));
        if end > size {
            return Err(TensorError::Range { location, offset, end, size });
        }
        budget.take(expected, 1)?;
        let mut file = File::open(path).map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut data = vec![0; expected];
        file.read_exact(&mut data).map_err(failed)?;
        Ok(data.into())
    }

    /// Where that file is, if it may be read.
    fn inside(&self, location: &str) -> Result<PathBuf, TensorError> {
        let outside = || TensorError::Outside { location: location.to_owned() };
        let relative = Path::new(location);
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        // Of other systems too, whatever this one makes of them.
        if location.is_empty() || location.contains(['\\', ':', '\0']) || !relative.components().all(plain) {
            return Err(outside());
        }
        let failed =
            |error: std::io::Error| TensorError::File { location: location.to_owned(), message: error.to_string() };
        let folder = fs::canonicalize(&self.folder).map_err(failed)?;
        let path = fs::canonicalize(folder.join(relative)).map_err(failed)?;
        if path.starts_with(&folder) {
            return Ok(path);
        }
        Err(TensorError::Link { location: location.to_owned() })
    }
}
