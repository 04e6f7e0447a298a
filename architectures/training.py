"""Networks that can be trained: the training form, with the branches that only training runs.

In training mode a recogniser by CTC returns logits, and a detector by DB its three maps;
`losses.py` has the losses that take them.
"""

from __future__ import annotations

import copy

from torch import nn

from architectures.model import Model
from architectures.reparameterize import BATCH_NORMS
from architectures.unfuse import unfuse


def trainable(network: Model) -> Model:
    """Return a copy of a network in the training form, in eval mode, which computes the same.

    Branches that were merged cannot be recovered: one of each holds the kernel, and the others
    are zero. A branch of the head that was left out, such as DB's of thresholds, is initialised
    anew. Statistics of normalisations that were folded are lost, so keep those of such a network
    out of the training, as `train_mode` does.

    Args:
        network: a recogniser by CTC or a detector by DB, in any form.

    Raises:
        ValueError: another network, whose results in training are not defined here, or one whose
            training form cannot be made.
    """
    head = network.output_part
    if not head.loss:
        raise ValueError(
            f"there are losses for recognisers by CTC and detectors by DB, not for the head "
            f"{type(head).__name__}"
        )
    result = copy.deepcopy(network).eval() if network.form == "train" else unfuse(network)
    for branch in result.output_part.children():
        parameters = list(branch.parameters())
        if parameters and not any(parameter.any() for parameter in parameters):
            _initialise(branch)
    return result.requires_grad_(True)


def train_mode(network: nn.Module, *, norms: bool = False) -> None:
    """Put a network into training mode, its BatchNorms only if they are to learn statistics.

    Few images make poor statistics, so those of a converted network are better kept. Call it in
    place of `network.train()`, again after each `network.eval()`.

    Args:
        network: in the training form.
        norms: whether BatchNorms normalise by the images of each batch, and take their statistics.
    """
    network.train()
    if not norms:
        for module in network.modules():
            if isinstance(module, BATCH_NORMS):
                module.eval()


def _initialise(branch: nn.Module) -> None:
    """Initialise each layer of a branch as PyTorch does."""
    for module in branch.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, *BATCH_NORMS)):
            module.reset_parameters()
