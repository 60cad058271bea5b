"""How nodes are translated, and what is refused by name."""

import unittest

import numpy as np

import naive
import onnx_nodes
from language import Deformable, Layer, Pooling
from onnx_nodes import Unsupported, translate


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def layer(operator: str, src: np.ndarray, weights: np.ndarray, *more: np.ndarray, **attributes: object) -> Layer:
    return translate(operator, attributes, [src, weights, *more]).layer


class Conv(unittest.TestCase):
    def test_defaults(self) -> None:
        found = layer("Conv", zeros(2, 4, 9), zeros(6, 4, 3))
        self.assertEqual(found, Layer(2, 4, (9,), 6, (3,), padding=((0, 0),)))

    def test_pads_are_all_befores_then_all_afters(self) -> None:
        found = layer("Conv", zeros(1, 1, 7, 5), zeros(1, 1, 3, 3), pads=[1, 0, 2, 3], strides=[2, 2])
        self.assertEqual(found.padding, ((1, 2), (0, 3)))
        self.assertIn("padding: (1..2, 0..3)", found.text())

    def test_auto_pad(self) -> None:
        for auto, word in ((b"SAME_UPPER", "same"), (b"SAME_LOWER", "same_lower"), (b"VALID", "valid")):
            self.assertEqual(layer("Conv", zeros(1, 1, 5, 5), zeros(1, 1, 3, 3), auto_pad=auto).padding, word)
        with self.assertRaisesRegex(Unsupported, "auto_pad SAME"):
            layer("Conv", zeros(1, 1, 5, 5), zeros(1, 1, 3, 3), auto_pad=b"SAME")

    def test_groups_and_bias(self) -> None:
        found = layer("Conv", zeros(1, 4, 5, 5), zeros(8, 1, 3, 3), zeros(8), group=4)
        self.assertIn("groups: depthwise,\n    bias: true", found.text())

    def test_refused_by_name(self) -> None:
        with self.assertRaisesRegex(Unsupported, "`magic`"):
            layer("Conv", zeros(1, 1, 5, 5), zeros(1, 1, 3, 3), magic=1)
        with self.assertRaisesRegex(Unsupported, "float16"):
            layer("Conv", zeros(1, 1, 5, 5).astype(np.float16), zeros(1, 1, 3, 3))
        with self.assertRaisesRegex(Unsupported, "4 spatial axes"):
            layer("Conv", zeros(1, 1, 5, 5, 5, 5), zeros(1, 1, 3, 3, 3, 3))
        with self.assertRaisesRegex(Unsupported, "kernel_shape"):
            layer("Conv", zeros(1, 1, 5, 5), zeros(1, 1, 3, 3), kernel_shape=[2, 3])


class DeformConv(unittest.TestCase):
    def test_offsets_and_factors_are_in_the_order_of_the_language(self) -> None:
        arrays = [zeros(1, 4, 5, 6), zeros(2, 4, 3, 2), zeros(1, 24, 3, 5), None, zeros(1, 12, 3, 5)]
        found = translate("DeformConv", {"offset_group": 2}, arrays)
        self.assertEqual(found.layer.deformable, Deformable(2, True))
        self.assertEqual((found.layer.offset_shape, found.layer.mask_shape), (arrays[2].shape, arrays[4].shape))
        self.assertIn("offset_groups: 2,\n    mask: true", found.layer.text())

    def test_what_is_not_moved_is_a_convolution(self) -> None:
        numbers = np.random.default_rng(1)
        src, weights = (numbers.normal(size=shape).astype(np.float32) for shape in ((2, 4, 6, 7), (6, 2, 3, 2)))
        attributes = {"group": 2, "pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]}
        plain = translate("Conv", attributes, [src, weights])
        found = translate("DeformConv", attributes, [src, weights, zeros(2, 12, *plain.layer.output)])
        sums = naive.sums(plain.layer, src, weights, None)
        np.testing.assert_allclose(naive.deformed(found.layer, found.tensors)[0], sums, rtol=0, atol=1e-12)

    def test_other_axes_are_refused(self) -> None:
        with self.assertRaisesRegex(Unsupported, "3 spatial axes"):
            translate("DeformConv", {}, [zeros(1, 1, 3, 3, 3), zeros(1, 1, 1, 1, 1), zeros(1, 3, 3, 3, 3)])


class ConvTranspose(unittest.TestCase):
    def make(self, *stride: int, **attributes: object) -> Layer:
        return layer("ConvTranspose", zeros(1, 1, 3, 3), zeros(1, 2, 3, 3), strides=list(stride), **attributes)

    def test_weights_have_the_input_channels_first(self) -> None:
        found = layer("ConvTranspose", zeros(1, 4, 3), zeros(4, 3, 2), group=2)
        self.assertEqual((found.channels, found.out_channels, found.output), (4, 6, (4,)))

    def test_pads_and_output_padding(self) -> None:
        found = self.make(3, 2, pads=[1, 2, 1, 2], output_padding=[1, 0])
        self.assertEqual((found.padding, found.output), (((1, 1), (2, 2)), (8, 3)))

    def test_output_shape_beyond_the_whole(self) -> None:
        found = self.make(3, 2, output_shape=[10, 8])
        self.assertIn("output_size: (10, 8)", found.text())
        self.assertEqual(found.sides, ((0, 0), (0, 0)))

    def test_output_shape_that_cuts(self) -> None:
        self.assertEqual(self.make(3, 2, output_shape=[8, 4]).padding, ((1, 0), (2, 1)))
        self.assertEqual(self.make(3, 2, output_shape=[8, 4], auto_pad=b"SAME_UPPER").padding, ((0, 1), (1, 2)))
        # With the batch and the channels in front.
        self.assertEqual(self.make(3, 2, output_shape=[1, 2, 8, 4]).output, (8, 4))

    def test_output_shape_with_output_padding(self) -> None:
        found = self.make(3, 2, output_padding=[1, 1], output_shape=[10, 8])
        self.assertEqual((found.output_padding, found.output_size, found.output), ((1, 1), (), (10, 8)))

    def test_auto_pad_multiplies_by_the_stride(self) -> None:
        self.assertEqual(self.make(2, 2, auto_pad=b"SAME_UPPER").padding, ((0, 1), (0, 1)))
        self.assertEqual(self.make(2, 2, auto_pad=b"SAME_LOWER").output, (6, 6))

    def test_an_axis_cut_and_another_padded(self) -> None:
        with self.assertRaisesRegex(Unsupported, r"output_shape \[10, 6\]"):
            self.make(3, 2, output_shape=[10, 6])


class BatchNormalization(unittest.TestCase):
    def test_it_is_a_depthwise_layer(self) -> None:
        numbers = np.random.default_rng(1)
        src = numbers.normal(size=(2, 3, 4, 5)).astype(np.float32)
        scale, shift, mean = numbers.normal(size=(3, 3)).astype(np.float32)
        variance = numbers.uniform(0.5, 2, 3).astype(np.float32)
        found = translate("BatchNormalization", {"epsilon": 1e-2}, [src, scale, shift, mean, variance])
        column = (v.astype(np.float64).reshape(-1, 1, 1) for v in (mean, variance, scale, shift))
        mean, variance, scale, shift = column
        expected = (src - mean) / np.sqrt(variance + 1e-2) * scale + shift
        tensors = found.tensors
        sums = naive.sums(found.layer, tensors.src, tensors.weights, tensors.bias)
        np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-5)
        self.assertIn("groups: depthwise", found.layer.text())

    def test_training_is_refused(self) -> None:
        for attributes in ({"training_mode": 1}, {"is_test": 0}):
            with self.assertRaisesRegex(Unsupported, "training_mode"):
                translate("BatchNormalization", attributes, [zeros(1, 3, 4), *[zeros(3)] * 4])


class Pool(unittest.TestCase):
    def pool(self, operator: str, *sizes: int, **attributes: object) -> Layer:
        return translate(operator, attributes, [zeros(*sizes)]).layer

    def test_defaults_are_those_of_onnx(self) -> None:
        found = self.pool("MaxPool", 2, 3, 8, 9, kernel_shape=[2, 3])
        self.assertEqual(found, Layer.pool(Pooling("max"), 2, 3, (8, 9), (2, 3), stride=(1, 1), padding=((0, 0), (0, 0))))
        found = self.pool("AveragePool", 2, 3, 8, kernel_shape=[2])
        self.assertIn("kernel_size: 2,\n    stride: 1,\n    count_include_pad: false,\n}", found.text())

    def test_attributes(self) -> None:
        more = {"pads": [0, 1, 2, 1], "strides": [2, 1], "dilations": [1, 2], "ceil_mode": 1}
        found = self.pool("AveragePool", 1, 3, 8, 9, kernel_shape=[3, 2], count_include_pad=1, **more)
        self.assertEqual(found.pooling, Pooling("avg", ceil_mode=True))
        self.assertEqual((found.padding, found.strides, found.dilations), (((0, 2), (1, 1)), (2, 1), (1, 2)))

    def test_ceil_mode_is_for_explicit_padding(self) -> None:
        for auto in (b"SAME_UPPER", b"SAME_LOWER", b"VALID"):
            found = self.pool("MaxPool", 1, 1, 8, kernel_shape=[3], strides=[2], auto_pad=auto, ceil_mode=1)
            self.assertFalse(found.pooling.ceil_mode)
            self.assertEqual(found.output, (3,) if auto == b"VALID" else (4,))

    def test_maxima_of_bytes(self) -> None:
        found = translate("MaxPool", {"kernel_shape": [2]}, [zeros(1, 1, 5).astype(np.uint8)]).layer
        self.assertIn("max_pool1d layer {\n    input: u8[1, 1, 5]", found.text())

    def test_norms(self) -> None:
        found = self.pool("LpPool", 1, 3, 8, 9, kernel_shape=[3, 2], p=3, dilations=[1, 2])
        self.assertEqual((found.pooling, found.dilations), (Pooling("lp", p=3), (1, 2)))
        self.assertEqual(self.pool("LpPool", 1, 3, 8, kernel_shape=[3]).pooling.p, 2)

    def test_global(self) -> None:
        for operator, kind in (("GlobalMaxPool", "max"), ("GlobalAveragePool", "avg"), ("GlobalLpPool", "lp")):
            self.assertTrue(self.pool(operator, 1, 3, 4, 5).text().startswith(f"{kind}_pool2d layer {{"))
            self.assertIn("kernel_size: global", self.pool(operator, 1, 3, 4, 5).text())

    def test_refused_by_name(self) -> None:
        with self.assertRaisesRegex(Unsupported, "AveragePool: elements of type uint8"):
            translate("AveragePool", {"kernel_shape": [2]}, [zeros(1, 1, 5).astype(np.uint8)])
        with self.assertRaisesRegex(Unsupported, r"padding \[\(0, 3\)\] that leaves a window of \[3\] taps"):
            self.pool("MaxPool", 1, 1, 5, kernel_shape=[3], pads=[0, 3])
        with self.assertRaisesRegex(Unsupported, "`count_include_pad`"):
            self.pool("MaxPool", 1, 1, 5, kernel_shape=[3], count_include_pad=1)


class Table(unittest.TestCase):
    def test_another_operator(self) -> None:
        with self.assertRaisesRegex(Unsupported, "Softmax"):
            translate("Softmax", {}, [zeros(1, 1)])


if __name__ == "__main__":
    unittest.main()
