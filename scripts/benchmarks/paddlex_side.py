"""PaddleX's PP-StructureV3 as a side of the benchmark of documents, run by a Python that has it.

    python paddlex_side.py < JOB

It imports nothing of this project. The first line of standard input is the job: `models` are
folders of exported programs for `detection`, `recognition`, `layout` and `table`, `regions` are
those of each page by the path of its image, and `threads`. Each further line is the path of a page,
which is answered with the seconds that it took and with its Markdown.

PaddleX has no decoder for exports of PicoDet without suppression, and no model of its own for what
is left out here. So the layout network is run by Paddle on the page as it takes it, and answers
with the regions that are given; tables are all taken for wireless ones, whose network predicts the
cells too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

LAYOUT_SIZE = (608, 800)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OFF = (
    "use_doc_preprocessor", "use_doc_orientation_classify", "use_doc_unwarping",
    "use_region_detection", "use_formula_recognition", "use_seal_recognition",
    "use_chart_recognition",
)  # fmt: skip
ROLES = {
    "TextDetection": "detection",
    "TextRecognition": "recognition",
    "WirelessTableStructureRecognition": "table",
}
"""Our names of the networks by PaddleX's."""


class Layout:
    """The layout network, whose answer is replaced by given regions."""

    def __init__(self, folder: str, threads: int) -> None:
        from paddle import inference

        (program,), (weights,) = (list(Path(folder).glob(n)) for n in ("*.pdmodel", "*.pdiparams"))
        config = inference.Config(str(program), str(weights))
        config.disable_gpu()
        config.enable_mkldnn()
        config.set_cpu_math_library_num_threads(threads)
        config.disable_glog_info()
        self._predictor = inference.create_predictor(config)
        self.regions: list[dict[str, Any]] = []

    def __call__(self, images: Sequence[np.ndarray], **_: object) -> Iterator[dict[str, Any]]:
        """Answer pages; PaddleX's settings have been applied to the regions."""
        for image in images:
            scaled = cv2.resize(image, LAYOUT_SIZE).astype(np.float32) / 255
            batch = ((scaled - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)
            entry = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
            entry.reshape(batch.shape)
            entry.copy_from_cpu(np.ascontiguousarray(batch))
            self._predictor.run()
            for name in self._predictor.get_output_names():
                self._predictor.get_output_handle(name).copy_to_cpu()
            yield {"boxes": [dict(region) for region in self.regions]}


def wireless(_: object) -> list[dict[str, Any]]:
    """Answer as a classifier of tables."""
    return [{"label_names": ["wireless_table"], "scores": [1.0]}]


def make_pipeline(job: dict[str, Any]) -> tuple[Any, Layout]:
    """Return the pipeline and its layout network."""
    import paddlex
    import yaml
    from paddlex.inference.pipelines.layout_parsing.pipeline_v2 import _LayoutParsingPipelineV2
    from paddlex.inference.pipelines.table_recognition.pipeline_v2 import (
        _TableRecognitionPipelineV2,
    )

    file = Path(paddlex.__path__[0]) / "configs" / "pipelines" / "PP-StructureV3.yaml"
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config.update(dict.fromkeys(OFF, False), batch_size=1)
    for name in ("GeneralOCR", "TableRecognition"):
        part = config["SubPipelines"][name]
        part["use_textline_orientation"] = False
        for module, settings in part["SubModules"].items():
            if module in ROLES:
                folder = job["models"][ROLES[module]]
                said = yaml.safe_load((Path(folder) / "inference.yml").read_text(encoding="utf-8"))
                settings.update(model_dir=folder, model_name=said["Global"]["model_name"])
    for kind in (_LayoutParsingPipelineV2, _TableRecognitionPipelineV2):
        _leave_out_missing(kind)
    options = {"cpu_threads": job["threads"]}
    pipeline = paddlex.create_pipeline(config=config, device="cpu", engine_config=options)
    inner = pipeline._pipeline
    inner.layout_det_model = layout = Layout(job["models"]["layout"], job["threads"])
    inner.table_recognition_pipeline._pipeline.table_cls_model = wireless
    return pipeline, layout


def _leave_out_missing(kind: Any) -> None:
    """Make no model without a folder, since PaddleX would download it."""
    make = kind.create_model

    def create_model(self: Any, config: dict[str, Any], **options: Any) -> Any:
        return make(self, config, **options) if config.get("model_dir") else None

    kind.create_model = create_model


def main() -> None:
    """Answer the pages."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the packages print must not get among the answers
    job = json.loads(sys.stdin.readline())
    pipeline, layout = make_pipeline(job)
    from importlib.metadata import version

    names = ("paddlex", "paddlepaddle")
    print(json.dumps({name: version(name) for name in names}), file=answers, flush=True)
    for line in sys.stdin:
        path = json.loads(line)
        image, layout.regions = cv2.imread(path), job["regions"][path]
        start = time.process_time()
        (result,) = pipeline.predict(
            image,
            use_textline_orientation=False,
            use_e2e_wireless_table_rec_model=True,
            use_table_orientation_classify=False,
        )
        text = result.markdown["markdown_texts"]
        seconds = time.process_time() - start
        print(json.dumps({"seconds": seconds, "markdown": text}), file=answers, flush=True)


if __name__ == "__main__":
    main()
