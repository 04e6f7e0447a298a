"""`python -m converter export X.pth --to TARGET --out DIR`: write a network for another program."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from converter.conversion.artefact import make_folder
from converter.errors import UsageError

if TYPE_CHECKING:
    from converter.exporting.artefact import Artefact
    from converter.exporting.program import ProgramExport

TARGETS = {
    "rapidocr": "weights and dictionary for RapidOCR's PyTorch engine",
    "paddle": "a checkpoint (.pdparams) that PaddleOCR loads",
    "onnx": "an ONNX file",
    "torch": "a program of torch.export (.pt2), which loads without this package",
    "torchscript": "a TorchScript trace",
    "transformers": "a folder that Transformers' from_pretrained loads",
}


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Write a converted network for another program. The result is compared with "
        "the network first, and nothing is written if it differs.",
        epilog="targets:\n" + "\n".join(f"  {name:<13}{text}" for name, text in TARGETS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "weights",
        type=Path,
        metavar="X.pth",
        help="converted weights; X.json is in the same folder",
    )
    add("--to", required=True, choices=TARGETS, metavar="TARGET", help="one of the targets below")
    add("--out", required=True, type=Path, metavar="DIR", help="folder to write to")
    add(
        "--as",
        dest="model",
        metavar="NAME",
        help="rapidocr: the name of its network, where several fit",
    )
    add(
        "--like",
        type=Path,
        metavar="ORIGINAL.pdparams",
        help="paddle: the checkpoint that was converted; what only training uses is kept from it",
    )
    add(
        "--compile",
        action="store_true",
        help="torch: write machine code of AOTInductor for this processor; needs a C++ compiler",
    )
    return parser


def run(options: argparse.Namespace) -> int:
    """Export the network and print what was written."""
    from converter.exporting.artefact import read_artefact

    if options.out.exists() and not options.out.is_dir():
        raise UsageError(f"--out {options.out} is a file; name a folder")
    if options.compile and options.to != "torch":
        raise UsageError(f"--compile goes with --to torch, not with --to {options.to}")
    artefact = read_artefact(options.weights)
    folder = make_folder(options.out, f"the folder {options.out} of --out")
    _WRITERS[options.to](artefact, folder, options)
    return 0


def _rapidocr(artefact: Artefact, folder: Path, options: argparse.Namespace) -> None:
    from converter.exporting import rapidocr

    written = rapidocr.export(artefact, folder, options.model)
    for file in written.files:
        print(f"wrote {file}")
    print(written.proof.describe())


def _paddle(artefact: Artefact, folder: Path, options: argparse.Namespace) -> None:
    from converter.exporting import paddle

    written = paddle.export(artefact, folder, options.like)
    kept = f", {written.kept} kept from {options.like}" if written.kept else ""
    print(f"wrote {written.file}: {written.tensors} tensors of the network{kept}")
    if written.lacking:
        print(
            f"{len(written.lacking)} tensors that only training uses are not in it, such as "
            f"{written.lacking[0]}; PaddleOCR initialises them anew. --like keeps them"
        )
    if artefact.network.form != "train":
        print("the branches of training were merged: one of each holds the kernel, others are zero")


def _onnx(artefact: Artefact, folder: Path, _: argparse.Namespace) -> None:
    from converter.exporting import onnx_file

    _report(onnx_file.export(artefact, folder))


def _torch(artefact: Artefact, folder: Path, options: argparse.Namespace) -> None:
    from converter.exporting import torch_program

    write = torch_program.export if options.to == "torch" else torch_program.export_script
    _report((torch_program.export_compiled if options.compile else write)(artefact, folder))


def _transformers(artefact: Artefact, folder: Path, _: argparse.Namespace) -> None:
    from converter.exporting import transformers_folder

    written = transformers_folder.export(artefact, folder)
    print(f"wrote {folder}: {', '.join(file.name for file in written.files)}")
    print(f"load it with transformers.{written.auto}.from_pretrained({str(folder)!r})")
    print(written.proof.describe())


def _report(written: ProgramExport) -> None:
    for file in written.files:
        print(f"wrote {file}")
    print(f"takes {written.takes}")
    print(written.proof.describe())


_WRITERS: Mapping[str, Callable[[Artefact, Path, argparse.Namespace], None]] = {
    "rapidocr": _rapidocr,
    "paddle": _paddle,
    "onnx": _onnx,
    "torch": _torch,
    "torchscript": _torch,
    "transformers": _transformers,
}
