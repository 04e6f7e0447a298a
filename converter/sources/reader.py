"""Read, check and rewrite an exported program in either of Paddle's own formats.

The readers of the formats are imported only for a program; a checkpoint does without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from converter.errors import SourceError
from converter.sources import mapped_files as files
from converter.sources.ir import LARGEST_PROGRAM, Program


def read_program(file: Path) -> Program:
    """Read a `.pdmodel` or a PIR `.json`; the content decides which of the two it is.

    Raises:
        SourceError: the file is truncated, corrupt or of another format.
    """
    from converter.sources import pir, program_desc

    data = files.map_file(file)
    if len(data) > LARGEST_PROGRAM:
        raise SourceError(
            f"{file} has {len(data)} bytes; a program has at most {LARGEST_PROGRAM}. It is no "
            "Paddle program, or it is damaged."
        )
    content = bytes(data)
    if content[:64].lstrip()[:1] == b"{":
        return pir.parse(content, str(file))
    if content[:1] == b"\n":  # the tag of a ProgramDesc's first field: a block
        return program_desc.parse(content, str(file))
    raise SourceError(
        f"{file} is not a Paddle program: {files.foreign(data)}. "
        "Expected a .pdmodel, or a .json written by Paddle 3."
    )


def check_operators(program: Program) -> None:
    """Check every operation of every block against the operators that only compute.

    Those of an ONNX file are checked when it is read.

    Raises:
        UnsafeSource: an operator is not on the list of `computing_operators.py`: it might write
            files, call Python, print, or connect to other machines.
    """
    from converter.sources import pir, program_desc

    if program.format == "onnx":  # it could not be read otherwise
        return
    check = pir.check_operators if program.format == "pir" else program_desc.check_operators
    check(program.content, program.source)


def with_integers(program: Program, changed: Mapping[int, int]) -> Program:
    """Return a program with other values of integer constants; an ONNX file as it is.

    Args:
        program: the program as it was read.
        changed: the new value of every constant that has one of these values, in all blocks.
    """
    from converter.sources import pir, program_desc

    if program.format == "onnx" or not changed:
        return program
    write = pir.with_integers if program.format == "pir" else program_desc.with_integers
    return replace(program, content=write(program.content, changed))


def with_outputs(program: Program, values: Sequence[str]) -> bytes:
    """Write a program again, for Paddle to run, so that it fetches `values` in this order.

    Every operator is checked, and only the parts of the format that are known here are written:
    Paddle is given what was checked and never the file itself.

    Args:
        program: the program as it was read.
        values: names of values that are single tensors, of the main block, or in a `.pdmodel` of a
            loop, whose last iteration counts.

    Returns:
        A program file of the same format.

    Raises:
        UnsafeSource: an operator does more than compute.
        ValueError: the program does not have one of the values there.
    """
    from converter.sources import pir, program_desc

    check_operators(program)
    fetch = pir.fetch if program.format == "pir" else program_desc.fetch
    return fetch(program.content, values)
