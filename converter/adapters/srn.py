"""SRN: positions of pixels and characters, and masks of the characters before and behind each."""

from __future__ import annotations

import numpy as np

from converter.adapters.base import HeadAdapter, positions


class SRNAdapter(HeadAdapter):
    """Our network computes all of them itself.

    Positions are (N, T, 1) int64: of the 8 x 8 pixels that one place of the feature map covers, and
    of the characters. Masks are (N, heads, T, T) float32, -1e9 where a character is hidden.
    """

    extra_inputs = (
        "encoder_word_pos",
        "gsrm_word_pos",
        "gsrm_slf_attn_bias1",
        "gsrm_slf_attn_bias2",
    )
    computed_inside = frozenset(extra_inputs)

    def extra_values(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return positions and masks; the first mask hides what follows a character."""
        length, heads = self.options.get("max_text_length", 25), self.options.get("num_heads", 8)
        places = image.shape[2] * image.shape[3] // 64
        following = np.triu(np.ones((length, length), np.float32), 1) * np.float32(-1e9)
        masks = np.tile(following, (len(image), heads, 1, 1))
        return {
            "encoder_word_pos": positions(image, places)[..., None],
            "gsrm_word_pos": positions(image, length)[..., None],
            "gsrm_slf_attn_bias1": masks,
            "gsrm_slf_attn_bias2": np.ascontiguousarray(masks.swapaxes(2, 3)),
        }
