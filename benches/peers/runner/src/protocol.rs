//! Requests and answers, one JSON object a line.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::npy::Array;
use crate::timing::{self, Slice};
use crate::{data, memory};

/// What anything here may fail with.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A convolution, as `layers.py` writes it; the vectors have an element a spatial axis.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Layer {
    pub(crate) batch: usize,
    pub(crate) out_channels: usize,
    #[cfg_attr(not(any(feature = "burn", feature = "candle")), allow(dead_code))]
    pub(crate) groups: usize,
    #[cfg_attr(not(any(feature = "burn", feature = "candle")), allow(dead_code))]
    pub(crate) stride: Vec<usize>,
    #[cfg_attr(not(any(feature = "burn", feature = "candle")), allow(dead_code))]
    pub(crate) dilation: Vec<usize>,
    /// Zeros before and after.
    #[cfg_attr(not(any(feature = "burn", feature = "candle")), allow(dead_code))]
    pub(crate) padding: Vec<(usize, usize)>,
    pub(crate) output: Vec<usize>,
}

impl Layer {
    /// `[n, oc, (oz, (oy,)) ox]`.
    pub(crate) fn output_shape(&self) -> Vec<usize> {
        [self.batch, self.out_channels].into_iter().chain(self.output.iter().copied()).collect()
    }
}

/// What a peer gets ready: the layer and its data, `input` as `[n, c, …]`, `weights` as `[oc, ic / groups, …]`.
#[derive(Debug, Deserialize)]
pub(crate) struct Task {
    pub(crate) layer: Layer,
    /// The layer as Convoke reads it, in the layout that `options` name.
    pub(crate) text: String,
    /// The layer as an ONNX file.
    #[cfg_attr(not(feature = "tract"), allow(dead_code))]
    pub(crate) model: PathBuf,
    pub(crate) input: PathBuf,
    pub(crate) weights: PathBuf,
    pub(crate) bias: Option<PathBuf>,
    pub(crate) options: HashMap<String, Value>,
}

/// A network of one input and one output, as `networks.py` has it written.
#[derive(Debug, Deserialize)]
pub(crate) struct Network {
    /// As an ONNX file.
    #[cfg_attr(not(feature = "tract"), allow(dead_code))]
    pub(crate) model: PathBuf,
    /// As Convoke reads it.
    pub(crate) conv: PathBuf,
    /// Its parameters beside that, in a file of safetensors.
    pub(crate) parameters: PathBuf,
    pub(crate) input: PathBuf,
    pub(crate) output_shape: Vec<usize>,
    pub(crate) threads: usize,
}

/// Runs of a network before its memory is read.
const FIRST_RUNS: usize = 5;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Request {
    /// Who is there: `name`, `version`.
    Hello,
    /// Get a layer ready; answers `create_us` and the name of the `kernel`, or `skip` with the reason.
    Prepare(Box<Task>),
    /// Get a network ready and run it; answers `load_us`, how long the former took, and kibibytes of memory: `before_kib`, `peak_kib`,
    /// `resident_kib` at the end; or `skip` with the reason.
    Load(Network),
    /// Compute for a while; answers `samples`, microseconds a call.
    Run(Slice),
    /// Write the result as `[n, oc, …]`.
    Output { path: PathBuf },
    /// Forget the layer.
    Clear,
    /// What only Convoke's worker answers.
    #[serde(untagged)]
    Data(data::Request),
}

/// A library that computes convolutions.
pub(crate) trait Peer {
    /// Its version.
    fn version(&self) -> String;
    /// Reads the data and makes a kernel, the latter under the `timer`.
    fn prepare(&mut self, task: &Task, timer: &mut Timer) -> Result<Box<dyn Prepared>>;
    /// Reads a network from its files and makes all that a run needs.
    fn load(&mut self, _network: &Network, _input: Array) -> Result<Box<dyn Prepared>> {
        Err(Skip("whole networks are not measured with it".into()).into())
    }
}

/// A kernel with its data.
pub(crate) trait Prepared {
    /// Computes once; this is what is timed.
    fn run(&mut self) -> Result<()>;
    /// The result of the last run, as `[n, oc, …]`.
    fn output(&self) -> Result<Array>;
    /// What the peer calls it.
    fn name(&self) -> Option<&str> {
        None
    }
}

/// Takes the time of making a kernel.
#[derive(Default)]
pub(crate) struct Timer(f64);

impl Timer {
    /// Runs `make` and adds its time.
    pub(crate) fn time<T>(&mut self, make: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let made = make();
        self.0 += begin.elapsed().as_secs_f64() * 1e6;
        made
    }
}

/// The layer is beyond what the peer can do: no failure.
#[derive(Debug)]
pub(crate) struct Skip(pub(crate) String);

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Skip {}

/// Answers requests until the input ends.
pub(crate) fn serve(peer: &mut dyn Peer) -> Result<()> {
    let mut prepared = None;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = match answer(peer, &mut prepared, &line?) {
            Ok(answer) => answer,
            Err(error) => match error.downcast::<Skip>() {
                Ok(skip) => json!({ "skip": skip.0 }),
                Err(error) => json!({ "error": error.to_string() }),
            },
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(peer: &mut dyn Peer, prepared: &mut Option<Box<dyn Prepared>>, line: &str) -> Result<Value> {
    const NOTHING: &str = "no layer is prepared";
    match serde_json::from_str(line)? {
        Request::Hello => Ok(json!({ "version": peer.version() })),
        Request::Prepare(task) => {
            *prepared = None;
            let mut timer = Timer::default();
            let mut ready = peer.prepare(&task, &mut timer)?;
            ready.run()?;
            let answer = json!({ "create_us": timer.0, "kernel": ready.name() });
            *prepared = Some(ready);
            Ok(answer)
        }
        Request::Load(network) => {
            *prepared = None;
            let input = Array::read(&network.input)?;
            let before = memory::reset()?;
            let mut timer = Timer::default();
            let mut ready = timer.time(|| peer.load(&network, input))?;
            for _ in 0..FIRST_RUNS {
                ready.run()?;
            }
            let (peak, resident) = (memory::most()?, memory::now()?);
            *prepared = Some(ready);
            Ok(json!({ "load_us": timer.0, "before_kib": before, "peak_kib": peak, "resident_kib": resident }))
        }
        Request::Run(slice) => {
            let ready = prepared.as_mut().ok_or(NOTHING)?;
            Ok(json!({ "samples": timing::samples(&slice, || ready.run())? }))
        }
        Request::Output { path } => {
            prepared.as_ref().ok_or(NOTHING)?.output()?.write(&path)?;
            Ok(json!({}))
        }
        Request::Clear => {
            *prepared = None;
            Ok(json!({}))
        }
        Request::Data(request) => data::answer(request),
    }
}

/// The version of a package as `Cargo.lock` has it.
#[cfg(any(feature = "burn", feature = "candle", feature = "tract"))]
pub(crate) fn dependency_version(package: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let after = lock.split_once(&format!("name = \"{package}\"\nversion = \"")).map_or("", |(_, after)| after);
    after.split('"').next().unwrap_or_default().to_owned()
}
