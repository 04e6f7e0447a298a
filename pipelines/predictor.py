"""The part that all predictors share: how the network is loaded and its settings are merged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pipelines.runtime import NetworkSource, as_network
from pipelines.validation import card_of, changed_settings, stated_settings
from schemas.artefact import ArtefactCard
from schemas.checks import Check


class Predictor:
    """A network with its pre- and post-processing; a subclass adds both and `__call__`.

    Attributes:
        task: the task that the weights' card has to state; networks without a card pass.
        title: the kind of network, with its article, for error messages.
        network: runs a batch.
        card: the description beside the weights, empty for a network without one.

    Args:
        network: converted weights, a network, or a callable.
        device: cpu, cuda, cuda:N or mps.
        half: compute in half precision: bfloat16 on a CPU, float16 elsewhere.
        compile: compile the network, which is then faster (`TorchNetwork`).

    Raises:
        SettingsError: the weights are of another task.
        DeviceError: the device is not available, or has no half precision.
    """

    task: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self,
        network: NetworkSource,
        *,
        device: str = "cpu",
        half: bool = False,
        compile: bool = False,
    ) -> None:
        self.network = as_network(network, device, half=half, compile=compile)
        self.card: ArtefactCard = card_of(self.network, self.task, self.title)

    def _merge_settings(
        self, checks: Mapping[str, Check], changes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the settings that the card states, replaced by the caller's changes.

        Args:
            checks: the settings of this predictor, by name.
            changes: the caller's values; None leaves a setting as the card states it.

        Raises:
            SettingsError: a change is not a setting of this predictor.
        """
        return stated_settings(self.card, checks) | changed_settings(changes, checks, self.title)
