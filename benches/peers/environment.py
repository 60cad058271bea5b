"""The peers: which there are, and getting them ready to run.

Everything lands in git-ignored folders beside this file: `.venv` (what pip installs) and `.build` (what is compiled).
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VENV = HERE / ".venv"
BUILD = HERE / ".build"
WORKERS = HERE / "workers"

Options = dict[str, Any]


class Unavailable(Exception):
    """A peer cannot be made ready; the text says why."""


@dataclass(frozen=True)
class Peer:
    """A library to compare with, Convoke itself included."""

    name: str
    command: Callable[["Peer"], list[str]]
    """Makes it ready and tells the command that starts its worker."""
    variants: dict[str, Options] = field(default_factory=lambda: {"": {}})
    """Ways to use it by name, each timed for itself, with the options that its worker gets."""
    requirements: tuple[str, ...] = ()
    """What pip installs."""
    venv: str = "main"
    """The virtual environment: those with the same name share one."""
    default: bool = True
    """Measured unless told otherwise; not if it takes gigabytes."""

    def keys(self) -> dict[str, Options]:
        """The variants by their full names, like `onednn:any`."""
        return {f"{self.name}:{variant}".rstrip(":"): options for variant, options in self.variants.items()}


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(argv: list[str | Path], log: str) -> None:
    """Runs a command with its output in `.build/<log>.log`."""
    path = BUILD / f"{log}.log"
    BUILD.mkdir(exist_ok=True)
    with open(path, "wb") as out:
        try:
            code = subprocess.run(argv, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL).returncode
        except FileNotFoundError:
            raise Unavailable(f"`{argv[0]}` is not installed") from None
    if code != 0:
        lines = [line for line in path.read_text(errors="replace").splitlines() if "error" in line.lower()]
        raise Unavailable(f"{lines[-1].strip() if lines else Path(argv[0]).name + ' failed'}; all of it in {path}")


def install(peer: Peer) -> Path:
    """Installs the requirements of `peer`, unless they are; the Python that has them."""
    folder = VENV / peer.venv
    python = folder / "bin" / "python"
    done = folder / "peers" / f"{peer.name}.json"
    if done.exists() and json.loads(done.read_text()) == list(peer.requirements):
        return python
    progress(f"installing {peer.name}: {' '.join(peer.requirements)}")
    if not python.exists():
        venv.create(folder, with_pip=True)
    run([python, "-m", "pip", "install", "--disable-pip-version-check", *peer.requirements], f"pip-{peer.name}")
    done.parent.mkdir(exist_ok=True)
    done.write_text(json.dumps(peer.requirements))
    return python


def enter(module: str, name: str) -> None:
    """Without `module`, starts again in the environment of the peer `name`, which has it and is made if need be."""
    if importlib.util.find_spec(module) is not None:
        return
    python = install(MODELS if name == MODELS.name else PEERS[name])
    if Path(sys.prefix) == python.parent.parent:
        sys.exit(f"{python} has no {module}; remove {python.parent.parent} and start again")
    os.execv(python, [str(python), *sys.argv])


def python_worker(peer: Peer) -> list[str]:
    return [str(install(peer)), str(WORKERS / "serve.py"), peer.name]


def onednn_worker(peer: Peer) -> list[str]:
    """Compiles `onednn.cpp` against the library that pip has installed."""
    python = install(peer)
    folder, source, library = python.parent.parent, WORKERS / "onednn.cpp", BUILD / f"{peer.name}.so"
    if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
        progress(f"compiling the driver of {peer.name}")
        run([os.environ.get("CXX", "g++"), "-O2", "-std=c++17", "-shared", "-fPIC", f"-I{folder}/include", source, "-o",
             library, f"-L{folder}/lib", "-ldnnl", f"-Wl,--disable-new-dtags,-rpath,{folder}/lib"],
            f"g++-{peer.name}")
    return [str(python), str(WORKERS / "serve.py"), "onednn", str(library)]


def onednn_sycl_worker(peer: Peer) -> list[str]:
    """Newer releases compute through SYCL, which finds the CPU through OpenCL, which finds it through a variable."""
    libraries = VENV / peer.venv / "lib"
    settings = [f"LD_LIBRARY_PATH={libraries}", f"OCL_ICD_FILENAMES={libraries}/libintelocl.so", "DPCPP_CPU_NUM_CUS=1"]
    return ["env", *settings, *onednn_worker(peer)]


def rust_worker(peer: Peer) -> list[str]:
    """Builds the runner. Each peer has a build of its own, so that one that does not build takes no other with it."""
    if shutil.which("cargo") is None:
        raise Unavailable("cargo is not installed; see https://rustup.rs")
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE / "runner" / "target"))
    binary = BUILD / f"runner-{peer.name}"
    progress(f"building the worker of {peer.name}")
    features = [] if peer.name == "convoke" else ["--features", peer.name]
    run(["cargo", "build", "--release", "--manifest-path", HERE / "runner" / "Cargo.toml",
         "--target-dir", target, *features], f"cargo-{peer.name}")
    built = target / "release" / "convoke-peers"
    if not binary.exists() or built.stat().st_mtime > binary.stat().st_mtime:
        shutil.copy2(built, binary)
    return [str(binary), peer.name]


LAYOUTS = ("nhwc", "nchw", "nChw16c")
"""Convoke's, named as for 2-D. One that it refuses is skipped."""

ONEDNN = {"any": {"format": "any"}, "plain": {"format": "nchw"}, "nhwc": {"format": "nhwc"}}

PEERS = {peer.name: peer for peer in (
    Peer("convoke", rust_worker, {layout: {"layout": layout, "threads": 1} for layout in LAYOUTS}),
    Peer("onednn", onednn_worker, ONEDNN,
         ("numpy", "onednn-cpu-gomp==2023.2.0", "onednn-devel-cpu-gomp==2023.2.0"), "onednn"),
    Peer("ort", python_worker, requirements=("numpy", "onnxruntime")),
    Peer("openvino", python_worker, requirements=("numpy", "openvino")),
    Peer("ncnn", python_worker, {"": {"winograd": True}, "no-winograd": {"winograd": False}}, ("numpy", "ncnn")),
    Peer("mnn", python_worker, {"": {"winograd_memory": 3}, "small-winograd": {"winograd_memory": 1}}, ("numpy", "MNN")),
    Peer("tract", rust_worker),
    Peer("candle", rust_worker),
    Peer("burn", rust_worker),
    Peer("onednn-3.13", onednn_sycl_worker, ONEDNN,
         ("numpy", "onednn==2026.1.0", "onednn-devel==2026.1.0", "dpcpp-cpp-rt", "intel-opencl-rt", "tbb"),
         "onednn-3.13", default=False),
    Peer("torch", python_worker, {"nchw": {"channels_last": False}, "nhwc": {"channels_last": True}},
         ("numpy", "torch"), "torch", default=False),
)}


MODELS = Peer("models", lambda peer: [str(install(peer))], requirements=("numpy", "onnx==1.17.0", "onnxruntime"))
"""No peer, but what writes the networks that the peers are given."""


def convoke_command(given: Path | None) -> Path:
    """The command, built from this tree if it is not given."""
    if given is not None:
        return given
    progress("building convoke")
    subprocess.run(["cargo", "build", "--release", "-p", "convoke-cli"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "convoke"


def prepare(names: Iterable[str]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The commands of the workers of `names`, and why the others have none."""
    commands: dict[str, list[str]] = {}
    skipped: dict[str, str] = {}
    for name in names:
        try:
            commands[name] = PEERS[name].command(PEERS[name])
        except Unavailable as why:
            skipped[name] = str(why)
            progress(f"{name} is skipped: {why}")
    return commands, skipped
