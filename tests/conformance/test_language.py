"""The text of layers, and the sizes that follow from it."""

import unittest

import numpy as np

from language import Layer, PaddingMode, Pooling, Step


class Text(unittest.TestCase):
    def test_defaults_are_left_out(self) -> None:
        layer = Layer(1, 3, (8, 9), 4, (3, 3))
        expected = "conv2d a {\n    input: f32[1, 3, 8, 9] @ nchw,\n    out_channels: 4,\n    kernel_size: 3,\n}\n"
        self.assertEqual(layer.text("a"), expected)

    def test_every_field(self) -> None:
        layer = Layer(
            batch=2,
            channels=6,
            spatial=(7, 8, 9),
            out_channels=12,
            kernel=(1, 2, 3),
            stride=(2, 2, 2),
            dilation=(1, 2, 1),
            padding=((1, 1), (0, 2), (3, 0)),
            padding_mode=PaddingMode("constant", -1.5),
            groups=6,
            bias=True,
            then=(Step("clamp", (-1.0, 2.5)), Step("relu")),
            dtype="f64",
            layout="last",
            weights_layout="last",
            accuracy="exact",
            named_batch=True,
        )
        fields = [line.strip().rstrip(",") for line in layer.text().splitlines()[1:-1]]
        expected = [
            "input: f64[N, 7, 8, 9, 6] @ ndhwc",
            "out_channels: 12",
            "kernel_size: (1, 2, 3)",
            "stride: 2",
            "padding: (1, 0..2, 3..0)",
            "padding_mode: constant(-1.5)",
            "dilation: (1, 2, 1)",
            "groups: depthwise",
            "bias: true",
            "weights: dhwio",
            "then: [clamp(-1, 2.5), relu]",
            "accuracy: exact",
        ]
        self.assertEqual(fields, expected)

    def test_blocks_are_64_bytes(self) -> None:
        self.assertIn("@ nCw16c", Layer(1, 3, (8,), 4, (3,), layout="blocked").text())
        self.assertIn("f64[1, 3, 8] @ nCw8c", Layer(1, 3, (8,), 4, (3,), layout="blocked", dtype="f64").text())

    def test_transposed(self) -> None:
        layer = Layer(1, 4, (5, 5), 2, (3, 3), transposed=True, stride=(3, 2), output_padding=(1, 0))
        self.assertTrue(layer.text().startswith("conv_transpose2d layer {"))
        self.assertIn("output_padding: (1, 0)", layer.text())
        self.assertEqual(layer.weights_shape, (4, 2, 3, 3))

    def test_pooling_leaves_its_defaults_out(self) -> None:
        layer = Layer.pool(Pooling("max"), 1, 3, (8, 9), (2, 3))
        self.assertEqual(layer.text("a"), "max_pool2d a {\n    input: f32[1, 3, 8, 9] @ nchw,\n    kernel_size: (2, 3),\n}\n")

    def test_every_field_of_pooling(self) -> None:
        pooling = Pooling("avg", ceil_mode=True, count_include_pad=False, divisor=4)
        more = {"stride": (1, 1), "dilation": (2, 1), "padding": ((1, 1), (0, 1)), "then": (Step("scale"), Step("relu"))}
        fields = [line.strip().rstrip(",") for line in Layer.pool(pooling, 1, 3, (8, 9), (2, 3), **more).text().splitlines()[2:-1]]
        expected = ["kernel_size: (2, 3)", "stride: 1", "padding: (1, 0..1)", "dilation: (2, 1)", "ceil_mode: true"]
        expected += ["count_include_pad: false", "divisor: 4", "then: [scale, relu]"]
        self.assertEqual(fields, expected)

    def test_pooling_of_the_whole_input(self) -> None:
        layer = Layer.pool(Pooling("avg", whole=True), 1, 3, (8, 9), (8, 9))
        self.assertIn("    kernel_size: global,\n}", layer.text())
        self.assertEqual(layer.output, (1, 1))

    def test_numbers_of_channels_take_the_place_of_their_steps(self) -> None:
        layer = Layer(1, 1, (8, 9), 2, (3, 3), then=(Step("prelu"), Step("relu"), Step("shift")))
        slope, relu, shift = layer.steps([np.array([1.0, 2.0]), np.array([3.0, 4.0])])
        self.assertEqual((slope.name, relu.name, shift.name), ("leaky_relu", "relu", "add"))
        self.assertEqual((slope.args[0].shape, shift.args[0].ravel().tolist()), ((1, 2, 1, 1), [3.0, 4.0]))


class Sizes(unittest.TestCase):
    def pool(self, size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int = 1) -> Layer:
        more = {"stride": (stride,), "padding": (padding,), "dilation": (dilation,)}
        return Layer.pool(Pooling("max", ceil_mode=True), 1, 1, (size,), (kernel,), **more)

    def test_ceil_mode_rounds_up(self) -> None:
        # PyTorch's and ONNX's rule: no window starts behind the input and the padding before it.
        for size, kernel, stride, padding, output, beyond in (
            (4, 3, 2, (0, 0), 2, 1),
            (5, 3, 2, (0, 0), 2, 0),
            (2, 1, 2, (0, 0), 1, 0),
            (5, 2, 3, (1, 1), 2, 0),
            (6, 2, 3, (1, 1), 3, 0),
            (5, 3, 4, (1, 0), 2, 1),
            (2, 4, 3, (0, 0), 1, 2),
        ):
            layer = self.pool(size, kernel, stride, padding)
            self.assertEqual((layer.output, layer.beyond), ((output,), (beyond,)), layer.text())

    def test_windows_without_an_element(self) -> None:
        self.assertTrue(self.pool(4, 3, 1, (2, 2)).every_window_has_an_element)
        self.assertFalse(self.pool(4, 3, 1, (3, 0)).every_window_has_an_element)
        self.assertFalse(self.pool(4, 3, 1, (0, 4)).every_window_has_an_element)
        # The first window steps over the input.
        self.assertFalse(self.pool(1, 2, 1, (1, 1), 2).every_window_has_an_element)

    def test_same_divides_by_the_stride(self) -> None:
        for size in range(1, 12):
            for kernel in range(1, 6):
                for stride in range(1, 5):
                    same = Layer(1, 1, (size,), 1, (kernel,), stride=(stride,), dilation=(2,), padding="same")
                    lower = Layer(1, 1, (size,), 1, (kernel,), stride=(stride,), dilation=(2,), padding="same_lower")
                    self.assertEqual(same.output, (-(-size // stride),))
                    self.assertEqual([sides[::-1] for sides in same.sides], list(lower.sides))
                    self.assertLessEqual(same.sides[0][0], same.sides[0][1])

    def test_causal_sees_nothing_later(self) -> None:
        self.assertEqual(Layer(1, 1, (9,), 1, (3,), dilation=(2,), padding="causal").sides, ((4, 0),))

    def test_transposed_output(self) -> None:
        layer = Layer(1, 1, (3, 4), 1, (3, 3), transposed=True, stride=(2, 3), padding=((1, 1), (0, 2)), output_padding=(1, 0))
        self.assertEqual(layer.output, (6, 10))
        given = Layer(1, 1, (3, 4), 1, (3, 3), transposed=True, stride=(2, 3), padding=((1, 1), (0, 2)), output_size=(6, 10))
        self.assertEqual(given.output_paddings, (1, 0))

    def test_arrays_go_to_the_layout_and_back(self) -> None:
        layer = Layer(2, 3, (4, 5), 6, (1, 7), layout="last", weights_layout="last")
        image = np.arange(120.0).reshape(layer.src_shape)
        self.assertEqual(layer.store(image).shape, (2, 4, 5, 3))
        self.assertTrue(np.array_equal(layer.load(layer.store(image)), image))
        weights = np.arange(126.0).reshape(layer.weights_shape)
        self.assertEqual(layer.store_weights(weights).shape, (1, 7, 3, 6))
        self.assertEqual(layer.store_weights(weights)[0, 2, 1, 5], weights[5, 1, 0, 2])


if __name__ == "__main__":
    unittest.main()
