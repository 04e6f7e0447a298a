"""What networks are fed beside the image, and what PaddleOCR's own networks are fed in all.

PaddleOCR computes these from the image or from its options before the network runs; some of them,
positions and masks that shapes alone decide, our networks compute inside. At the proof lines fill
the whole image, so that ratios and masks are ones.

Also imported where Paddle runs, so nothing here may import PyTorch before it is asked to run it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.adapters.priming import rehearse

if TYPE_CHECKING:
    from torch import Tensor

    from architectures import Model

# What PaddleOCR's network takes beside the image, in its order, by the name of its head.
FED: Mapping[str, tuple[str, ...]] = {
    "CANHead": ("image_mask", "label"),
    "RobustScannerHead": ("valid_ratio", "word_positions"),
    "SARHead": ("valid_ratio",),
    "SRNHead": (
        "encoder_word_pos", "gsrm_word_pos", "gsrm_slf_attn_bias1", "gsrm_slf_attn_bias2",
    ),
}  # fmt: skip

# What a record of a network also holds: tokens that its decoder is told.
TOLD: Mapping[str, tuple[str, ...]] = {
    "LaTeXOCRHead": ("teacher_tokens",),
    "PPFormulaNet_Head": ("teacher_tokens", "causal_tokens"),
    "UniMERNetHead": ("teacher_tokens", "causal_tokens"),
}
DECODED = 16  # tokens that a record's loop decodes at most

# What of it follows from shapes alone: our networks take none of these.
INSIDE = frozenset({
    "encoder_word_pos", "gsrm_slf_attn_bias1", "gsrm_slf_attn_bias2", "gsrm_word_pos",
    "word_positions",
})  # fmt: skip

Maker = Callable[[np.ndarray, Mapping[str, Any]], np.ndarray]
Run = Callable[["Model", "Tensor"], Any]


def _valid_ratio(image: np.ndarray, _: Mapping[str, Any]) -> np.ndarray:
    return np.ones(len(image), np.float32)


def _image_mask(image: np.ndarray, _: Mapping[str, Any]) -> np.ndarray:
    return np.ones_like(image[:, :1])


def _mask_of_padding(image: np.ndarray) -> np.ndarray:
    mask = np.ones_like(image[:, :1])
    mask[-1, :, :, image.shape[3] * 3 // 4 :] = 0
    return mask


def _falling_ratio(image: np.ndarray) -> np.ndarray:
    return np.linspace(1.0, 0.55, len(image)).astype(np.float32)


def _label(image: np.ndarray, head: Mapping[str, Any]) -> np.ndarray:
    """Only its length tells something: how many characters are decoded."""
    return np.ones((len(image), head.get("max_text_length", 36)), np.int64)


def _positions(image: np.ndarray, count: int) -> np.ndarray:
    return np.tile(np.arange(count, dtype=np.int64), (len(image), 1))


def _word_positions(image: np.ndarray, head: Mapping[str, Any]) -> np.ndarray:
    return _positions(image, head.get("max_text_length", 40))


def _encoder_word_pos(image: np.ndarray, _: Mapping[str, Any]) -> np.ndarray:
    return _positions(image, image.shape[2] * image.shape[3] // 64)[..., None]


def _gsrm_word_pos(image: np.ndarray, head: Mapping[str, Any]) -> np.ndarray:
    return _positions(image, head.get("max_text_length", 25))[..., None]


def _hidden(image: np.ndarray, head: Mapping[str, Any]) -> np.ndarray:
    """Hide what comes after each character."""
    length, heads = head.get("max_text_length", 25), head.get("num_heads", 8)
    above = np.triu(np.ones((length, length), np.float32), 1) * np.float32(-1e9)
    return np.tile(above, (len(image), heads, 1, 1))


def _hidden_before(image: np.ndarray, head: Mapping[str, Any]) -> np.ndarray:
    return np.ascontiguousarray(_hidden(image, head).swapaxes(2, 3))


_MAKERS: Mapping[str, Maker] = {
    "encoder_word_pos": _encoder_word_pos,
    "gsrm_slf_attn_bias1": _hidden,
    "gsrm_slf_attn_bias2": _hidden_before,
    "gsrm_word_pos": _gsrm_word_pos,
    "image_mask": _image_mask,
    "label": _label,
    "valid_ratio": _valid_ratio,
    "word_positions": _word_positions,
}


# What lines that do not fill the image are given, in records: a rule in words, and the values.
_RECORDED: Mapping[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "image_mask": ("ones; zeros in the right quarter of the last sample", _mask_of_padding),
    "valid_ratio": ("from 1.0 to 0.55", _falling_ratio),
}


def _told(name: str, image: np.ndarray, head: Mapping[str, Any]) -> np.ndarray:
    """Tokens that mean something, behind the start token."""
    random = np.random.default_rng(len(name))
    start = 1 if head["name"] == "LaTeXOCRHead" else 0
    tokens = random.integers(
        3, head.get("vocab_size", head.get("num_tokens", 4000)), (len(image), 12)
    )
    tokens[:, 0] = start
    return tokens


def head_of(architecture: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an architecture's Head; that of a network without is empty."""
    return architecture.get("Head") or {}


def made(name: str, image: np.ndarray, architecture: Mapping[str, Any]) -> np.ndarray:
    """Return a further input for lines that fill the image, (N, C, H, W) float32."""
    return _MAKERS[name](image, head_of(architecture))


def fed_to_paddle(image: np.ndarray, architecture: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return what PaddleOCR's network takes, in its order, the image first, as `x`."""
    names = FED.get(head_of(architecture).get("name", ""), ())
    return {"x": image, **{name: made(name, image, architecture) for name in names}}


def fed_to_record(
    image: np.ndarray, architecture: Mapping[str, Any]
) -> dict[str, tuple[str, np.ndarray]]:
    """Return what PaddleOCR's network takes beside the image where it is recorded, and the rules.

    Where that says how much of a line is padding, lines have some: ones alone would prove little.
    """
    _, *names = fed_to_paddle(image, architecture)
    found = {}
    for name in names:
        if name in _RECORDED:
            words, make = _RECORDED[name]
            found[name] = (f"stored: {words}", make(image))
        else:
            found[name] = ("stored: as at inference", made(name, image, architecture))
    for name, array in told_to_decoder(image, architecture).items():
        found[name] = ("stored: a start token, then others", array)
    return found


def told_to_decoder(image: np.ndarray, architecture: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the tokens that a decoder is told where all its layers are to run but once."""
    head = head_of(architecture)
    return {name: _told(name, image, head) for name in TOLD.get(head.get("name", ""), ())}


def given_to(network: Model, image: Tensor) -> dict[str, Tensor]:
    """Return what our network takes beside the image, by name."""
    import torch

    taken: tuple[str, ...] = getattr(network, "extra_inputs", ())  # other modules are run as well
    return {
        name: torch.from_numpy(made(name, image.numpy(), network.architecture)) for name in taken
    }


def infer(network: Model, image: Tensor) -> Any:
    """Run a network as inference does; layers are noted in their first calls, so rehearse it."""
    given = given_to(network, image)
    rehearse(network, image, given)
    return network(image, **given)
