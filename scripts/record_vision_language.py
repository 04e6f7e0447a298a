"""Record what PaddleX's vision-language networks compute, to check a conversion without Paddle.

    python scripts/record_vision_language.py NAME [--out DIR]

Writes DIR/NAME.json and DIR/NAME.npz, which `converter.references.recorded.vision_language` reads.
The networks are small, and their weights are seeded by their names. PaddleX is imported with all
that it needs: version 3.7.2 for the networks of Qwen2-VL and Qwen2.5-VL, version 3.3.0 for
PP-Chart2Table, whose later class has names that its released checkpoint has not.

Paddle runs in this process, so nothing here may import PyTorch.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from converter.references.recorded.vision_language import (
    FOLDER,
    Question,
    VisionLanguageRecord,
    write,
)
from converter.references.seeded import seeded_weight

MODELS = "paddlex.inference.models.doc_vlm.modeling"
SMALL = -9  # exponent: what is embedded has a variance near the epsilon of the normalisations
IMAGE, VIDEO, START, END = 90, 91, 88, 89  # tokens
FRAMES = 2  # in a patch
PATCH = 4  # pixels in height and width

TEXT: Mapping[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 96,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000.0,
    "use_cache": False,
}
PATCHES: Mapping[str, Any] = {
    "in_channels": 3,
    "patch_size": PATCH,
    "temporal_patch_size": FRAMES,
    "spatial_merge_size": 2,
}
MULTIMODAL: Mapping[str, Any] = {
    **TEXT,
    "rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 3]},
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "vision_start_token_id": START,
    "vision_end_token_id": END,
}
QWEN2_VL: Mapping[str, Any] = {
    **MULTIMODAL,
    "model_type": "qwen2_vl",
    "vision_config": {
        **PATCHES,
        "depth": 2,
        "embed_dim": 32,
        "num_heads": 2,
        "hidden_size": 48,
        "mlp_ratio": 2,
    },
}
QWEN2_5_VL: Mapping[str, Any] = {
    **MULTIMODAL,
    "model_type": "qwen2_5_vl",
    "tie_word_embeddings": True,
    "vision_config": {
        **PATCHES,
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_heads": 2,
        "out_hidden_size": 48,
        "window_size": 16,
        "fullatt_block_indexes": [1],
        "added_block_index": 1,
    },
}
CHART: Mapping[str, Any] = {
    **TEXT,
    "model_type": "GOT",
    "num_key_value_heads": 4,
    "tie_word_embeddings": True,
    "im_patch_token": IMAGE,
    "image_seq_length": 4,
    "vision_config": {
        "hidden_size": 32,
        "output_channels": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 4,
        "window_size": 3,
        "global_attn_indexes": [1],
        "mlp_dim": 64,
    },
}
CHART_TOKENS = {IMAGE: 151859, START: 151857, END: 151858}  # constants of PaddleX's code

Run = Callable[[Question], Any]
"""Computes the logits of a question."""


def main(argv: Sequence[str] | None = None) -> int:
    """Record one network and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=NETWORKS, metavar="NAME", help=", ".join(NETWORKS))
    parser.add_argument(
        "--out", type=Path, default=FOLDER, metavar="DIR", help="folder to write to"
    )
    options = parser.parse_args(argv)
    record = NETWORKS[options.name]()
    write(options.name, record, options.out)
    for question, logits in record.answers():
        print(f"{question.name}: logits {logits.shape}, standard deviation {logits.std():.3f}")
    return 0


def qwen2_vl() -> VisionLanguageRecord:
    """Record the network of PP-DocBee-7B, whose last layer is not its embedding."""
    return _qwen2_vl({**QWEN2_VL, "tie_word_embeddings": False})


def qwen2_vl_tied() -> VisionLanguageRecord:
    """Record the network of PP-DocBee-2B, whose last layer is its embedding."""
    return _qwen2_vl({**QWEN2_VL, "tie_word_embeddings": True})


def _qwen2_vl(config: Mapping[str, Any]) -> VisionLanguageRecord:
    module = import_module(f"{MODELS}.qwen2_vl")
    network = module.PPDocBeeInference(_configured(module.Qwen2VLConfig, config))
    return _recorded(network, config, *_multimodal(network, ()))


def qwen2_5_vl() -> VisionLanguageRecord:
    """Record the network of PP-DocBee2-3B."""
    module = import_module(f"{MODELS}.qwen2_5_vl")
    vision = module.PPDocBee2TransformerPretrainedModel
    vision.layer_idx = QWEN2_5_VL["vision_config"]["added_block_index"]
    network = module.PPDocBee2Inference(_configured(module.Qwen2_5_VLConfig, QWEN2_5_VL))
    windows = network.visual.get_window_index
    # Paddle 3.3 pads by numbers alone, not by tensors of one.
    network.visual.get_window_index = lambda grids: windows(grids.numpy())
    tokens_per_second = network.config.vision_config.tokens_per_second
    return _recorded(network, QWEN2_5_VL, *_multimodal(network, (tokens_per_second,)))


def pp_chart2table() -> VisionLanguageRecord:
    """Record the network of PP-Chart2Table, under the names of its released checkpoint."""
    import paddle
    from paddle import nn

    module = import_module(f"{MODELS}.GOT_ocr_2_0")
    network = module.PPChart2TableInference(_configured(module.GOTConfig, CHART))
    inner, vision = network.qwen2, CHART["vision_config"]
    size, channels, width = vision["image_size"], vision["output_channels"], CHART["hidden_size"]
    # The sizes of these layers are constants of PaddleX's code.
    inner.vision_tower_high = module.ImageEncoderViT(
        img_size=size,
        patch_size=vision["patch_size"],
        embed_dim=vision["hidden_size"],
        depth=vision["num_hidden_layers"],
        num_heads=vision["num_attention_heads"],
        mlp_ratio=vision["mlp_dim"] / vision["hidden_size"],
        out_chans=channels,
        norm_layer=lambda width: nn.LayerNorm(width, epsilon=1e-6),
        use_rel_pos=True,
        window_size=vision["window_size"],
        global_attn_indexes=vision["global_attn_indexes"],
    )
    half: dict[str, Any] = {"kernel_size": 3, "stride": 2, "padding": 1, "bias_attr": False}
    inner.vision_tower_high.net_2 = nn.Conv2D(channels, 2 * channels, **half)
    inner.vision_tower_high.net_3 = nn.Conv2D(2 * channels, width, **half)
    inner.mm_projector_vary = nn.Linear(width, width)
    places = (size // vision["patch_size"] // 4) ** 2

    def sentence(*last: int) -> tuple[int, ...]:
        return (1, 2, START, *[IMAGE] * places, END, *last)

    questions = (
        Question("one", (sentence(5, 6, 7),), (1, 3, size, size)),
        Question("two", (sentence(11, 12), sentence(13, 14)), (2, 3, size, size)),
    )

    def run(question: Question) -> Any:
        tokens = np.array(question.tokens)
        known = np.vectorize(lambda token: CHART_TOKENS.get(token, token))(tokens)
        images = paddle.to_tensor(question.pixel_values()).unsqueeze(1)
        return network(
            input_ids=paddle.to_tensor(known),
            inputs_embeds=inner.embed_tokens(paddle.to_tensor(tokens)),
            images=list(images),
            return_dict=True,
        ).logits

    return _recorded(network, CHART, questions, run)


NETWORKS: Mapping[str, Callable[[], VisionLanguageRecord]] = {
    "qwen2_vl": qwen2_vl,
    "qwen2_vl_tied": qwen2_vl_tied,
    "qwen2_5_vl": qwen2_5_vl,
    "pp_chart2table": pp_chart2table,
}


def _configured(kind: Any, config: Mapping[str, Any]) -> Any:
    """Return a configuration of PaddleX's, in float32."""
    entries = copy.deepcopy(dict(config))
    vision = entries.get("vision_config")
    if vision is not None:
        vision["dtype"] = "float32"
    return kind(**entries, dtype="float32")


def _multimodal(network: Any, more: tuple[int, ...]) -> tuple[tuple[Question, ...], Run]:
    """Return questions for a network that takes images of any size, and what runs it.

    Args:
        network: PaddleX's.
        more: what its rule of positions takes beside the tokens.
    """
    import paddle

    def asked(name: str, *grids: tuple[int, int, int]) -> Question:
        tokens = [1, 2]
        for number, (_, rows, columns) in enumerate(grids):
            tokens += [START, *[IMAGE] * (rows * columns // 4), END, 5 + number]
        patches = sum(rows * columns for _, rows, columns in grids)
        pixels = (patches, 3 * FRAMES * PATCH**2)
        return Question(name, ((*tokens, 20, 21),), pixels, grids)

    def run(question: Question) -> Any:
        tokens = paddle.to_tensor(np.array(question.tokens))
        grids = paddle.to_tensor(np.array(question.grids))
        read = paddle.ones(tokens.shape, dtype="int64")
        positions, _ = network.get_rope_index(
            PATCHES["spatial_merge_size"],
            *(IMAGE, VIDEO, START, *more),
            input_ids=tokens,
            image_grid_thw=grids,
            attention_mask=read,
        )
        return network(
            input_ids=tokens,
            attention_mask=read.astype("bool"),
            position_ids=positions,
            pixel_values=paddle.to_tensor(question.pixel_values()),
            image_grid_thw=grids,
        ).logits

    return (asked("one", (1, 8, 12)), asked("two", (1, 6, 10), (1, 4, 8))), run


def _recorded(
    network: Any, config: Mapping[str, Any], questions: tuple[Question, ...], run: Run
) -> VisionLanguageRecord:
    """Give a network its seeded weights, and record what it answers."""
    import paddle

    network.eval()
    first: dict[int, str] = {}
    parameters, aliases = {}, {}
    for name, tensor in network.state_dict().items():
        if (of := first.setdefault(id(tensor), name)) != name:
            aliases[name] = of
            continue
        embedded = "patch_embed" in name or "embed_tokens" in name or "pos_embed" in name
        shape, exponent = tuple(tensor.shape), SMALL if embedded else 0
        parameters[name] = (shape, exponent)
        tensor.set_value(seeded_weight(0, name, shape, exponent))
    with paddle.no_grad():
        logits = {question.name: run(question).numpy() for question in questions}
    return VisionLanguageRecord(
        network=type(network).__name__,
        paddlex=import_module("paddlex").__version__,
        paddle=version("paddlepaddle"),
        config=config,
        parameters=parameters,
        aliases=aliases,
        questions=questions,
        logits=logits,
    )


if __name__ == "__main__":
    raise SystemExit(main())
