"""Open models without Paddle: training checkpoints, exported programs, ONNX files, archives.

This package imports neither Paddle nor PyTorch, and checks every size in a file before it allocates
memory for it: a file that is truncated, corrupt, hostile or of another format raises `SourceError`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from converter.errors import SourceError
from converter.sources import mapped_files as files
from converter.sources.ir import Operation, Program, TensorSpec
from converter.sources.pdiparams import Export, read_export
from converter.sources.pdparams import Checkpoint, read_pdparams
from converter.sources.reader import read_program

__all__ = [
    "Checkpoint",
    "Export",
    "Operation",
    "Program",
    "Source",
    "TensorSpec",
    "open_source",
    "read_export",
    "read_pdparams",
    "read_program",
]

ARCHIVES = (".tar", ".tar.gz", ".tgz")

# Pre-processing and characters or labels, written with an export.
SETTINGS = "inference.yml"  # by PaddleOCR 3 and PaddleX
DETECTION_SETTINGS = "infer_cfg.yml"  # by PaddleDetection

# The checkpoint to read if a folder holds several: the first pattern that matches decides.
_CHECKPOINTS = (
    "best_accuracy.pdparams",
    "*_pretrained.pdparams",
    "student.pdparams",
    "latest.pdparams",
    "*.pdparams",
    "best_accuracy/model_state.pdparams",  # of key information, where PaddleNLP writes folders
    "latest/model_state.pdparams",
)

_INFERRED = "Student"  # the network of a distillation that PaddleOCR uses for inference

ONNX = ".onnx"

# The program to read, likewise. PIR comes first: with both, it is the later export for Paddle 3.
# ONNX comes last, since it was made of one of the others.
_PROGRAMS = (
    "inference.json",
    "inference.pdmodel",
    "model.json",
    "model.pdmodel",
    "__model__",
    "*.pdmodel",
    "*.json",
    "inference.onnx",
    "model.onnx",
    "*.onnx",
)


@dataclass(frozen=True)
class Source:
    """The model at a path: a checkpoint, an export (Paddle's or an ONNX file), or both.

    The unpacked files of an archive exist as long as this object does; arrays live longer.

    Args:
        path: the folder or file.
        checkpoint: the training checkpoint, if there is one.
        export: the exported program with its weights, if there is one.
        files: from the name of every file read to its SHA-256 in hex.
        size: the size of these files in bytes.
        settings: the `inference.yml` or `infer_cfg.yml` that is written with an export.
    """

    path: Path
    checkpoint: Checkpoint | None
    export: Export | None
    files: Mapping[str, str]
    size: int
    settings: Path | None = None


def open_source(path: Path, program: Path | None = None, submodel: str | None = None) -> Source:
    """Open a folder, a `.pdparams`, `.pdmodel`, PIR `.json` or `.onnx` file, or a `.tar[.gz]`.

    In a folder the checkpoint is `best_accuracy`, else the one `*_pretrained`, else `student`, else
    `latest`, else the only `.pdparams`, else the `model_state` in the folder `best_accuracy`, else
    in `latest`; the program is `inference`, else `model`, else the only
    `.pdmodel`, with its `.pdiparams` (or `__model__` with `__params__`); without one of Paddle's an
    ONNX file takes its place. Files that the folder
    lacks may be in one of its subfolders: for a distillation PaddleOCR exports each network into a
    folder of its name, of which the student's is taken. PaddleX puts the checkpoint of each epoch
    into a folder, with its export in the folder `inference` of that. A program without weights is
    an error even if there is a checkpoint, which can be read by naming its file.

    Args:
        path: the model.
        program: a second path, whose export is added to the checkpoint at the first.
        submodel: the network of a distillation to take instead of the student.

    Raises:
        SourceError: there is no model or more than one, or a file cannot be read.
        UnsafeSource: a file would do more than hold arrays.
    """
    if program is not None:
        return _joined(open_source(path, None, submodel), open_source(program, None, submodel))
    if not path.exists():
        near = path.with_name(path.name + ".pdparams")
        hint = f" Did you mean {near}?" if near.exists() else ""
        raise SourceError(f"{path} does not exist.{hint}")
    if path.is_dir():
        return _open_folder(path, submodel)
    if path.name.endswith(ARCHIVES):
        from converter.sources import archive

        folder = archive.unpack(path)
        source = replace(_open_folder(only_folder(Path(folder.name)), submodel, path), path=path)
        weakref.finalize(source, folder.cleanup)
        return source
    if path.suffix == ".pdparams":
        return _open(path, path, None)
    if is_program(path):
        return _open(path, None, path, _settings_above(path))
    if path.suffix == ".pdiparams":
        raise SourceError(f"{path} holds weights without names; name its program or its folder.")
    if path.suffix == ".pdopt":
        raise SourceError(f"{path} holds an optimizer's state; name the .pdparams beside it.")
    raise SourceError(
        f"{path} is no file of Paddle's and no ONNX file. Expected a folder, a .pdparams, "
        ".pdmodel, .json or .onnx file, or a .tar."
    )


def kinds_in(path: Path) -> frozenset[str]:
    """Return which of `checkpoint` and `export` a folder or file holds, judged by file names.

    Archives are not opened, so nothing is known of them.
    """
    if not path.is_dir():
        files = [path] if path.suffix == ".pdparams" or is_program(path) else []
    else:
        files = model_files(path) or [
            file
            for entry in sorted(path.iterdir())
            if entry.is_dir()
            for file in model_files(entry)
        ]
    return frozenset("checkpoint" if file.suffix == ".pdparams" else "export" for file in files)


def model_files(folder: Path) -> list[Path]:
    """Return the checkpoints and programs in a folder, without its subfolders."""
    return [
        file
        for file in sorted(folder.iterdir())
        if (file.suffix == ".pdparams" or is_program(file)) and _is_model(file)
    ]


def is_program(file: Path) -> bool:
    """Return whether a file is an exported program by its name."""
    return file.suffix in (".pdmodel", ".json", ONNX) or file.name == "__model__"


def _joined(first: Source, second: Source) -> Source:
    """Combine the checkpoint of one source with the export of another."""
    if first.checkpoint is None:
        raise SourceError(
            f"{first.path} holds no checkpoint that the export in {second.path} could prove; "
            "convert one of the two alone"
        )
    if second.export is None:
        raise SourceError(
            f"{second.path} holds no exported program (inference.pdmodel, inference.json, .onnx)"
        )
    both = Source(
        first.path,
        first.checkpoint,
        second.export,
        MappingProxyType({**first.files, **second.files}),
        first.size + second.size,
        second.settings or first.settings,
    )
    for source in (first, second):  # keep the files of archives as long as they may be read
        weakref.finalize(both, lambda _: None, source)
    return both


def only_folder(folder: Path) -> Path:
    """Return the only folder in a folder, which release archives have, or the folder itself."""
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _open_folder(folder: Path, submodel: str | None = None, archive: Path | None = None) -> Source:
    """Open the model in a folder.

    Args:
        folder: the folder.
        submodel: the network of a distillation to take instead of the student.
        archive: the archive that it was unpacked from, for messages.
    """
    named = archive or folder
    preferred = submodel or _INFERRED
    checkpoint = _find(folder, _CHECKPOINTS, named, preferred)
    program = _find(folder, _PROGRAMS, named, preferred)
    if program is None and checkpoint is not None and checkpoint.parent != folder:
        program = _find(checkpoint.parent, _PROGRAMS, named, preferred)  # PaddleX's
    if program is None and (weights := _find(folder, ("*.pdiparams",), named, preferred)):
        raise SourceError(
            f"{named} holds {weights.name} without its program; expected "
            f"{weights.stem}.pdmodel or {weights.stem}.json beside it."
        )
    if checkpoint is None and program is None:
        names = ", ".join(sorted(entry.name for entry in folder.iterdir())[:10]) or "nothing"
        raise SourceError(
            f"{named} holds no Paddle model; found {names}. Expected a .pdparams, "
            "or inference.pdmodel or inference.json with inference.pdiparams, or an .onnx file."
        )
    parents = {file.parent for file in (checkpoint, program) if file}
    related = checkpoint is not None and checkpoint.parent in (program or checkpoint).parents
    if len(parents) == 2 and folder not in parents and not related:
        listed = " and ".join(sorted(parent.name for parent in parents))
        raise SourceError(f"{named} holds models in {listed}. Name the one to convert.")
    above = None
    if program is not None and (archive is None or program.parent != folder):
        above = _settings_above(program)
    return _open(folder, checkpoint, program, above)


def _settings_above(program: Path) -> Path | None:
    """Return the `inference.yml` above the folder of a program, as distillations have it.

    One beside another model is that model's.
    """
    folder = program.absolute().parent.parent
    settings = folder / SETTINGS
    return settings if settings.is_file() and not model_files(folder) else None


def _find(folder: Path, patterns: Iterable[str], named: Path, preferred: str) -> Path | None:
    """Return the file that matches the first possible pattern, in a folder or its subfolders.

    Args:
        folder: the folder.
        patterns: patterns of the file's name.
        named: the folder or archive, for messages.
        preferred: the subfolder to take where several have such a file.

    Raises:
        SourceError: several files match the pattern.
    """
    folders = [entry for entry in sorted(folder.iterdir()) if entry.is_dir()]
    for level in ([folder], folders):
        for pattern in patterns:
            fitting = [
                file for parent in level for file in sorted(parent.glob(pattern)) if _is_model(file)
            ]
            if len(fitting) > 1:
                fitting = [f for f in fitting if f.parent == folder / preferred] or fitting
            if len(fitting) > 1:
                listed = ", ".join(str(file.relative_to(folder)) for file in fitting[:10])
                raise SourceError(
                    f"{named} holds several models: {listed}. Name the one to convert."
                )
            if fitting:
                return fitting[0]
    return None


def _is_model(file: Path) -> bool:
    """Return whether a file is a model, not a `._*` file of macOS or JSON that is no program."""
    if file.name.startswith(".") or not file.is_file():
        return False
    is_json = file.suffix == ".json" and file.name != "inference.json"
    return not is_json or file.with_suffix(".pdiparams").is_file()


def _open(
    path: Path,
    checkpoint_file: Path | None,
    program_file: Path | None,
    settings_above: Path | None = None,
) -> Source:
    """Read the files of a model.

    Args:
        path: the folder or file that was named.
        checkpoint_file: the training checkpoint, if there is one.
        program_file: the exported program, if there is one.
        settings_above: the `inference.yml` to read where there is none beside the model.
    """
    checkpoint = export = None
    read = []
    if checkpoint_file:
        checkpoint = read_pdparams(checkpoint_file)
        read.append(checkpoint_file)
    if program_file and program_file.suffix == ONNX:
        from converter.sources.onnx.program import read_onnx

        export = read_onnx(program_file)
        read += [program_file, *export.external]
    elif program_file:
        weights, info = _weights(program_file)
        export = read_export(program_file, weights, info)
        read += [program_file, weights, *([info] if info else [])]
    model = program_file or checkpoint_file or path
    beside = (model.with_name(name) for name in (SETTINGS, DETECTION_SETTINGS))
    settings = next((file for file in beside if file.is_file()), settings_above)
    read += [settings] if settings else []
    views = {file.name: files.map_file(file) for file in read}
    hashes = {name: files.sha256(view) for name, view in views.items()}
    size = sum(map(len, views.values()))
    return Source(path, checkpoint, export, MappingProxyType(hashes), size, settings)


def _weights(program: Path) -> tuple[Path, Path | None]:
    """Return the weights file of a program, and its file of names if there is one."""
    if program.name == "__model__":
        weights = program.with_name("__params__")
    else:
        weights = program.with_suffix(".pdiparams")
    if not weights.is_file():
        raise SourceError(
            f"{program} has no weights: {weights.name} is missing beside it. Add it, or name "
            "a .pdparams file to have that read alone."
        )
    info = weights.with_name(weights.name + ".info")
    return weights, info if info.is_file() else None
