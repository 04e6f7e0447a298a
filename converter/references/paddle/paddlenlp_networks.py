"""PaddleNLP's LayoutLM, LayoutLMv2 and LayoutXLM without the rest of PaddleNLP.

PaddleOCR's networks for key information are thin shells around them. The package asks for dozens of
others and fetches weights when a network is made; the files of these three networks need nothing
but Paddle. So they are loaded alone, from where `pip install --no-deps paddlenlp==2.5.2` put them,
and a network is made with the sizes of the weights that PaddleOCR would fetch, or with others.

Runs in Paddle's process; of the project it imports nothing.
"""

import importlib
import importlib.util
import sys
import types
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import yaml

NETWORKS = ("LayoutLMForSer", "LayoutLMv2ForSer", "LayoutLMv2ForRe", "LayoutXLMForSer",
            "LayoutXLMForRe")  # fmt: skip
"""PaddleOCR's backbones that are made of PaddleNLP's networks."""

_FAMILIES = ("layoutlm", "layoutlmv2", "layoutxlm")
_OF_VISUAL = {
    "depth": ("RESNETS", "DEPTH"),
    "groups": ("RESNETS", "NUM_GROUPS"),
    "group_width": ("RESNETS", "WIDTH_PER_GROUP"),
    "stem_channels": ("RESNETS", "STEM_OUT_CHANNELS"),
    "channels": ("RESNETS", "RES2_OUT_CHANNELS"),
    "out_channels": ("FPN", "OUT_CHANNELS"),
}
"""Where the configuration of the visual branch has the options that our networks call so."""


def provide(backbone: Mapping[str, Any]) -> None:
    """Make `import paddlenlp.transformers` give the networks, of the sizes of a backbone.

    Args:
        backbone: the section of an architecture; its `sizes` and `visual` replace PaddleNLP's.

    Raises:
        ImportError: PaddleNLP is not installed.
    """
    sizes, visual = (dict(backbone.get(key) or {}) for key in ("sizes", "visual"))
    spec = importlib.util.find_spec("paddlenlp")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            "PaddleOCR's networks for key information need the files of PaddleNLP: "
            "pip install --no-deps paddlenlp==2.5.2"
        )
    root = Path(next(iter(spec.submodule_search_locations)))
    for name in [name for name in sys.modules if name.partition(".")[0] == "paddlenlp"]:
        del sys.modules[name]
    top = _module("paddlenlp", root)
    transformers = _module("paddlenlp.transformers", root / "transformers")
    logs = _module("paddlenlp.utils.log")
    _module("paddlenlp.utils").log = logs  # type: ignore[attr-defined]
    logs.logger = types.SimpleNamespace(info=lambda *_: None)  # type: ignore[attr-defined]
    top.transformers = transformers  # type: ignore[attr-defined]
    transformers.PretrainedModel = _pretrained_model(sizes, visual)  # type: ignore[attr-defined]
    transformers.register_base_model = _register  # type: ignore[attr-defined]
    transformers.AutoModel = None  # type: ignore[attr-defined]  # newer PaddleOCR imports it only
    for family in _FAMILIES:
        _module(f"paddlenlp.transformers.{family}", root / "transformers" / family)
    configuration = root / "transformers/layoutxlm/visual_backbone.yaml"
    for family in _FAMILIES:
        modeling: Any = importlib.import_module(f"paddlenlp.transformers.{family}.modeling")
        if hasattr(modeling, "read_config"):
            modeling.read_config = lambda: _configuration(configuration, visual)
        for name in modeling.__all__:
            setattr(transformers, name, getattr(modeling, name))


def _module(name: str, folder: Path | None = None) -> types.ModuleType:
    """Return a new, empty module, importable by its name; with a folder, a package.

    It has a spec, by which the package is found again when networks of other sizes are asked for.
    """
    module = sys.modules[name] = types.ModuleType(name)
    module.__spec__ = ModuleSpec(name, None, is_package=folder is not None)
    if folder is not None:
        module.__path__ = module.__spec__.submodule_search_locations = [str(folder)]
    return module


def _register(base: Any) -> Any:
    """Note a network as the one that others of its family contain, as PaddleNLP's decorator."""
    base.__bases__[0].base_model_class = base
    return base


def _pretrained_model(sizes: Mapping[str, Any], visual: Mapping[str, Any]) -> type:
    """Return the base class of PaddleNLP's networks, which makes them instead of fetching them."""
    from paddle import nn

    class PretrainedModel(nn.Layer):
        @classmethod
        def from_pretrained(cls: Any, name: str, **options: Any) -> Any:
            """Return a network of the sizes that belong to the name of published weights."""
            stated = {**cls.pretrained_init_configuration[name], **sizes}
            if "coordinate_size" in stated:
                stated["coordinate_size"] = stated["hidden_size"] // 6
            if "out_channels" in visual:
                stated["image_feature_pool_shape"] = [7, 7, visual["out_channels"]]
            known = cls.base_model_class
            base = known(**stated)
            base.config = stated
            if "num_classes" not in options and "hidden_size" in sizes:
                options["hidden_size"] = sizes["hidden_size"]  # of the decoder of relations
            return cls(base, **options)

    return PretrainedModel


def _configuration(file: Path, visual: Mapping[str, Any]) -> Any:
    """Return the configuration of the visual branch, its sections as attributes."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    for name, value in visual.items():
        section, key = _OF_VISUAL[name]
        content["MODEL"][section][key] = value
    return _namespace(content)


def _namespace(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return types.SimpleNamespace(**{str(key): _namespace(item) for key, item in value.items()})
