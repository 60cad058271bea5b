//! Recordings: integers of 8 to 32 bits, or floats.

use super::{Array, DataError, Kind};
use crate::numbers::sizes;
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use std::io::Cursor;

/// Frames, channels; integers become numbers from -1 to 1.
pub(super) fn read(bytes: &[u8]) -> Result<Array, DataError> {
    let bad = |e: hound::Error| DataError::malformed("wav", e);
    let reader = WavReader::new(Cursor::new(bytes)).map_err(bad)?;
    let WavSpec { channels, sample_rate, bits_per_sample, sample_format } = reader.spec();
    let data: Vec<f64> = match sample_format {
        SampleFormat::Float => reader.into_samples::<f32>().map(|s| s.map(f64::from)).collect::<Result<_, _>>(),
        SampleFormat::Int => {
            let full = 2f64.powi(i32::from(bits_per_sample) - 1);
            reader.into_samples::<i32>().map(|s| s.map(|s| f64::from(s) / full)).collect::<Result<_, _>>()
        }
    }
    .map_err(bad)?;
    let channels = usize::from(channels);
    if channels == 0 || !data.len().is_multiple_of(channels) {
        return Err(DataError::malformed("wav", format!("{} values are no whole frames of {channels}", data.len())));
    }
    Ok(Array { shape: vec![data.len() / channels, channels], data, kind: Kind::Wav { rate: sample_rate } })
}

/// 32-bit floats, so that nothing is rounded or cut off.
pub(super) fn write(array: &Array) -> Result<Vec<u8>, DataError> {
    let bad = |e: hound::Error| DataError::malformed("wav", e);
    let channels = match array.shape.as_slice() {
        &[_, channels] => u16::try_from(channels).ok().filter(|&c| c > 0),
        _ => None,
    };
    let (Some(channels), Kind::Wav { rate }) = (channels, array.kind) else {
        let found = sizes(&array.shape);
        return Err(DataError::Shape { format: "wav", holds: "frames x channels", found });
    };
    let spec = WavSpec { channels, sample_rate: rate, bits_per_sample: 32, sample_format: SampleFormat::Float };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut bytes, spec).map_err(bad)?;
    for &sample in &array.data {
        writer.write_sample(sample as f32).map_err(bad)?;
    }
    writer.finalize().map_err(bad)?;
    Ok(bytes.into_inner())
}
