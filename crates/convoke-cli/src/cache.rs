//! Times that were measured before, in the user's cache directory.
//!
//! A file holds what was measured of one layer on one machine, all in the same rounds. It says itself what it is about: the
//! machine, the version of this command, the layer's text, and of every plan its schedule and a hash of the loops and tiles that
//! it became, so that a compiler that makes other code finds nothing. Its name is only a hash of that.
//!
//! Files are written whole or not at all, so any number of commands can use them at the same time, and the last one to write
//! wins. Nothing depends on them: what cannot be read or written is a warning, and is measured.

use crate::data::write_whole;
use crate::failure::Failure;
use crate::hash::hash;
use crate::measure::Timer;
use convoke_core::spec::LayerSpec;
use convoke_core::target::Target;
use etcetera::BaseStrategy as _;
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What the fields of a file mean.
const FORMAT: u32 = 1;
/// Bytes that a file may have.
const MAX_BYTES: u64 = 1 << 20;
/// Files that are kept; the oldest go first.
const MAX_FILES: usize = 4096;
/// How old what a command left half done must be to be removed.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// Where the cache lies in the user's cache directory, and where in one that is named.
const FOLDERS: [&str; 2] = ["convoke", "tune"];

/// The measured times of one machine.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    machine: Machine,
}

/// What a time depends on besides the code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Machine {
    /// As the system names it.
    cpu: String,
    /// Targets whose code it runs.
    features: Vec<String>,
    /// What was planned for, with the sizes of the caches.
    target: String,
    threads: usize,
    clock: String,
}

/// What was measured of one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Seconds that were given to all plans together.
    pub(crate) budget: f64,
    pub(crate) times: Vec<Time>,
}

/// What was measured of one plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Time {
    pub(crate) schedule: String,
    /// A hash of the loops and tiles.
    pub(crate) code: String,
    pub(crate) seconds: f64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct File {
    format: u32,
    version: String,
    machine: Machine,
    layer: String,
    record: Record,
}

/// The folder of the cache: in `named`, or where the user's system keeps such files.
pub(crate) fn folder(named: Option<&Path>) -> Result<PathBuf, String> {
    match named {
        Some(named) => Ok(named.join(FOLDERS[1])),
        None => match etcetera::choose_base_strategy() {
            Ok(system) => Ok(system.cache_dir().join(FOLDERS[0]).join(FOLDERS[1])),
            Err(_) => Err("there is no home directory".to_owned()),
        },
    }
}

/// Removes every file of the cache, and says how many there were.
pub(crate) fn clear(folder: &Path) -> Result<usize, Failure> {
    let files = files(folder).map_err(|e| Failure::file(folder, e))?;
    files.iter().try_for_each(|(_, path)| remove(path)).map_err(|e| Failure::file(folder, e))?;
    Ok(files.len())
}

impl Cache {
    /// The cache in `folder` for what `timer` measures.
    pub(crate) fn new(folder: PathBuf, target: &Target, timer: &Timer) -> Self {
        prune(&folder, MAX_FILES);
        let all = [Target::AVX512, Target::AVX2, Target::SSE_FMA, Target::SSE, Target::NEON, Target::PORTABLE];
        let runs = all.iter().filter(|target| convoke_jit::why_not_runnable(target).is_none());
        let machine = Machine {
            cpu: cpu(),
            features: runs.map(|target| target.name().to_owned()).collect(),
            target: format!("{target:?}"),
            threads: timer.threads,
            clock: timer.clock.text().to_owned(),
        };
        Self { folder, machine }
    }

    /// What was measured of a layer, if anything was; the error says why a file is not used.
    pub(crate) fn read(&self, spec: &LayerSpec) -> Result<Option<Record>, String> {
        let path = self.path(spec);
        let ignored = |reason: String| format!("{}: this is ignored and will be replaced: {reason}", path.display());
        let mut text = String::new();
        let opened = std::fs::File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
        match opened {
            Ok(_) if text.len() as u64 > MAX_BYTES => {
                return Err(ignored(format!("it has more than {MAX_BYTES} bytes")));
            }
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(ignored(e.to_string())),
        }
        let file: File = serde_json::from_str(&text).map_err(|e| ignored(e.to_string()))?;
        let good = |time: &Time| time.seconds.is_finite() && time.seconds >= 0.0;
        if file != self.file(spec, file.record.clone()) || !file.record.times.iter().all(good) {
            return Err(ignored("it is about something else".to_owned()));
        }
        Ok(Some(file.record))
    }

    /// Keeps what was measured of a layer.
    pub(crate) fn write(&self, spec: &LayerSpec, record: Record) -> Result<(), String> {
        let unkept = |e: &dyn std::fmt::Display| {
            format!("times are not kept: {e}; name another folder with --cache-dir, or say --no-cache")
        };
        let text = serde_json::to_string(&self.file(spec, record)).map_err(|e| unkept(&e))?;
        std::fs::create_dir_all(&self.folder).map_err(|e| unkept(&Failure::file(&self.folder, e)))?;
        write_whole(&self.path(spec), text.as_bytes()).map_err(|e| unkept(&e))
    }

    fn file(&self, spec: &LayerSpec, record: Record) -> File {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        File { format: FORMAT, version, machine: self.machine.clone(), layer: layer_text(spec), record }
    }

    fn path(&self, spec: &LayerSpec) -> PathBuf {
        let nothing = Record { budget: 0.0, times: Vec::new() };
        let about = format!("{:?}", self.file(spec, nothing));
        self.folder.join(format!("{:016x}.json", hash(&about)))
    }
}

/// The layer's text, the same for layers that differ in their names.
fn layer_text(spec: &LayerSpec) -> String {
    LayerSpec { name: "layer".to_owned(), ..spec.clone() }.to_string()
}

/// Times of writing and paths of what is the cache's own in a folder, the oldest first.
fn files(folder: &Path) -> std::io::Result<Vec<(SystemTime, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let dated = entries.flatten().filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())));
    let mut files: Vec<_> = dated.filter(|(_, path)| is_ours(path)).collect();
    files.sort();
    Ok(files)
}

/// Whether a file is named as this module names its files.
fn is_ours(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    path.extension().is_some_and(|e| e == "json") && stem.len() == 16 && stem.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Removes a file that another command may have removed already.
fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes the oldest files if there are more than `most`, and what commands that were killed left half done.
fn prune(folder: &Path, most: usize) {
    let files = files(folder).unwrap_or_default();
    for (_, path) in &files[..files.len().saturating_sub(most)] {
        let _ = remove(path);
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        let half_done = entry.file_name().to_string_lossy().starts_with(crate::data::TEMPORARY);
        if half_done && age().is_some_and(|age| age > ABANDONED) {
            let _ = remove(&entry.path());
        }
    }
}

/// What the system says of its first processor.
#[cfg(target_os = "linux")]
fn cpu() -> String {
    const TELLING: [&str; 7] =
        ["model name", "cpu family", "model", "stepping", "CPU implementer", "CPU variant", "CPU part"];
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let first = text.split("\n\n").next().unwrap_or_default();
    let fields = first.lines().filter_map(|line| line.split_once(':'));
    let told: Vec<_> = fields.filter(|(name, _)| TELLING.contains(&name.trim())).map(|(_, v)| v.trim()).collect();
    if told.is_empty() { std::env::consts::ARCH.to_owned() } else { told.join(", ") }
}

/// Other systems are told apart by what their processors can do.
#[cfg(not(target_os = "linux"))]
fn cpu() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(threads: usize) -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let target = convoke::native_target();
        let cache = Cache::new(folder.path().join("tune"), &target, &Timer::new(&target, threads, 0.0));
        (folder, cache)
    }

    fn layer(name: &str, channels: usize) -> LayerSpec {
        format!("conv1d {name} {{ input: f32[1, {channels}, 9], out_channels: 1, kernel_size: 3 }}").parse().unwrap()
    }

    fn record(seconds: f64) -> Record {
        Record { budget: 1.0, times: vec![Time { schedule: "s".to_owned(), code: "c".to_owned(), seconds }] }
    }

    #[test]
    fn what_is_written_is_read_for_the_same_layer_and_machine() {
        let (_folder, cache) = cache(2);
        assert_eq!(cache.read(&layer("a", 2)), Ok(None));
        cache.write(&layer("a", 2), record(0.5)).unwrap();
        assert_eq!(cache.read(&layer("a", 2)), Ok(Some(record(0.5))));
        assert_eq!(cache.read(&layer("of_another_name", 2)), Ok(Some(record(0.5))));
        assert_eq!(cache.read(&layer("a", 3)), Ok(None));
        let machine = Machine { threads: 3, ..cache.machine.clone() };
        let other = Cache { folder: cache.folder.clone(), machine };
        assert_eq!(other.read(&layer("a", 2)), Ok(None));
        assert_eq!(clear(&cache.folder).unwrap(), 1);
        assert_eq!(cache.read(&layer("a", 2)), Ok(None));
    }

    #[test]
    fn what_is_damaged_or_foreign_is_ignored() {
        let (_folder, cache) = cache(2);
        cache.write(&layer("a", 2), record(0.5)).unwrap();
        let path = cache.path(&layer("a", 2));
        let text = std::fs::read_to_string(&path).unwrap();
        let other = text.replace("f32[1, 2, 9]", "f32[1, 4, 9]");
        let endless = text.replace("0.5", "-0.5");
        for (damaged, reason) in
            [(&text[..text.len() / 2], "EOF"), ("", "EOF"), (&other, "something else"), (&endless, "something else")]
        {
            std::fs::write(&path, damaged).unwrap();
            let message = cache.read(&layer("a", 2)).unwrap_err();
            assert!(message.contains("ignored") && message.contains(reason), "{message}");
        }
        std::fs::write(&path, vec![b' '; MAX_BYTES as usize + 2]).unwrap();
        assert!(cache.read(&layer("a", 2)).unwrap_err().contains("more than"));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(cache.read(&layer("a", 2)).is_err());
        cache.write(&layer("a", 2), record(0.25)).unwrap();
        assert_eq!(cache.read(&layer("a", 2)), Ok(Some(record(0.25))));
    }

    #[test]
    fn the_oldest_files_go_and_what_is_not_ours_stays() {
        let (folder, cache) = cache(2);
        for channels in 1..=4 {
            cache.write(&layer("a", channels), record(1.0)).unwrap();
            let past = SystemTime::now() - Duration::from_secs(100 - channels as u64);
            let file = std::fs::File::options().append(true).open(cache.path(&layer("a", channels))).unwrap();
            file.set_modified(past).unwrap();
        }
        let mine = folder.path().join("tune/letter.json");
        std::fs::write(&mine, "dear").unwrap();
        prune(&cache.folder, 2);
        let kept: Vec<_> = (1..=4).map(|c| cache.read(&layer("a", c)).unwrap().is_some()).collect();
        assert_eq!(kept, [false, false, true, true]);
        assert_eq!(clear(&cache.folder).unwrap(), 2);
        assert!(mine.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_is_a_message() {
        let (folder, mut cache) = cache(2);
        std::fs::write(folder.path().join("file"), "").unwrap();
        cache.folder = folder.path().join("file/tune");
        let message = cache.write(&layer("a", 2), record(1.0)).unwrap_err();
        assert!(message.contains("--no-cache"), "{message}");
    }
}
