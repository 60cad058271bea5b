//! A picture as text, small enough for a terminal.

use crate::data::Array;
use std::io::Write;

/// Columns of text that a picture takes at most.
const COLUMNS: usize = 76;
/// From black to white.
const GREYS: &[u8] = b" .:-=+*#%@";

/// Prints `picture` (rows, columns, 1 or 3 channels, from 0 to 1), each cell the mean of the pixels under it: two coloured
/// pixels a character where `colour` says so, else a character a grey level, the brightest cell white and dark greys
/// spread out.
pub(crate) fn print(out: &mut dyn Write, picture: &Array, colour: bool) -> std::io::Result<()> {
    let (height, width) = (picture.shape[0], picture.shape[1]);
    let columns = width.min(COLUMNS);
    let lines = (height * columns).div_ceil(width * 2).max(1);
    let rows = if colour { 2 * lines } else { lines };
    let part =
        |i: usize, parts: usize, of: usize| (i * of / parts, ((i + 1) * of / parts).max(i * of / parts + 1).min(of));
    let cell = |row, column| mean(picture, part(row, rows, height), part(column, columns, width));
    let cells: Vec<Vec<_>> = (0..rows).map(|row| (0..columns).map(|column| cell(row, column)).collect()).collect();
    if colour {
        for pair in cells.chunks(2) {
            let (above, below) = (&pair[0], &pair[pair.len() - 1]);
            for ([r, g, b], [r2, g2, b2]) in above.iter().zip(below).map(|(a, b)| (a.map(byte), b.map(byte))) {
                write!(out, "\x1b[38;2;{r};{g};{b}m\x1b[48;2;{r2};{g2};{b2}m▀")?;
            }
            writeln!(out, "\x1b[0m")?;
        }
        return Ok(());
    }
    let grey = |[r, g, b]: &[f64; 3]| 0.2126 * r + 0.7152 * g + 0.0722 * b;
    let brightest = cells.iter().flatten().map(grey).fold(f64::MIN_POSITIVE, f64::max);
    for row in &cells {
        let level =
            |cell| ((grey(cell) / brightest).clamp(0.0, 1.0).sqrt() * (GREYS.len() - 1) as f64).round() as usize;
        let line: String = row.iter().map(|cell| char::from(GREYS[level(cell)])).collect();
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn byte(value: f64) -> u8 {
    (value * 255.0).round().clamp(0.0, 255.0) as u8
}

/// The mean colour of some rows and columns.
fn mean(picture: &Array, rows: (usize, usize), columns: (usize, usize)) -> [f64; 3] {
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
    sums.map(|sum| sum / pixels)
}
