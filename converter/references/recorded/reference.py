"""Records of what PaddleOCR's own networks computed, for proof without Paddle.

A record is a folder with `reference.json` and `outputs.npz`: an architecture, a rule that makes
every weight and input from its name, and what Paddle then computed: outputs, and for every layer
its statistics and eight values. It proves an architecture and its mapping, for every checkpoint of
that architecture.
"""

from __future__ import annotations

import copy
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import architectures
from architectures import registry
from architectures.layers.conv import BatchNormAct
from architectures.model import FORMS, Model
from converter.adapters.running import record_run
from converter.alignment.trace import OUTPUT
from converter.catalog import cards as catalog
from converter.catalog.custom import similar
from converter.errors import ConfigError, PlanError, SourceError
from converter.mapping import apply as convert
from converter.mapping.plan import Plan, Signature, resolve, targets_of
from converter.mapping.rules import load_mapping
from converter.parity import noise
from converter.parity.comparison import INNER, INTEGERS, LIMIT, Comparison
from converter.parity.layerwise import Pair, Run, SampledTensor, SideBySide, failed
from converter.references import seeded
from converter.references.hooks import by_our_names, folded_into, observe, results_of
from converter.references.recorded.compare import compare_output
from converter.references.seeded import RULE, seeded_weight

T = TypeVar("T")

SHIPPED = Path(__file__).parents[3] / "records"

_KEYS = {"rule", "salt", "architecture", "parameters", "inputs", "outputs", "trace", "aliases"}
# What reading a damaged archive or JSON raises.
_DAMAGE = (
    OSError, ValueError, TypeError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """One record, its JSON as `facts` and the arrays of its npz."""

    name: str
    facts: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    def weights(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Return the seeded weights in Paddle's names and layouts, second names included."""
        salt = self.facts["salt"]
        made = {
            name: seeded_weight(salt, name, tuple(shape), exponent)
            for name, shape, _, exponent in self.facts["parameters"]
            if name.startswith(prefix)
        }
        return made | {second: made[of] for second, of in self.facts["aliases"] if of in made}

    def inputs(self) -> dict[str, np.ndarray]:
        """Return the inputs by name, in the order in which Paddle's network takes them."""
        return {row[0]: self._input(*row) for row in self.facts["inputs"]}

    def _input(self, name: str, shape: list[int], dtype: str, rule: str) -> np.ndarray:
        salt = self.facts["salt"]
        if rule.startswith("stored"):
            return self.arrays[f"input:{name}"].astype(dtype).reshape(shape)
        if rule in seeded.IMAGES:
            return seeded.IMAGES[rule](salt, name, tuple(shape))
        raise SourceError(f"record {self.name}: unknown rule {rule!r} for the input {name}")


def read_record(folder: Path) -> Record:
    """Read a record.

    Raises:
        SourceError: a file is missing or damaged.
    """
    try:
        facts = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
        with np.load(folder / "outputs.npz", allow_pickle=False) as archive:
            arrays = dict(archive)
        missing = _KEYS - set(facts)
    except _DAMAGE as error:
        raise SourceError(f"{folder} is not a recorded reference: {error}") from error
    if missing:
        raise SourceError(f"{folder}/reference.json lacks {', '.join(sorted(missing))}")
    if facts["rule"] != RULE:
        raise SourceError(
            f"{folder} has weights by rule {facts['rule']!r}; this version knows rule {RULE}"
        )
    return Record(folder.name, facts, arrays)


def find_records(folder: Path, only: str = "") -> list[Path]:
    """Return the folders of all records under `folder` whose names match `only`, sorted."""
    found = [path.parent for path in folder.glob("*/reference.json")]
    return sorted(path for path in found if re.search(only, path.name))


def shipped_record(name: str) -> Record | None:
    """Return a record that comes with the project, or None."""
    folder = SHIPPED / name
    return read_record(folder) if (folder / "reference.json").is_file() else None


def subjects(
    record: Record, form: str = "train"
) -> Iterator[tuple[RecordedReference, Model, Plan]]:
    """Yield each network of a record in that form, what it is compared with, and its plan."""
    for prefix, architecture in networks(record.facts["architecture"]):
        network, plan = build(record, prefix, architecture)
        names = _layers(record, prefix, network, plan)
        if FORMS.index(form) > FORMS.index(network.form):
            network = architectures.fuse(network, form)
        yield RecordedReference(record, prefix, names), network, plan


def build(record: Record, prefix: str, architecture: Mapping[str, Any]) -> tuple[Model, Plan]:
    """Return one network of a record with its weights, and the plan that put them there."""
    weights = {name.removeprefix(prefix): a for name, a in record.weights(prefix).items()}
    if _is_paddlex(architecture):
        network, mapping = _paddlex_network(architecture["algorithm"], weights)
    else:
        card = similar(architecture)
        mapping = card.mapping
        beyond = registry.scored_beyond(architecture)
        counts = {
            count: len(weights[name]) - beyond
            for count, name in card.class_counts.items()
            if name in weights
        }
        network = architectures.build(architecture, class_counts=counts)
    targets = targets_of(network)
    signatures = {name: Signature(a.shape, str(a.dtype)) for name, a in weights.items()}
    plan = resolve(load_mapping(mapping), signatures, targets)
    network.load_state_dict(convert.apply(plan, weights, targets), strict=True)
    return network.eval(), plan


def _is_paddlex(architecture: Mapping[str, Any]) -> bool:
    """Return whether a network is one of PaddleX's own: those are classes, not compositions."""
    return "class" in architecture


def _paddlex_network(name: str, weights: Mapping[str, np.ndarray]) -> tuple[Model, str]:
    """Return our network for PaddleX's of a released model, and the mapping between the two."""
    card = catalog.card(name)
    if (theirs := card.paddlex) is None:
        raise ConfigError(f"the config of {name} does not say how PaddleX's network becomes ours")
    if missing := [tensor for tensor in theirs.class_counts.values() if tensor not in weights]:
        raise PlanError(f"PaddleX's {name} has no {missing[0]}, which tells the class count")
    counts = {count: len(weights[tensor]) for count, tensor in theirs.class_counts.items()}
    architecture = {**catalog.without_class_counts(card.architecture), **theirs.architecture}
    network = architectures.build(architecture, class_counts=counts, form=theirs.form)
    return network, theirs.mapping


def _layers(record: Record, prefix: str, network: Model, plan: Plan) -> dict[str, str]:
    """Return our name of each layer in the trace: PaddleX's are those that the plan takes there.

    Where PaddleX has an activation apart that ours has in the BatchNorm, the two are not the same.
    """
    traced = [row[0] for row in record.facts["trace"] if row[0].startswith(prefix)]
    if not _is_paddlex(record.facts["architecture"]):
        return {name: name.removeprefix(prefix) for name in traced}
    ours = {
        source.rpartition(".")[0]: move.target.rpartition(".")[0]
        for move in plan.moves
        for source in move.sources
    }
    activated = {name for name, m in network.named_modules() if isinstance(m, BatchNormAct)}
    return {name: ours.get(name, name) for name in traced if ours.get(name) not in activated}


def networks(architecture: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the prefix and the architecture of each network that a record holds."""
    if "Models" in architecture:
        for name, part in architecture["Models"].items():
            yield f"{name}.", part
    else:
        yield "", architecture


class RecordedReference:
    """Compares one network of a record with what Paddle computed for it.

    Args:
        record: the record.
        prefix: what the network's names begin with there, where it holds several.
        names: our name of each layer in the trace that is compared.
    """

    kind = "recorded"

    def __init__(self, record: Record, prefix: str, names: Mapping[str, str]) -> None:
        self.record, self.prefix, self.names = record, prefix, names
        (_, self.image), *given = record.inputs().items()
        self.given = dict(given)

    def compare(self, network: Model, batch: np.ndarray, limit: float) -> list[Comparison]:
        """Compare the outputs, the logits, and the first layer at fault, else the nearest to it."""
        return self.compare_all(self.layers(network, batch), limit)

    def compare_all(self, sides: SideBySide, limit: float) -> list[Comparison]:
        """Do what `compare` does, for a network that was run already."""
        comparisons = []
        rows = self.results(sides.outputs)
        for name, row in rows.items():
            ours, grown = sides.outputs.get(name), sides.noises.get(name)
            comparisons += compare_output(
                self.record.arrays, row, ours, grown, limit, self.image.shape
            )
        layers = sides.comparisons(limit)
        found = {pair.name: layer for layer, pair in zip(layers, sides.pairs, strict=True)}
        logits = [
            found.get(name) or failed(self.prefix + name, self.image.shape, [], 0.0, limit,
                                      "the record has no such layer")
            for name in sides.network.logits_layers
        ]  # fmt: skip
        unproved = [
            failed(self.prefix + name, self.image.shape, array.shape, 0.0, limit,
                   "the record has no such result")
            for name, array in sides.outputs.items() if name not in rows
        ]  # fmt: skip
        faulty = [layer for layer in layers if layer.fault][:1]
        nearest = sorted(layers, key=lambda layer: layer.difference / layer.limit)[-1:]
        return [*comparisons, *dict.fromkeys([*logits, *unproved, *(faulty or nearest)])]

    def results(self, ours: Iterable[str]) -> dict[str, list[Any]]:
        """Return the row of each recorded result of this network, by our name of it.

        A result that is the only one may have any name in the record; those of a tuple have none.
        """
        place = self.prefix.rstrip(".") + "/"
        rows = {
            row[0].removeprefix(place): row
            for row in self.record.facts["outputs"]
            if "/" not in row[0] or row[0].startswith(place)
        }
        if len(rows) == 1:
            return dict(zip([OUTPUT], rows.values(), strict=True))
        return by_our_names({f"{OUTPUT}.{name}": row for name, row in rows.items()}, ours)

    def layers(self, network: Model, batch: np.ndarray) -> SideBySide:
        """Return the layers of both sides in the order in which Paddle ran them."""
        facts, rows = self.record.facts, self.record.arrays["trace"]
        run = record_run(network, self.given)
        watched = partial(observe, network, names=self.names.values(), run=run)
        actual = watched(batch)
        noisy = noise.is_noisy(network, facts, LIMIT)
        noises = noise.measure(network, watched, batch, actual) if noisy else {}
        if noises and any(array.dtype.kind in INTEGERS for array in results_of(actual).values()):
            actual.update(self._exact_integers(network, batch, run))
        altered = set(folded_into(network).values())
        complete = network.form == "train" or _is_paddlex(facts["architecture"])
        pairs = []
        lost = False
        for row, (name, _, calls, shape) in zip(rows, facts["trace"], strict=True):
            lost = lost or bool(np.isnan(row).all())
            ours = self.names.get(name)
            if ours is None or ours in altered:
                continue
            module = _first_output(actual, ours)
            if calls > 1 and not row.any() and module is not None and not module.any():
                continue  # its first step is on zeros, as ours is; the results tell of the others
            # Deployed networks lack the branches that were merged, but never the logits.
            if module is not None or complete or ours in network.logits_layers:
                # What is computed of a map's means is small where they cancel out; its rounding is
                # not.
                slack = INNER if module is not None and shape[2:] == [1, 1] else 1.0
                expected = SampledTensor(tuple(shape), row, _first_output(noises, ours), lost)
                pairs.append(Pair(ours, name, expected, module, slack))
        return SideBySide(network, batch, tuple(pairs), results_of(actual), run, noises)

    @staticmethod
    def _exact_integers(network: Model, batch: np.ndarray, run: Run) -> dict[str, np.ndarray]:
        """Return those of the results that are integers, decided in double precision.

        Where rounding closes the gap between two choices, another machine takes the other.
        """
        exact = copy.deepcopy(network).double()
        results = results_of(observe(exact, batch.astype(np.float64), (), run))
        return {name: array for name, array in results.items() if array.dtype.kind in INTEGERS}


def _first_output(actual: Mapping[str, T], name: str) -> T | None:
    """Return what is known of a layer's output; of several outputs (an LSTM's) the first."""
    return actual.get(name, actual.get(f"{name}.0"))
