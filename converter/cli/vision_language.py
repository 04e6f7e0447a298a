"""`python -m converter NAME --paddle-dir PATH --out FOLDER` for a vision-language model."""

from __future__ import annotations

import argparse

from converter.catalog import cards
from converter.errors import OutputError, UsageError
from converter.exporting.proof import LIMIT

_UNFIT = {
    "onnx": "--onnx",
    "program_dir": "--program-dir",
    "config": "--config",
    "dictionary": "--dict",
    "labels": "--labels",
    "submodel": "--submodel",
    "format": "--format",
    "fuse": "--fuse",
    "strip_dict": "--strip-dict",
    "right_to_left": "--right-to-left",
    "report": "--report",
}
"""Options of other models, by their names in the parsed options."""


def run(name: str, options: argparse.Namespace) -> int:
    """Convert one model, or print its plan.

    Args:
        name: the released name.
        options: the parsed options of `convert`.
    """
    unfit = [text for key, text in _UNFIT.items() if getattr(options, key) not in (None, False)]
    unfit += ["--tolerance"] if options.tolerance != LIMIT else []
    if unfit:
        raise UsageError(f"{name} is a vision-language model, which takes no {', '.join(unfit)}")
    if options.reference not in ("auto", "recorded", "none"):
        raise UsageError(
            f"{name} is compared with recorded outputs of PaddleX's network alone: --reference "
            "recorded or none"
        )
    if options.paddle_dir is None:
        raise UsageError("--paddle-dir is missing; see --help, or --list for the names")
    if options.out is None and not options.plan:
        raise OutputError("--out is missing: name a folder to write")
    from converter.exporting.vision_language import folder

    source = folder.open_source(name, options.paddle_dir)
    planned = folder.plan(source, proved=options.reference != "none" and not options.plan)
    if options.plan:
        print(planned.plan.table())
        return 0
    written = folder.write(planned, options.out)
    if not options.quiet:
        layout = "" if planned.transposed else ", in PyTorch's layouts already"
        print(f"{len(source.weights.tensors)} tensors{layout}")
        if note := cards.vision_language()[name].get("note"):
            print(f"{name} is {note}")
        print(f"files: {', '.join(file.name for file in written)}")
        auto, _, more = folder.call_of(source.family).partition(", ")
        arguments = ", ".join(filter(None, (repr(str(options.out)), more)))
        print(f"load it with transformers.{auto}.from_pretrained({arguments})")
    said = planned.proof.describe() if planned.proof else "UNVERIFIED: no reference was wanted"
    print(f"wrote {options.out}: {said}")
    return 0
