"""The messages between this process and a child process, and how a child answers them.

A message is a mark, the length of a JSON header (8 bytes, little-endian), the header, then the raw
bytes of the arrays that the header lists under `arrays` as [name, dtype, shape]. Needs NumPy alone.
"""

from __future__ import annotations

import gc
import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

Arrays = dict[str, np.ndarray]
MARK = b"\x93MESSAGE"  # begins no other output of a process


def send(stream: IO[bytes], header: dict[str, Any], arrays: Arrays) -> None:
    """Write one message."""
    listed = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    text = json.dumps({**header, "arrays": listed}).encode()
    stream.write(MARK + struct.pack("<Q", len(text)) + text)
    for array in arrays.values():
        stream.write(np.ascontiguousarray(array).data)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], Arrays]:
    """Read one message.

    Raises:
        EOFError: the other side is gone.
        ValueError: something other than a message arrived.
    """
    start = _exactly(stream, len(MARK))
    if start != MARK:
        raise ValueError(f"{start!r} where a message should begin")
    header = json.loads(_exactly(stream, struct.unpack("<Q", _exactly(stream, 8))[0]))
    arrays = {}
    for name, dtype, shape in header.pop("arrays"):
        data = _exactly(stream, int(np.dtype(dtype).itemsize * np.prod(shape, dtype=np.int64)))
        arrays[name] = np.frombuffer(data, dtype).reshape(shape)
    return header, arrays


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError
    return data


class Subject(Protocol):
    """Something that a child process has loaded and can run; `facts` are sent when it is loaded."""

    facts: dict[str, Any]

    def run(self, inputs: Arrays, wanted: list[str], for_record: bool = False, /) -> Arrays:
        """Compute outputs, by name, from inputs in their order."""
        ...


def serve(start: Callable[[], str], load: Callable[[dict[str, Any], Arrays], Subject]) -> None:
    """Answer the requests on standard input until the parent closes it.

    Args:
        start: imports the library and returns its version.
        load: makes what a request describes.
    """
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints goes to standard error, not among the answers
    subjects: dict[str, Subject] = {}
    try:
        version = start()
    except ImportError as error:
        send(answers, {"error": str(error), "stage": "import"}, {})
        return
    confinement = os.environ.get("CONFINEMENT", "")
    send(answers, {"version": version, "confinement": confinement}, {})
    while True:
        try:
            request, arrays = receive(requests)
        except EOFError:
            return
        try:
            name = request.get("name", "")
            if request["do"] == "run":
                for_record = request.get("for_record", False)
                send(answers, {}, subjects[name].run(arrays, request["wanted"], for_record))
                continue
            for old in list(subjects) if request["do"] == "release" else [name]:
                subjects.pop(old, None)
            gc.collect()  # before the next is loaded
            if request["do"] == "release":
                send(answers, {"memory": memory()}, {})
                continue
            subjects[name] = load(request, arrays)
            send(answers, subjects[name].facts, {})
        except Exception as error:  # whatever the library raises is the answer
            send(answers, {"error": f"{type(error).__name__}: {error}", "stage": "run"}, {})


def memory() -> int:
    """Return the bytes that this process holds, or 0 where the system has no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
