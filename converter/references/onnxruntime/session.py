"""A process in which ONNX Runtime runs ONNX files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from converter.errors import ReferenceUnavailable
from converter.references.onnxruntime import worker
from converter.references.processes.session import ChildSession
from converter.sources.ir import Program


class OnnxSession(ChildSession):
    """A running ONNX Runtime process."""

    LIBRARY: ClassVar = "ONNX Runtime"
    PACKAGE: ClassVar = 'onnxruntime (pip install "paddleocr-to-torch[onnx]")'
    TIME_LIMIT: ClassVar = "ONNXRUNTIME_TIME_LIMIT"
    WORKER: ClassVar = worker

    def load_program(
        self,
        program: Program,
        weights: Path,
        outputs: Sequence[str] | None = None,
        name: str = "",
    ) -> list[str]:
        """Load a program; `weights` is the ONNX file, which holds both. See `ChildSession`.

        Raises:
            ReferenceUnavailable: the temporary folder cannot hold a copy of the file.
        """
        from converter.sources.onnx.model import with_outputs

        content = with_outputs(weights, program.outputs if outputs is None else outputs)
        file = Path(self._folder.name, "checked.onnx")
        try:
            file.write_bytes(content)
            request = {"do": "program", "program": str(file), "name": name}
            return self._ask(request, {})[0]["inputs"]
        except OSError as error:
            raise ReferenceUnavailable(
                f"{weights} cannot be copied to {file.parent}, from where ONNX Runtime reads it: "
                f"{error.strerror or error}; set $TMPDIR to a folder with more room"
            ) from error
        finally:
            file.unlink(missing_ok=True)
