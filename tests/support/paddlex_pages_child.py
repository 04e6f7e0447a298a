"""Run in a child process: PaddleX's own PP-StructureV3 on pages whose networks' results are given.

    python paddlex_pages_child.py PADDLEX FOLDER

PADDLEX is the folder of the package. FOLDER holds `pages.json`: pages with `size`, `regions`,
`areas`, `lines`, `formulas`, `tables`; `results.json` gets the blocks and the Markdown of each. The
recogniser answers `recognised` with the size of the image. Neither Paddle nor what PaddleX depends
on is needed: what its modules import of others is a stand-in that does nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

PIPELINE = "paddlex.inference.pipelines.layout_parsing"
CONVERTERS = "paddlex.inference.common.result.converter"
OPEN = (
    "paddlex", "paddlex.inference", "paddlex.inference.pipelines", PIPELINE,
    "paddlex.inference.common", "paddlex.inference.common.result",
)  # fmt: skip
"""Packages whose `__init__` is not run, since it imports all there is."""
REAL = (PIPELINE, f"{CONVERTERS}.markdown_converter", f"{CONVERTERS}.markdown_format_funcs")
POINTS = "inference/pipelines/components/common/convert_points_and_boxes.py"
IGNORED = ("number", "footnote", "header", "header_image", "footer", "footer_image", "aside_text")


class StandIn(ModuleType):
    """A package, a base class or a decorator that does nothing."""

    __path__: Sequence[str] = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn(name)

    def __call__(self, *arguments: Any, **_: Any) -> Any:
        return arguments[0] if arguments and callable(arguments[0]) else self

    def __mro_entries__(self, _: tuple[object, ...]) -> tuple[type, ...]:
        return ()


class Finder(MetaPathFinder, Loader):
    """Gives the modules of `REAL` from PaddleX's folder, and stand-ins for its others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "paddlex":
            return None
        path = self._folder.joinpath(*fullname.split(".")[1:])
        if fullname.startswith(REAL) and fullname not in OPEN:
            file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            return spec_from_file_location(fullname, file)
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


def load(folder: Path) -> Any:
    """Return PaddleX's modules `pipeline_v2` and `result_v2`."""
    sys.meta_path.insert(0, Finder(folder))
    points: dict[str, Any] = {}
    exec((folder / POINTS).read_text(encoding="utf-8"), points)
    components = import_module("paddlex.inference.pipelines.components")
    components.convert_points_to_boxes = points["convert_points_to_boxes"]
    converters = import_module(CONVERTERS)
    converter = import_module(f"{CONVERTERS}.markdown_converter")
    converters.MarkdownConverter = converter.MarkdownConverter
    return (import_module(f"{PIPELINE}.{name}") for name in ("pipeline_v2", "result_v2"))


def recognised(images: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Answer as a recogniser: a word that tells the size of the image."""
    return [{"rec_text": f"x{i.shape[1]}y{i.shape[0]}", "rec_score": 0.9} for i in images]


def parse(page: dict[str, Any], pipeline_v2: Any, result_v2: Any) -> dict[str, Any]:
    """Return the blocks and the Markdown that PaddleX makes of a page."""
    kind = pipeline_v2._LayoutParsingPipelineV2
    pipeline = kind.__new__(kind)
    pipeline.general_ocr_pipeline = SimpleNamespace(
        text_rec_model=recognised, text_rec_score_thresh=0.0
    )
    height, width = page["size"]
    image = np.full((height, width, 3), 255, np.uint8)
    boxes = np.array([line["box"] for line in page["lines"]], np.int16).reshape(-1, 4)
    corners = [[[b[0], b[1]], [b[2], b[1]], [b[2], b[3]], [b[0], b[3]]] for b in boxes.tolist()]
    ocr = {
        "rec_boxes": boxes if len(boxes) else np.array([]),
        "rec_texts": [line["text"] for line in page["lines"]],
        "rec_scores": [0.9] * len(boxes),
        "rec_labels": ["text"] * len(boxes),
        "rec_polys": [np.array(c, np.int16) for c in corners],
        "dt_polys": [np.array(c, np.int16) for c in corners],
    }
    regions = [
        {"label": r["label"], "coordinate": r["box"], "score": r["score"]} for r in page["regions"]
    ]
    blocks = pipeline.get_layout_parsing_res(
        image,
        region_det_res={"boxes": [{"coordinate": box} for box in page["areas"]]},
        layout_det_res={"boxes": regions},
        overall_ocr_res=ocr,
        table_res_list=[{"pred_html": html} for html in page["tables"]],
        seal_res_list=[],
        chart_res_list=[],
        formula_res_list=[
            {"dt_polys": f["box"], "rec_formula": f["latex"]} for f in page["formulas"]
        ],
        markdown_ignore_labels=list(IGNORED),
    )
    result = SimpleNamespace(
        parsing_res_list=blocks,
        settings={"markdown_ignore_labels": list(IGNORED), "use_table_recognition": True,
                  "use_formula_recognition": True},
    )  # fmt: skip
    made = [
        {"label": b.label, "box": [int(side) for side in b.bbox], "text": b.content,
         "order": b.order_index}
        for b in blocks
    ]  # fmt: skip
    return {"blocks": made, "markdown": markdown(result, width, result_v2)}


def markdown(result: Any, width: int, result_v2: Any) -> str:
    """Return what `LayoutParsingResultV2` writes as Markdown."""
    kind = result_v2.LayoutParsingResultV2
    values = {
        "parsing_res_list": result.parsing_res_list,
        "model_settings": result.settings,
        "doc_preprocessor_res": {"output_img": np.zeros((1, width, 3))},
        "imgs_in_doc": [],
        "page_index": None,
        "input_path": None,
    }
    made = type("Result", (kind,), {"__getitem__": lambda _, key: values[key],
                                    "__init__": lambda _: None})()  # fmt: skip
    return str(made._to_markdown()["markdown_texts"])


def main() -> None:
    """Parse all pages."""
    package, folder = map(Path, sys.argv[1:3])
    pipeline_v2, result_v2 = load(package)
    assert Image.fromarray is not None
    results = []
    for page in json.loads((folder / "pages.json").read_text(encoding="utf-8")):
        try:
            results.append(parse(page, pipeline_v2, result_v2))
        except Exception as error:  # some pages stop PaddleX, which the comparison has to know
            results.append({"error": f"{type(error).__name__}: {error}"})
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main()
