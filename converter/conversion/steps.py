"""One conversion, from Paddle's files to the artefact: the order in which everything happens.

    read -> plan -> convert -> prove -> write

Paddle, where it is needed, starts as soon as the files were read, and is imported in its own
process while PyTorch is imported in this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.catalog import cards as catalog
from converter.catalog.cards import ModelCard
from converter.catalog.dictionary import dictionary_of_export, fit_to_classes
from converter.catalog.export_settings import settings_of_export
from converter.catalog.line_settings import merge_settings
from converter.conversion.artefact import output_path, write_artefact
from converter.conversion.versions import versions
from converter.errors import AlignmentError, ConfigError, ReferenceUnavailable, UsageError
from converter.references.paddle.session import PaddleSession
from converter.sources.open import Source, open_source
from converter.sources.reader import check_operators

if TYPE_CHECKING:
    import numpy as np

    from architectures import Model
    from converter.conversion.candidates import Candidate
    from converter.mapping.plan import Plan
    from converter.parity.report import ParityReport
    from converter.references.base import Reference
    from converter.references.recorded.reference import Record

STAGES = ("read", "plan", "convert", "prove", "write")


@dataclass(frozen=True)
class Request:
    """What a user asks for; the fields are the options of the command line.

    `fingerprint` (see `freshness.py`) goes into the artefact, for whoever converts many.
    """

    name: str
    paddle_dir: Path
    program_dir: Path | None = None
    out: Path | None = None
    config: Path | None = None
    dictionary: Path | None = None
    submodel: str | None = None
    format: str | None = None
    fuse: bool = False
    reference: str = "auto"
    paddleocr: Path | None = None
    tolerance: float = 1e-4
    plan_only: bool = False
    fingerprint: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What a conversion did. `report` is None where no reference was wanted."""

    card: ModelCard
    plan: Plan
    written: Path | None = None
    size: int = 0
    report: ParityReport | None = None


def run(
    request: Request,
    stage: Callable[[str], None] = lambda _: None,
    sessions: Callable[[], AbstractContextManager[PaddleSession]] = PaddleSession,
) -> Outcome:
    """Convert, prove and write one model; `stage` is called with each of STAGES as it begins.

    `sessions` gives the Paddle process, where one is needed: by default its own, which ends with
    the conversion.

    Raises:
        ConverterError: whatever stopped it; nothing was written then.
    """
    stage("read")
    card = card_of(request)
    out = None if request.plan_only else output_path(request.out, request.format)
    with opened(request, card, sessions) as conversion:
        stage("plan")
        from converter.conversion.candidates import (
            candidates,  # imports PyTorch, while Paddle starts
        )

        card = conversion.card
        choices = candidates(card, conversion.source)
        candidate = next(choices)
        if out is None:
            return Outcome(card, candidate.plan)
        stage("convert")
        candidate = conversion.select_candidate(candidate, choices)
        network = conversion.finish(candidate)
        stage("prove")
        report = conversion.prove(network, candidate)
        stage("write")
        described = conversion.artefact_card(network, candidate.plan, report)
        size = write_artefact(*out, network.state_dict(), described)
        return Outcome(card, candidate.plan, out[0], size, report)


@contextmanager
def opened(
    request: Request,
    card: ModelCard,
    sessions: Callable[[], AbstractContextManager[PaddleSession]] = PaddleSession,
) -> Iterator[Conversion]:
    """Read the files that a request names and yield its conversion; Paddle starts if it is needed.

    Raises:
        ConverterError: the files cannot be read, or the reference that is wanted is not there.
    """
    with ExitStack() as stack:
        source = open_source(request.paddle_dir, request.program_dir)
        if request.submodel and source.checkpoint is None:
            raise UsageError(f"{source.path} is an export, which holds one network: no --submodel")
        card = _with_dictionary(card, request, source)
        kind = _reference_kind(request, source, card)
        if kind == "program" and source.export is not None:
            check_operators(source.export.program)
        session = None
        if kind in ("program", "network") and not request.plan_only:
            session = stack.enter_context(sessions())
        yield Conversion(request, card, source, kind, session)


def card_of(request: Request) -> ModelCard:
    """Return the card of the model that a request names."""
    dictionary, submodel = request.dictionary, request.submodel
    if request.config is not None:
        card = catalog.custom_card(request.name, request.config, dictionary, submodel)
    else:
        card = catalog.card(request.name, dictionary, submodel)
    if dictionary is not None and card.task not in catalog.READING:
        raise ConfigError(f"{card.name} reads no text, so --dict has no place here")
    return card


def _with_dictionary(card: ModelCard, request: Request, source: Source) -> ModelCard:
    """Return the card with the dictionary of the export, unless another was given."""
    if (
        card.task not in catalog.READING
        or request.dictionary
        or request.config
        or source.settings is None
    ):
        return card
    return replace(card, dictionary=dictionary_of_export(source.settings) or card.dictionary)


def _reference_kind(request: Request, source: Source, card: ModelCard) -> str:
    """Return the reference that will be used, or raise ReferenceUnavailable."""
    checkout, wanted = request.paddleocr, request.reference
    # An export holds the network that inference uses, no other one of a distillation.
    has_program = source.export is not None and not request.submodel and not card.proof.sampled
    if wanted == "program" and card.proof.sampled:
        raise ReferenceUnavailable(
            f"{card.name}'s export samples tokens at random, so it cannot be a reference; "
            "use --reference recorded"
        )
    if wanted == "auto":
        if has_program:
            return "program"
        return "network" if checkout is not None else "recorded"
    if wanted == "program" and not has_program:
        network = f" of {request.submodel}" if request.submodel else ""
        raise ReferenceUnavailable(
            f"{source.path} holds no exported program{network} (inference.pdmodel or "
            "inference.json)"
        )
    if wanted == "network" and checkout is None:
        raise ReferenceUnavailable("give the PaddleOCR checkout with --paddleocr or $PADDLEOCR")
    if wanted == "network" and source.checkpoint is None:
        raise ReferenceUnavailable(
            f"{source.path} holds no checkpoint that PaddleOCR's network could load"
        )
    return wanted


class Conversion:
    """The steps after planning: which candidate, in which form, and whether it is right."""

    def __init__(
        self,
        request: Request,
        card: ModelCard,
        source: Source,
        reference: str,
        session: PaddleSession | None,
    ) -> None:
        self.request, self.card, self.source = request, card, source
        self.reference, self.session = reference, session

    def select_candidate(self, candidate: Candidate, others: Iterator[Candidate]) -> Candidate:
        """Return the candidate that a live check chooses; the first where there is no choice."""
        if candidate.alignment is None or not candidate.alignment.interchangeable:
            return candidate
        groups = "\n".join(f"  {', '.join(group)}" for group in candidate.alignment.interchangeable)
        if self.session is None:
            raise AlignmentError(
                f"data flow cannot tell these layers apart\n{groups}\n"
                "A live check can: convert with --reference program."
            )
        tried = 0
        for choice in chain([candidate], others):
            tried += 1
            if self.check(choice.network, choice, locate=False).passed:
                return choice
        raise AlignmentError(
            f"data flow cannot tell these layers apart\n{groups}\n"
            f"and none of the {tried} pairings tried gives what Paddle computes."
        )

    def finish(self, candidate: Candidate) -> Model:
        """Return the network in the form that is written: what an export folded stays so."""
        import architectures

        fuse = self.request.fuse or candidate.folded
        return architectures.fuse(candidate.network) if fuse else candidate.network

    def prove(self, network: Model, candidate: Candidate) -> ParityReport | None:
        """Return the report of the check, passed, or None where none was wanted."""
        if self.reference == "none":
            return None
        from converter.parity.report import require

        report = self.check(network, candidate)
        require(report)
        return report

    def check(self, network: Model, candidate: Candidate, *, locate: bool = True) -> ParityReport:
        """Compare a network with the reference; with `locate`, say where and why it differs."""
        from converter.diagnosis.check import check

        if self.reference == "recorded":
            return replace(self.recorded(network.form), versions=self.versions())
        return check(
            self.live_reference(candidate),
            network,
            self.batches(),
            limit=self.request.tolerance,
            versions=self.versions(),
            locate=locate,
        )

    def batches(self) -> list[np.ndarray]:
        """Return the inputs of the proof."""
        from converter.parity import rendered_inputs as inputs

        proof, scale = self.card.proof, self.card.input
        return inputs.batches(proof.kind, proof.sizes, scale["mean"], scale["std"])

    def recorded(self, form: str) -> ParityReport:
        """Prove the architecture by the record that comes with the project."""
        from converter.diagnosis.records import prove

        return prove(self.record(), form, self.request.tolerance)

    def record(self) -> Record:
        """Return the record of this network that comes with the project."""
        from converter.references.recorded import reference as recorded

        card = self.card
        record = recorded.shipped_record(card.recorded)
        if record is None or not catalog.same_network(
            record.facts["architecture"], card.architecture, card.recorded_sizes
        ):
            raise ReferenceUnavailable(
                f"nothing to compare {card.name} with: there is no exported program beside the "
                "weights, no PaddleOCR checkout (--paddleocr), and no record of this very "
                "network. Give one of them, or --reference none for weights marked UNVERIFIED."
            )
        return record

    def live_reference(self, candidate: Candidate) -> Reference:
        """Return the reference that runs in Paddle."""
        assert self.session is not None
        if self.reference == "network":
            from converter.references.network import NetworkReference

            assert self.request.paddleocr is not None
            assert self.source.checkpoint is not None
            plan, tensors = candidate.plan, self.source.checkpoint.tensors
            used = {name for move in plan.moves for name in move.sources}
            return NetworkReference(
                self.session,
                self.request.paddleocr,
                candidate.network.architecture,
                {name.removeprefix(plan.prefix): tensors[name] for name in used},
                self.card.task,
                candidate.network,
                self.noisy(candidate.network),
            )
        import architectures
        from converter.conversion.candidates import has_loop, match, without_constants
        from converter.references.program import ProgramReference

        export = self.source.export
        assert export is not None
        program, alignment = export.program, candidate.alignment
        if alignment is None and not has_loop(program):  # names came from a checkpoint beside it
            deployed = architectures.fuse(candidate.network, "deploy")
            alignment = next(match(self.card, without_constants(export)[0], deployed)[2])
        # The layers of a loop cannot be told apart; its results can be compared.
        pairs = alignment.pairs if alignment else ()
        return ProgramReference(
            self.session,
            program,
            export.weights_file,
            {ours.key: theirs for theirs, ours in pairs},
            self.card.task,
            self.noisy(candidate.network),
        )

    def noisy(self, network: Model) -> bool:
        """Return whether rounding alone moves the network, by itself or by its record."""
        from converter.parity.comparison import LIMIT
        from converter.parity.noise import is_noisy
        from converter.references.recorded.reference import shipped_record

        record = shipped_record(self.card.recorded)
        return is_noisy(network, record.facts if record else {}, LIMIT)

    def versions(self) -> dict[str, str]:
        """Return the versions of all that took part."""
        return versions(self.session.version if self.session else None)

    def pipeline(self) -> dict[str, Any]:
        """Return how images are resized and answers decoded; the export's own file knows best."""
        own = self.source.settings
        stated = settings_of_export(own, self.card.task) if own else {}
        return merge_settings(self.card.pipeline, stated)

    def artefact_card(
        self, network: Model, plan: Plan, report: ParityReport | None
    ) -> dict[str, Any]:
        """Return the artefact's JSON, all but the entry of the weights file."""
        card, dictionary = self.card, self.card.dictionary
        if dictionary is not None:
            dictionary = fit_to_classes(dictionary, network.class_counts, card.decoder)
        return {
            "format": 1,
            "name": card.name,
            "submodel": card.submodel,
            "task": card.task,
            "release": card.release,
            "status": "VERIFIED" if report else "UNVERIFIED",
            "architecture": network.architecture,
            "class_counts": network.class_counts,
            "form": network.form,
            "input": dict(card.input),
            "pipeline": self.pipeline(),
            "dictionary": dictionary.to_dict() if dictionary else None,
            "labels": list(card.labels),
            "source": {"files": dict(self.source.files)},
            "fingerprint": self.request.fingerprint,
            "counts": plan.counts(),
            "parity": report.to_dict() if report else None,
            "versions": self.versions(),
        }
