//! What each layer of a run takes: a table, and a drawing of it.

use crate::data::write_whole;
use crate::failure::Failure;
use crate::numbers::{short, time};
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

/// A layer of a run.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) kind: &'static str,
    /// How it is computed, if it is a kernel.
    pub(super) plan: String,
    pub(super) operations: f64,
    pub(super) seconds: f64,
}

/// A line a layer.
pub(super) fn table(parts: &[Part], out: &mut dyn Write) -> Result<(), Failure> {
    let total: f64 = parts.iter().map(|part| part.seconds).sum();
    let width = |of: &dyn Fn(&Part) -> usize| parts.iter().map(of).max().unwrap_or(0);
    let (name, kind, plan) = (width(&|p| p.name.len()), width(&|p| p.kind.len()), width(&|p| p.plan.len()));
    for part in parts {
        let share = 100.0 * part.seconds / total.max(f64::MIN_POSITIVE);
        let speed = if part.operations > 0.0 {
            format!("{}FLOP/s", short(part.operations / part.seconds))
        } else {
            String::new()
        };
        writeln!(
            out,
            "  {:name$}  {:kind$}  {:plan$}  {:>9}  {share:5.1} %  {speed:>14}",
            part.name,
            part.kind,
            part.plan,
            time(part.seconds)
        )?;
    }
    Ok(writeln!(out, "  in all {}", time(total))?)
}

/// Layers one after the other along an axis of time.
pub(super) fn svg(parts: &[Part], path: &Path) -> Result<(), Failure> {
    const WIDTH: f64 = 1200.0;
    const ROW: f64 = 14.0;
    /// Room for names.
    const LEFT: f64 = 220.0;
    let total: f64 = parts.iter().map(|part| part.seconds).sum::<f64>().max(f64::MIN_POSITIVE);
    let height = ROW * (parts.len() as f64 + 2.0);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"10\">\n",
        LEFT + WIDTH + 20.0
    );
    let mut begin = 0.0;
    for (row, part) in parts.iter().enumerate() {
        let (x, y) = (LEFT + begin / total * WIDTH, ROW * row as f64 + 2.0);
        let (length, middle) = ((part.seconds / total * WIDTH).max(0.5), y + ROW - 4.0);
        let colour = if part.plan.is_empty() { "#b0b0b0" } else { "#3a6ea5" };
        // Names are identifiers, and plans words: nothing has to be written in another way.
        let _ = writeln!(
            text,
            "<text x=\"4\" y=\"{middle:.1}\">{} {}</text><rect x=\"{x:.2}\" y=\"{y:.1}\" width=\"{length:.2}\" height=\"{:.1}\" fill=\"{colour}\"><title>{} {}: {}</title></rect>",
            part.kind,
            part.name,
            ROW - 3.0,
            part.name,
            part.plan,
            time(part.seconds)
        );
        begin += part.seconds;
    }
    for tick in 0..=4 {
        let x = LEFT + WIDTH * f64::from(tick) / 4.0;
        let at = time(total * f64::from(tick) / 4.0);
        let _ = writeln!(text, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{at}</text>", height - 6.0);
    }
    text.push_str("</svg>\n");
    write_whole(path, text.as_bytes())
}
