"""The head of PP-FormulaNet: mBART's decoder, which may write several tokens at a time.

PP-FormulaNet, https://arxiv.org/abs/2503.18382; PaddleOCR:
`ppocr/modeling/heads/rec_ppformulanet_head.py`.
"""

from __future__ import annotations

from architectures.heads._mbart import VOCABULARY, MBartDecoder, MBartForCausalLM, MBartHead


class PPFormulaNet_Head(MBartHead):  # noqa: N801, PaddleOCR's name
    """mBART's decoder for formulas, `parallel_step` tokens at a time if `use_parallel`.

    `vocab_size` is 50000 in all that PaddleOCR builds.
    """

    def __init__(
        self,
        in_channels: int,
        max_new_tokens: int = 1536,
        encoder_hidden_size: int = 1024,
        decoder_hidden_size: int = 1024,
        decoder_ffn_dim: int = 4096,
        decoder_layers: int = 8,
        use_parallel: bool = False,
        parallel_step: int = 3,
        vocab_size: int = VOCABULARY,
    ) -> None:
        step = parallel_step if use_parallel else 1
        decoder = MBartDecoder(
            vocab_size,
            max_new_tokens + (parallel_step if use_parallel else 0),
            decoder_hidden_size,
            decoder_ffn_dim,
            decoder_layers,
        )
        super().__init__(
            in_channels, MBartForCausalLM(decoder), encoder_hidden_size, max_new_tokens, step
        )
