//! What may be written on the command line. What it means is for the verbs to say.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A convolution compiler: describe a layer in a few lines, get code made for exactly that layer.
#[derive(Debug, Parser)]
#[command(name = "convoke", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  convoke check specs/resnet50.conv
  convoke run specs/edges.conv --input specs/data/camera.png --weights sobel-x -o edges.png
  convoke explain specs/resnet50.conv --layer r04 --target avx512
  convoke verify specs/*.conv

Exit codes: 0 fine, 1 the input or a check failed, 2 wrong usage.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Parse and validate; print a line a layer: shapes, multiply-accumulates, parameters
    #[command(after_help = "Examples:\n  convoke check specs/*.conv\n  convoke check net.conv --json | jq .macs\n  \
        echo 'conv1d a { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3 }' | convoke check -")]
    Check(Check),
    /// Read a network from an ONNX file: writes its text, and its parameters beside it
    #[command(after_help = "Examples:\n  convoke import squeezenet.onnx\n  \
        convoke import model.onnx -o net.conv --size height=48,width=192\n  \
        convoke import silero_vad.onnx --size input.1=576 --value sr=16000\n  \
        convoke import model.onnx --json | jq .inputs")]
    Import(Import),
    /// Print the plan of each layer as a `schedule { }` block, to be pasted back into the layer, and networks with such blocks
    #[command(
        after_help = "Examples:\n  convoke plan specs/resnet50.conv --layer r04\n  convoke plan net.conv --target avx512"
    )]
    Plan(Planning),
    /// Say why a plan was chosen, what it should cost, and why not the others; of a network, what is computed in its place
    #[command(after_help = "Examples:\n  convoke explain specs/resnet50.conv --layer r04\n  \
        convoke explain net.conv --target neon\n  \
        convoke explain specs/resnet50.conv --layer r04 --measure")]
    Explain(Explain),
    /// Print the text of any stage of the compiler
    #[command(after_help = "Examples:\n  convoke emit specs/edges.conv --stage ir\n  \
        convoke emit specs/edges.conv --stage rust -o edges.rs\n  \
        convoke emit specs/resnet50.conv --layer r04 --stage asm\n  \
        convoke emit net.conv --crate net --budget weights=2M,arena=500k")]
    Emit(Emit),
    /// Compute a layer or a network on an array, a picture or a recording
    #[command(after_help = "Examples:
  convoke run specs/edges.conv --input specs/data/camera.png --weights sobel-x -o edges.png
  convoke run specs/photo.conv --layer blur --input specs/data/chelsea.png --weights gaussian -o blurred.png
  convoke run specs/fir.conv --layer speech --input specs/data/speech.wav --weights bandpass:300-3400 -o telephone.wav
  convoke run net.conv --input x.npy --weights w.npy --bias b.npy -o y.npy --backend reference
  convoke run specs/networks.conv --layer lenet --input digit.png --parameters lenet.safetensors

Filters by name, where they fit the layer: sobel-x, sobel-y, laplacian, sharpen (3x3), gaussian, mean (any window),
bandpass:LOW-HIGH (conv1d; Hz for a recording, else parts of the sampling rate), random, random:SEED.

A picture's values are 0 to 1, 0 is black. Rows are h, columns w, colours channels; no gamma is applied. A result outside of 0
to 1 is written as its absolute value over the greatest one, unless --tone says otherwise.")]
    Run(Box<Run>),
    /// Check every layer against the reference, and the backends against each other bit for bit
    #[command(
        after_help = "Examples:\n  convoke verify specs/*.conv\n  convoke verify net.conv --backend jit --seed 7\n  \
        convoke verify net.conv --backend jit --target sse+fma\n  \
        convoke verify net.conv --json\n\nThe last line is `N passed, N failed`: one check a layer and backend."
    )]
    Verify(Verify),
    /// Measure GFLOP/s, the share of the multiply-add peak of the same core, and the time to compile and to pack
    #[command(after_help = "Examples:\n  convoke bench specs/resnet50.conv\n  \
        convoke bench specs/resnet50.conv --backend rust --layer r04 --json")]
    Bench(Bench),
    /// Measure the plans that a layer may have, say what the planner's choice costs against the fastest, and pin that one
    #[command(
        mut_arg("files", |files| files.required(false).required_unless_present("clear_cache")),
        after_help = "Examples:
  convoke tune specs/resnet50.conv
  convoke tune net.conv --layer stem --budget 10 --schedule
  convoke tune net.conv --write

Measured are the planner's best plan of every kind that could be, and some near the best kinds: those whose predicted cost \
        is within a factor of the least. Pins of a layer are kept. The regret is the time of the planner's choice over that of \
        the fastest.

Times are kept in the user's cache directory, a file a layer and machine, and taken from there when the same plans are asked \
        for again. No other verb reads them: what a layer becomes follows from its text and the target alone. A schedule that \
        is written into a file says what was fastest on this machine for this --target and these --threads."
    )]
    Tune(Tune),
    /// Rewrite files in the canonical layout
    #[command(after_help = "Examples:\n  convoke fmt specs/*.conv\n  convoke fmt --check specs/*.conv\n  \
        convoke fmt - < net.conv")]
    Fmt(Fmt),
    /// Print a completion script for a shell
    #[command(
        after_help = "Examples:\n  convoke completions bash > ~/.local/share/bash-completion/completions/convoke\n  \
        convoke completions fish > ~/.config/fish/completions/convoke.fish"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// How a value is written on the command line.
pub(crate) fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
}

/// Which layers a verb is about.
#[derive(Debug, Args)]
pub(crate) struct Layers {
    /// Files with layers; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Only the layer of this name; of `run` also a network
    #[arg(long, value_name = "NAME")]
    pub(crate) layer: Option<String>,
    /// Numbers for names of sizes, as in `input: f32[N, 3, H, W]`: --size H=480,W=640. All names of axes need one, that of the batch
    /// may have one
    #[arg(long = "size", value_name = "NAME=NUMBER", value_delimiter = ',', value_parser = size)]
    pub(crate) sizes: Vec<(String, usize)>,
}

/// A name and its number.
fn size(text: &str) -> Result<(String, usize), String> {
    let pair = text.split_once('=').and_then(|(name, number)| Some((name.to_owned(), number.parse().ok()?)));
    pair.filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| "a size is a name and a whole number, such as H=480".to_owned())
}

/// The name of an input and a whole number.
fn always(text: &str) -> Result<(String, i64), String> {
    let pair = text.split_once('=').and_then(|(name, number)| Some((name.to_owned(), number.parse().ok()?)));
    pair.filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| "a value is the name of an input and a whole number, such as sr=16000".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The model: .onnx
    #[arg(value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// Where the network's text goes, .conv; its parameters go beside it, .safetensors. By default the model's name, in this folder
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The network's name; by default the file's
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Numbers for sizes that the model leaves open: by their name, or by input and axis, such as x.2=224
    #[arg(long = "size", value_name = "NAME=NUMBER", value_delimiter = ',', value_parser = size)]
    pub(crate) sizes: Vec<(String, usize)>,
    /// Numbers that inputs always are, which are no inputs of the network then, such as sr=16000
    #[arg(long = "value", value_name = "INPUT=NUMBER", value_delimiter = ',', value_parser = always)]
    pub(crate) values: Vec<(String, i64)>,
    /// An object instead of lines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) layers: Layers,
    /// An object a line instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Planning {
    #[command(flatten)]
    pub(crate) layers: Layers,
    /// avx512+vnni, avx512, avx2+vnni, avx2, sse, sse+fma, neon, portable, or native: what the run-time backend uses here
    #[arg(long, value_name = "TARGET", default_value = "native")]
    pub(crate) target: String,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) planning: Planning,
    /// Measure every plan too; this CPU must be able to run the target's code
    #[arg(long)]
    pub(crate) measure: bool,
    /// How long the plans of a layer are run for --measure, all together
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub(crate) budget: f64,
    /// On how many threads they run for --measure; one is pinned to its core
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: u16,
    /// An object a line, a line a layer and plan
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Emit {
    #[command(flatten)]
    pub(crate) layers: Layers,
    /// Which stage
    #[arg(long, value_enum, required_unless_present = "crate_folder")]
    pub(crate) stage: Option<Stage>,
    /// Write a network as a crate of its own, without std and dependencies, into this new folder
    #[arg(long = "crate", id = "crate_folder", value_name = "FOLDER", conflicts_with_all = ["stage", "output"])]
    pub(crate) crate_folder: Option<PathBuf>,
    /// The parameters of the network, as for `run`
    #[arg(short, long, value_name = "FILE", requires = "crate_folder")]
    pub(crate) parameters: Option<PathBuf>,
    /// Bytes that the crate may take at most, such as weights=100k,arena=64k: beyond it nothing is written
    #[arg(long, value_name = "WHAT=BYTES", value_delimiter = ',', value_parser = budget, requires = "crate_folder")]
    pub(crate) budget: Vec<(String, usize)>,
    /// As in `convoke plan`; the stage rust covers every instruction set unless one is named, clif and asm take what the
    /// run-time backend encodes
    #[arg(long, value_name = "TARGET", default_value = "native")]
    pub(crate) target: String,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `weights` or `arena` and its bytes, `k` and `M` being thousands and millions.
fn budget(text: &str) -> Result<(String, usize), String> {
    let expected = || "a budget is `weights` or `arena` and a number of bytes, such as weights=100k".to_owned();
    let (name, number) = text.split_once('=').ok_or_else(expected)?;
    let (digits, factor) = match number.strip_suffix(['k', 'M']) {
        Some(digits) => (digits, if number.ends_with('k') { 1_000 } else { 1_000_000 }),
        None => (number, 1),
    };
    let bytes = digits.parse::<usize>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(expected)?;
    if ["weights", "arena"].contains(&name) { Ok((name.to_owned(), bytes)) } else { Err(expected()) }
}

/// A stage of the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// The syntax tree, with the bytes that each node spans
    Ast,
    /// The layer with every default filled in
    Spec,
    /// The plan
    Plan,
    /// Loops and tiles
    Ir,
    /// Rust source
    Rust,
    /// Cranelift's functions
    Clif,
    /// Machine code
    Asm,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) layers: Layers,
    /// The input: .npy, .png or .wav; once for each input of a network, in their order
    #[arg(short, long, value_name = "FILE", required = true)]
    pub(crate) input: Vec<PathBuf>,
    /// The weights: an .npy file, or the name of a filter (see below); without it random ones. Pooling has none
    #[arg(short, long, value_name = "FILE|FILTER")]
    pub(crate) weights: Option<String>,
    /// The bias, .npy; zeros if the layer has one and none is given
    #[arg(short, long, value_name = "FILE")]
    pub(crate) bias: Option<PathBuf>,
    /// A number for each output channel, .npy; once for each `scale`, `shift` and `prelu` of the epilogue,
    /// in their order
    #[arg(long, value_name = "FILE")]
    pub(crate) channels: Vec<PathBuf>,
    /// What the step `residual` of the epilogue adds, .npy; of the output's shape
    #[arg(long, value_name = "FILE")]
    pub(crate) residual: Option<PathBuf>,
    /// How far each tap of a deformable layer is moved, .npy; as the output with 2 channels a tap and set, (h, w)
    #[arg(long, value_name = "FILE")]
    pub(crate) offset: Option<PathBuf>,
    /// The factor of each tap of a deformable layer, .npy; where it says `mask: true`
    #[arg(long, value_name = "FILE")]
    pub(crate) mask: Option<PathBuf>,
    /// Positions in planes, .npy of whole numbers: where to write those of maxima with `return_indices: true`, or
    /// those that unpooling takes, of the input's shape
    #[arg(long, value_name = "FILE")]
    pub(crate) indices: Option<PathBuf>,
    /// What stands for 0 among the weights of a layer of integers, one an output channel, .npy; where it says `per_channel`
    #[arg(long, value_name = "FILE")]
    pub(crate) zero_points: Option<PathBuf>,
    /// What a step of the weights of a layer of integers stands for, one an output channel, .npy; where it says `per_channel`
    #[arg(long, value_name = "FILE")]
    pub(crate) scales: Option<PathBuf>,
    /// The parameters of a network by their names: .safetensors or .npz; by default the file that is called as the network's
    #[arg(short, long, value_name = "FILE")]
    pub(crate) parameters: Option<PathBuf>,
    /// Names of the channels of a network's output, a line each; the greatest are named
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
    /// How many of the greatest channels of a network's output are listed; 5 with --labels
    #[arg(long, value_name = "NUMBER")]
    pub(crate) top: Option<usize>,
    /// Say what each layer of a network takes; with a file, .svg, draw it too
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub(crate) profile: Option<Option<PathBuf>>,
    /// Write the result to this file: .npy, .png or .wav; once for each output of a network, in their order
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Vec<PathBuf>,
    /// What computes
    #[arg(long, value_enum, default_value_t = RunBackend::Jit)]
    pub(crate) backend: RunBackend,
    /// What code is made for, as in `convoke plan`; this CPU must be able to run it
    #[arg(long, value_name = "TARGET", default_value = "native")]
    pub(crate) target: String,
    /// How many threads the backend jit uses
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: u16,
    /// How a picture's values become grey levels
    #[arg(long, value_enum, default_value_t = Tone::Auto)]
    pub(crate) tone: Tone,
    /// Show a picture of the result as text; on without --output
    #[arg(long)]
    pub(crate) preview: bool,
}

/// What computes one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunBackend {
    /// Native code
    Jit,
    /// The interpreter of the loop-nest IR
    Interp,
    /// Naive loops, summed in f64
    Reference,
}

/// How values become grey levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tone {
    /// clamp if every value is between 0 and 1, else abs
    Auto,
    /// 0 and less is black, 1 and more is white
    Clamp,
    /// 0 is black, the greatest absolute value is white
    Abs,
    /// The least value is black, the greatest is white
    Stretch,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) layers: Layers,
    /// Which backend to check
    #[arg(long, value_enum, default_value_t = VerifyBackend::All)]
    pub(crate) backend: VerifyBackend,
    /// What code is made for, as in `convoke plan`; this CPU must be able to run it
    #[arg(long, value_name = "TARGET", default_value = "native")]
    pub(crate) target: String,
    /// Seed of the random data
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The backend jit runs on one thread and on this many
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: u16,
    /// An object a line, a line a layer and backend
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which backends `verify` checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyBackend {
    /// interp, jit and rust, and that their results are the same bits
    All,
    /// The interpreter of the loop-nest IR
    Interp,
    /// Native code
    Jit,
    /// The emitted Rust, compiled by rustc
    Rust,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) layers: Layers,
    /// What is measured
    #[arg(long, value_enum, default_value_t = BenchBackend::Jit)]
    pub(crate) backend: BenchBackend,
    /// What code is made for, as in `convoke plan`; this CPU must be able to run it
    #[arg(long, value_name = "TARGET", default_value = "native")]
    pub(crate) target: String,
    /// How many threads; one is pinned to its core
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: u16,
    /// An object a line, a line a layer
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `bench` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchBackend {
    /// Native code
    Jit,
    /// The interpreter of the loop-nest IR
    Interp,
    /// The emitted Rust, compiled by rustc
    Rust,
}

#[derive(Debug, Args)]
pub(crate) struct Tune {
    #[command(flatten)]
    pub(crate) layers: Layers,
    /// What code is made for, as in `convoke plan`; this CPU must be able to run it
    #[arg(long, value_name = "TARGET", default_value = "native")]
    pub(crate) target: String,
    /// How many threads; one is pinned to its core
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: u16,
    /// How long the plans of a layer are run, all together
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    pub(crate) budget: f64,
    /// Leave out what is predicted to take more than this many times as long as the best
    #[arg(long, value_name = "FACTOR", default_value_t = 3.0, value_parser = factor)]
    pub(crate) within: f64,
    /// How many plans with other tiles, blocks or unrolling to try of each of the best kinds
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(0..=100))]
    pub(crate) neighbours: u16,
    /// Print the fastest plan of each layer as a `schedule { }` block
    #[arg(long)]
    pub(crate) schedule: bool,
    /// Pin the fastest plan of each layer in its file; comments and layout stay. Not with --size: a plan is for the numbers
    #[arg(long, conflicts_with = "sizes")]
    pub(crate) write: bool,
    /// An object a line: a line a plan, one a layer, one for all
    #[arg(long)]
    pub(crate) json: bool,
    /// Neither use nor keep times
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Keep times in this folder instead of the user's cache directory
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Forget all times first; no file need be named then
    #[arg(long, conflicts_with = "no_cache")]
    pub(crate) clear_cache: bool,
}

/// A time that one may wait for.
fn seconds(text: &str) -> Result<f64, String> {
    const MOST: f64 = 86_400.0;
    let number = text.parse::<f64>().ok().filter(|s| (0.0..=MOST).contains(s));
    number.ok_or_else(|| format!("seconds are a number from 0 to {MOST}"))
}

/// A factor that leaves something.
fn factor(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|f| f.is_finite() && *f >= 1.0);
    number.ok_or_else(|| "a factor is a number from 1 on".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct Fmt {
    /// Files with layers; - is standard input, whose layout goes to standard output
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Change nothing; name the files that are laid out otherwise and exit with 1 if there are any
    #[arg(long)]
    pub(crate) check: bool,
}
