"""An ONNX graph, built node by node. Needs what `random_weights` needs; benches/peers builds its tiny networks with it too."""

from itertools import count
from random import Random

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

import random_weights


class Builder:
    """The shape of each value is found by computing it."""

    def __init__(self, rng: Random, opset: int) -> None:
        self.rng, self.opset = rng, opset
        self.nodes, self.constants, self.inputs, self.count = [], [], [], count()
        self.fixed: set[str] = set()
        """Constants whose values matter."""
        self.values: dict[str, np.ndarray] = {}
        self.bare = helper.make_model(helper.make_graph([], "bare", [], []), opset_imports=[helper.make_opsetid("", self.opset)])

    def input(self, *shape: int) -> str:
        name = f"input_{len(self.inputs)}"
        self.inputs.append(name)
        self.values[name] = np.zeros(shape, np.float32)
        return name

    def constant(self, array: np.ndarray) -> str:
        name = f"constant_{next(self.count)}"
        self.constants.append(name)
        self.values[name] = array
        return name

    def weights(self, *shape: int) -> str:
        return self.constant(np.zeros(shape, np.float32))

    def sizes(self, *sizes: int) -> str:
        return self.constant(np.array(sizes, np.int64))

    def numbers(self, value: float | list[float]) -> str:
        """An initializer or a node: exporters write both."""
        array = np.array(value, np.float32)
        if self.rng.random() < 0.5:
            return self.add("Constant", value=numpy_helper.from_array(array))
        name = self.constant(array)
        self.fixed.add(name)
        return name

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        return self.add_many(1, operator, *inputs, **attributes)[0]

    def add_many(self, outputs: int, operator: str, *inputs: str, **attributes: object) -> list[str]:
        """A node of several outputs."""
        name = f"{operator.lower()}_{next(self.count)}"
        names = [name, *(f"{name}_{output}" for output in range(1, outputs))]
        node = helper.make_node(operator, inputs, names, name, **attributes)
        self.values |= dict(zip(names, random_weights.run_node(self.bare, node, self.values)))
        self.nodes.append(node)
        return names

    def shape(self, name: str) -> tuple[int, ...]:
        return self.values[name].shape

    def model(self, outputs: list[str], seed: int) -> ModelProto:
        """The graph with random weights."""
        typed = lambda names: [helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shape(name)) for name in names]
        constants = [numpy_helper.from_array(self.values[name], name) for name in self.constants]
        graph = helper.make_graph(self.nodes, "graph", typed(self.inputs), typed(outputs), constants)
        model = helper.make_model(graph, opset_imports=self.bare.opset_import, ir_version=random_weights.IR)
        random_weights.draw(model, seed, self.fixed)
        return model
