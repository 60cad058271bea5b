"""ONNX files that are wrong, or may be: `convoke import` takes them or refuses them with a message, and never anything else.

A mutation is of the bytes of a valid file or of its graph. Whatever it is, the command has to end with code 0, and then have written a
network that `convoke check` takes, or with code 1 and an error that names something, and then have written nothing; within `SECONDS`,
within `MEMORY`, without a panic and without a signal. The kinds in `REFUSED` have to be refused.
"""

import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from random import Random

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

import light_models
import random_graphs
from case import FAILED, Check, Outcome
from engine import Convoke

SECONDS = 10
MEMORY = 2 << 30
"""Bytes that a process may write to: no size that a file claims may be believed."""
LIGHT = ("squeezenet", "shufflenet", "inception_v1")
GRAPHS = 12
"""Random graphs among the valid files."""


def checks(seed: int, numbers: range) -> Iterator[Check]:
    for number in numbers:
        yield partial(_check, seed, number)


def _check(seed: int, number: int, convoke: Convoke) -> Outcome:
    rng = Random(f"{seed} mutated {number}")
    kind = list(KINDS)[number % len(KINDS)]
    case = f"networks/mutated {number} of seed {seed}"
    # What the command reads lies beside what it may not read.
    folder, out = convoke.folder / "model", convoke.folder / "out"
    for made in (folder, out):
        made.mkdir()
    file = folder / "model.onnx"
    file.write_bytes(KINDS[kind](rng, folder))
    why = _wrong(convoke.command, file, out, must_refuse=kind in REFUSED)
    if why is None:
        return Outcome(case)
    kept = FAILED / case.replace("/", "-").replace(" ", "-")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(convoke.folder, kept, symlinks=True)
    return Outcome(case, "failed", f"{kind}: {why}\nits files are in {kept.parent.name}/{kept.name}")


def _wrong(command: Path, file: Path, out: Path, must_refuse: bool) -> str | None:
    done = _call([command, "import", file, "-o", out / "net.conv"])
    if isinstance(done, str):
        return f"convoke import {done}"
    written = sorted(path.name for path in out.iterdir())
    if "panicked" in done.stderr:
        return f"convoke import panics: {done.stderr.strip()}"
    if done.returncode == 0:
        if must_refuse:
            return "convoke import takes it"
        if written != ["net.conv", "net.safetensors"]:
            return f"convoke import has written {written}, expected net.conv and net.safetensors"
        checked = _call([command, "check", out / "net.conv"])
        if isinstance(checked, str):
            return f"convoke check {checked}"
        return None if checked.returncode == 0 else f"convoke check does not take what was written: {checked.stderr.strip()}"
    error = re.search(r"error:(.*)", done.stderr)
    if done.returncode != 1 or not error:
        return f"convoke import ended with {done.returncode}: {done.stderr.strip()[:1000]}"
    if not re.search(r"[`'\"\d]|\.onnx", error[1]):
        return f"the error names nothing: {done.stderr.strip()}"
    return f"convoke import has refused it and written {written}" if written else None


def _call(arguments: list[str | Path]) -> subprocess.CompletedProcess[str] | str:
    limit = lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    try:
        return subprocess.run(arguments, capture_output=True, text=True, errors="replace", timeout=SECONDS, preexec_fn=limit)
    except subprocess.TimeoutExpired:
        return f"took more than {SECONDS} s"


@cache
def _valid() -> list[bytes]:
    """Files that are right."""
    graphs = [random_graphs.make(Random(f"valid {number}")).SerializeToString() for number in range(GRAPHS)]
    return [*graphs, *(light_models.path(name).read_bytes() for name in LIGHT)]


def _model(rng: Random) -> ModelProto:
    return onnx.load_model_from_string(rng.choice(_valid()))


# Of bytes.


def _flipped(rng: Random, _: Path) -> bytes:
    data = bytearray(rng.choice(_valid()))
    # Most of a file are numbers, which may be anything: its beginning and its end are messages.
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.choice((rng.randrange(len(data)), rng.randrange(min(len(data), 400)), len(data) - 1 - rng.randrange(min(len(data), 400))))
        data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


def _truncated(rng: Random, _: Path) -> bytes:
    data = rng.choice(_valid())
    return data[: rng.choice((rng.randrange(len(data)), rng.randrange(min(50, len(data))), len(data) - 1 - rng.randrange(50)))]


def _spliced(rng: Random, _: Path) -> bytes:
    """A piece of a file in another, or in place of another, or taken out."""
    data, other = rng.choice(_valid()), rng.choice(_valid())
    start, end = sorted(rng.randrange(len(data)) for _ in range(2))
    end = min(end, start + rng.choice((0, 1, 10, 1000)))
    first = rng.randrange(len(other))
    return data[:start] + other[first : first + rng.choice((0, 1, 20, 500))] + data[end:]


def _wrong_length(rng: Random, _: Path) -> bytes:
    """A field that says another length than it has."""
    data = rng.choice(_valid())
    fields = list(_lengths(data, 0, len(data)))
    start, end, length = rng.choice(fields)
    wrong = rng.choice((0, length - 1, length + 1, 2 * length, 2**31 - 1, 2**32, 2**63 - 1, 2**64 - 1))
    return data[:start] + _varint(max(0, wrong)) + data[end:]


def _lengths(data: bytes, at: int, end: int, depth: int = 0) -> Iterator[tuple[int, int, int]]:
    """Where lengths are written, and what they are, in messages down to the third level."""
    while at < end:
        key, at = _read_varint(data, at)
        if key & 7 == 2:
            length, after = _read_varint(data, at)
            yield at, after, length
            if depth == 0 and key >> 3 == 7 or depth == 1 and key >> 3 in (1, 5, 11, 12) or depth == 2 and key >> 3 == 5:
                yield from _lengths(data, after, after + length, depth + 1)
            at = after + length
        elif key & 7 == 0:
            at = _read_varint(data, at)[1]
        else:
            at += 8 if key & 7 == 1 else 4


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _repeated_message(rng: Random, _: Path) -> bytes:
    """Two graphs in a model, which protocol buffers merge; or bytes behind the end."""
    data = rng.choice(_valid())
    return data + rng.choice((data, rng.choice(_valid()), rng.randbytes(rng.randint(1, 40)), b"\x3a" * 3000))


# Of graphs.

SIZES = (0, -1, -(2**63), 1, 3, 2**16, 2**31 - 1, 2**32, 2**40, 2**62, 2**63 - 1)


def _sizes_of_constants(rng: Random, _: Path) -> bytes:
    model = _model(rng)
    dims = rng.choice(model.graph.initializer).dims
    match rng.randrange(3):
        case 0 if len(dims):
            dims[rng.randrange(len(dims))] = rng.choice(SIZES)
        case 1:
            dims.extend([rng.choice(SIZES) for _ in range(rng.choice((1, 1, 2, 70)))])
        case _:
            del dims[rng.randrange(len(dims) + 1) :]
    return model.SerializeToString()


def _sizes_of_inputs(rng: Random, _: Path) -> bytes:
    model = _model(rng)
    dims = rng.choice(model.graph.input).type.tensor_type.shape.dim
    for _ in range(rng.choice((1, 1, 2))):
        dimension = rng.choice(dims) if len(dims) else dims.add()
        if rng.random() < 0.7:
            dimension.dim_value = rng.choice(SIZES)
        else:
            dimension.dim_param = rng.choice(("N", "", "n m", "9", "\n", "é" * 200))
    if rng.random() < 0.2:
        dims.add().dim_value = rng.choice(SIZES)
    return model.SerializeToString()


def _shapes_in_constants(rng: Random, _: Path) -> bytes:
    """What `Reshape`, `ConstantOfShape`, `Slice` and `Pad` read."""
    model = _model(rng)
    whole = [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT64]
    if not whole:
        return _sizes_of_constants(rng, Path())
    tensor = rng.choice(whole)
    values = numpy_helper.to_array(tensor).flatten().tolist() or [0]
    for _ in range(rng.choice((1, 2))):
        values[rng.randrange(len(values))] = rng.choice((*SIZES, -5, 7))
    values = values + [rng.choice(SIZES)] if rng.random() < 0.3 else values
    tensor.CopyFrom(numpy_helper.from_array(np.array(values, np.int64), tensor.name))
    return model.SerializeToString()


def _wrong_data(rng: Random, _: Path) -> bytes:
    """Another type, or more or less data than the sizes say, or in two places."""
    model = _model(rng)
    tensor = rng.choice(model.graph.initializer)
    match rng.randrange(4):
        case 0:
            tensor.data_type = rng.choice((0, 2, 6, 7, 8, 9, 10, 11, 16, 21, 99, 2**31 - 1))
        case 1:
            tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
        case 2:
            tensor.raw_data += rng.randbytes(rng.randint(1, 9))
        case _:
            tensor.float_data.extend([1.0] * rng.randint(1, 5))
    return model.SerializeToString()


def _outside(rng: Random, folder: Path) -> bytes:
    """Data in a file that is not beside the model, which must not be read."""
    secret = _secret(folder)
    return _external(rng, rng.choice((str(secret), "../secret", "folder/../../secret", "./../secret", "/dev/zero", "/etc/passwd")), 0)


def _linked(rng: Random, folder: Path) -> bytes:
    """The same by a symbolic link beside the model."""
    (folder / "link").symlink_to(_secret(folder))
    (folder / "folder" / "up").symlink_to(folder.parent, target_is_directory=True)
    return _external(rng, rng.choice(("link", "folder/up/secret")), 0)


def _secret(folder: Path) -> Path:
    (folder / "folder").mkdir()
    secret = folder.parent / "secret"
    secret.write_bytes(bytes(1 << 20))
    return secret


def _missing_data(rng: Random, folder: Path) -> bytes:
    """Data in a file beside the model, in a place where it has none."""
    (folder / "weights.bin").write_bytes(bytes(64))
    place = rng.choice(("weights.bin", "weights.bin", "none.bin", "", ".", "model.onnx/", "a" * 5000))
    return _external(rng, place, rng.choice((60, 64, 65, 4096, 2**31, 2**63 - 1, 2**64, -1, "x", "")))


def _external(rng: Random, place: str, offset: object) -> bytes:
    model = _model(rng)
    # What no output needs is not read, wherever it is said to be.
    needed = _needed(model)
    tensors = [t for t in model.graph.initializer if t.name in needed]
    tensor = rng.choice([t for t in tensors if len(t.raw_data) >= 8] or tensors or model.graph.initializer)
    length = rng.choice((len(tensor.raw_data), len(tensor.raw_data), 2**40, -4))
    entries = {"location": place, "offset": str(offset), "length": str(length)}
    if offset == 0:
        entries["length"] = str(len(tensor.raw_data))
    elif rng.random() < 0.2:
        del entries[rng.choice(list(entries))]
    for field in ("raw_data", "int64_data", "float_data", "external_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return model.SerializeToString()


def _needed(model: ModelProto) -> set[str]:
    """The values that outputs are made of. Nodes stand behind those whose values they take."""
    needed = {output.name for output in model.graph.output}
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
    return needed


def _cyclic(rng: Random, _: Path) -> bytes:
    """A value that is made of itself."""
    model = _model(rng)
    # The first node that computes with the input leads to every output.
    reads = {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    first = next(node for node in model.graph.node if reads & set(node.input))
    at = next(i for i, name in enumerate(first.input) if name in reads)
    first.input[at] = rng.choice((first.output[0], model.graph.output[0].name))
    return model.SerializeToString()


def _without_input(rng: Random, _: Path) -> bytes:
    """A node that reads what nothing makes."""
    model = _model(rng)
    reads = {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    first = next(node for node in model.graph.node if reads & set(node.input))
    first.input[next(i for i, name in enumerate(first.input) if name in reads)] = rng.choice(("nothing", "Nothing at all", "ä"))
    return model.SerializeToString()


def _unknown_operator(rng: Random, _: Path) -> bytes:
    model = _model(rng)
    reads = {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    node = next(node for node in model.graph.node if reads & set(node.input))
    if rng.random() < 0.3:
        node.domain = rng.choice(("com.example", "ai.onnx.ml"))
    else:
        node.op_type = rng.choice(("NoSuchOperator", "conv", "Conv2d", "", "Loop", "If", "FFT", "\0"))
    return model.SerializeToString()


def _wrong_graph(rng: Random, _: Path) -> bytes:
    """Inputs, outputs and nodes that are missing, twice there or in another order."""
    model = _model(rng)
    graph = model.graph
    node = rng.choice(graph.node)
    match rng.randrange(10):
        case 0:
            del node.input[rng.randrange(len(node.input) + 1) :]
        case 1:
            del node.output[:]
        case 2:
            node.output[0] = rng.choice(graph.node).output[0]
        case 3:
            node.output[0] = graph.input[0].name
        case 4:
            del graph.output[:]
        case 5:
            graph.output.extend(list(graph.output))
        case 6:
            del graph.node[:]
        case 7:
            graph.node.extend([node])
        case 8:
            nodes = list(map(_copy, graph.node))
            rng.shuffle(nodes)
            del graph.node[:]
            graph.node.extend(nodes)
        case _:
            graph.initializer.extend([rng.choice(graph.initializer)])
    return model.SerializeToString()


def _copy(message: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(message)
    return copied


def _wrong_ranks(rng: Random, _: Path) -> bytes:
    """A value where one of other sizes should be."""
    model = _model(rng)
    graph = model.graph
    names = [tensor.name for tensor in graph.initializer] + [node.output[0] for node in graph.node]
    for _ in range(rng.choice((1, 1, 3))):
        node = rng.choice([node for node in graph.node if node.input])
        node.input[rng.randrange(len(node.input))] = rng.choice((*names, ""))
    return model.SerializeToString()


def _wrong_attributes(rng: Random, _: Path) -> bytes:
    model = _model(rng)
    node = rng.choice([node for node in model.graph.node if node.attribute] or model.graph.node)
    if not node.attribute or rng.random() < 0.2:
        name, value = rng.choice(("group", "axis", "auto_pad", "mystery", "ceil_mode")), rng.choice((2, "SAME", [1, 1]))
        node.attribute.append(helper.make_attribute(name, value))
        return model.SerializeToString()
    attribute = rng.choice(node.attribute)
    numbers = (0, -1, 2, 3, 7, 2**31, 2**62, -(2**63), 2**63 - 1)
    match rng.randrange(4):
        case 0:
            attribute.type = rng.randrange(0, 15)
        case 1:
            attribute.CopyFrom(helper.make_attribute(attribute.name, [rng.choice(numbers) for _ in range(rng.choice((1, 2, 4, 6, 1000)))]))
        case 2:
            attribute.CopyFrom(helper.make_attribute(attribute.name, rng.choice((*numbers, 1e38, float("nan"), -float("inf"), "VALID", b"\xff"))))
        case _:
            if len(attribute.ints):
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(numbers)
            attribute.i = rng.choice(numbers)
    return model.SerializeToString()


def _odd_names(rng: Random, _: Path) -> bytes:
    """Names that are legal in ONNX and no identifiers."""
    model = _model(rng)
    odd = ("input", "output", "network", "fn", "conv2d", "self", "1", "a b", "a/b:0", "../../x", "é", "\n", '"', "`", "}", "//", "x" * 3000,
           "_", "\0")
    for value in rng.sample(list(model.graph.node), min(4, len(model.graph.node))):
        old, new = value.output[0], rng.choice(odd)
        value.name = rng.choice(odd)
        for node in model.graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]
        for output in model.graph.output:
            output.name = new if output.name == old else output.name
    model.graph.name = rng.choice(odd)
    return model.SerializeToString()


def _versions(rng: Random, _: Path) -> bytes:
    model = _model(rng)
    if rng.random() < 0.5:
        del model.opset_import[:]
    for _ in range(rng.choice((0, 1, 2))):
        version = rng.choice((-1, 0, 1, 5, 8, 10, 12, 25, 1000, 2**62))
        model.opset_import.add(domain=rng.choice(("", "", "ai.onnx", "com.example")), version=version)
    model.ir_version = rng.choice((0, 1, 3, 8, 12, 99, -1))
    return model.SerializeToString()


KINDS: dict[str, Callable[[Random, Path], bytes]] = {
    "flipped bits": _flipped,
    "a truncated file": _truncated,
    "a spliced file": _spliced,
    "a wrong length": _wrong_length,
    "a message twice": _repeated_message,
    "sizes of constants": _sizes_of_constants,
    "sizes of inputs": _sizes_of_inputs,
    "numbers in constants": _shapes_in_constants,
    "other data": _wrong_data,
    "data outside": _outside,
    "data outside by a link": _linked,
    "data that is not there": _missing_data,
    "a cycle": _cyclic,
    "a value that nothing makes": _without_input,
    "an unknown operator": _unknown_operator,
    "a wrong graph": _wrong_graph,
    "wrong ranks": _wrong_ranks,
    "wrong attributes": _wrong_attributes,
    "odd names": _odd_names,
    "versions": _versions,
}
REFUSED = {"data outside", "data outside by a link", "a cycle", "a value that nothing makes", "an unknown operator"}
