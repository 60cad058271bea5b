"""numpy, for layers of complex numbers: the sums of `naive`, which the unit tests hold to the libraries."""

import numpy as np

import naive
from engine import Tensors
from language import Layer
from random_layers import Abilities

NAME = "complex"
ABILITIES = Abilities(only_complex=True)


def compute(layer: Layer, tensors: Tensors) -> tuple[np.ndarray, np.dtype]:
    sums = naive.sums(layer, tensors.src, tensors.weights, tensors.bias)
    return naive.then(layer.steps(tensors.channels), sums), np.dtype(np.float64)
