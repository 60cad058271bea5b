"""Whether the checks of networks can fail, and what they are made of."""

import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from random import Random
from unittest import mock

import numpy as np

try:
    import onnx
    import onnxruntime
except ImportError as missing:
    raise unittest.SkipTest(str(missing))

import light_models
import mutations
import network_suite
import random_graphs
import random_weights
from case import Outcome
from engine import Broken, Convoke, Network, Refused


class Fake(Convoke):
    """Stands for Convoke: ONNX Runtime, and then something is done to the result."""

    change: Callable[[np.ndarray], np.ndarray]

    def import_network(self, model: Path, sizes: dict[str, int] | None = None, values: dict[str, int] | None = None) -> Network:
        self.session = random_weights.session(str(model))
        name = lambda values: [{"onnx": value.name, "shape": value.shape} for value in values]
        return Network(model, model, name(self.session.get_inputs()), name(self.session.get_outputs()))

    def run_network(self, network: Network, arrays: dict[str, np.ndarray], threads: int = 1) -> dict[str, np.ndarray]:
        outputs = [value["onnx"] for value in network.outputs]
        return {name: self.change(found) for name, found in zip(outputs, self.session.run(outputs, arrays))}


class Checks(unittest.TestCase):
    def outcome(self, check: Callable[[Convoke], Outcome], change: Callable[[np.ndarray], np.ndarray]) -> Outcome:
        with tempfile.TemporaryDirectory() as folder, mock.patch("network_suite.FAILED", Path(folder) / "failed"):
            own = Path(folder) / "own"
            own.mkdir()
            fake = Fake(Path("convoke"), own)
            fake.change = change
            return check(fake)

    def random(self, change: Callable[[np.ndarray], np.ndarray]) -> str:
        return self.outcome(next(network_suite.checks("random", 1, range(1, 2))), change).status

    def test_right_results_pass(self) -> None:
        self.assertEqual(self.random(lambda found: found), "passed")
        # The elements are what is compared: how Convoke writes the sizes of a row is its own matter.
        self.assertEqual(self.random(lambda found: found.reshape(*found.shape, 1)), "passed")

    def test_wrong_results_fail(self) -> None:
        def put(value: float) -> Callable[[np.ndarray], np.ndarray]:
            def change(found: np.ndarray) -> np.ndarray:
                found = found.copy()
                found.flat[-1] += value
                return found

            return change

        for value in (0.1, np.inf, np.nan):
            self.assertEqual(self.random(put(value)), "failed")
        self.assertEqual(self.random(lambda found: found[:, :-1]), "failed")
        self.assertEqual(self.random(lambda found: found.astype(np.float64)), "failed")

    def test_stored_outputs(self) -> None:
        check = next(network_suite.checks("light", 1, range(light_models.NAMES.index("squeezenet"), 9)))
        self.assertEqual(self.outcome(check, lambda found: found).status, "passed")
        self.assertEqual(self.outcome(check, lambda found: found * np.float32(1.002)).status, "failed")

    def test_a_refusal_fails(self) -> None:
        def refuse(found: np.ndarray) -> np.ndarray:
            raise Refused("error: there is no operator `Conv`")

        self.assertEqual(self.random(refuse), "failed")

        def crash(found: np.ndarray) -> np.ndarray:
            raise Broken("convoke run ended with -11")

        self.assertEqual(self.random(crash), "failed")


class Weights(unittest.TestCase):
    def test_values_stay_of_order_one(self) -> None:
        model = light_models.with_random_weights("squeezenet")
        self.assertEqual(list(random_weights.inputs(model)), ["data_0"])
        before = next(node.input[0] for node in model.graph.node if node.op_type == "Softmax")
        model.graph.output.append(onnx.ValueInfoProto(name=before))
        data = np.random.default_rng(3).standard_normal((1, 3, 224, 224), np.float32)
        _, logits = random_weights.session(model).run(None, {"data_0": data})
        self.assertTrue(0.2 < np.sqrt(np.mean(logits**2)) < 5, logits)

    def test_they_follow_from_the_seed(self) -> None:
        first, second, other = (light_models.with_random_weights("squeezenet", seed) for seed in (1, 1, 2))
        self.assertEqual(first.SerializeToString(), second.SerializeToString())
        self.assertNotEqual(first.SerializeToString(), other.SerializeToString())

    def test_products_of_an_element(self) -> None:
        self.assertEqual(random_weights.roundings(light_models.with_random_weights("squeezenet")), 5877)

    def test_difference(self) -> None:
        one = np.ones(4, np.float32)
        self.assertEqual(random_weights.difference(one, one), 0)
        self.assertEqual(random_weights.difference(3 * one, 2 * one), 0.5)
        self.assertEqual(random_weights.difference(np.full(4, np.nan), one), np.inf)
        self.assertEqual(random_weights.difference(one, 0 * one), np.inf)
        self.assertAlmostEqual(random_weights.difference(0.001 * one, 0 * one, least=0.01), 0.1, 6)


class Graphs(unittest.TestCase):
    def test_onnx_runtime_agrees_with_itself_without_its_optimizations(self) -> None:
        plain = onnxruntime.SessionOptions()
        plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        plain.intra_op_num_threads, plain.log_severity_level = 1, 3
        for number in range(20):
            model = random_graphs.make(Random(f"unit {number}"))
            onnx.checker.check_model(model)
            arrays = {name: np.ones(sizes, np.float32) for name, sizes in random_weights.inputs(model).items()}
            expected = random_weights.session(model).run(None, arrays)
            session = onnxruntime.InferenceSession(model.SerializeToString(), plain, ["CPUExecutionProvider"])
            for left, right in zip(session.run(None, arrays), expected):
                self.assertLess(random_weights.difference(left, right), random_weights.bound(model, network_suite.FACTOR), number)


class Mutations(unittest.TestCase):
    def why(self, script: str, must_refuse: bool = False) -> str | None:
        """What is said of a command that does this, for which `$OUT` is the file without its ending."""
        with tempfile.TemporaryDirectory() as folder:
            command, out = Path(folder) / "convoke", Path(folder) / "out"
            command.write_text(f"#!/bin/sh\n[ $1 = check ] && {{ {CHECKED}; }}\nOUT={out}/net\n{script}\n")
            command.chmod(0o755)
            out.mkdir()
            return mutations._wrong(command, Path(folder) / "model.onnx", out, must_refuse)

    def test_what_is_right(self) -> None:
        self.assertIsNone(self.why("touch $OUT.conv $OUT.safetensors"))
        self.assertIsNone(self.why("echo 'error: there is no operator `Loop`' >&2; exit 1"))

    def test_what_is_wrong(self) -> None:
        for script, why in {
            "touch $OUT.conv": "has written",
            "echo 'error: `x`' >&2; touch $OUT.conv; exit 1": "has refused it and written",
            "echo 'error: failed' >&2; exit 1": "names nothing",
            "echo 'thread main panicked at x.rs:1' >&2; exit 101": "panics",
            "exit 1": "ended with 1",
            "kill -SEGV $$": "ended with -11",
        }.items():
            self.assertIn(why, self.why(script) or "", script)
        self.assertEqual(self.why("touch $OUT.conv $OUT.safetensors", must_refuse=True), "convoke import takes it")
        with mock.patch("mutations.SECONDS", 0.1):
            self.assertIn("took more than", self.why("exec sleep 2") or "")

    def test_each_kind_changes_a_file(self) -> None:
        valid = set(mutations._valid())
        for kind, mutate in mutations.KINDS.items():
            with tempfile.TemporaryDirectory() as folder:
                made = {mutate(Random(seed), _fresh(Path(folder) / str(seed) / "model")) for seed in range(5)}
            self.assertGreater(len(made - valid), 2, kind)

    def test_lengths_are_found(self) -> None:
        for data in mutations._valid()[:3]:
            for start, end, length in mutations._lengths(data, 0, len(data)):
                self.assertEqual(mutations._varint(length), data[start:end])
                self.assertLessEqual(end + length, len(data))


def _fresh(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


CHECKED = "exit 0"
