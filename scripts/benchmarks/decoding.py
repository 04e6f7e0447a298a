"""The decoders of detection maps against PaddleOCR's own code, which finds the same lines.

The maps and PaddleOCR's code are loaded as in the tests, with the same requirements.
PSENet's growing is C++ there: it takes part if the extension that PaddleOCR compiles, `pse`, can be
imported; else only its own pixel-by-pixel steps could be measured, and it is left out.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from converter.errors import UsageError

HELP = "the decoders of detectors, against PaddleOCR's"

ROOT = Path(__file__).parents[2]
WARM_UP = 1  # rounds
SEEDS = range(1, 5)  # of the pages
LEAST = 1.0  # PaddleOCR takes so many times as long at least
Maps = Mapping[str, np.ndarray]
CURVED = {"sample_pts_num": 6, "expand_scale": 1.2, "shrink_ratio_of_width": 0.2}


@dataclass(frozen=True)
class Case:
    """One decoder with some settings on pages of one size.

    Attributes:
        make: from a seed, height and width to the maps of a page.
        size: of the network's input.
    """

    ours: Any
    theirs: Any
    make: Callable[..., Maps]
    size: tuple[int, int]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--only", metavar="NAME", help="one decoder, such as EAST")


def run(options: argparse.Namespace) -> int:
    """Measure, print the ratios, and return 0 if PaddleOCR is nowhere faster, else 1.

    Raises:
        UsageError: there is no such decoder; a decoder finds other lines than PaddleOCR's.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cases = dict(_cases())
    if options.only and options.only not in cases:
        raise UsageError(f"no decoder {options.only}; there are {', '.join(cases)}")
    slower = False
    print(f"{'decoder':<14}{'lines':>6}{'ours, ms':>10}{'theirs / ours':>15}  quartiles")
    for name, case in cases.items():
        if options.only in (None, name):
            lines, ours, ratios = _measure(case, options.rounds)
            low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
            print(f"{name:<14}{lines:>6}{ours * 1000:>10.1f}{middle:>15.2f}  {low:.2f}-{high:.2f}")
            slower |= middle < LEAST
    return int(slower)


def _cases() -> Iterator[tuple[str, Case]]:
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    theirs, maps, probability_maps, drrg_maps = map(
        importlib.import_module,
        (
            "tests.oracle.paddleocr_decoders",
            "tests.support.zoo_maps",
            "tests.support.probability_maps",
            "tests.support.drrg_maps",
        ),
    )
    from pipelines.detection.postprocess.ct import CTDecoder
    from pipelines.detection.postprocess.db import DBDecoder
    from pipelines.detection.postprocess.drrg import DRRGDecoder
    from pipelines.detection.postprocess.east import EASTDecoder
    from pipelines.detection.postprocess.fce import FCEDecoder
    from pipelines.detection.postprocess.pse import PSEDecoder
    from pipelines.detection.postprocess.sast import SASTDecoder

    def case(ours: Any, theirs: Any, options: Mapping[str, Any], *pages: Any) -> Case:
        return Case(ours(**options), theirs(**options), *pages)

    def heat(*size: int) -> Maps:
        return {"maps": probability_maps.probability_map(*size)[np.newaxis, np.newaxis]}

    for box_type in ("quad", "poly"):
        options = {"thresh": 0.3, "box_thresh": 0.6, "unclip_ratio": 1.5, "box_type": box_type}
        yield f"DB {box_type}", case(DBDecoder, theirs.db(), options, heat, (736, 1280))
    yield "EAST", case(EASTDecoder, theirs.east(), {}, maps.east_maps, (1536, 2048))
    yield "SAST", case(SASTDecoder, theirs.sast(), {}, maps.sast_maps, (1152, 1536))
    yield "SAST curved", case(SASTDecoder, theirs.sast(), CURVED, maps.sast_maps, (576, 768))
    if importlib.util.find_spec("pse"):
        kind = theirs.pse(importlib.import_module("pse").pse)
        for box_type in ("quad", "poly"):
            options = {"thresh": 0, "box_thresh": 0.85, "min_area": 16, "box_type": box_type,
                       "scale": 1}  # fmt: skip
            yield f"PSE {box_type}", case(PSEDecoder, kind, options, maps.pse_maps, (736, 1280))
    else:
        print("PSE is left out: there is no module pse, PaddleOCR's compiled extension")
    scales = {"scales": (8, 16, 32)}
    yield "FCE", case(FCEDecoder, theirs.fce(), scales, maps.fce_maps, (384, 512))
    # PaddleOCR looks at the first 300 rows and columns of the maps only.
    yield "CT", case(CTDecoder, theirs.ct(), {}, maps.ct_maps, (640, 960))
    linked = {"link_thr": 0.8}
    yield "DRRG", case(DRRGDecoder, theirs.drrg(), linked, drrg_maps.drrg_results, (640, 960))


def _measure(case: Case, rounds: int) -> tuple[int, float, Sequence[float]]:
    """Count the lines of all pages; return our seconds for a page, and the ratios of the rounds."""
    from pipelines.detection.postprocess.decoder import Sizes

    decode = importlib.import_module("tests.oracle.paddleocr_decoders").decode
    sizes = Sizes(case.size, case.size, case.size)
    pages = [case.make(seed, *case.size) for seed in SEEDS]
    seconds, ratios, lines = [], [], 0
    for number in range(WARM_UP + rounds):
        took = {"ours": 0.0, "theirs": 0.0}
        for page in pages:
            start = time.perf_counter()
            found = case.ours(page, sizes)
            took["ours"] += time.perf_counter() - start
            start = time.perf_counter()
            expected = decode(case.theirs, page, sizes)
            took["theirs"] += time.perf_counter() - start
            # What PaddleOCR leaves out of its boxes afterwards is no part of its decoder.
            if len(found) > len(expected):
                raise UsageError(f"{len(found)} lines where PaddleOCR has {len(expected)}")
            lines += len(found) if number == 0 else 0
        if number >= WARM_UP:
            seconds.append(took["ours"] / len(pages))
            ratios.append(took["theirs"] / took["ours"])
    return lines, statistics.median(seconds), ratios
