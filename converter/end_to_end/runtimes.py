"""One pipeline with two runtimes: PyTorch on the converted weights, another one on the exports.

The other one is Paddle, or ONNX Runtime where the exports are ONNX files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from architectures.loading import ArtefactError
from converter.errors import SourceError, UsageError
from converter.references.onnxruntime.session import OnnxSession
from converter.references.paddle.session import PaddleSession
from converter.sources.open import Source, open_source
from pipelines import OCR, Network, TextLine
from pipelines.detection.predictor import output_names
from pipelines.runtime import TorchNetwork
from schemas.artefact import ArtefactCard

ReferenceSession = PaddleSession | OnnxSession
TASKS = {"det": "detector", "rec": "recogniser", "cls": "classifier of upside-down lines"}


class PaddleNetwork:
    """An exported program, run by another process, with the interface of a pipeline's network.

    Args:
        session: the process of Paddle or ONNX Runtime.
        task: det, rec or cls.
        source: files that hold the exported program.
        card: artefact card of the converted weights, so that both runtimes preprocess and decode
            in the same way.

    Raises:
        SourceError: the program does not have one input, and one output or those that the decoder
            of these weights takes.
        ReferenceUnavailable: the runtime is not installed, or cannot run the program.
    """

    def __init__(
        self, session: ReferenceSession, task: str, source: Source, card: ArtefactCard
    ) -> None:
        export = source.export
        if export is None:
            raise SourceError(
                f"{source.path} holds no exported program (inference.pdmodel, inference.json or an "
                "ONNX file)"
            )
        self._session, self._task, self.card = session, task, card
        self._results = output_names(card) if task == "det" else ("",)
        names = session.load_program(export.program, export.weights_file, name=task)
        if len(names) != 1 or len(export.program.outputs) != len(self._results):
            raise SourceError(
                f"{source.path} has {len(names)} inputs and {len(export.program.outputs)} outputs; "
                f"a network of this kind has 1 and {len(self._results)}"
            )
        (self._input,) = names

    def __call__(self, batch: np.ndarray) -> Any:
        """Run the program on images, (N, 3, H, W) float32; several results are in a dict."""
        outputs = self._session.run({self._input: batch}, name=self._task)
        results = {name: outputs[str(place)] for place, name in enumerate(self._results)}
        return results if len(results) > 1 else outputs["0"]


@dataclass(frozen=True)
class Runtimes:
    """Both pipelines, which differ in their networks only.

    Attributes:
        paddle: the pipeline that runs the exports, in Paddle or ONNX Runtime.
        torch: the pipeline that runs the converted weights in PyTorch.
        session: the process that runs the exports.
        models: weights, form and program files of each task.
        thing: one of what they find, in a word.
    """

    paddle: Callable[[np.ndarray], list[TextLine]]
    torch: Callable[[np.ndarray], list[TextLine]]
    session: ReferenceSession | None = None
    models: Mapping[str, Any] = field(default_factory=dict)
    thing: str = "line"

    @property
    def paddle_versions(self) -> dict[str, str]:
        """Version of what runs the exports by its name; nothing without a process."""
        return self.session.versions if self.session else {}


def open_reference(sources: Mapping[str, Source]) -> ReferenceSession:
    """Start the process that runs exports: ONNX Runtime for ONNX files, else Paddle.

    Raises:
        UsageError: some exports are ONNX files, and others Paddle's.
    """
    by_format: dict[bool, list[str]] = {}
    for source in sources.values():
        is_onnx = source.export is not None and source.export.program.format == "onnx"
        by_format.setdefault(is_onnx, []).append(str(source.path))
    if len(by_format) > 1:
        raise UsageError(
            f"{', '.join(by_format[True])} are ONNX files, {', '.join(by_format[False])} are not; "
            "give all exports in one format, so that one runtime reads the pages"
        )
    return OnnxSession() if True in by_format else PaddleSession()


@contextmanager
def open_runtimes(
    weights: Mapping[str, Path], exports: Mapping[str, Path], **options: Any
) -> Iterator[Runtimes]:
    """Open both pipelines; the process of the exports ends with the context.

    Args:
        weights: converted weights by task of `TASKS`; cls is optional.
        exports: files or folders with the exported program, by the same tasks.
        options: options of `OCR` for both pipelines.

    Raises:
        SourceError: weights or programs are missing or unreadable.
        UsageError: weights are of another task than the one they are given for, or exports are of
            two formats.
        ReferenceUnavailable: the runtime is not installed, or cannot run a program.
    """
    sources = {task: open_source(exports[task]) for task in weights}
    with open_reference(sources) as session:  # it starts while the weights are loaded
        try:
            networks = {task: TorchNetwork(file) for task, file in weights.items()}
            torch = _pipeline(networks, options)
            paddle = _pipeline(
                {
                    task: PaddleNetwork(session, task, sources[task], network.card)
                    for task, network in networks.items()
                },
                options,
            )
        except (ArtefactError, OSError) as error:
            raise SourceError(str(error)) from error
        except ValueError as error:
            raise UsageError(str(error)) from error
        yield Runtimes(paddle, torch, session, described_models(networks, sources))


def described_models(
    networks: Mapping[str, TorchNetwork], sources: Mapping[str, Source]
) -> dict[str, Any]:
    """Return weights, form and program files of each task, as JSON values."""
    return {
        task: {
            "weights": network.card.weights.to_dict(),
            "form": network.card.form,
            "program": dict(sources[task].files),
        }
        for task, network in networks.items()
    }


def _pipeline(networks: Mapping[str, Network], options: Mapping[str, Any]) -> OCR:
    return OCR(networks["det"], networks["rec"], networks.get("cls"), **options)
