"""Check the headers of a tar before `tarfile` reads them.

`tarfile` has followed negative sizes for ever (CVE-2025-8194), matched digits for minutes
(CVE-2024-6232) and recursed through chains of extended headers. Here each header is walked by its
size alone, and what a release archive does not have is refused.
"""

from __future__ import annotations

from typing import IO

from converter.errors import SourceError, UnsafeSource

_BLOCK = 512
_MOST_MEMBERS = 10_000
_LARGEST_EXTENSION = 64 << 10  # bytes of a long name or of pax records
_LONGEST_CHAIN = 4  # extended headers before one member
_EXTENSIONS = (b"x", b"g", b"L", b"K")
_WITH_DATA = (b"\0", b"0", b"7")


def check_headers(stream: IO[bytes], size: int, name: str) -> None:
    """Walk the headers of a tar.

    Args:
        stream: the tar, not compressed, at its begin.
        size: its size in bytes.
        name: what it is called in messages.

    Raises:
        UnsafeSource: a size is negative, there are too many members, or an extended header is too
            large, malformed, or one of too many in a row.
    """
    position = members = chain = 0
    stated: int | None = None  # the size in a pax header, for the member that follows
    while position + _BLOCK <= size:
        stream.seek(position)
        header = stream.read(_BLOCK)
        if not any(header):  # the end, as tarfile sees it
            return
        length, kind = _number(header[124:136], name), header[156:157]
        position += _BLOCK
        if kind in _EXTENSIONS:
            chain += 1
            if length > _LARGEST_EXTENSION or chain > _LONGEST_CHAIN:
                raise _refused(name, "an extended header that is too large, or too many in a row")
            if kind in _EXTENSIONS[:2]:
                found = _pax_size(stream.read(length), name)
                stated = found if found is not None else stated
        else:
            members, chain = members + 1, 0
            if members > _MOST_MEMBERS:
                raise _refused(name, f"more than {_MOST_MEMBERS} members")
            length = stated if stated is not None else length
            stated = None
            if kind not in _WITH_DATA:  # tarfile reads no data of folders and links
                length = 0
        position += -(-length // _BLOCK) * _BLOCK


def _number(field: bytes, name: str) -> int:
    """Return a size, octal or in base 256 as GNU tar writes it."""
    if field[0] in (0x80, 0xFF):
        value = int.from_bytes(field[1:], "big")
        if field[0] == 0xFF:
            raise _refused(name, f"a member of negative size ({value - 256 ** (len(field) - 1)})")
        return value
    text = field.partition(b"\0")[0].strip()
    try:
        value = int(text, 8) if text else 0
    except ValueError:
        raise SourceError(
            f"{name} is no complete tar: a member's size is {text!r}. Download it again."
        ) from None
    if value < 0:
        raise _refused(name, f"a member of negative size ({value})")
    return value


def _pax_size(records: bytes, name: str) -> int | None:
    """Check pax records, `LENGTH KEY=VALUE\\n` each, and return the size that they state."""
    size = None
    while records.strip(b"\0"):
        digits, space, _ = records[:12].partition(b" ")
        if not space or not digits.isdigit() or not int(digits) <= len(records):
            raise _refused(name, "a malformed extended header")
        key, equals, value = records[len(digits) + 1 : int(digits)].partition(b"=")
        if key.startswith(b"GNU.sparse"):
            raise _refused(name, "a sparse member")
        if not equals or not value.endswith(b"\n"):
            raise _refused(name, "a malformed extended header")
        if key == b"size":
            if not value.strip().isdigit() or len(value) > 20:
                raise _refused(name, f"a member of impossible size ({value[:40]!r})")
            size = int(value)
        records = records[int(digits) :]
    return size


def _refused(name: str, reason: str) -> UnsafeSource:
    return UnsafeSource(
        f"{name} has {reason}, which release archives do not have; nothing was unpacked."
    )
