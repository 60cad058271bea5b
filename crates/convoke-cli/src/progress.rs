//! How far a long command is, on standard error, where that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of `len` steps, each of which counts.
pub(crate) fn steps(len: usize, quiet: bool) -> ProgressBar {
    bar(len as u64, "{bar:24} {pos}/{len} {msg}", quiet)
}

/// A bar that only shows how far it is.
pub(crate) fn parts(len: usize, quiet: bool) -> ProgressBar {
    bar(len as u64, "{bar:24} {msg}", quiet)
}

fn bar(len: u64, template: &str, quiet: bool) -> ProgressBar {
    // Drawn by itself only where standard error is a terminal.
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(len), target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
