"""`diagnose` from files: convert without writing, or take what was written, and compare all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from converter.conversion.steps import Conversion, Request, card_of, opened
from converter.diagnosis.check import check
from converter.diagnosis.examination import Examination
from converter.diagnosis.explain import diagnose
from converter.errors import AlignmentError, SourceError, UsageError

if TYPE_CHECKING:
    from architectures import Model
    from converter.conversion.candidates import Candidate
    from converter.references.base import Reference


def examine(request: Request, weights: Path | None = None) -> Examination:
    """Compare a model with its reference, layer by layer; nothing is written.

    Args:
        request: which model, and what it is compared with.
        weights: an artefact to look at in place of the network as it is converted now.

    Raises:
        ConverterError: the files cannot be read, planned or compared.
    """
    if request.reference == "none":
        raise UsageError("diagnose compares with a reference: choose another than none")
    card = card_of(request)
    with opened(request, card) as conversion:
        candidate = _settled(conversion)
        for reference, network, batches in _subjects(conversion, candidate, weights):
            found = _examined(request, conversion, reference, network, batches, candidate)
            if not found.agrees:
                break
        return found


def _settled(conversion: Conversion) -> Candidate:
    """Return the candidate that a live check chooses; where it refuses all, the first."""
    from converter.conversion.candidates import candidates

    choices = candidates(conversion.card, conversion.source)
    try:
        return conversion.select_candidate(next(choices), choices)
    except AlignmentError as error:
        if error.unmatched or conversion.session is None:
            raise
        return next(candidates(conversion.card, conversion.source))


def _subjects(
    conversion: Conversion, candidate: Candidate, weights: Path | None
) -> Iterator[tuple[Reference, Model, list[np.ndarray]]]:
    """Yield what is compared with what, on which inputs."""
    converted = conversion.finish(candidate)
    ours = converted if weights is None else _artefact(weights, converted)
    if conversion.reference != "recorded":
        yield conversion.live_reference(candidate), ours, conversion.batches()
        return
    from converter.references.converted import ConvertedReference
    from converter.references.recorded import reference as recorded

    for reference, network, _ in recorded.subjects(conversion.record(), ours.form):
        yield reference, network, [reference.image]
    if weights is not None:  # a record is of other weights, so it proves what ours are converted to
        proved = _in_form(candidate, ours.form) or converted
        yield ConvertedReference(proved, conversion.card.task), ours, conversion.batches()


def _examined(
    request: Request,
    conversion: Conversion,
    reference: Reference,
    network: Model,
    batches: list[np.ndarray],
    candidate: Candidate,
) -> Examination:
    limit = request.tolerance
    report = check(
        reference, network, batches, limit=limit, versions=conversion.versions(), locate=False
    )
    faulty = {comparison.input_shape for comparison in report.comparisons if comparison.fault}
    batch = next((batch for batch in batches if batch.shape in faulty), batches[0])
    sides = reference.layers(network, batch)
    honest = None if reference.kind == "recorded" else _in_form(candidate, sides.network.form)
    source = None if honest is None else honest.state_dict()
    found = diagnose(sides, limit, wrong=not report.passed, source=source)
    return Examination(request.name, report, found)


def _in_form(candidate: Candidate, form: str) -> Model | None:
    """Return the converted network in another form; None where it is past that form."""
    from architectures import fuse
    from architectures.model import FORMS

    own = candidate.network
    return fuse(own, form) if FORMS.index(own.form) <= FORMS.index(form) else None


def _artefact(file: Path, converted: Model) -> Model:
    """Return the network of an artefact, which may have been edited since it was written."""
    import architectures
    from architectures.loading import ArtefactError

    try:
        network = architectures.load(file, edited=True)
    except (ArtefactError, OSError) as error:
        raise SourceError(str(error)) from error
    if network.architecture != converted.architecture:
        raise UsageError(f"{file} is of another network than the model that was named")
    return network
