"""Blocks that several networks share; differences between Paddle and PyTorch, each explained once.

Hard sigmoid
    `min(max(slope * x + 1/2, 0), 1)`. PyTorch's has the fixed slope 1/6, which is also the default
    of Paddle's layer; PaddleOCR's MobileNetV3 and its RSEFPN call Paddle's function with slope 0.2
    instead (`SqueezeExcite`).
Hard swish
    `x * min(max(x + 3, 0), 6) / 6` in both frameworks.
BatchNorm
    eps is 1e-5 in both. Paddle's older class can hold an activation, `BatchNorm(act="relu")`, which
    is then part of the layer's output (`BatchNormAct`). Paddle has no `num_batches_tracked`.
Embedding
    Paddle's gives zeros for `padding_idx` and ignores that row of its weight; PyTorch's only
    keeps the row out of training (`PaddedEmbedding`).
Linear
    Paddle stores `[in, out]`, PyTorch `[out, in]`; the modules here hold PyTorch's layout.
Grid sample
    -1 and 1 mean the middles of the outermost pixels in Paddle, their outer edges in PyTorch: both
    call it `align_corners`, but its default is True in the one, False in the other.
LSTM
    Gate order and tensor names agree; Paddle lists every tensor a second time under `0.cell_fw.…`.
"""
