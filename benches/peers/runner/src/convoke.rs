//! Convoke itself.

use std::iter;

use convoke::{Compiler, Kernel, LayerSpec, Network, Packed, Workspace};

use crate::npy::Array;
use crate::protocol::{self, Layer, Peer, Prepared, Result, Skip, Task, Timer};

/// Code made at run time. Options: `layout`, a name for 2-D like `nhwc` or `nChw16c`; `threads`.
pub(crate) struct Convoke;

impl Peer for Convoke {
    fn version(&self) -> String {
        let isa = convoke::native_target().name();
        format!("{} ({isa})", env!("CARGO_PKG_VERSION"))
    }

    fn prepare(&mut self, task: &Task, timer: &mut Timer) -> Result<Box<dyn Prepared>> {
        let order = match task.options.get("layout").and_then(|layout| layout.as_str()) {
            Some(layout) => Order::from_name(layout).ok_or_else(|| format!("`{layout}` is no layout"))?,
            None => Order::First,
        };
        let threads = task.options.get("threads").and_then(|threads| threads.as_u64()).unwrap_or(1) as usize;
        let compiler = Compiler::new().threads(threads);
        let compile = || -> Result<Kernel> { Ok(compiler.compile(&task.text.parse::<LayerSpec>()?)?) };
        let kernel = timer
            .time(compile)
            .map_err(|error| Skip(error.to_string().lines().next().unwrap_or_default().to_owned()))?;
        let bias = task.bias.as_deref().map(Array::read).transpose()?.map(|bias| bias.data);
        let weights = Array::read(&task.weights)?.data;
        let packed = kernel.pack(&weights, bias.as_deref())?;
        let input = Array::read(&task.input)?;
        let dst = vec![0.0; order.len(&task.layer.output_shape())];
        Ok(Box::new(Ready {
            layer: task.layer.clone(),
            order,
            kernel,
            packed,
            workspace: Workspace::default(),
            src: order.lay(&input),
            dst,
        }))
    }

    fn load(&mut self, network: &protocol::Network, input: Array) -> Result<Box<dyn Prepared>> {
        let compiler = Compiler::new().threads(network.threads);
        let loaded = compiler.load(&network.conv, &network.parameters)?;
        let shape = network.output_shape.clone();
        let dst = vec![0.0; shape.iter().product()];
        Ok(Box::new(ReadyNetwork { network: loaded, src: input.data, dst, shape }))
    }
}

/// A network; the elements of its input and its output lie as ONNX's do.
struct ReadyNetwork {
    network: Network<f32>,
    src: Vec<f32>,
    dst: Vec<f32>,
    shape: Vec<usize>,
}

impl Prepared for ReadyNetwork {
    fn run(&mut self) -> Result<()> {
        Ok(self.network.run(&[&self.src[..]], &mut [&mut self.dst[..]])?)
    }

    fn output(&self) -> Result<Array> {
        Ok(Array { shape: self.shape.clone(), data: self.dst.clone() })
    }
}

struct Ready {
    layer: Layer,
    order: Order,
    kernel: Kernel,
    packed: Packed<f32>,
    workspace: Workspace,
    src: Vec<f32>,
    dst: Vec<f32>,
}

impl Prepared for Ready {
    fn run(&mut self) -> Result<()> {
        Ok(self.kernel.run_in(&mut self.workspace, &self.packed, &self.src, &mut self.dst)?)
    }

    fn output(&self) -> Result<Array> {
        Ok(self.order.unlay(&self.dst, self.layer.output_shape()))
    }

    fn name(&self) -> Option<&str> {
        Some(self.kernel.name())
    }
}

/// Where the channels stand.
#[derive(Clone, Copy)]
enum Order {
    /// `nchw`.
    First,
    /// `nhwc`.
    Last,
    /// `nChw16c`: panels of so many channels, the last filled up with zeros.
    Panels(usize),
}

impl Order {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "nchw" => Some(Self::First),
            "nhwc" => Some(Self::Last),
            _ => {
                let channels: usize = name.strip_prefix("nChw")?.strip_suffix('c')?.parse().ok()?;
                (channels > 0).then_some(Self::Panels(channels))
            }
        }
    }

    /// Channels that stand together at each place of an image.
    fn panel(self, channels: usize) -> usize {
        match self {
            Self::First => 1,
            Self::Last => channels,
            Self::Panels(panel) => panel,
        }
    }

    /// Elements of a tensor of `shape`, `[n, c, …]`.
    fn len(self, shape: &[usize]) -> usize {
        let panel = self.panel(shape[1]).max(1);
        shape[0] * shape[1].next_multiple_of(panel) * shape[2..].iter().product::<usize>()
    }

    /// For each element in the order `[n, c, …]`, its place in this one.
    fn places(self, shape: &[usize]) -> impl Iterator<Item = usize> {
        let (batch, channels) = (shape[0], shape[1]);
        let image: usize = shape[2..].iter().product();
        let panel = self.panel(channels).max(1);
        let per_batch = channels.next_multiple_of(panel) * image;
        (0..batch).flat_map(move |n| {
            (0..channels).flat_map(move |c| {
                let first = n * per_batch + c / panel * panel * image + c % panel;
                iter::successors(Some(first), move |place| Some(place + panel)).take(image)
            })
        })
    }

    fn lay(self, plain: &Array) -> Vec<f32> {
        let mut laid = vec![0.0; self.len(&plain.shape)];
        for (place, &x) in self.places(&plain.shape).zip(&plain.data) {
            laid[place] = x;
        }
        laid
    }

    fn unlay(self, laid: &[f32], shape: Vec<usize>) -> Array {
        let data = self.places(&shape).map(|place| laid[place]).collect();
        Array { shape, data }
    }
}
