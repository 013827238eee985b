"""llama-server: a server that is not ours, for the tests that want a real other end.

    python tests/llama_server.py

builds it from the source archive of PyPI's llama-cpp-python, checked against its hash. That needs cmake and a C++
compiler and takes minutes, once: an interrupted build goes on where it was, and a finished one is kept.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

from implementations.errors import InputError

PACKAGE, VERSION = "llama-cpp-python", "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "distillation-patterns"
BINARY = CACHE / f"llama-server-{VERSION}"
# One file that runs on any processor of this kind, without the web page and TLS, which would be downloaded.
OPTIONS = (
    "CMAKE_BUILD_TYPE=Release", "BUILD_SHARED_LIBS=OFF", "GGML_NATIVE=OFF", "LLAMA_BUILD_UI=OFF",
    "LLAMA_USE_PREBUILT_UI=OFF", "LLAMA_OPENSSL=OFF", "LLAMA_BUILD_TESTS=OFF", "LLAMA_BUILD_EXAMPLES=OFF",
)  # fmt: skip
START = 60.0  # seconds for reading the model


def build() -> Path:
    """The program, built if it is not there yet. Raises InputError: a tool is missing, or a step failed."""
    if BINARY.is_file():
        return BINARY
    for tool in ("cmake", (os.environ.get("CXX") or "c++").split()[0]):
        if not shutil.which(tool):
            raise InputError(f"{tool}: not found, and llama-server is built with it; run: apt-get install cmake g++")
    folder = CACHE / f"{PACKAGE}-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    (requirement := folder / "requirement.txt").write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
    pip = (sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps")
    _run(*pip, "--no-binary", PACKAGE, "--require-hashes", "--requirement", requirement, "--dest", folder)
    name = f"{PACKAGE.replace('-', '_')}-{VERSION}"
    _run("tar", "-xzf", folder / f"{name}.tar.gz", "-C", folder)  # files keep their times, so a build can go on
    target = folder / "build"
    _run("cmake", "-S", folder / name / "vendor/llama.cpp", "-B", target, *(f"-D{option}" for option in OPTIONS))
    _run("cmake", "--build", target, "--target", "llama-server", "--parallel", os.cpu_count() or 1)
    (target / "bin/llama-server").replace(BINARY)
    shutil.rmtree(folder)
    return BINARY


def _run(*command: object) -> None:
    line = list(map(str, command))
    try:
        subprocess.run(line, check=True)
    except subprocess.CalledProcessError as error:
        raise InputError(f"{' '.join(line)}: failed ({error.returncode}); see its output above") from error


@contextmanager
def serving(model: Path, key: str, folder: Path) -> Iterator[str]:
    """The URL of a server with the GGUF file ``model`` for whoever has ``key``; its log is in ``folder``.

    Four answers at once, of 2,048 tokens each with their prompts, greedy unless a request says otherwise.
    Raises InputError when the server is not built or does not start.
    """
    if not BINARY.is_file():
        raise InputError(f"{BINARY}: not built yet; run: make test-real")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [BINARY, "--model", model, "--host", "127.0.0.1", "--port", port, "--api-key", key, "--metrics"]
    command += ["--parallel", 4, "--ctx-size", 4 * 2048, "--temp", 0]
    command += ["--threads", 1]  # two wait for each other at every step, which on a busy machine is most of the time
    log, environment = folder / "llama-server.log", {"HOME": str(folder)}  # none of the user's LLAMA_ARG_…
    with (
        log.open("wb") as output,
        subprocess.Popen(list(map(str, command)), stdout=output, stderr=output, env=environment) as process,
    ):
        try:
            _wait(process, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def _wait(process: subprocess.Popen, port: int, log: Path) -> None:
    """Until the server says that it can answer."""
    end = time.monotonic() + START
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError):
            connection = HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise InputError(f"llama-server does not start: {log.read_text(errors='replace')[-2000:]}")


if __name__ == "__main__":
    try:
        print(build())
    except InputError as error:
        sys.exit(str(error))
