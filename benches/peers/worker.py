"""A worker process, from the outside."""

import json
import os
import selectors
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
"""What libraries look at before they start threads."""


class WorkerDied(Exception):
    """It crashed, or took too long and was ended."""


class Worker:
    """Starts when it is first needed, and again after it has died."""

    def __init__(self, argv: list[str], cores: list[int], log: Path) -> None:
        self.argv, self.cores, self.log = argv, cores, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        def pin() -> None:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, self.cores)

        threads = dict.fromkeys(THREADS, str(len(self.cores)))
        with open(self.log, "ab") as log:
            # A session of its own: Ctrl-C ends a measurement, not the workers.
            return subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0,
                                    env=os.environ | threads, preexec_fn=pin, start_new_session=True)

    def ask(self, op: str, timeout: float = 180, **fields: Any) -> dict[str, Any]:
        """The answer to one request."""
        if self.process is None:
            self.process = self.start()
        try:
            self.process.stdin.write(json.dumps({"op": op} | fields).encode() + b"\n")
            line = self.read_line(self.process, timeout)
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            raise WorkerDied(self.end())
        return json.loads(line)

    @staticmethod
    def read_line(process: subprocess.Popen[bytes], timeout: float) -> bytes:
        """Up to the end of a line; less if the worker dies or takes more than `timeout` seconds."""
        line, deadline = b"", time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n") and selector.select(max(0.0, deadline - time.monotonic())):
                part = os.read(process.stdout.fileno(), 1 << 16)
                if not part:
                    break
                line += part
        return line

    def end(self) -> str:
        """Ends the process; says how it went."""
        process, self.process = self.process, None
        if process is None:
            return "not running"
        process.stdin.close()
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return f"no answer in time; see {self.log}"
        finally:
            process.stdout.close()
        code = process.returncode
        how = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return f"{how}; see {self.log}"
