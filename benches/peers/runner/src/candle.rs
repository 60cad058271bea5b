//! candle, on the CPU.

use candle_core::{Device, Tensor};

use crate::npy::Array;
use crate::protocol::{Layer, Peer, Prepared, Result, Skip, Task, Timer};

/// `Tensor::conv1d` and `conv2d`; it has no 3-D, and one number for both axes.
pub(crate) struct Candle;

impl Peer for Candle {
    fn version(&self) -> String {
        crate::protocol::dependency_version("candle-core")
    }

    fn prepare(&mut self, task: &Task, timer: &mut Timer) -> Result<Box<dyn Prepared>> {
        let layer = &task.layer;
        if layer.output.len() > 2 {
            return Err(Skip("no 3-D".into()).into());
        }
        let same = |sizes: &[usize]| sizes.iter().all(|size| *size == sizes[0]);
        let padding: Vec<_> = layer.padding.iter().flat_map(|&(lo, hi)| [lo, hi]).collect();
        if !(same(&layer.stride) && same(&layer.dilation) && same(&padding)) {
            return Err(Skip("stride, dilation and padding are one number each".into()).into());
        }
        let tensor = |path| {
            let Array { shape, data } = Array::read(path)?;
            Result::Ok(Tensor::from_vec(data, shape, &Device::Cpu)?)
        };
        let bias = task.bias.as_deref().map(tensor).transpose()?;
        let per_channel: Vec<_> = [1, layer.out_channels].into_iter().chain(layer.output.iter().map(|_| 1)).collect();
        let bias = bias.map(|bias| bias.reshape(per_channel)).transpose()?;
        let (input, weights) = (tensor(&task.input)?, tensor(&task.weights)?);
        Ok(timer
            .time(|| Box::new(Ready { layer: layer.clone(), padding: padding[0], input, weights, bias, output: None })))
    }
}

struct Ready {
    layer: Layer,
    padding: usize,
    input: Tensor,
    weights: Tensor,
    bias: Option<Tensor>,
    output: Option<Tensor>,
}

impl Prepared for Ready {
    fn run(&mut self) -> Result<()> {
        let Layer { stride, dilation, groups, output, .. } = &self.layer;
        let (padding, stride, dilation) = (self.padding, stride[0], dilation[0]);
        let sums = match output.len() {
            1 => self.input.conv1d(&self.weights, padding, stride, dilation, *groups)?,
            _ => self.input.conv2d(&self.weights, padding, stride, dilation, *groups)?,
        };
        self.output = Some(match &self.bias {
            Some(bias) => sums.broadcast_add(bias)?,
            None => sums,
        });
        Ok(())
    }

    fn output(&self) -> Result<Array> {
        let output = self.output.as_ref().ok_or("nothing has been computed")?;
        Ok(Array { shape: output.dims().to_vec(), data: output.flatten_all()?.to_vec1()? })
    }
}
