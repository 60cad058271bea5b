//! A picture as text, small enough for a terminal.

use crate::data::Array;
use std::io::Write;

/// Columns of text that a picture takes at most.
const COLUMNS: usize = 76;
/// From black to white.
const GREYS: &[u8] = b" .:-=+*#%@";

/// Prints `picture` (rows, columns, 1 or 3 channels, from 0 to 1), each cell the mean of the pixels under it: two coloured
/// pixels a character where `colour` says so, else a character a grey level.
pub(crate) fn print(out: &mut dyn Write, picture: &Array, colour: bool) -> std::io::Result<()> {
    let (height, width) = (picture.shape[0], picture.shape[1]);
    let columns = width.min(COLUMNS);
    let lines = (height * columns).div_ceil(width * 2).max(1);
    for line in 0..lines {
        let mut text = String::new();
        for column in 0..columns {
            let across = (column * width / columns, ((column + 1) * width / columns).max(column * width / columns + 1));
            let cell = |part: usize, parts: usize| {
                let from = part * height / parts;
                mean(picture, (from, ((part + 1) * height / parts).max(from + 1).min(height)), across)
            };
            if colour {
                let [[r, g, b], [r2, g2, b2]] = [cell(2 * line, 2 * lines), cell(2 * line + 1, 2 * lines)];
                text.push_str(&format!("\x1b[38;2;{r};{g};{b}m\x1b[48;2;{r2};{g2};{b2}m▀"));
            } else {
                let [r, g, b] = cell(line, lines).map(usize::from);
                let grey = (2 * r + 7 * g + b) * (GREYS.len() - 1) / 2550;
                text.push(char::from(GREYS[grey]));
            }
        }
        let end = if colour { "\x1b[0m" } else { "" };
        writeln!(out, "{}{end}", text.trim_end())?;
    }
    Ok(())
}

/// The mean colour of some rows and columns, 0 to 255.
fn mean(picture: &Array, rows: (usize, usize), columns: (usize, usize)) -> [u8; 3] {
    let (width, channels) = (picture.shape[1], picture.shape[2]);
    let mut sums = [0.0; 3];
    for row in rows.0..rows.1 {
        for column in columns.0..columns.1 {
            for (c, sum) in sums.iter_mut().enumerate() {
                *sum += picture.data[(row * width + column) * channels + c.min(channels - 1)];
            }
        }
    }
    let pixels = ((rows.1 - rows.0) * (columns.1 - columns.0)).max(1) as f64;
    sums.map(|sum| (sum / pixels * 255.0).round().clamp(0.0, 255.0) as u8)
}
