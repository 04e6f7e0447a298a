"""PP-DocBee2 for HF Transformers: Qwen2.5-VL that adds an inner block's result to the last one's.

This file lies in the folder of the weights, for `from_pretrained(FOLDER, trust_remote_code=True)`.

Source: PaddleX, inference/models/doc_vlm/modeling/qwen2_5_vl.py, PPDocBee2Inference.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
)


class PPDocBee2Config(Qwen2_5_VLConfig):  # type: ignore[misc]
    """The configuration; `added_block_index` of its `vision_config` is the block that is added."""

    model_type = "pp_docbee2"


class PPDocBee2VisionTransformer(Qwen2_5_VisionTransformerPretrainedModel):  # type: ignore[misc]
    """The vision network: its merger gets the sum of two blocks' results."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        if not 0 <= config.added_block_index < config.depth:
            raise ValueError(
                f"added_block_index is {config.added_block_index}, of {config.depth} blocks"
            )

    def forward(self, hidden_states: torch.Tensor, grid_thw: torch.Tensor, **kwargs: Any) -> Any:
        """Return the features of images.

        Args:
            hidden_states: the pixel values of patches, (P, C * F * H * W).
            grid_thw: frames, rows and columns of patches of each image, (N, 3).
            kwargs: those of the network of Qwen2.5-VL.
        """
        kept: list[torch.Tensor] = []
        block = self.blocks[self.config.added_block_index]
        hooks = (
            block.register_forward_hook(lambda _, __, result: kept.append(result)),
            self.merger.register_forward_pre_hook(lambda _, given: (given[0] + kept[0],)),
        )
        try:
            return super().forward(hidden_states, grid_thw, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()


class PPDocBee2ForConditionalGeneration(Qwen2_5_VLForConditionalGeneration):  # type: ignore[misc]
    """The network of PP-DocBee2."""

    config_class = PPDocBee2Config

    def __init__(self, config: PPDocBee2Config) -> None:
        super().__init__(config)
        self.model.visual = PPDocBee2VisionTransformer._from_config(config.vision_config)
