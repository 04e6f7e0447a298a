"""Modules of PaddleOCR's own code, without all that they import.

The packages paddleocr and paddlex are installed without what they depend on, and Paddle's libraries
do not go with PyTorch's in one process. What a module imports of them is called nowhere by the code
under comparison, so it gets a stand-in while the module is loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest

VERSIONS = {"paddleocr": "2.10.0", "paddlex": "3.7.2"}
STAND_INS = (
    "paddle",
    "paddleocr",
    "paddlex",
    "picodet_postprocess",
    "ppocr",
    "ppstructure",
    "tools",
)


@cache
def load(package: str, path: str) -> ModuleType:
    """Load one module, such as `load("paddleocr", "ppocr/data/imaug/operators.py")`."""
    file = _folder(package) / path
    if not file.is_file():
        pytest.fail(f"{file} is missing; install {package}=={VERSIONS[package]}, with --no-deps")
    # Relative imports start from the name.
    parts = Path(path).with_suffix("").parts
    spec = spec_from_file_location(".".join((package, *parts)), file)
    module = module_from_spec(spec)
    with patch.object(sys, "path", [*sys.path]), patch.dict(os.environ), _StandIns():
        spec.loader.exec_module(module)
    return module


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.fail(f"install it: pip install --no-deps {package}=={VERSIONS[package]}")
    return Path(spec.submodule_search_locations[0])


class _StandIn(ModuleType):
    """A package, a base class or a decorator that does nothing; no object is an instance of it."""

    __path__: Sequence[str] = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn(name)

    def __call__(self, *arguments: Any, **_: Any) -> Any:
        return arguments[0] if arguments and callable(arguments[0]) else self

    def __instancecheck__(self, _: object) -> bool:
        return False

    def __mro_entries__(self, _: tuple[object, ...]) -> tuple[type, ...]:
        return ()


class _StandIns(MetaPathFinder, Loader):
    """While it is entered, an import of one of `STAND_INS` or of what is below gives a stand-in."""

    def __enter__(self) -> None:
        self._real = {name: sys.modules.pop(name) for name in list(sys.modules) if _named(name)}
        sys.meta_path.insert(0, self)

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)
        for name in [name for name in sys.modules if _named(name)]:
            del sys.modules[name]
        sys.modules.update(self._real)

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if _named(fullname) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


def _named(module: str) -> bool:
    return module.partition(".")[0] in STAND_INS
