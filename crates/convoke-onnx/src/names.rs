//! Names of layers, from those of the file.
//!
//! The names of a file are paths such as `/model/layer1.0/conv1/Conv`, `gpu_0/res2_0_branch2a_w_0` or `Conv_41`. A layer gets the shortest end of one that no
//! other layer has, in the letters that the language takes.

use std::collections::{HashMap, HashSet};

/// Words that Rust keeps, and those that a network has a meaning for.
const TAKEN: &str = " abstract as async await become box break const continue crate do dyn else enum extern false final fn for gen if impl in let loop \
    macro match mod move mut override priv pub ref return self super static struct trait true try type typeof unsafe unsized use virtual where while yield _ \
    input inputs output outputs ";

/// Parts at the end of a path that say what a tensor is, not whose.
const ENDS: [&str; 17] = [
    "weight",
    "weights",
    "w",
    "kernel",
    "bias",
    "b",
    "conv",
    "output_0",
    "readvariableop",
    "gemm",
    "matmul",
    "batchnormalization",
    "relu",
    "add",
    "biasadd",
    "mul",
    "tmp_0",
];

/// Characters of a name.
const MAX_NAME: usize = 48;

/// Parts of a path that are looked at.
const MAX_PARTS: usize = 6;

/// A name that stands for what it is of: the parts of a path, the last of which is the most telling.
fn parts(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    // TensorFlow's names end with the number of an output.
    let path = path.strip_suffix(":0").unwrap_or(path);
    for part in path.rsplit(['/', '.', ':', '@', ' ', ';']).take(2 * MAX_PARTS) {
        let clean: String = part
            .chars()
            .take(MAX_NAME)
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .collect();
        let clean = clean.trim_matches('_').to_owned();
        let clean = ["_w_0", "_b_0", "_w", "_weight", "_weights", "_kernel"]
            .iter()
            .find_map(|end| clean.strip_suffix(end))
            .unwrap_or(&clean)
            .to_owned();
        let is_end = parts.is_empty() && ENDS.contains(&clean.as_str());
        if !clean.is_empty() && !is_end {
            parts.push(clean);
        }
    }
    parts.truncate(MAX_PARTS);
    parts.reverse();
    parts
}

/// Whether a path says something: it has a word in it, and not only one that counts.
fn is_telling(path: &str) -> bool {
    let letters = path.chars().filter(char::is_ascii_alphabetic).count();
    letters > 1 && !path.starts_with("onnx::")
}

/// A name of every layer, of the paths it could have, the best first, and of what it does if there is none.
pub(crate) fn names(layers: &[(Vec<String>, &str)], taken: &[String]) -> Vec<String> {
    let paths: Vec<Vec<String>> = layers
        .iter()
        .map(|(hints, _)| hints.iter().find(|hint| is_telling(hint)).map_or_else(Vec::new, |hint| parts(hint)))
        .collect();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for parts in &paths {
        for from in 0..parts.len() {
            *counts.entry(parts[from..].join("_")).or_default() += 1;
        }
    }
    let mut kinds: HashMap<&str, usize> = HashMap::new();
    for ((_, kind), _) in layers.iter().zip(&paths).filter(|(_, parts)| parts.is_empty()) {
        *kinds.entry(kind).or_default() += 1;
    }
    let mut used: HashSet<String> = taken.iter().cloned().collect();
    let mut next: HashMap<String, usize> = HashMap::new();
    let mut names = Vec::new();
    for (parts, (_, kind)) in paths.iter().zip(layers) {
        let ends = (0..parts.len()).rev().map(|from| parts[from..].join("_"));
        let mut fitting =
            ends.filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= MAX_NAME);
        let all: Vec<_> = fitting.by_ref().collect();
        let alone = all.iter().find(|name| counts.get(*name) == Some(&1) && is_free(name, &used));
        let base = match (alone, all.last()) {
            (Some(alone), _) => alone.clone(),
            (None, Some(longest)) => longest.clone(),
            (None, None) => (*kind).to_owned(),
        };
        let only = parts.is_empty() && is_free(&base, &used) && kinds.get(kind) == Some(&1);
        let name = if alone.is_some() || only { base } else { numbered(&base, &used, &mut next) };
        used.insert(name.clone());
        names.push(name);
    }
    names
}

fn is_free(name: &str, used: &HashSet<String>) -> bool {
    !used.contains(name) && !TAKEN.contains(&format!(" {name} "))
}

/// The name with the first number behind it that makes it another.
fn numbered(base: &str, used: &HashSet<String>, next: &mut HashMap<String, usize>) -> String {
    let number = next.entry(base.to_owned()).or_insert(1);
    loop {
        let name = if base.ends_with(|c: char| c.is_ascii_digit()) {
            format!("{base}_{number}")
        } else {
            format!("{base}{number}")
        };
        *number += 1;
        if is_free(&name, used) {
            return name;
        }
    }
}

/// One name that the language takes, of a path.
pub(crate) fn single(path: &str, or: &str, used: &[String]) -> String {
    let clean: String = path
        .chars()
        .take(MAX_NAME)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .collect();
    let clean = clean.trim_matches('_');
    let used: HashSet<String> = used.iter().cloned().collect();
    let base = if clean.starts_with(|c: char| c.is_ascii_alphabetic()) { clean } else { or };
    if is_free(base, &used) { base.to_owned() } else { numbered(base, &used, &mut HashMap::new()) }
}
