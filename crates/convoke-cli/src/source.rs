//! Files with layers: reading, reporting their mistakes, selecting.

use crate::args::Layers;
use crate::failure::Failure;
use convoke_core::diagnostic::{Diagnostic, render};
use convoke_core::front;
use convoke_core::front::Contents;
use convoke_core::front::ast::{Field, Item, Value, ValueKind};
use convoke_core::spec::{LayerSpec, Limits, NetworkSpec};
use std::collections::HashSet;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

/// Bytes that a file of layers may have.
const MAX_BYTES: u64 = 16 << 20;

/// A text and what it is called in messages.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Text {
    /// Reads a file, or standard input for `-`.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let stdin = path == Path::new("-");
        let name = if stdin { "<stdin>".to_owned() } else { path.display().to_string() };
        let mut bytes = Vec::new();
        let read = if stdin {
            std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes)
        } else {
            std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        };
        read.map_err(|e| Failure::Input(format!("{name}: {e}")))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Failure::Input(format!("{name}: a file of layers has at most {MAX_BYTES} bytes")));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text }),
            Err(e) => {
                let at = e.utf8_error().valid_up_to();
                Err(Failure::Input(format!("{name}: this is no text, byte {at} is not UTF-8")))
            }
        }
    }

    /// The layers and networks, with these numbers for names of sizes, or what is wrong with them.
    pub(crate) fn contents(&self, sizes: &[(&str, usize)]) -> Result<Contents, Vec<Diagnostic>> {
        front::contents(&self.text, &Limits::default(), sizes)
    }

    /// Whether a size of some input has that name.
    fn has_size(&self, name: &str) -> bool {
        let is_name = |size: &Value| matches!(&size.kind, ValueKind::Word(word) if word == name);
        fn types(value: &Value) -> Vec<&Value> {
            match &value.kind {
                ValueKind::Tensor { dims, .. } => dims.iter().collect(),
                ValueKind::List(items) => items.iter().flat_map(types).collect(),
                ValueKind::Pair(_, value) => types(value),
                _ => Vec::new(),
            }
        }
        let has = |field: &Field| types(&field.value).into_iter().any(is_name);
        front::parse(&self.text).is_ok_and(|file| {
            let of_networks = file.networks.iter().flat_map(|network| &network.items).filter_map(|item| match item {
                Item::Field(field) => Some(field),
                Item::Layer(_) => None,
            });
            file.layers.iter().flat_map(|layer| &layer.fields).chain(of_networks).any(has)
        })
    }

    /// Prints what is wrong on standard error, with excerpts.
    pub(crate) fn report(&self, diagnostics: &[Diagnostic]) {
        anstream::eprintln!("{}", render(diagnostics, &self.text, &self.name, true).trim_end());
        let n = diagnostics.len();
        if std::io::stderr().is_terminal() && n > 1 {
            anstream::eprintln!("\n{}: {n} mistakes", self.name);
        }
    }
}

/// A file whose layers and networks are all legal.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) text: Text,
    /// The layers that are no network's, and then those of the networks, called `network_layer`.
    pub(crate) layers: Vec<LayerSpec>,
    /// How many of the layers are no network's.
    pub(crate) alone: usize,
    pub(crate) networks: Vec<NetworkSpec>,
}

impl Source {
    fn new(text: Text, contents: Contents) -> Self {
        let Contents { mut layers, networks } = contents;
        let alone = layers.len();
        for network in &networks {
            let named =
                |spec: &LayerSpec| LayerSpec { name: format!("{}_{}", network.name, spec.name), ..spec.clone() };
            layers.extend(network.layers().map(named));
        }
        Self { text, layers, alone, networks }
    }

    /// A name that two layers have.
    fn twice(&self) -> Option<&str> {
        let mut seen = HashSet::new();
        self.layers.iter().map(|spec| spec.name.as_str()).find(|name| !seen.insert(*name))
    }
}

/// A layer and the file it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selected<'a> {
    pub(crate) text: &'a Text,
    pub(crate) spec: &'a LayerSpec,
    /// Whether it is one of a network.
    pub(crate) of_network: bool,
}

impl Selected<'_> {
    /// As messages name it: `specs/resnet50.conv:r04`.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.text.name, self.spec.name)
    }

    /// A refusal of this layer, shown with its place in the source if it has one.
    pub(crate) fn refuse(&self, mut diagnostic: Diagnostic) -> Failure {
        if diagnostic.labels.is_empty() {
            diagnostic.message = format!("layer {}: {}", self.spec.name, diagnostic.message);
        }
        self.text.report(&[diagnostic]);
        Failure::Reported
    }
}

/// The numbers that names of sizes have been given.
pub(crate) fn sizes(layers: &Layers) -> Result<Vec<(&str, usize)>, Failure> {
    let mut sizes: Vec<(&str, usize)> = Vec::new();
    for (name, number) in &layers.sizes {
        if let Some((_, first)) = sizes.iter().find(|(given, _)| given == name) {
            return Err(Failure::Usage(format!("--size gives `{name}` twice, as {first} and as {number}")));
        }
        sizes.push((name, *number));
    }
    Ok(sizes)
}

/// Refuses numbers for names that no layer of `texts` has.
pub(crate) fn check_sizes<'a>(
    sizes: &[(&str, usize)],
    texts: impl Iterator<Item = &'a Text> + Clone,
) -> Result<(), Failure> {
    match sizes.iter().find(|(name, _)| !texts.clone().any(|text| text.has_size(name))) {
        Some((name, _)) => Err(Failure::Usage(format!("no layer has a size `{name}`, which --size gives a number"))),
        None => Ok(()),
    }
}

/// Reads every file and reports the mistakes of all before it fails.
pub(crate) fn read(layers: &Layers) -> Result<Vec<Source>, Failure> {
    let sizes = sizes(layers)?;
    let mut sources = Vec::new();
    let mut failed = false;
    for path in &layers.files {
        let text = match Text::read(path) {
            Ok(text) => text,
            Err(failure) if layers.files.len() == 1 => return Err(failure),
            Err(failure) => {
                failure.report();
                failed = true;
                continue;
            }
        };
        match text.contents(&sizes) {
            Ok(contents) => {
                let source = Source::new(text, contents);
                if let Some(name) = source.twice() {
                    let file = &source.text.name;
                    return Err(Failure::Input(format!("{file}: two layers would be called `{name}`")));
                }
                sources.push(source);
            }
            Err(diagnostics) => {
                text.report(&diagnostics);
                failed = true;
            }
        }
    }
    if failed {
        return Err(Failure::Reported);
    }
    check_sizes(&sizes, sources.iter().map(|source| &source.text))?;
    Ok(sources)
}

/// The layers that a command is about; never none.
pub(crate) fn select<'a>(sources: &'a [Source], layers: &Layers) -> Result<Vec<Selected<'a>>, Failure> {
    let of = |s: &'a Source| {
        let selected = |(at, spec)| Selected { text: &s.text, spec, of_network: at >= s.alone };
        s.layers.iter().enumerate().map(selected)
    };
    let all = || sources.iter().flat_map(of);
    let wanted = |s: &Selected<'_>| layers.layer.as_ref().is_none_or(|name| *name == s.spec.name);
    let selected: Vec<_> = all().filter(wanted).collect();
    match &layers.layer {
        _ if !selected.is_empty() => Ok(selected),
        None => Err(Failure::Input("there is no layer in what was given".to_owned())),
        Some(name) => Err(Failure::Usage(format!("there is no layer `{name}`; there are {}", names(all())))),
    }
}

/// As [`select`], of all that is given; where there are networks, none of their layers need be one alone.
pub(crate) fn select_beside_networks<'a>(sources: &'a [Source], layers: &Layers) -> Result<Vec<Selected<'a>>, Failure> {
    match select(sources, layers) {
        Err(_) if layers.layer.is_none() && sources.iter().any(|source| !source.networks.is_empty()) => Ok(Vec::new()),
        selected => selected,
    }
}

/// A network and the file it comes from.
pub(crate) type SelectedNetwork<'a> = (&'a Text, &'a NetworkSpec);

/// The layers that a command is about, and the networks, of those that take either. A layer of a network is one of them if it is asked for by its name.
pub(crate) fn select_whole<'a>(
    sources: &'a [Source],
    layers: &Layers,
) -> Result<(Vec<Selected<'a>>, Vec<SelectedNetwork<'a>>), Failure> {
    let all = sources.iter().flat_map(|s| s.networks.iter().map(|network| (&s.text, network)));
    let wanted = |name: &str| layers.layer.as_ref().is_none_or(|wanted| wanted == name);
    let networks: Vec<_> = all.filter(|(_, network)| wanted(&network.name)).collect();
    if layers.layer.is_some() && !networks.is_empty() {
        return Ok((Vec::new(), networks));
    }
    let mut selected = select_beside_networks(sources, layers)?;
    selected.retain(|layer| layers.layer.is_some() || !layer.of_network);
    Ok((selected, networks))
}

/// The network that a command is about: that of the name, or the only one where nothing else is.
pub(crate) fn select_network<'a>(sources: &'a [Source], layers: &Layers) -> Option<&'a NetworkSpec> {
    let networks: Vec<_> = sources.iter().flat_map(|source| &source.networks).collect();
    match (&layers.layer, networks.as_slice()) {
        (Some(name), _) => networks.into_iter().find(|network| network.name == *name),
        (None, [one]) if sources.iter().all(|source| source.alone == 0) => Some(one),
        _ => None,
    }
}

/// The file of a network's parameters: the one that is named, or the one beside the network.
pub(crate) fn parameters_file(
    named: Option<&Path>,
    layers: &Layers,
    network: &NetworkSpec,
) -> Result<Option<PathBuf>, Failure> {
    if named.is_some() || network.parameters_len() == 0 {
        return Ok(named.map(Path::to_owned));
    }
    let beside = ["safetensors", "npz"].map(|extension| layers.files[0].with_extension(extension));
    if let Some(found) = beside.iter().find(|path| path.exists()) {
        return Ok(Some(found.clone()));
    }
    let (name, beside) = (&network.name, beside[0].display());
    let what = format!("network {name}: name the file of its parameters with --parameters; there is no {beside}");
    Err(Failure::Usage(what))
}

/// The only layer that a command is about.
pub(crate) fn select_one<'a>(sources: &'a [Source], layers: &Layers) -> Result<Selected<'a>, Failure> {
    let selected = select(sources, layers)?;
    match selected.as_slice() {
        [one] => Ok(*one),
        many => {
            let which = names(many.iter().copied());
            let message =
                format!("this takes one layer, and there are {}: say which with --layer, {which}", many.len());
            Err(Failure::Usage(message))
        }
    }
}

/// Names of layers for a message, the first dozen.
fn names<'a>(layers: impl Iterator<Item = Selected<'a>>) -> String {
    const MOST: usize = 12;
    let all: Vec<_> = layers.map(|s| s.spec.name.as_str()).collect();
    let shown = all[..all.len().min(MOST)].join(", ");
    if all.is_empty() {
        return "none that stand alone".to_owned();
    }
    if all.len() > MOST { format!("{shown} and {} more", all.len() - MOST) } else { shown }
}
