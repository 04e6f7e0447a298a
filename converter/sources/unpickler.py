"""A restricted unpickler for containers, strings, numbers and NumPy arrays.

A pickle is a program. Python's own unpickler imports and calls whatever the program names, and
trusts its sizes. This one runs the subset that `paddle.save` and NumPy write (protocols 2 to 5,
NumPy 1 and 2): it imports nothing, and calls nothing that the file names. The few functions with
which arrays are pickled are implemented here, in `_CALLS`. Every size is checked against the file.
Array data is not copied out of the mapped file if possible, so reading costs about forty opcodes
per tensor.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from converter.errors import SourceError, UnsafeSource

_MOST_CONTAINERS = 2_000_000  # a checkpoint has some five for each tensor
_LONG_TEXT = 4096  # bytes; beyond it a string is array data (protocol 2), never a name
_DTYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
_UNSAFE_OPCODES = b"ioPQ\x81\x82\x83\x84\x92"  # they make objects of any class


class _Fault(Exception):
    """The pickle is invalid; `load` adds the file and the position to the message."""


class _Global:
    """A name from the allow-list: a token for the object of that name."""

    __slots__ = ("call", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.call = _CALLS[name]


class _LongText:
    """Array data that protocol 2 stores as text; converted to bytes once, on demand."""

    __slots__ = ("_data", "_source")

    def __init__(self, source: memoryview) -> None:
        self._source = source
        self._data: bytes | None = None

    def data(self) -> bytes:
        if self._data is None:
            self._data = str(self._source, "utf-8").encode("latin-1")
        return self._data


class _Dtype:
    """A dtype under construction: BUILD checks its byte order."""

    __slots__ = ("code",)

    def __init__(self, code: str) -> None:
        self.code = code

    def build(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise _Fault(f"a dtype {self.code!r} that is not little-endian")


class _Array:
    """An array under construction: BUILD sets its value."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def build(self, state: object) -> None:
        match state:
            case (int(), tuple() as shape, _Dtype() as dtype, bool() | int() as fortran, data):
                self.value = _array(shape, dtype, data, "F" if fortran else "C")
            case _:
                raise _Fault("an array whose state is not (version, shape, dtype, order, data)")


def _array(shape: tuple[object, ...], dtype: _Dtype, data: object, order: Any) -> np.ndarray:
    """View data as an array; it must have exactly the size of this shape and dtype."""
    if not isinstance(data, (bytes, memoryview)):
        raise _Fault(f"array data of type {type(data).__name__}")
    lengths = tuple(n for n in shape if isinstance(n, int) and 0 <= n < 2**48)
    if len(lengths) != len(shape) or len(shape) > 32:
        raise _Fault("an array with an impossible shape")
    expected = math.prod(lengths) * int(dtype.code[1:])
    if len(data) != expected:
        raise _Fault(f"an array {shape} of {dtype.code} with {len(data)} bytes, not {expected}")
    return np.frombuffer(data, dtype.code).reshape(lengths, order=order)


def _reconstruct(*arguments: object) -> _Array:
    match arguments:
        case (_Global(name="numpy.ndarray"), (0,), _):
            return _Array()
    raise _Fault("a subclass of numpy.ndarray")


def _dtype(*arguments: object) -> _Dtype:
    match arguments:
        case (str() as code, *_) if code in _DTYPES:
            return _Dtype(code)
        case (str() as code, *_) if code.startswith("O"):
            raise UnsafeSource("an array of Python objects")
    raise _Fault("an array whose dtype is not a plain number type")


def _from_buffer(*arguments: object) -> np.ndarray:
    match arguments:
        case (data, _Dtype() as dtype, tuple() as shape, "C" | "F" as order):
            return _array(shape, dtype, data, order)
    raise _Fault("an array whose buffer has no dtype, shape and order")


def _scalar(*arguments: object) -> np.ndarray:
    match arguments:
        case (_Dtype() as dtype, data):
            return _array((), dtype, data, "C")
    raise _Fault("a NumPy scalar without dtype and data")


def _encode(*arguments: object) -> bytes:
    match arguments:
        case (_LongText() as text, "latin1"):
            return text.data()
        case (str() as short, "latin1"):
            return short.encode("latin-1")
    raise _Fault("text encoded otherwise than as latin1")


def _empty_bytes(*arguments: object) -> bytes:
    if arguments:
        raise _Fault("bytes made of something")
    return b""


def _tuple(*arguments: object) -> tuple[object, ...]:
    match arguments:
        case (tuple() as items,):
            return items
    raise _Fault("a tuple made of something else")


def _ordered_dict(*arguments: object) -> dict[str, object]:
    if arguments:
        raise _Fault("an OrderedDict made of something")
    return {}


def _not_callable(*_: object) -> object:
    raise _Fault("an array made directly")


_CALLS: dict[str, Callable[..., object]] = {
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.numeric._frombuffer": _from_buffer,  # protocol 5
    "numpy._core.numeric._frombuffer": _from_buffer,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.ndarray": _not_callable,
    "numpy.dtype": _dtype,
    "_codecs.encode": _encode,
    "builtins.bytes": _empty_bytes,  # protocol 2 writes b"" as bytes()
    "__builtin__.bytes": _empty_bytes,
    "builtins.tuple": _tuple,  # paddle.save reduces a tensor to tuple((name, array))
    "__builtin__.tuple": _tuple,
    "collections.OrderedDict": _ordered_dict,
}


def _finished(value: object) -> object:
    """Return a value for a container: an array under construction becomes an array."""
    if type(value) is _Array:
        if value.value is None:
            raise _Fault("an array without data")
        return value.value
    return value


class _Machine:
    """The stack, the memo and the position while a pickle is run."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.position = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}
        self.containers = 0

    def run(self) -> object:
        """Run the pickle and return the value on the stack."""
        data, operations = self.data, _OPERATIONS
        while True:
            code = data[self.position]
            self.position += 1
            if code == 0x2E:  # STOP
                return _finished(self.stack[-1])
            operations[code](self)

    def push(self, container: object) -> None:
        """Push a dict, list or tuple; one byte of the file makes one, so they are counted."""
        self.count()
        self.stack.append(container)

    def count(self) -> None:
        """Count a container or a mark, and end where they are more than a checkpoint needs."""
        self.containers += 1
        if self.containers > _MOST_CONTAINERS:
            raise _Fault(f"more than {_MOST_CONTAINERS} containers")

    def mark(self) -> None:
        """Put a mark on the stack."""
        self.count()
        self.marks.append(len(self.stack))

    def take(self, size: int) -> memoryview:
        """Return the next bytes; _Fault if the file ends before."""
        start = self.position
        if size > len(self.data) - start:
            raise _Fault(f"{size} bytes announced, {len(self.data) - start} left: truncated")
        self.position = start + size
        return self.data[start : self.position]

    def number(self, size: int) -> int:
        """Read an unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def line(self) -> str:
        """Read text up to the end of the line."""
        head = bytes(self.data[self.position : self.position + 512])
        end = head.index(b"\n")
        self.position += end + 1
        return head[:end].decode("utf-8")

    def text(self, size: int) -> None:
        """Push a string of `size` bytes."""
        raw = self.take(size)
        self.stack.append(_LongText(raw) if size > _LONG_TEXT else str(raw, "utf-8"))

    def blob(self, size: int) -> None:
        """Push bytes, as a view of the file."""
        self.stack.append(self.take(size))

    def pop_mark(self) -> list[Any]:
        """Pop everything above the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        if len(items) != len(self.stack) - start:
            raise _Fault("a mark beyond the stack")
        del self.stack[start:]
        return items

    def tuple(self, size: int) -> None:
        """Pop `size` items and push them as a tuple."""
        self.count()
        items = tuple(map(_finished, self.stack[-size:]))
        if len(items) != size:
            raise _Fault("a tuple of more items than there are")
        self.stack[-size:] = [items]

    def globally(self, module: object, name: object) -> None:
        """Push a name of the allow-list."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise _Fault("a name that is no text")
        full = f"{module}.{name}"
        if full not in _CALLS:
            raise UnsafeSource(f"the name `{ascii(full[:200])[1:-1]}`")
        self.stack.append(_Global(full))

    def call(self) -> None:
        """Apply a name of the allow-list to a tuple of arguments."""
        arguments = self.stack.pop()
        function = self.stack[-1]
        if type(function) is not _Global or type(arguments) is not tuple:
            raise _Fault("a call of something that is no function")
        self.stack[-1] = function.call(*arguments)

    def build(self) -> None:
        """Complete an array or a dtype."""
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, (_Array, _Dtype)):
            raise _Fault(f"state for a {type(target).__name__}")
        target.build(state)

    def set_items(self, items: list[Any]) -> None:
        """Put keys and values, in turn, into the dict on top of the stack."""
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise _Fault("items set on something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:
                raise _Fault(f"a {type(key).__name__} as a key")
            target[key] = _finished(value)

    def append(self, items: list[Any]) -> None:
        """Put items into the list on top of the stack."""
        target = self.stack[-1]
        if type(target) is not list:
            raise _Fault("items appended to something that is no list")
        target.extend(_finished(item) for item in items)

    def pop_two(self) -> list[Any]:
        """Pop a key and a value."""
        items = self.stack[-2:]
        if len(items) != 2:
            raise _Fault("a pair of items where there is none")
        del self.stack[-2:]
        return items

    def remember(self, index: int) -> None:
        """Store the top of the stack in the memo."""
        self.memo[index] = self.stack[-1]

    def integer(self, size: int) -> None:
        """Push a signed number of up to 16 bytes."""
        if size > 16:
            raise _Fault(f"a number of {size} bytes")
        self.stack.append(int.from_bytes(self.take(size), "little", signed=True))

    def protocol(self) -> None:
        """Check the protocol's number."""
        if (version := self.number(1)) not in (2, 3, 4, 5):
            raise _Fault(f"pickle protocol {version}, expected 2 to 5")


def _refuse(machine: _Machine) -> None:
    from pickletools import opcodes

    code = machine.data[machine.position - 1]
    name = next((known.name for known in opcodes if known.code == chr(code)), f"byte {code:#04x}")
    if code in _UNSAFE_OPCODES:
        raise UnsafeSource(f"the opcode {name}, which makes objects of any class")
    raise _Fault(f"{name}, which paddle.save does not write")


def _table() -> list[Callable[[_Machine], object]]:
    table: list[Callable[[_Machine], object]] = [_refuse] * 256
    table[ord("R")] = _Machine.call
    operations: dict[bytes, Callable[[_Machine], object]] = {
        b"\x80": _Machine.protocol,
        b"\x95": lambda m: m.number(8),  # FRAME: its length is of no use here
        b"(": _Machine.mark,
        b"0": lambda m: m.stack.pop(),
        b"}": lambda m: m.push({}),
        b"]": lambda m: m.push([]),
        b")": lambda m: m.stack.append(()),
        b"N": lambda m: m.stack.append(None),
        b"\x88": lambda m: m.stack.append(True),
        b"\x89": lambda m: m.stack.append(False),
        b"K": lambda m: m.stack.append(m.number(1)),
        b"M": lambda m: m.stack.append(m.number(2)),
        b"J": lambda m: m.integer(4),
        b"\x8a": lambda m: m.integer(m.number(1)),
        b"G": lambda m: m.stack.append(struct.unpack(">d", m.take(8))[0]),
        b"\x8c": lambda m: m.text(m.number(1)),
        b"X": lambda m: m.text(m.number(4)),
        b"\x8d": lambda m: m.text(m.number(8)),
        b"C": lambda m: m.blob(m.number(1)),
        b"B": lambda m: m.blob(m.number(4)),
        b"\x8e": lambda m: m.blob(m.number(8)),
        b"\x96": lambda m: m.blob(m.number(8)),  # BYTEARRAY8, a writable array's data
        b"\x85": lambda m: m.tuple(1),
        b"\x86": lambda m: m.tuple(2),
        b"\x87": lambda m: m.tuple(3),
        b"t": lambda m: m.push(tuple(map(_finished, m.pop_mark()))),
        b"a": lambda m: m.append([m.stack.pop()]),
        b"e": lambda m: m.append(m.pop_mark()),
        b"s": lambda m: m.set_items(m.pop_two()),
        b"u": lambda m: m.set_items(m.pop_mark()),
        b"b": _Machine.build,
        b"c": lambda m: m.globally(m.line(), m.line()),
        b"\x93": lambda m: m.globally(*m.pop_two()),
        b"q": lambda m: m.remember(m.number(1)),
        b"r": lambda m: m.remember(m.number(4)),
        b"\x94": lambda m: m.remember(len(m.memo)),
        b"h": lambda m: m.stack.append(m.memo[m.number(1)]),
        b"j": lambda m: m.stack.append(m.memo[m.number(4)]),
    }
    for code, operation in operations.items():
        table[code[0]] = operation
    return table


_OPERATIONS = _table()


def load(data: memoryview, name: str) -> object:
    """Load a pickle of dicts, lists, tuples, strings, numbers and arrays.

    Arrays are read-only; those of protocols 3 to 5 are views of the data and may be unaligned.

    Args:
        data: the pickle.
        name: the file, for messages.

    Raises:
        UnsafeSource: the pickle would create any other object; the message has the position.
        SourceError: the pickle is truncated or corrupt; the message has the position.
    """
    machine = _Machine(data)
    try:
        return machine.run()
    except UnsafeSource as fault:
        raise UnsafeSource(
            f"{name} asks for {fault} at byte {machine.position}; a checkpoint needs only arrays "
            "and containers, so it was not read. Do not open it with Paddle."
        ) from None
    except _Fault as fault:
        reason = str(fault)
    except (UnicodeError, KeyError, IndexError, ValueError, OverflowError, TypeError) as fault:
        reason = f"{type(fault).__name__}: {fault}"
    raise SourceError(
        f"{name} is truncated or corrupt: at byte {machine.position} of {len(data)} found "
        f"{reason}. Download or save it again."
    )
