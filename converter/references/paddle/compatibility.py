"""What PaddleOCR's source expects and this version of Paddle, or this machine, does not have.

Its networks are built and run as they are in its source. Replaced are imports of what they do not
use, what fetches weights or needs a GPU, and what newer versions of Paddle refuse.

Runs in Paddle's process; of the project it imports what loads PaddleNLP's networks alone.
"""

import importlib.util
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from converter.references.paddle import paddlenlp_networks

_SHELLS = "ppocr.modeling.backbones.vqa_layoutlm"
_OPERATORS = ("__add__", "__sub__", "__mul__", "__truediv__")


def provide_imports(architecture: Mapping[str, Any]) -> None:
    """Make what a checkout's network imports importable, where that is more than Paddle.

    The networks made of PaddleNLP's need its files. PaddleOCR imports them for SDMGR as well, which
    does not use them. DRRG imports an operator that is compiled with CUDA, and lanms; it calls them
    between the maps and the graph network. PPLCNetV2 fetches weights whenever it is built; those of
    the checkpoint replace them at once.
    """
    backbone, head = (architecture.get(part) or {} for part in ("Backbone", "Head"))
    if backbone.get("name") in paddlenlp_networks.NETWORKS:
        paddlenlp_networks.provide(backbone)
        sys.modules.pop(_SHELLS, None)
    elif architecture.get("model_type") == "kie":
        _provide(_SHELLS, dict.fromkeys(paddlenlp_networks.NETWORKS))
    if head.get("name") == "DRRGHead":
        _provide("ppocr.ext_op", {"RoIAlignRotated": _no_operator})
        if importlib.util.find_spec("lanms") is None:
            _provide("lanms", {"merge_quadrangle_n9": _no_operator()})
    if backbone.get("name") == "PPLCNetV2_base":
        module: Any = importlib.import_module("ppocr.modeling.backbones.det_pp_lcnet_v2")
        module.PPLCNetV2._load_pretrained = lambda *_, **__: None


def _provide(name: str, content: Mapping[str, Any]) -> None:
    sys.modules[name] = module = types.ModuleType(name)
    vars(module).update(content)


def _no_operator(*_sizes: Any) -> Callable[..., Any]:
    """Return, in place of one of DRRG's compiled functions, what says that there is none."""

    def refuse(*_: Any) -> Any:
        raise NotImplementedError(
            "PaddleOCR's DRRG finds and joins its components by functions that are compiled with "
            "CUDA or come with lanms"
        )

    return refuse


@contextmanager
def as_expected() -> Iterator[None]:
    """Let Paddle do, while a network runs, what PaddleOCR's source expects of it.

    - SRN's encoders call the function `dropout` without saying that the network is in eval mode,
      and its default is to drop values. PaddleOCR's exports drop none.
    - PARSeq moves a tensor to the GPU, also where there is none; here it stays where it is.
    - CAN and SEED calculate with a tensor of real numbers and one of integers, which versions
      before 3 turned into the type of the first.
    """
    import paddle
    from paddle.nn import functional

    dropout: Any = functional.dropout

    def inference_dropout(
        x: Any, p: float = 0.5, axis: Any = None, _: bool = False, **options: Any
    ) -> Any:
        return dropout(x, p, axis, **{**options, "training": False})

    tensor: Any = paddle.Tensor
    with ExitStack() as stack:
        for owner, name, value in (
            (functional, "dropout", inference_dropout),
            (tensor, "cuda", lambda x, *_, **__: x),
            *((tensor, name, _of_first_type(tensor, name)) for name in _OPERATORS),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        yield


def _of_first_type(tensor: Any, name: str) -> Callable[[Any, Any], Any]:
    """Return an operator that turns integers into the type of real numbers before them."""
    operator = getattr(tensor, name)

    def calculate(first: Any, second: Any) -> Any:
        try:
            return operator(first, second)
        except TypeError:
            if not (isinstance(second, tensor) and second.is_integer()):
                raise
            return operator(first, second.astype(first.dtype))

    return calculate
