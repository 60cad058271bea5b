//! The command as its users meet it: what it prints, and how it ends.
//!
//! `[..]` stands for what differs from run to run. `SNAPSHOTS=overwrite cargo test -p convoke-cli` writes the texts anew.

mod complex;
mod data;
mod deformable;
mod halves;
mod integers;
mod layers;
mod measure;
mod networks;
mod pooling;
mod steps;
mod tune;

use snapbox::cmd::{Command, OutputAssert};
use std::path::{Path, PathBuf};

/// The command, in the folder above `crates/`, as its users have it. Words are separated by spaces.
fn convoke(words: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Command::new(snapbox::cmd::cargo_bin!("convoke")).args(words.split_whitespace()).current_dir(root)
}

/// Gives `text` to the command as standard input.
fn with_input(words: &str, text: &str) -> OutputAssert {
    convoke(words).stdin(text).assert()
}

/// A folder that lives as long as the test, and its path with a name in it.
fn scratch(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    (folder, path)
}

/// Writes an array of little-endian elements of `descr`.
fn npy(path: &Path, descr: &str, shape: &str, bytes: &[u8]) {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let header = format!("{header:<117}\n");
    let mut all = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    all.extend(header.as_bytes());
    all.extend(bytes);
    std::fs::write(path, all).unwrap();
}

/// Numbers of an array of f32 in an npy file.
fn npy_values(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    npyz::NpyFile::new(bytes.as_slice()).unwrap().into_vec().unwrap()
}
