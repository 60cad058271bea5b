//! burn, on its CPU backend Flex.
//!
//! burn reads ONNX only when a program is built. So it gets the network that `convoke import` has made of the file, layer by layer, in the
//! operations that burn's own modules call; see [`translate`] for what there is.

mod operations;
mod translate;

use burn::tensor::Device;
use convoke::{NetworkSpec, Parameters};

use crate::npy::Array;
use crate::protocol::{Network, Peer, Prepared, Result, Skip, Task, Timer};
use operations::{Operation, Source, Step, Value, Windows};

/// Without autodiff, and without the feature `rayon`, so that there is one thread.
pub(crate) struct Burn;

impl Peer for Burn {
    fn version(&self) -> String {
        format!("{} (flex)", crate::protocol::dependency_version("burn"))
    }

    fn prepare(&mut self, task: &Task, timer: &mut Timer) -> Result<Box<dyn Prepared>> {
        let layer = &task.layer;
        if layer.output.len() > 2 {
            return Err(Skip("3-D is not measured with it".into()).into());
        }
        let device = Device::flex();
        let read = |path| {
            let Array { shape, data } = Array::read(path)?;
            Value::new(data, &shape, &device)
        };
        let (input, weights) = (read(&task.input)?, read(&task.weights)?);
        let bias = task.bias.as_deref().map(Array::read).transpose()?.map(|bias| bias.data);
        let operation = timer.time(|| {
            let windows = Windows { stride: &layer.stride, padding: &layer.padding, dilation: &layer.dilation };
            Operation::convolution(weights, bias, windows, layer.groups, &device)
        })?;
        let inputs = vec![Source { value: 0, last: true }];
        let step = Step { operation, then: Vec::new(), inputs, residual: None, output: 1 };
        Ok(Box::new(Ready { steps: vec![step], input, values: vec![None; 2], output: 1 }))
    }

    fn load(&mut self, network: &Network, input: Array) -> Result<Box<dyn Prepared>> {
        if network.threads > 1 {
            return Err(Skip("it is measured on one thread".into()).into());
        }
        let text = std::fs::read_to_string(&network.conv)?;
        let spec: NetworkSpec = text.parse()?;
        let mut parameters = Parameters::open(&network.parameters)?;
        let device = Device::flex();
        let steps = translate::steps(&spec, &mut parameters, &device)?;
        let input = Value::new(input.data, &input.shape, &device)?;
        let values = vec![None; spec.values.len()];
        Ok(Box::new(Ready { steps, input, values, output: spec.outputs[0] }))
    }
}

struct Ready {
    steps: Vec<Step>,
    input: Value,
    /// The network's, each from the step that makes it to the last that takes it; the output stays.
    values: Vec<Option<Value>>,
    output: usize,
}

impl Prepared for Ready {
    fn run(&mut self) -> Result<()> {
        self.values[0] = Some(self.input.clone());
        self.steps.iter().try_for_each(|step| step.run(&mut self.values))
    }

    fn output(&self) -> Result<Array> {
        let (shape, data) = self.values[self.output].clone().ok_or("nothing has been computed")?.into_elements()?;
        Ok(Array { shape, data })
    }
}
