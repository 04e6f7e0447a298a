"""The imports between modules and packages: no circles, and no arrow against the stated order.

Imports inside functions and under TYPE_CHECKING count as well.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("architectures", "converter", "cores", "pipelines", "schemas", "scripts")

# The rooms of `converter` from the first to the last; a room may import from those before it and
# from its own line. `parity` comes late but knows of `errors` alone.
ROOMS = (
    {"errors"},
    {"sources", "catalog"},
    {"mapping"},
    {"alignment"},
    {"parity"},
    {"adapters", "references"},
    {"diagnosis"},
    {"conversion"},
    {"reports", "end_to_end", "exporting"},
    {"cli"},
    {"__main__"},
)
ALONE = {"parity": {"errors", "parity"}}

# What each package may import of the project.
ALLOWED: Mapping[str, set[str]] = {
    "schemas": set(),
    "cores": set(),
    "architectures": {"schemas"},
    "pipelines": {"architectures", "cores", "schemas"},
    "converter": {"architectures", "cores", "schemas"},
    "scripts": set(PACKAGES),
}
ALLOWED_MODULES = {"converter.end_to_end": {"pipelines"}}


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> Mapping[str, Path]:
    return {module_name(file): file for name in PACKAGES for file in (ROOT / name).rglob("*.py")}


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Yield `a.b` for `import a.b` and `a.b.c` for `from a.b import c`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "relative imports hide the package"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imports() -> Mapping[str, frozenset[str]]:
    """Return, for each module of the project, the modules of the project that it imports."""
    known = modules()
    found = {}
    for name, file in known.items():
        targets = set()
        for target in imported_names(ast.parse(file.read_text(encoding="utf-8"))):
            target = target if target in known else target.rpartition(".")[0]
            if target in known and target != name:
                targets.add(target)
        found[name] = frozenset(targets)
    return found


def circles(graph: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one node (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    result: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            place = stack.index(node)
            if len(stack) - place > 1:
                result.append(sorted(stack[place:]))
            del stack[place:]

    for node in graph:
        if node not in index:
            visit(node)
    return result


def arrows() -> Iterator[tuple[str, str]]:
    for name, targets in imports().items():
        for target in sorted(targets):
            yield name, target


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_circles_are_seen():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e2"}, "e2": set()}
    assert circles({k: frozenset(v) for k, v in graph.items()}) == [["a", "b", "c"]]


def test_imports_in_functions_and_for_types_are_seen():
    source = "if TYPE_CHECKING:\n    from a.b import c\ndef f():\n    import d.e\n"
    assert set(imported_names(ast.parse(source))) == {"a.b.c", "d.e"}


def test_no_circle_between_modules():
    # A package's __init__ gathers names for others; its own modules import each other directly.
    assert circles(imports()) == []


def test_rooms_of_the_converter_import_in_one_order():
    order = {name: place for place, names in enumerate(ROOMS) for name in names}
    against = []
    for name, target in arrows():
        if not (name.startswith("converter.") and target.startswith("converter.")):
            continue
        importer, imported = room(name), room(target)
        allowed = ALONE.get(importer)
        if imported not in (allowed or {r for r in order if order[r] <= order[importer]}):
            against.append(f"{name} -> {target}")
    assert against == []


def test_every_room_of_the_converter_has_its_place():
    rooms = {room(name) for name in modules() if name.startswith("converter.")}
    assert rooms == set().union(*ROOMS)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_in_one_direction(package):
    against = []
    for name, target in arrows():
        importer, imported = name.split(".")[0], target.split(".")[0]
        if importer != package or importer == imported or imported in ALLOWED[package]:
            continue
        if imported not in ALLOWED_MODULES.get(".".join(name.split(".")[:2]), ()):
            against.append(f"{name} -> {target}")
    assert against == []


FOREIGN = {
    "architectures": {"torch", "safetensors"},
    "architectures.heads.drrg": {"cv2", "numpy"},
    "architectures.hub": {"huggingface_hub"},
}


def test_architectures_need_torch_alone():
    """DRRG groups pieces of text by OpenCV, as PaddleOCR's does; a download needs its library."""
    foreign = []
    for name, file in modules().items():
        allowed = {p for prefix, names in FOREIGN.items() if name.startswith(prefix) for p in names}
        for target in imported_names(ast.parse(file.read_text(encoding="utf-8"))):
            package = target.split(".")[0]
            known = package in {*sys.stdlib_module_names, *PACKAGES, *allowed}
            if name.startswith("architectures") and not known:
                foreign.append(f"{name} -> {package}")
    assert foreign == []


def test_no_circle_between_rooms():
    rooms: dict[str, frozenset[str]] = dict.fromkeys(set().union(*ROOMS), frozenset())
    for name, target in arrows():
        if name.startswith("converter.") and target.startswith("converter."):
            rooms[room(name)] |= {room(target)} - {room(name)}
    assert circles(rooms) == []
