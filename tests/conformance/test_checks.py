"""Whether the checks of the suite can fail, and the oracles against each other on what Convoke may not know yet."""

import tempfile
import unittest
from unittest import mock
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np

import environment
import naive
import oracles
import random_layers
import random_suite
from case import Case
from engine import Refused, Tensors
from language import PER_CHANNEL, Layer, Pooling, Step
from random_layers import Abilities
from refusals import Wrong, said


class Fake:
    """Stands for Convoke: computes naively, and then something is done to the result."""

    def __init__(self, folder: Path, change: Callable[[np.ndarray, str], np.ndarray]) -> None:
        self.folder, self.change = folder, change

    def write(self, layer: Layer, tensors: Tensors) -> None:
        self.tensors = tensors

    def run(self, layer: Layer, backend: str, threads: int) -> np.ndarray:
        t = self.tensors
        dst = naive.then(layer.steps(t.channels), naive.sums(layer, t.src, t.weights, t.bias)).astype(layer.numpy)
        return self.change(dst, backend)


CONVOLUTION = Layer(1, 2, (6, 6), 3, (3, 3), padding="same", bias=True, accuracy="exact")
MEAN = Layer.pool(Pooling("avg", count_include_pad=False), 1, 3, (6, 6), (3, 3), stride=(1, 1), padding="same")


class Checks(unittest.TestCase):
    def status(
        self, change: Callable[[np.ndarray, str], np.ndarray], exact: bool = False, layer: Layer = CONVOLUTION
    ) -> str:
        tensors = random_layers.tensors(Random(1), Abilities(non_finite=False), layer, exact)
        expected = naive.sums(layer, tensors.src, tensors.weights, tensors.bias)
        case = Case("unit", layer, tensors, expected, np.dtype(np.float64), exact=exact)
        case._failed = lambda convoke, why: type("Outcome", (), {"status": "failed", "reason": why})
        with tempfile.TemporaryDirectory() as folder:
            return case.check(Fake(Path(folder), change)).status

    def test_right_results_pass(self) -> None:
        self.assertEqual(self.status(lambda dst, _: dst), "passed")
        self.assertEqual(self.status(lambda dst, _: dst, exact=True), "passed")

    def test_wrong_results_fail(self) -> None:
        def put(value: float) -> Callable[[np.ndarray, str], np.ndarray]:
            def change(dst: np.ndarray, _: str) -> np.ndarray:
                dst[0, 1, 2, 3] = value
                return dst

            return change

        for change in (put(np.nan), put(np.inf), put(1e3), lambda dst, _: dst[:, :, :-1], lambda dst, _: dst.astype("f8")):
            self.assertEqual(self.status(change), "failed")
        self.assertEqual(self.status(lambda dst, _: dst + np.float32(1e-4)), "failed")
        self.assertEqual(self.status(lambda dst, _: dst[..., ::-1]), "failed")
        one_bit = lambda dst, _: np.nextafter(dst, np.float32(np.inf))
        self.assertEqual((self.status(one_bit), self.status(one_bit, exact=True)), ("passed", "failed"))

    def test_averages_of_whole_numbers_are_rounded_once(self) -> None:
        one_bit = lambda dst, _: np.nextafter(dst, np.float32(np.inf))
        statuses = [self.status(change, True, MEAN) for change in (lambda dst, _: dst, one_bit)]
        self.assertEqual(statuses, ["passed", "failed"])
        self.assertEqual(self.status(one_bit, False, MEAN), "passed")
        self.assertEqual(self.status(lambda dst, _: dst + np.float32(1e-4), False, MEAN), "failed")

    def test_backends_that_differ_fail(self) -> None:
        one_bit = lambda dst, backend: np.nextafter(dst, np.float32(np.inf)) if backend == "jit" else dst
        self.assertEqual(self.status(one_bit), "failed")

    def test_only_awaited_words_are_skipped(self) -> None:
        with mock.patch("engine.AWAITED", frozenset({"max_pool2d"})):
            self.assertIn("max_pool2d", Refused("error: there is no kind of layer `max_pool2d`").unknown())
            self.assertIsNone(Refused("error: there is no kind of layer `conv2d`").unknown())
        self.assertIsNone(Refused("error: there is no kind of layer `conv2d`").unknown())
        self.assertIsNone(Refused("error: the kernel reaches past the padded input").unknown())

    def test_a_field_of_an_error(self) -> None:
        wrong = Wrong(MEAN, {3}, "groups: 3")
        self.assertTrue(wrong.text().endswith("    count_include_pad: false,\n    groups: 3,\n}\n"))
        self.assertEqual(wrong.unsaid("error: an avg_pool2d has no `groups`, 3"), [])
        self.assertEqual(wrong.unsaid("error: an avg_pool2d has no `bias`"), ["3", "`groups`"])

    def test_numbers_of_an_error(self) -> None:
        error = (
            "error: 3 groups do not divide 8 input channels\n --> <stdin>:1:79\n  |\n"
            "1 | conv2d a { input: f32[2, 8, 12, 12], groups: 3}\n  |                   ^ 8 = 3 x 2 + 2\n  = help: write 9"
        )
        self.assertEqual(said(error), {3, 8, 2})


class Random_(unittest.TestCase):
    def test_same_seed_same_layer(self) -> None:
        def some(seed: str) -> list[str]:
            return [random_layers.layer(Random(f"{seed} {i}"), Abilities(), i % 2 > 0, False).text() for i in range(20)]

        self.assertEqual(some("a"), some("a"))
        self.assertNotEqual(some("a"), some("b"))

    def test_every_field_of_pooling_occurs(self) -> None:
        layers = [random_layers.pool(Random(i), Abilities(), lambda _, layer: layer) for i in range(300)]
        text = "".join(layer.text() for layer in layers)
        words = "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d lp_pool3d global stride padding same same_lower dilation f64 nhwc"
        for word in f"{words} nChw16c ceil_mode count_include_pad divisor p: u8 i8 output_size f32[N f32[0".split():
            self.assertIn(word, text)
        self.assertTrue(any(any(layer.beyond) for layer in layers))

    def test_steps_with_numbers_of_channels(self) -> None:
        steps = lambda layer: {step.name for i in range(200) for step in random_layers.then(Random(i), True, layer)}
        self.assertLessEqual(PER_CHANNEL.keys() | {"add"}, steps(CONVOLUTION))
        # These would round an average, which is a fraction, once more.
        self.assertFalse(steps(MEAN) & (PER_CHANNEL.keys() | {"add"}))
        layer = replace(CONVOLUTION, then=(Step("scale"), Step("relu"), Step("prelu")))
        tensors = random_layers.tensors(Random(1), Abilities(), layer, True)
        self.assertEqual([numbers.shape for numbers in tensors.channels], [(3,), (3,)])

    def test_every_field_occurs(self) -> None:
        texts = "".join(
            random_layers.layer(Random(i), Abilities(complex=True), transposed, modes).text()
            for i in range(300)
            for transposed, modes in ((False, False), (True, False), (False, True))
        )
        words = "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d same same_lower causal f64 nlc nhwc ndhwc"
        words += " nCw16c nChw16c nCdhw16c nChw8c hwio stride dilation depthwise reflect replicate circular constant"
        words += " output_padding output_size bias f32[N groups f32[0 c64[ c128["
        for word in words.split():
            self.assertIn(word, texts)


class Oracles(unittest.TestCase):
    """Each library against the sums of `naive`, on every kind of layer."""

    def agrees(self, package: str) -> None:
        if why := environment.unavailable(package):
            self.skipTest(f"{package}: {why}")
        oracle = oracles.load(package)
        for number in range(60):
            case = random_suite.make(oracle, 0, number)
            layer, tensors = case.layer, case.tensors
            # Of unpooling `naive` knows nothing: indices say all.
            if layer.takes_indices:
                continue
            if not layer.pooling and not np.all(np.isfinite(tensors.src)):
                continue
            sums = naive.sums(layer, tensors.src, tensors.weights, tensors.bias)
            magnitudes = naive.magnitudes(layer, tensors.src, tensors.weights, tensors.bias)
            steps = list(layer.steps(tensors.channels))
            bound = 0
            if not case.exact:
                bound = naive.bound(replace(layer, accuracy="exact"), steps, case.expected, magnitudes, case.oracle)
            dst, expected = (a.astype(layer.numpy if case.exact else layer.double) for a in (naive.then(steps, sums), case.expected))
            self.assertEqual(expected.shape, layer.dst_shape, layer.text())
            with np.errstate(invalid="ignore"):
                same = np.equal(dst, expected) | np.isnan(dst) & np.isnan(expected)
                off = abs(dst - expected)
            self.assertTrue(np.all(same | (off <= bound)), f"{package} {number}\n{layer.text()}")

    def test_torch(self) -> None:
        self.agrees("torch")

    def test_jax(self) -> None:
        self.agrees("jax")

    def test_onnx_runtime(self) -> None:
        self.agrees("onnxruntime")


class Onnx(unittest.TestCase):
    def test_all_of_them_are_found(self) -> None:
        if why := environment.unavailable("onnx"):
            self.skipTest(f"onnx: {why}")
        import onnx_suite
        import run

        found = {folder: len(list(onnx_suite.checks(folder))) for folder in onnx_suite.FOLDERS}
        self.assertEqual(found, run.ONNX)


if __name__ == "__main__":
    unittest.main()
