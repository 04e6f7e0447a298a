"""Small Paddle files for the tests of the readers, written without Paddle."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import SourceError
from converter.sources import framework_proto as schema
from converter.sources.ir import Program
from converter.sources.reader import read_program

_CODES = {name: code for code, name in schema.DTYPES.items()}
_PIR_TYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "int64": "i64"}

# name -> dtype, shape; out of order on purpose
PARAMETERS = {
    "w_0": ("float32", (4, 3)),
    "b_0": ("float32", (3,)),
    "half": ("float16", (2,)),
    "brain": ("bfloat16", (2,)),
    "zero_d": ("int64", ()),
}


def attempt(read: Callable[..., Any], *arguments: object) -> Any:
    """Return what a reader makes of a corrupt file: None where it refuses in one clear line."""
    try:
        return read(*arguments)
    except SourceError as error:
        message = str(error)
    assert message.isprintable()
    return None


def parse(content: bytes) -> Program:
    """Read a program of either format."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "inference.pdmodel")
        file.write_bytes(content)
        return read_program(file)


def arrays() -> dict[str, np.ndarray]:
    """Return the values of `PARAMETERS` as they are stored."""
    random = np.random.default_rng(0)
    values = {"brain": np.array([0x3F80, 0xC000], "uint16"), "zero_d": np.array(7, "int64")}
    for name, (dtype, shape) in PARAMETERS.items():
        values.setdefault(name, np.asarray(random.standard_normal(shape), None).astype(
            "uint16" if dtype == "bfloat16" else dtype))  # fmt: skip
    return values


def description(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return a TensorDesc."""
    return schema.message("TensorDesc")(data_type=_CODES[dtype], dims=shape).SerializeToString()


def weights(parameters=PARAMETERS) -> bytes:
    """Return a .pdiparams."""
    values, out = arrays(), b""
    for name in sorted(parameters):
        desc = description(*parameters[name])
        out += struct.pack("<IQIi", 0, 0, 0, len(desc)) + desc + values[name].tobytes()
    return out


def program_desc(parameters=PARAMETERS):
    """Return a ProgramDesc message of x @ w_0 + b_0 with the parameters as variables."""
    program = schema.message("ProgramDesc")()
    block = program.blocks.add(idx=0, parent_idx=-1)
    for name in ("x", "m", "out"):
        _variable(block, name, "float32", (-1, 4 if name == "x" else 3))
    for name, (dtype, shape) in parameters.items():
        _variable(block, name, dtype, shape).persistable = True
    block.vars.add(name=b"feed", persistable=True).type.type = 9
    block.vars.add(name=b"fetch", persistable=True).type.type = 10
    _operation(block, "feed", {"X": ["feed"]}, {"Out": ["x"]}, col=0)
    _operation(block, "matmul_v2", {"X": ["x"], "Y": ["w_0"]}, {"Out": ["m"]})
    _operation(block, "elementwise_add", {"X": ["m"], "Y": ["b_0"]}, {"Out": ["out"]}, axis=1)
    _operation(block, "fetch", {"X": ["out"]}, {"Out": ["fetch"]}, col=0)
    return program


def _variable(block, name, dtype, shape):
    variable = block.vars.add(name=name.encode())
    variable.type.type = schema.DENSE_TENSOR
    variable.type.dense_tensor.tensor.data_type = _CODES[dtype]
    variable.type.dense_tensor.tensor.dims.extend(shape)
    return variable


def _operation(block, kind, inputs, outputs, **attributes):
    op = block.ops.add(type=kind.encode())
    for slots, target in ((inputs, op.inputs), (outputs, op.outputs)):
        for slot, names in slots.items():
            target.add(parameter=slot.encode(), arguments=[name.encode() for name in names])
    for name, value in attributes.items():
        op.attrs.add(name=name.encode(), type=schema.INT, i=value)
    return op


def tensor_type(dtype: str, shape) -> dict:
    """Return a PIR tensor type."""
    return {"#": "0.t_dtensor", "D": [{"#": f"0.t_{_PIR_TYPES[dtype]}"}, [*shape], "NCHW", [], 0]}


def pir_operation(kind, inputs, outputs, **attributes) -> dict:
    """Return a PIR operation; `outputs` maps numbers to types."""
    return {
        "#": kind,
        "A": [{"N": name, "AT": value} for name, value in attributes.items()],
        "I": [{"%": number} for number in inputs],
        "O": [{"%": number, "TT": kind} for number, kind in outputs.items()],
        "OA": [],
    }


def pir(parameters=PARAMETERS, operations=()) -> dict:
    """Return a PIR program of x @ w_0 + b_0; `operations` go before what is fetched."""
    numbers = {name: number for number, name in enumerate(parameters, 1)}
    ops = [
        {
            "#": "p",
            "A": [0, 1, 1, name],
            "OA": [1, 0, 1],
            "O": {"%": numbers[name], "TT": tensor_type(*parameters[name])},
        }
        for name in parameters
    ]
    row = tensor_type("float32", (-1, 3))
    name, fetched = {"#": "0.a_str", "D": "x"}, {"#": "0.a_str", "D": "fetch_name_0"}
    ops += [
        pir_operation("1.data", [], {20: tensor_type("float32", (-1, 4))}, name=name),
        pir_operation("1.matmul", [20, numbers["w_0"]], {21: row}),
        pir_operation("1.add_", [21, numbers["b_0"]], {22: row}),
        *operations,
        pir_operation("1.fetch", [22], {23: row}, name=fetched, col={"#": "0.a_i32", "D": 0}),
    ]
    blocks = [{"#": "block_0", "args": [], "ops": ops}]
    return {
        "base_code": {"magic": "pir", "version": 1, "trainable": True},
        "program": {"regions": [{"#": "region_0", "blocks": blocks}]},
    }


def write_export(folder: Path, stem: str = "inference", *, format: str = "pdmodel") -> Path:
    """Write program and weights into `folder` and return the program's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.pdiparams").write_bytes(weights())
    program = folder / f"{stem}.{'json' if format == 'pir' else 'pdmodel'}"
    if format == "pir":
        program.write_text(json.dumps(pir()))
    else:
        program.write_bytes(program_desc().SerializeToString())
    return program
