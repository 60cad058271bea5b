"""PyTorch on the CPU, eager. Option `channels_last`: the memory format of input and weights."""

import numpy as np
import torch
from protocol import Peer, Prepared, Skip, Stopwatch, Task

LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
CONV = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}


class Module(Prepared):
    def __init__(self, task: Task) -> None:
        layer = task.layer
        if any(lo != hi for lo, hi in layer["padding"]):
            raise Skip("padding is the same on both sides")
        last = task.options["channels_last"]
        if last and layer["rank"] not in LAST:
            raise Skip("no channels-last format in 1-D")
        with Stopwatch() as watch:
            self.conv = CONV[layer["rank"]](layer["in_channels"], layer["out_channels"], tuple(layer["kernel"]),
                                            tuple(layer["stride"]), tuple(lo for lo, _ in layer["padding"]),
                                            tuple(layer["dilation"]), layer["groups"], task.bias is not None)
        self.create_us = watch.us
        self.x = torch.from_numpy(task.input)
        with torch.no_grad():
            self.conv.weight.copy_(torch.from_numpy(task.weights))
            if task.bias is not None:
                self.conv.bias.copy_(torch.from_numpy(task.bias))
        if last:
            self.x = self.x.contiguous(memory_format=LAST[layer["rank"]])
            self.conv = self.conv.to(memory_format=LAST[layer["rank"]])

    def run(self) -> None:
        with torch.inference_mode():
            self.y = self.conv(self.x)

    def output(self) -> np.ndarray:
        return self.y.contiguous().numpy()


class Library(Peer):
    def __init__(self) -> None:
        torch.set_num_threads(1)

    def version(self) -> str:
        return torch.__version__

    def prepare(self, task: Task) -> Prepared:
        return Module(task)
