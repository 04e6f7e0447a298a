"""The part of Paddle's `framework.proto` that inference programs use, as protobuf messages.

The messages are built at the first use, without generated code, so that every version of protobuf
works. Their descriptor pool is private, so that they do not clash with Paddle's own. Fields that
are not listed are dropped when a program is written again. Field numbers are those of PaddlePaddle
`paddle/fluid/framework/framework.proto`. Enums are plain integers, which read the same bytes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

# message -> "label type name number": `*` repeats, a capital letter is another message.
_MESSAGES = {
    "TensorDesc": ("int32 data_type 1", "*int64 dims 2"),
    "DenseTensorDesc": ("TensorDesc tensor 1", "int32 level_of_detail 2"),
    "VarType": (
        "int32 type 1",
        "TensorDesc selected_rows 2",
        "DenseTensorDesc dense_tensor 3",
        "DenseTensorDesc tensor_array 4",
    ),
    "VarDesc": (
        "bytes name 1",
        "VarType type 2",
        "bool persistable 3",
        "bool need_check_feed 4",
        "bool is_parameter 5",
        "bool stop_gradient 6",
    ),
    "OpVar": ("bytes parameter 1", "*bytes arguments 2"),
    "Scalar": ("int32 type 1", "bool b 2", "int64 i 3", "double r 4"),
    "OpAttr": (
        "bytes name 1",
        "int32 type 2",
        "int32 i 3",
        "float f 4",
        "bytes s 5",
        "*int32 ints 6",
        "*float floats 7",
        "*bytes strings 8",
        "bool b 10",
        "*bool bools 11",
        "int32 block_idx 12",
        "int64 l 13",
        "*int32 blocks_idx 14",
        "*int64 longs 15",
        "*double float64s 16",
        "bytes var_name 17",
        "*bytes vars_name 18",
        "double float64 19",
        "Scalar scalar 20",
        "*Scalar scalars 21",
    ),
    "OpDesc": (
        "*OpVar inputs 1",
        "*OpVar outputs 2",
        "bytes type 3",
        "*OpAttr attrs 4",
        "bool is_target 5",
    ),
    "BlockDesc": (
        "int32 idx 1",
        "int32 parent_idx 2",
        "*VarDesc vars 3",
        "*OpDesc ops 4",
        "int32 forward_block_idx 5",
    ),
    "Version": ("int64 version 1",),
    "OpVersion": ("int32 version 1",),
    "OpVersionPair": ("bytes op_name 1", "OpVersion op_version 2"),
    "OpVersionMap": ("*OpVersionPair pair 1",),
    "ProgramDesc": ("*BlockDesc blocks 1", "Version version 4", "OpVersionMap op_version_map 5"),
}

# AttrType -> the field of OpAttr that holds the value
ATTRIBUTE_FIELDS = {
    0: "i", 1: "f", 2: "s", 3: "ints", 4: "floats", 5: "strings", 6: "b", 7: "bools",
    8: "block_idx", 9: "l", 10: "blocks_idx", 11: "longs", 12: "float64s", 13: "var_name",
    14: "vars_name", 15: "float64", 16: "scalar", 17: "scalars",
}  # fmt: skip

SCALAR_FIELDS = {1: "b", 2: "i", 3: "r"}  # Scalar.Type -> the field that holds the value

INT, BLOCK, BLOCKS = 0, 8, 10  # of AttrType
DENSE_TENSOR = 7  # of VarType.Type; so are the numbers below

DTYPES = {
    0: "bool", 1: "int16", 2: "int32", 3: "int64", 4: "float16", 5: "float32", 6: "float64",
    20: "uint8", 21: "int8", 22: "bfloat16", 23: "complex64", 24: "complex128",
}  # fmt: skip


@cache
def message(name: str) -> Any:
    """Return the message class `name`, for instance `ProgramDesc`."""
    return _classes()[f"paddle.{name}"]


@cache
def _classes() -> Any:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
    from google.protobuf.message_factory import GetMessages

    schema = FileDescriptorProto(name="paddle.proto", package="paddle", syntax="proto2")
    for name, fields in _MESSAGES.items():
        description = schema.message_type.add(name=name)
        for field in fields:
            kind, field_name, number = field.lstrip("*").split()
            is_message = kind[0].isupper()
            description.field.add(
                name=field_name,
                number=int(number),
                label=3 if field[0] == "*" else 1,  # repeated, optional
                type=11 if is_message else getattr(FieldDescriptorProto, f"TYPE_{kind.upper()}"),
                type_name=f".paddle.{kind}" if is_message else None,
            )
    return GetMessages([schema])
