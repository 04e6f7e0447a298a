"""Reading an exported program in either of Paddle's formats."""

from __future__ import annotations

from pathlib import Path

from converter.errors import SourceError
from converter.sources import mapped_files as files
from converter.sources.ir import Program


def read_program(file: Path) -> Program:
    """Read `.pdmodel` or PIR's `.json`, told apart by content.

    Raises `SourceError` if the file is truncated, corrupt or foreign.
    """
    from converter.sources import pir, program_desc

    data = files.map_file(file)
    content = bytes(data)
    if content[:64].lstrip()[:1] == b"{":
        return pir.parse(content, str(file))
    if content[:1] == b"\n":  # the tag of a ProgramDesc's first field: a block
        return program_desc.parse(content, str(file))
    raise SourceError(
        f"{file} is not a Paddle program: {files.foreign(data)}. "
        "Expected a .pdmodel, or a .json written by Paddle 3."
    )
