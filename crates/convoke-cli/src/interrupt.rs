//! Ctrl-C and a request to terminate: what is half done is removed, and the command ends.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Files and folders to remove when the command is interrupted.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What shells report for a command that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// From here on an interrupt removes what is [`Unfinished`]. Where no handler can be installed the system's stays.
pub(crate) fn watch() {
    let _ = ctrlc::set_handler(|| {
        unfinished().drain(..).for_each(|path| remove(&path));
        std::process::exit(INTERRUPTED);
    });
}

/// Removes a file or folder. A compiler that still writes into the folder can be in the way, so it tries more than once.
fn remove(path: &Path) {
    for _ in 0..20 {
        let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        if removed.is_ok() || !path.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file or folder that must not outlive an interrupt, until this is dropped.
#[derive(Debug)]
pub(crate) struct Unfinished(PathBuf);

impl Unfinished {
    pub(crate) fn new(path: &Path) -> Self {
        unfinished().push(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        unfinished().retain(|path| *path != self.0);
    }
}
