//! Pictures: 8 and 16 bits, grey, colours, palettes, with and without opacity.

use super::{Array, DataError, Kind};
use crate::numbers::sizes;
use png::{BitDepth, ColorType, Transformations};
use std::io::Cursor;

/// Memory that decoding may take.
const MAX_BYTES: usize = 1 << 30;

/// Rows, columns, channels, each value from 0 to 1 as it is stored.
pub(super) fn read(bytes: &[u8]) -> Result<Array, DataError> {
    let bad = |e: png::DecodingError| DataError::malformed("png", e);
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: MAX_BYTES });
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(bad)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    let size = reader.output_buffer_size().filter(|&n| n <= MAX_BYTES);
    let size = size.ok_or_else(|| DataError::malformed("png", format!("{width} x {height} pixels are too many")))?;
    let mut buffer = vec![0; size];
    let frame = reader.next_frame(&mut buffer).map_err(bad)?;
    let channels = match frame.color_type {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Indexed => return Err(DataError::malformed("png", "its palette is missing")),
    };
    let buffer = &buffer[..frame.buffer_size()];
    let data: Vec<f64> = match frame.bit_depth {
        BitDepth::Sixteen => {
            buffer.chunks_exact(2).map(|b| f64::from(u16::from_be_bytes([b[0], b[1]])) / 65535.0).collect()
        }
        _ => buffer.iter().map(|&b| f64::from(b) / 255.0).collect(),
    };
    Ok(Array { shape: vec![height, width, channels], data, kind: Kind::Png })
}

/// 8 bits a value; what is below 0 is black, what is above 1 white.
pub(super) fn write(array: &Array) -> Result<Vec<u8>, DataError> {
    let bad = |e: png::EncodingError| DataError::malformed("png", e);
    let unfit =
        || DataError::Shape { format: "png", holds: "rows x columns x 1 to 4 channels", found: sizes(&array.shape) };
    let &[height, width, channels @ 1..=4] = array.shape.as_slice() else { return Err(unfit()) };
    let [Ok(w @ 1..), Ok(h @ 1..)] = [width, height].map(u32::try_from) else { return Err(unfit()) };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, w, h);
    let colours = [ColorType::Grayscale, ColorType::GrayscaleAlpha, ColorType::Rgb, ColorType::Rgba];
    encoder.set_color(colours[channels - 1]);
    encoder.set_depth(BitDepth::Eight);
    let pixels: Vec<u8> = array.data.iter().map(|x| (x.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
    let mut writer = encoder.write_header().map_err(bad)?;
    writer.write_image_data(&pixels).map_err(bad)?;
    writer.finish().map_err(bad)?;
    Ok(bytes)
}
