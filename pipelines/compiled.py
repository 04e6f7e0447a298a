"""Networks compiled ahead of time by AOTInductor, in packages that a cache of the user keeps.

Loading a package runs the machine code in it. So packages are never looked for beside weights,
which may come from a stranger, but in one folder that belongs to the user and that no one else may
write to. The name of a package has the hash of the weights and of all that its code was made with:
PyTorch, the processor's features, the networks of this project, the precision and the threads.
"""

from __future__ import annotations

import copy
import fcntl
import hashlib
import json
import logging
import os
import platform
import shutil
import stat
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.nn import functional as F

import architectures
from architectures.joining import join_
from architectures.model import Model
from schemas.artefact import ArtefactCard

logger = logging.getLogger(__name__)

FOLDER = "paddleocr-to-torch/compiled"
TEMPORARY = ".compiling-"
"""How the names of folders begin in which packages are made."""
FORMAT = 1
"""Of the packages; raised when they are compiled or used in another way."""
LIMIT = 1e-4
"""Allowed mean difference of results, as a share of the largest value; see `_prove`."""
MULTIPLE = 32
"""Of what free heights and widths are multiples, unless the weights state it; in pixels."""
MOST_IMAGES, MOST_PIXELS = 1024, 16384
"""The largest number and the longest side of images that a package takes."""
ROUNDS = 5
"""How many times code and network take turns in the comparison of their speed."""
WORTHWHILE = 0.97
"""The largest share of the network's own time that code may take to be used."""
UNUSED_DAYS, UNFINISHED_DAYS = 90, 1
"""How long packages stay in the cache without use, and what a killed process left."""
LEAST_WIDTH = 32
"""The least width of the images of lines that a package takes, in pixels."""


class PackageError(Exception):
    """A network cannot be compiled ahead of time, or the cache is not safe to load code from."""


@dataclass(frozen=True)
class Axis:
    """The sizes of one axis of images that a package takes: multiples from `least` to `most`."""

    least: int
    most: int
    multiple: int = 1

    def takes(self, size: int) -> bool:
        """Return whether the package takes images of this size of the axis."""
        return self.least <= size <= self.most and size % self.multiple == 0


class Package:
    """A compiled network.

    Several threads may call it; one at a time computes.

    Args:
        file: the package, in the user's own cache; it is empty if the network itself is faster.
    """

    axes: tuple[Axis, ...] = ()

    def __init__(self, file: Path) -> None:
        if not file.stat().st_size:
            return
        self._module = torch._inductor.aoti_load_package(str(file))
        axes = json.loads(self._module.get_metadata()["axes"])
        self.axes = tuple(Axis(*axis) for axis in axes)

    def takes(self, images: Tensor) -> bool:
        """Return whether the code is for such images; it does not check that itself.

        Args:
            images: `(N, C, H, W)`, with the values of a pixel side by side in memory.
        """
        return (
            images.dim() == len(self.axes)
            and images.is_contiguous(memory_format=torch.channels_last)
            and all(axis.takes(size) for axis, size in zip(self.axes, images.shape, strict=True))
        )

    def __call__(self, images: Tensor) -> Tensor | Mapping[str, Tensor]:
        """Run the network on images that it takes."""
        return self._module(images)


def open_package(model: Model, card: ArtefactCard, dtype: torch.dtype) -> Package | None:
    """Load the package of a network from the cache, or compile it first, which takes a minute.

    Args:
        model: in the fused form, in eval mode, on a CPU and in `dtype`, its weights channels last.
        card: the description of its weights, whose hash has been checked.
        dtype: the type of images and weights.

    Returns:
        The package, which takes no images if the network itself is faster; None, with a warning, if
        there can be none.
    """
    name = card.name or "the network"
    try:
        folder = cache_folder()
        file = folder / f"{package_name(card, dtype, torch.get_num_threads())}.pt2"
        with _locked(file.with_suffix(".lock")):
            if not file.exists():
                remove_unused(folder)
                _compile(model, card, file)
            check_private(file)
            os.utime(file)  # so that it counts as used
            return Package(file)
    except Exception as error:  # whatever stops in PyTorch's exporter and compiler, or that of C++
        reason = str(error).strip().splitlines() or [type(error).__name__]
        logger.warning("%s is not compiled ahead of time: %s", name, reason[0])
        return None


def package_name(card: ArtefactCard, dtype: torch.dtype, threads: int) -> str:
    """Return the name of the package of weights on this machine, without its extension."""
    made_with = {
        "format": FORMAT,
        "torch": [torch.__version__, torch.version.git_version],
        "networks": _hash_of_networks(),
        "processor": _processor(),
        "dtype": str(dtype),
        "threads": threads,
        "input": card.input.to_dict(),
    }
    digest = hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()
    return f"{card.weights.sha256}-{digest}"


def _processor() -> list[str]:
    """Return the features of the processor that code is compiled for."""
    features = torch.cpu.get_capabilities()
    names = sorted(name for name, value in features.items() if value is True)
    return [platform.machine(), torch.backends.cpu.get_cpu_capability(), *names]


def _hash_of_networks() -> str:
    digest = hashlib.sha256()
    for file in sorted(Path(architectures.__path__[0]).rglob("*.py")):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Return the user's folder of packages, which is made if need be.

    Raises:
        PackageError: others may write to it, or to a folder that holds it.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    root = given if given.is_absolute() else Path.home() / ".cache"
    folder = root / FOLDER
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private(root)
    for each in (folder.parent, folder):
        each.mkdir(mode=0o700, exist_ok=True)
        check_private(each)
    return folder


def remove_unused(folder: Path) -> None:
    """Remove packages that nothing has used for long, and folders of processes that were killed."""
    now = time.time()
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process may do the same
            days = (now - path.lstat().st_mtime) / 86400
            if path.suffix == ".pt2" and days > UNUSED_DAYS:
                path.unlink()
            elif path.name.startswith(TEMPORARY) and days > UNFINISHED_DAYS:
                shutil.rmtree(path)


def check_private(path: Path) -> None:
    """Check that a file or folder is the user's, that others cannot write to it, and is no link.

    Raises:
        PackageError: it is not.
    """
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PackageError(
            f"{path} has to be yours, not writable by others, and no link, since the code in it is "
            f"run; it belongs to user {status.st_uid} and is {stat.filemode(status.st_mode)}; "
            "`chmod go-w` takes the right to write from others"
        )


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold a lock, so that of several processes one compiles and the others wait for it."""
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _compile(model: Model, card: ArtefactCard, file: Path) -> None:
    """Compile a network, compare it with itself, and put the package into its place."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise PackageError(f"there is no C++ compiler: {compiler} is not installed; see $CXX")
    if model.extra_inputs:
        raise PackageError("it takes more than images")
    logger.warning(
        "%s is compiled for this processor, which takes a minute or more, once", card.name
    )
    program = export_images(model, card)
    axes = program_axes(program)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=file.parent) as place:
        from torch._inductor.utils import fresh_cache

        package = Path(place) / file.name
        with warnings.catch_warnings(), fresh_cache(dir=place):  # PyTorch's own is in /tmp
            warnings.simplefilter("ignore")
            torch._inductor.aoti_compile_and_package(
                program,
                package_path=str(package),
                inductor_configs={
                    "aot_inductor.metadata": {
                        "axes": json.dumps(
                            [[axis.least, axis.most, axis.multiple] for axis in axes]
                        )
                    }
                },
            )
        package.chmod(0o600)
        _prove(model, Package(package))
        if (share := time_share(model, Package(package))) > WORTHWHILE:
            logger.warning(
                "%s stays as it is: compiled, it takes %.2f times as long", card.name, share
            )
            package.write_bytes(b"")
        package.replace(file)


def export_images(model: Model, card: ArtefactCard) -> ExportedProgram:
    """Export a network to a graph with the sizes of images free that the weights leave free.

    Raises:
        Exception: PyTorch's, of many kinds, if the network has no such graph.
    """
    height, width = card.input.height, card.input.width
    multiple = card.input.multiple_of or MULTIPLE
    shapes: dict[int, Any] = {0: Dim("images", min=1, max=MOST_IMAGES)}
    if height is None:
        shapes[2] = multiple * Dim("rows", min=1, max=MOST_PIXELS // multiple)
    if width is None and height is None:
        shapes[3] = multiple * Dim("columns", min=1, max=MOST_PIXELS // multiple)
    elif width is None:
        shapes[3] = Dim.AUTO(min=LEAST_WIDTH, max=MOST_PIXELS)
    sides = (height or 10 * multiple, width or (11 * multiple if height is None else 323))
    images = _images((2, card.input.channels, *sides), next(model.parameters()).dtype)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, (images,), dynamic_shapes=(shapes,), strict=False)
    for axis, size in zip(program_axes(program), images.shape, strict=True):
        if axis.least == axis.most and size not in (card.input.channels, height, width):
            raise PackageError(f"its graph is for images of {tuple(images.shape)} alone")
    return program


def program_axes(program: ExportedProgram) -> tuple[Axis, ...]:
    """Return the sizes of images that a graph takes.

    Raises:
        PackageError: they are not multiples in a range.
    """
    (name,) = program.graph_signature.user_inputs
    node = next(node for node in program.graph.nodes if node.name == name)
    return tuple(_axis(program, size) for size in node.meta["val"].shape)


def _axis(program: ExportedProgram, size: int | torch.SymInt) -> Axis:
    if isinstance(size, int):
        return Axis(size, size)
    expression = size.node.expr
    multiple, symbol = expression.as_coeff_Mul()
    if symbol not in program.range_constraints:
        raise PackageError(f"its graph takes images with a side of {expression}")
    within = program.range_constraints[symbol]
    factor = int(multiple)
    return Axis(factor * int(within.lower), factor * int(within.upper), factor)


def _images(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return smooth images of values from -1 to 1, the same ones each time, channels last."""
    count, channels, height, width = shape
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, height // 8, width // 8, generator=generator) * 2 - 1
    images = F.interpolate(coarse, (height, width), mode="bilinear")
    return images.to(dtype).contiguous(memory_format=torch.channels_last)


def _prove(model: Model, package: Package) -> None:
    """Compare a package with the network in float32, on images of two sizes.

    The mean difference may be as large as `LIMIT` times the largest value, plus twice the mean
    difference of the network itself in its own precision, which is none in float32.

    Raises:
        PackageError: it differs by more.
    """
    exact = copy.deepcopy(model).float()
    for steps in (1, 3):
        shape = _shape(package, steps)
        images = _images(shape, next(model.parameters()).dtype)
        if not package.takes(images):
            raise PackageError(f"its code does not take images of {shape}")
        with torch.inference_mode():
            results = [_tensors(run(images)) for run in (package, model)]
            expected = _tensors(exact(images.float()))
        for compiled, own, right in zip(*results, expected, strict=True):
            apart, apart_itself = ((each.float() - right).abs().mean() for each in (compiled, own))
            allowed = LIMIT * right.abs().max() + 2 * apart_itself
            if not apart <= allowed:  # written so that NaN is a fault
                raise PackageError(
                    f"its code gives results that differ by {apart:.2g} on average, {allowed:.2g} "
                    f"is allowed, on images of {shape}"
                )


@torch.inference_mode()
def time_share(model: Model, package: Package) -> float:
    """Return how long code takes as a multiple of the network in its fastest form, in CPU time.

    Args:
        model: in the fused form.
        package: its code.
    """
    joined = copy.deepcopy(model)
    join_(joined)
    images = _images(_shape(package, 3), next(model.parameters()).dtype)
    shares = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        joined(images)
        middle = time.process_time()
        package(images)
        shares.append((time.process_time() - middle) / (middle - start))
    return statistics.median(shares[1:])


def _shape(package: Package, steps: int) -> list[int]:
    """Return a shape of images that a package takes; more steps give another one."""
    return [
        axis.least if axis.least == axis.most else _near(axis, steps, place)
        for place, axis in enumerate(package.axes)
    ]


def _near(axis: Axis, steps: int, place: int) -> int:
    """Return a size that an axis takes: of images a few, of pixels a few hundred."""
    if place == 0:
        return min(steps, axis.most)
    return min(axis.multiple * (256 // axis.multiple + steps + place), axis.most)


def _tensors(results: Tensor | Mapping[str, Tensor]) -> list[Tensor]:
    return list(results.values()) if isinstance(results, Mapping) else [results]
