//! tract, through its ONNX reader.

use tract_onnx::prelude::*;

use crate::npy::Array;
use crate::protocol::{Network, Peer, Prepared, Result, Skip, Task, Timer};

/// As it comes. Reading the file is no part of making the kernel; optimizing is.
pub(crate) struct Tract;

impl Peer for Tract {
    fn version(&self) -> String {
        crate::protocol::dependency_version("tract-onnx")
    }

    fn prepare(&mut self, task: &Task, timer: &mut Timer) -> Result<Box<dyn Prepared>> {
        let input = Array::read(&task.input)?;
        let model = tract_onnx::onnx().model_for_path(&task.model)?;
        let plan = timer.time(|| model.into_optimized()?.into_runnable())?;
        let input = Tensor::from_shape(&input.shape, &input.data)?.into_tvalue();
        Ok(Box::new(Ready { state: plan.spawn()?, input, output: None }))
    }

    fn load(&mut self, network: &Network, input: Array) -> Result<Box<dyn Prepared>> {
        if network.threads > 1 {
            return Err(Skip("it is measured on one thread".into()).into());
        }
        let plan = tract_onnx::onnx().model_for_path(&network.model)?.into_optimized()?.into_runnable()?;
        let input = Tensor::from_shape(&input.shape, &input.data)?.into_tvalue();
        Ok(Box::new(Ready { state: plan.spawn()?, input, output: None }))
    }
}

struct Ready {
    state: TypedSimpleState,
    input: TValue,
    output: Option<TValue>,
}

impl Prepared for Ready {
    fn run(&mut self) -> Result<()> {
        self.output = self.state.run(tvec!(self.input.clone()))?.pop();
        Ok(())
    }

    fn output(&self) -> Result<Array> {
        let output = self.output.as_ref().ok_or("nothing has been computed")?;
        let view = output.to_plain_array_view::<f32>()?;
        Ok(Array { shape: view.shape().to_vec(), data: view.iter().copied().collect() })
    }
}
