"""Files for RapidOCR's PyTorch engine (rapidocr 3.10), which knows 28 networks by their file names.

The engine loads a state_dict strictly into the training form of its own networks. They have
PaddleOCR's tensors, with the exceptions that `MODELS` and `CHANGES` list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import architectures
from architectures.unfuse import unfuse
from converter.catalog import cards
from converter.conversion.artefact import output_errors, write_text
from converter.errors import UsageError
from converter.exporting.artefact import Artefact, named_results
from converter.exporting.proof import ExportProof, prove
from schemas.artefact_files import partial_files


@dataclass(frozen=True)
class Changes:
    """How the tensors of one of RapidOCR's networks differ from PaddleOCR's.

    Attributes:
        renamed: beginnings of names, as regular expressions, and what takes their place.
        dropped: beginnings of names of tensors that it lacks.
        padded: 1x3 kernels that are 3x3 there; the map is one row high, so zeros change nothing.
        unused: tensors that it holds and never runs, with their shapes.
    """

    renamed: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    padded: tuple[str, ...] = ()
    unused: tuple[tuple[str, tuple[int, ...]], ...] = ()


@dataclass(frozen=True)
class RapidOCRModel:
    """One network of RapidOCR's.

    Attributes:
        released: PaddleOCR's name of the model.
        changes: how its tensors differ.
        dictionary: the file name of its characters, which RapidOCR looks for in its model folder.
    """

    released: str
    changes: Changes = Changes()
    dictionary: str | None = None


_CONV4 = "head.ctc_encoder.encoder.conv4.conv.weight"
_STAGES = Changes(renamed=((r"backbone\.stage(?=\d)", "backbone.stages."),))
_WITHOUT_AUX = Changes(dropped=("head.aux_",))
_PADDED = Changes(padded=(_CONV4,))
_PLAIN_HEAD = Changes(
    renamed=((r"head\.ctc_encoder\.encoder\.", "neck.encoder."), (r"head\.ctc_head\.", "head."))
)
_LAST_CONV = ("backbone.last_conv.weight", (2048, 2048, 1, 1))


def _plain(language: str, release: str) -> RapidOCRModel:
    return RapidOCRModel(f"{language}_{release}_rec", _PLAIN_HEAD, f"{language}_dict.txt")


MODELS: Mapping[str, RapidOCRModel] = {
    "PP-OCRv6_det_tiny": RapidOCRModel("PP-OCRv6_tiny_det", _WITHOUT_AUX),
    "PP-OCRv6_det_small": RapidOCRModel("PP-OCRv6_small_det", _WITHOUT_AUX),
    "PP-OCRv6_det_medium": RapidOCRModel("PP-OCRv6_medium_det", _WITHOUT_AUX),
    "PP-OCRv6_rec_tiny": RapidOCRModel("PP-OCRv6_tiny_rec", dictionary="ppocrv6_tiny_dict.txt"),
    "PP-OCRv6_rec_small": RapidOCRModel("PP-OCRv6_small_rec", dictionary="ppocrv6_dict.txt"),
    "PP-OCRv6_rec_medium": RapidOCRModel("PP-OCRv6_medium_rec", dictionary="ppocrv6_dict.txt"),
    "ch_PP-OCRv5_det_mobile": RapidOCRModel("PP-OCRv5_mobile_det"),
    "ch_PP-OCRv5_det_server": RapidOCRModel("PP-OCRv5_server_det", Changes(unused=(_LAST_CONV,))),
    "ch_PP-OCRv5_rec_mobile": RapidOCRModel("PP-OCRv5_mobile_rec", _PADDED, "ppocrv5_dict.txt"),
    "ch_PP-OCRv5_rec_server": RapidOCRModel(
        "PP-OCRv5_server_rec",
        Changes(
            padded=(_CONV4,),
            unused=(
                _LAST_CONV,
                ("backbone.fc.weight", (1000, 2048)),
                ("backbone.fc.bias", (1000,)),
            ),
        ),
        "ppocrv5_dict.txt",
    ),
    "ch_PP-OCRv4_det_mobile": RapidOCRModel("ch_PP-OCRv4_det"),
    "ch_PP-OCRv4_det_server": RapidOCRModel("ch_PP-OCRv4_det_server"),
    "ch_PP-OCRv4_rec_mobile": RapidOCRModel("ch_PP-OCRv4_rec", _PADDED, "ppocr_keys_v1.txt"),
    "ch_PP-OCRv4_rec_server": RapidOCRModel("ch_PP-OCRv4_rec_server", _PADDED, "ppocr_keys_v1.txt"),
    "en_PP-OCRv4_rec_mobile": RapidOCRModel("en_PP-OCRv4_rec", _PADDED, "en_dict.txt"),
    "en_PP-OCRv3_det_mobile": RapidOCRModel("en_PP-OCRv3_det", _STAGES),
    "multi_PP-OCRv3_det_mobile": RapidOCRModel("ml_PP-OCRv3_det", _STAGES),
    "ch_ppocr_mobile_v2.0_cls_mobile": RapidOCRModel("ch_ppocr_mobile_v2.0_cls"),
    **{
        f"{language}_{release}_rec_mobile": _plain(language, release)
        for release, languages in {
            "PP-OCRv3": ("chinese_cht", "cyrillic", "latin"),
            "PP-OCRv4": ("arabic", "devanagari", "japan", "ka", "korean", "ta", "te"),
        }.items()
        for language in languages
    },
}


@dataclass(frozen=True)
class RapidOCRExport:
    """What was written.

    Attributes:
        files: the weights, and the dictionary of a recogniser.
        proof: the comparison of the training form with the network.
    """

    files: tuple[Path, ...]
    proof: ExportProof


def export(artefact: Artefact, folder: Path, stem: str | None = None) -> RapidOCRExport:
    """Write a network for RapidOCR: `STEM.pth` and, of a recogniser, its dictionary.

    Args:
        artefact: the network, in any form.
        folder: where to write; it exists.
        stem: RapidOCR's name of the network; None to choose it by the network.

    Raises:
        UsageError: RapidOCR has no such network, or several and none is named.
        ExportError: the training form does not compute what the network does.
        OutputError: a file cannot be written.
    """
    stem = _chosen(artefact, stem)
    model = MODELS[stem]
    characters = _characters(artefact, model)
    trained = unfuse(artefact.network)
    proof = prove(artefact, lambda batch: named_results(trained, batch), artefact.inputs())
    weights = folder / f"{stem}.pth"
    with output_errors(), partial_files(weights) as (partial,):
        torch.save(state_dict(trained, model.changes), partial)
        partial.replace(weights)
    if model.dictionary is None:
        return RapidOCRExport((weights,), proof)
    dictionary = folder / model.dictionary
    write_text(dictionary, "".join(f"{character}\n" for character in characters))
    return RapidOCRExport((weights, dictionary), proof)


def state_dict(trained: architectures.Model, changes: Changes) -> dict[str, Tensor]:
    """Return the tensors of a network in the training form under RapidOCR's names.

    Args:
        trained: the network.
        changes: how RapidOCR's tensors differ.
    """
    state = {}
    for name, tensor in trained.state_dict().items():
        if name.startswith(changes.dropped or ("\0",)):
            continue
        if name in changes.padded:
            tensor = F.pad(tensor, (0, 0, 1, 1))
        for old, new in changes.renamed:
            name = re.sub(f"^{old}", new, name)
        state[name] = tensor.contiguous()
    for name, shape in changes.unused:
        state[name] = torch.zeros(shape)
    return state


def _chosen(artefact: Artefact, wanted: str | None) -> str:
    """Return RapidOCR's name of the network."""
    if wanted is not None and wanted not in MODELS:
        raise UsageError(f"RapidOCR has no {wanted}; it has {', '.join(sorted(MODELS))}")
    named = [stem for stem, model in MODELS.items() if model.released == artefact.card.name]
    if wanted is None and not named:
        named = [stem for stem in MODELS if _fault(artefact, stem) is None]
        if len(named) > 1:
            raise UsageError(
                f"{artefact.path} fits several networks of RapidOCR's; name one with --as: "
                f"{', '.join(named)}"
            )
        if not named:
            raise UsageError(
                f"RapidOCR has no network like {artefact.path}"
                f"{f' ({artefact.card.name})' if artefact.card.name else ''}. Its PyTorch engine "
                f"has {', '.join(sorted(MODELS))}"
            )
    stem = wanted or named[0]
    if (fault := _fault(artefact, stem)) is not None:
        raise UsageError(f"RapidOCR's {stem} cannot hold {artefact.path}: {fault}")
    return stem


def _fault(artefact: Artefact, stem: str) -> str | None:
    """Return why a network of RapidOCR's cannot hold this one, or None where it can."""
    card = cards.card(MODELS[stem].released)
    if artefact.card.task != card.task:
        return f"its task is {artefact.card.task}, not {card.task}"
    counts = {name: card.classes or len(card.labels) for name in card.class_counts}
    own = dict(artefact.network.class_counts)
    if own != counts:
        stated = (", ".join(f"{n} {c}" for n, c in each.items()) for each in (own, counts))
        return "it has {} classes, RapidOCR's network {}".format(*stated)
    with torch.device("meta"):
        theirs = architectures.build(card.architecture, class_counts=counts)
        ours = architectures.build(artefact.network.architecture, class_counts=own)
    if str(theirs) != str(ours):
        return "it has another architecture"
    return None


def _characters(artefact: Artefact, model: RapidOCRModel) -> tuple[str, ...]:
    """Return the lines of RapidOCR's dictionary: it adds the space itself, as the last class."""
    if model.dictionary is None:
        return ()
    entry = artefact.card.dictionary
    if entry is None or entry.characters is None:
        raise UsageError(
            f"{artefact.path} has no dictionary, which RapidOCR needs; add it first: "
            f"python -m converter add-dict {artefact.path} DICT"
        )
    if entry.characters[-1] != " ":
        raise UsageError(
            f"the last class of {artefact.path} is {entry.characters[-1]!r}; RapidOCR reads the "
            "last class as a space"
        )
    if broken := [c for c in entry.characters if "\n" in c or c != c.strip("\r\n")]:
        raise UsageError(f"the character {broken[0]!r} does not fit into a line of a dictionary")
    return entry.characters[:-1]
