"""`diagnose`: convert without writing, or load an artefact, and compare every layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from converter.conversion.request import Request
from converter.conversion.steps import (
    OpenedModel,
    card_of,
    live_check,
    live_reference,
    live_session,
    plan,
    proof_batches,
    read,
    record_of,
    select_candidate,
    state_dict,
)
from converter.conversion.versions import versions
from converter.diagnosis.check import check
from converter.diagnosis.examination import Examination
from converter.diagnosis.explain import diagnose
from converter.errors import AlignmentError, SourceError, UsageError

if TYPE_CHECKING:
    from architectures import Model
    from converter.conversion.planning import ConversionPlan
    from converter.references.base import Reference
    from converter.references.processes.session import ChildSession


def examine(request: Request, weights: Path | None = None) -> Examination:
    """Compare a model with its reference, layer by layer; nothing is written.

    Args:
        request: the model, its files and the reference.
        weights: an artefact to compare in place of the network as it is converted now.

    Raises:
        ConverterError: the files cannot be read, planned or compared.
    """
    if request.reference == "none":
        raise UsageError("diagnose compares with a reference: choose another than none")
    model = read(request, card_of(request))
    with live_session(model) as session:
        chosen = _chosen_plan(model, session)
        for reference, network, images in _subjects(model, chosen, session, weights):
            examination = _examined(model, chosen, session, reference, network, images)
            if not examination.agrees:
                break
        return examination


def _chosen_plan(model: OpenedModel, session: ChildSession | None) -> ConversionPlan:
    """Return the plan that a live check chooses; the first where it refuses all."""
    plans = plan(model)
    first = next(plans)
    try:
        return select_candidate(chain([first], plans), live_check(model, session))
    except AlignmentError:
        if session is None:
            raise
        return first


def _subjects(
    model: OpenedModel,
    chosen: ConversionPlan,
    session: ChildSession | None,
    weights: Path | None,
) -> Iterator[tuple[Reference, Model, list[np.ndarray]]]:
    """Yield each network with its reference and the images to compare them on.

    Args:
        model: the opened files.
        chosen: the plan by which they are converted.
        session: the process of a live reference.
        weights: an artefact to compare in place of the network as it is converted now.
    """
    converted = chosen.load(state_dict(model, chosen))
    ours = converted if weights is None else _artefact(weights, converted)
    if session is not None:
        yield live_reference(model, chosen, ours, session), ours, proof_batches(model.card)
        return
    from converter.references.converted import ConvertedReference
    from converter.references.recorded.reference import subjects

    for reference, network, _ in subjects(record_of(model), ours.form):
        yield reference, network, [reference.image]
    if weights is not None:  # a record is of other weights, so it proves what ours are converted to
        proved = _in_form(model, chosen, ours.form) or converted
        yield ConvertedReference(proved, model.card.task), ours, proof_batches(model.card)


def _examined(
    model: OpenedModel,
    chosen: ConversionPlan,
    session: ChildSession | None,
    reference: Reference,
    network: Model,
    images: list[np.ndarray],
) -> Examination:
    """Check a network as a conversion does, and compare every layer."""
    limit = model.request.tolerance
    took_part = versions(session.versions if session else None)
    report = check(reference, network, images, limit=limit, versions=took_part, locate=False)
    faulty = {comparison.input_shape for comparison in report.comparisons if comparison.fault}
    batch = next((batch for batch in images if batch.shape in faulty), images[0])
    sides = reference.layers(network, batch)
    honest = None
    if reference.kind != "recorded":
        honest = _in_form(model, chosen, sides.network.form)
    source = None if honest is None else honest.state_dict()
    diagnosis = diagnose(sides, limit, wrong=not report.passed, source=source)
    return Examination(model.request.name, report, diagnosis)


def _in_form(model: OpenedModel, chosen: ConversionPlan, form: str) -> Model | None:
    """Return the converted network in another form; None where it is past that form."""
    from architectures.model import FORMS

    if FORMS.index(chosen.network.form) > FORMS.index(form):
        return None
    return replace(chosen, written_form=form).load(state_dict(model, chosen))


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
