"""One conversion, from the files to the artefact, as five functions over frozen values.

    Request     -> read        -> OpenedModel     the files, the model card, the kind of reference
    OpenedModel -> plan        -> ConversionPlan  the network, and where each tensor goes
    plan        -> state_dict  -> tensors         every array converted, renamed and laid out anew
    tensors     -> prove       -> ParityReport    PyTorch compared with Paddle
    all         -> write       -> the artefact    weights and the JSON beside them

`run` calls them in this order. Paddle, where it is needed, starts as soon as the files are read:
its process imports it while this one imports PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.alignment.computed_constants import constants
from converter.catalog import cards as catalog
from converter.catalog.cards import ModelCard, Proof
from converter.catalog.custom import custom_card, same_network
from converter.catalog.dictionary import Dictionary, dictionary_of_export, fit_to_classes
from converter.catalog.kie import class_labels
from converter.catalog.labels import read_labels
from converter.catalog.processing import labels_of_export, merge_settings, settings_of_export
from converter.conversion.artefact import output_path, write_artefact
from converter.conversion.request import Outcome, Request, proof_scope
from converter.conversion.versions import versions
from converter.errors import AlignmentError, ConfigError, ReferenceUnavailable, UsageError
from converter.references.onnxruntime.session import OnnxSession
from converter.references.paddle.session import PaddleSession
from converter.references.processes.session import ChildSession
from converter.sources.open import Source, open_source
from converter.sources.pdiparams import Export
from converter.sources.pdparams import Checkpoint
from converter.sources.reader import check_operators
from schemas.artefact import ArtefactCard, SourceEntry, TensorCounts
from schemas.processing import TOKEN_DECODERS

if TYPE_CHECKING:
    import numpy as np
    import torch

    from architectures import Model
    from converter.conversion.planning import ConversionPlan
    from converter.parity.report import ParityReport
    from converter.references.base import Reference
    from converter.references.recorded.record import Record

STAGES = ("read", "plan", "convert", "prove", "write")

Sessions = Callable[[], AbstractContextManager[ChildSession]]


def run(
    request: Request,
    stage: Callable[[str], None] = lambda _: None,
    sessions: Sessions = PaddleSession,
) -> Outcome:
    """Convert, prove and write one model.

    Args:
        request: the model, its files, and the options.
        stage: called with each of STAGES as it begins.
        sessions: makes the Paddle process, where one is needed; by default it ends with the
            conversion.

    Raises:
        ConverterError: the reason why nothing was written.
    """
    stage("read")
    card = card_of(request)
    given = (request.config, request.dictionary, request.labels)
    sources = (request.paddle_dir, request.program_dir, *given)
    output = None if request.plan_only else output_path(request.out, request.format, sources)
    model = read(request, card)
    with live_session(model, sessions) as session:
        stage("plan")
        plans = plan(model)
        chosen = next(plans)
        if output is None:
            return Outcome(model.card, chosen.tensors)  # --plan stops here
        stage("convert")
        chosen = select_candidate(chain([chosen], plans), live_check(model, session))
        network = chosen.load(state_dict(model, chosen))
        if network.form != chosen.network.form:
            check_form(network)
        stage("prove")
        report = prove(model, chosen, network, session)
        stage("write")
        return write(output, model, chosen, network, report, session)


# Stage 1: Request -> OpenedModel


@dataclass(frozen=True)
class OpenedModel:
    """The files of a request, opened, and what was decided about them.

    `card` is the model's, with the dictionary of its export; `reference` is `program`, `network`,
    `recorded` or `none`. `computed` are the tensors of the export that are constants and no
    weights, each with the reason: our networks compute them.
    """

    request: Request
    card: ModelCard
    source: Source
    reference: str
    computed: Mapping[str, str]


def read(request: Request, card: ModelCard) -> OpenedModel:
    """Open the files of a request and decide what the network will be compared with.

    Raises:
        ConverterError: the files cannot be read, or the wanted reference is not there.
    """
    source = open_source(request.paddle_dir, request.program_dir, request.submodel)
    if source.checkpoint is not None:
        source = replace(source, checkpoint=plain_checkpoint(source.checkpoint, card.mapping))
    if request.submodel and source.checkpoint is None and not _is_submodels(source, request):
        raise UsageError(
            f"{source.path} is an export, which holds one network: no --submodel, unless its "
            f"folder is called {request.submodel}"
        )
    card = _with_dictionary(card, request, source)
    reference = reference_kind(request, source, card)
    if reference == "program" and source.export is not None:
        check_operators(source.export.program)
    if source.export is not None:
        card = replace(card, proof=_proof_of_export(card.proof, source.export))
    computed = constants(source.export.tensors) if source.export else {}
    return OpenedModel(request, card, source, reference, computed)


_MOST_PIXELS = 2**23
"""The most pixels of a batch, so that a declared size cannot exhaust the memory."""


def _proof_of_export(proof: Proof, export: Export) -> Proof:
    """Return a proof with batches of the size that the export's first or image input fixes.

    PaddleOCR declares a height that is usual for the kind of network, and the width and number of
    images as free. Such programs run at other heights too, so one batch keeps the model's own.

    Raises:
        ReferenceUnavailable: it is larger than any network's.
    """
    if proof.kind == "tokens":
        length = max(export.program.inputs[0].shape[-1:], default=-1)
        sizes = tuple((count, length if length > 0 else usual) for count, usual in proof.sizes)
        return replace(proof, sizes=sizes)
    image = next((spec for spec in export.program.inputs if len(spec.shape) == 4), None)
    if image is None:
        return proof
    images, _, height, width = (length if length > 0 else None for length in image.shape)
    if (images or 1) * (height or 1) * (width or 1) > _MOST_PIXELS:
        shape = " x ".join(map(str, image.shape))
        raise ReferenceUnavailable(
            f"the program takes images of {shape} values, too many to be compared; export it with "
            "a free size"
        )
    exported = proof.resized(height, width)
    if images is None and width is None:
        return replace(exported, sizes=(*proof.sizes[:1], *exported.sizes[1:]))
    return replace(exported, images=images)


_WRAPPERS = r"(_layers\.|module\.|model\.)+"
"""What names begin with if the state of a wrapper, such as DataParallel's, was saved."""


def plain_checkpoint(checkpoint: Checkpoint, mapping: str) -> Checkpoint:
    """Return a checkpoint in float32, its names those of the whole network, without a wrapper.

    Args:
        checkpoint: as it was read.
        mapping: the name of the model's mapping; prefixes that it names are no wrapper's.
    """
    from converter.mapping.rules import load_mapping

    rules = load_mapping(mapping)
    match = re.match(_WRAPPERS, min(checkpoint.tensors))
    wrapper = match[0] if match else ""
    if (
        wrapper
        and all(name.startswith(wrapper) for name in checkpoint.tensors)
        and not rules.names_prefix(wrapper)
    ):
        checkpoint = checkpoint.without_prefix(wrapper)
    if rules.state_of and not any(rules.state_of in name for name in checkpoint.tensors):
        checkpoint = checkpoint.with_prefix(rules.state_of)
    return checkpoint.in_float32()


def card_of(request: Request) -> ModelCard:
    """Return the card of the model that a request names."""
    dictionary, submodel = request.dictionary, request.submodel
    if request.config is not None:
        card = custom_card(request.name, request.config, dictionary, submodel, request.labels)
    else:
        card = catalog.card(request.name, dictionary, submodel)
    if dictionary is not None and card.task == "kie":
        raise ConfigError(
            f"{card.name} takes no --dict; once it is converted, add-dict adds the characters of "
            "SDMGR, and add-tokenizer the tokeniser of the others"
        )
    if dictionary is not None and card.task not in catalog.READING:
        raise ConfigError(f"{card.name} reads no text, so --dict has no place here")
    labelled = card.task in catalog.LABELLED and (card.task != "kie" or card.class_counts)
    if request.labels is not None and not labelled:
        raise ConfigError(f"the classes of {card.name} have no labels, so it has no --labels")
    if request.right_to_left is not None and card.task != "rec":
        raise ConfigError(f"{card.name} reads no lines, so it has no --right-to-left")
    return card


def _with_dictionary(card: ModelCard, request: Request, source: Source) -> ModelCard:
    """Return the card with the dictionary or labels of the export, unless another was given.

    One that a training YAML names but that is missing is looked for elsewhere.
    """
    table = card.dictionary
    of_release = not (request.dictionary or request.config)
    lines = _lines_of_export(source)
    if card.missing_dictionary is not None:
        table = card.missing_dictionary.find(source.settings)
    elif of_release and card.task in catalog.READING:
        if lines and card.decoder not in TOKEN_DECODERS:
            table = _table_of_metadata(source, lines)
        elif source.settings is not None:
            table = dictionary_of_export(source.settings) or table
    if request.strip_dictionary:
        if not isinstance(table, Dictionary):
            raise ConfigError(f"{card.name} has no table of characters for --strip-dict")
        table = table.stripped()
    labels = card.labels
    if request.labels is not None:
        labels = read_labels(request.labels)
        if card.task == "kie":
            labels = class_labels(labels, card.architecture)
    elif card.task == "layout":
        stated = labels_of_export(source.settings) if source.settings is not None else ()
        labels = lines or stated or labels
    return replace(card, dictionary=table, missing_dictionary=None, labels=labels)


_CHARACTERS = "character"
"""The entry of an ONNX file's metadata with its characters or labels, one per line (RapidOCR)."""


def _lines_of_export(source: Source) -> tuple[str, ...]:
    """Return the characters or labels that an ONNX file states; none if it does not."""
    text = source.export.metadata.get(_CHARACTERS, "") if source.export else ""
    return tuple(line.rstrip("\r") for line in text.removesuffix("\n").split("\n")) if text else ()


def _table_of_metadata(source: Source, lines: tuple[str, ...]) -> Dictionary:
    assert source.export is not None
    name = source.export.program_file.name
    return Dictionary(name, source.files[name], lines)


def _is_submodels(source: Source, request: Request) -> bool:
    """Return whether an export is that of the submodel: it was named, or its folder's name is."""
    if source.export is None:
        return False
    return (
        request.program_dir is not None
        or source.export.program_file.absolute().parent.name == request.submodel
    )


def reference_kind(request: Request, source: Source, card: ModelCard) -> str:
    """Return the reference that will be used, or raise ReferenceUnavailable."""
    checkout, wanted = request.paddleocr, request.reference
    # An export holds the network that inference uses, unless it was named for another one.
    fitting = not request.submodel or _is_submodels(source, request)
    has_program = source.export is not None and fitting and not card.proof.sampled
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
            f"{source.path} holds no exported program{network} (inference.pdmodel, inference.json "
            "or an ONNX file)"
        )
    if wanted == "network" and checkout is None:
        raise ReferenceUnavailable("give the PaddleOCR checkout with --paddleocr or $PADDLEOCR")
    if wanted == "network" and source.checkpoint is None:
        raise ReferenceUnavailable(
            f"{source.path} holds no checkpoint that PaddleOCR's network could load"
        )
    return wanted


@contextmanager
def live_session(
    model: OpenedModel, sessions: Sessions = PaddleSession
) -> Iterator[ChildSession | None]:
    """Start the process of a live reference; None where none runs.

    An ONNX file runs in ONNX Runtime, everything else in Paddle, which `sessions` starts.
    """
    if model.request.plan_only or model.reference not in ("program", "network"):
        yield None
        return
    export = model.source.export
    if model.reference == "program" and export and export.program.format == "onnx":
        sessions = OnnxSession
    with sessions() as session:
        yield session


# Stage 2: OpenedModel -> ConversionPlan


def plan(model: OpenedModel) -> Iterator[ConversionPlan]:
    """Plan the conversion by names or, of an export, by data flow; no array is read.

    Yields one plan, or one for each pairing of layers that data flow cannot tell apart.

    Raises:
        PlanError: names or layers do not fit the network.
        ConfigError: dictionary or labels do not fit the number of classes.
    """
    from converter.conversion import planning  # imports PyTorch, while Paddle starts
    from converter.mapping.plan import signature_of

    card, source, fuse = model.card, model.source, model.request.fuse
    if source.checkpoint is not None:
        tensors = source.checkpoint.tensors
        signatures = {name: signature_of(array) for name, array in tensors.items()}
        yield planning.plan_checkpoint(card, signatures, fuse=fuse)
    elif source.export is not None:
        yield from planning.plan_export(card, source.export.program, model.computed, fuse=fuse)


def select_candidate(
    plans: Iterator[ConversionPlan], check: Callable[[ConversionPlan], bool] | None
) -> ConversionPlan:
    """Return the first plan that passes a live check; where there is no choice, the only one.

    Args:
        plans: one plan, or one for each pairing of interchangeable layers.
        check: converts by a plan and compares with Paddle; None where Paddle does not run.

    Raises:
        AlignmentError: only a check could choose and there is none, or no plan passes.
    """
    first = next(plans)
    if first.alignment is None or not first.alignment.interchangeable:
        return first
    groups = "\n".join(f"  {', '.join(group)}" for group in first.alignment.interchangeable)
    if check is None:
        raise AlignmentError(
            f"data flow cannot tell these layers apart\n{groups}\n"
            "A live check can: convert with --reference program."
        )
    tried = 0
    for candidate in chain([first], plans):
        tried += 1
        if check(candidate):
            return candidate
    raise AlignmentError(
        f"data flow cannot tell these layers apart\n{groups}\n"
        f"and none of the {tried} pairings tried gives what Paddle computes."
    )


# Stage 3: ConversionPlan -> tensors


def state_dict(model: OpenedModel, chosen: ConversionPlan) -> dict[str, torch.Tensor]:
    """Convert the arrays of the source to the network's tensors, as the plan says.

    Raises:
        MappingError: two names of one tensor hold different arrays.
        SourceError: a tensor holds NaN or infinity, or a variance is negative.
    """
    from converter.mapping.apply import apply
    from converter.mapping.values import check_values

    holder = model.source.checkpoint or model.source.export
    assert holder is not None
    state = apply(chosen.tensors, holder.tensors, chosen.targets)
    check_values(state)
    return state


def check_form(network: Model) -> None:
    """Raise SourceError where merging branches or folding normalisations gave infinite values."""
    from converter.mapping.values import check_values

    check_values(network.state_dict(), f"when the network is brought into its {network.form} form")


# Stage 4: tensors -> ParityReport


def prove(
    model: OpenedModel, chosen: ConversionPlan, network: Model, session: ChildSession | None
) -> ParityReport | None:
    """Compare the converted network with the reference; None with `--reference none`.

    Raises:
        ParityError: they differ; it carries the report.
        ReferenceUnavailable: there is nothing to compare with, or Paddle cannot run it.
    """
    if model.reference == "none":
        return None
    from converter.parity.report import require

    report = check(model, chosen, network, session)
    require(report)
    return report


def check(
    model: OpenedModel,
    chosen: ConversionPlan,
    network: Model,
    session: ChildSession | None,
    *,
    locate: bool = True,
) -> ParityReport:
    """Compare a network with the reference and return the report, passed or not.

    Args:
        model: the opened files.
        chosen: the plan by which the network was converted.
        network: the network in its written form.
        session: the process of a live reference; None for a recorded one.
        locate: whether the report of a failure names the first layer that differs, and why; else
            the first input alone is compared, to choose among plans.
    """
    took_part = versions(session.versions if session else None)
    if session is None:
        from converter.diagnosis import records

        report = records.prove(record_of(model), network.form, model.request.tolerance)
        return replace(report, versions=took_part)
    from converter.diagnosis.check import check as compare

    batches = proof_batches(model.card)
    return compare(
        live_reference(model, chosen, network, session),
        network,
        batches if locate else batches[:1],
        limit=model.request.tolerance,
        versions=took_part,
        locate=locate,
    )


def live_check(
    model: OpenedModel, session: ChildSession | None
) -> Callable[[ConversionPlan], bool] | None:
    """Return the check that chooses among plans; None where there is no live reference."""
    if session is None:
        return None

    def passes(candidate: ConversionPlan) -> bool:
        network = candidate.load(state_dict(model, candidate))
        return check(model, candidate, network, session, locate=False).passed

    return passes


def live_reference(
    model: OpenedModel, chosen: ConversionPlan, network: Model, session: ChildSession
) -> Reference:
    """Return the reference that a process runs: PaddleOCR's network, or the exported program."""
    from converter.parity.comparison import LIMIT
    from converter.parity.noise import is_noisy
    from converter.references.recorded.record import shipped_record

    request, card, source = model.request, model.card, model.source
    record = shipped_record(card.recorded)
    noisy = is_noisy(network, record.facts.noise if record else {}, LIMIT)
    if model.reference == "network":
        from converter.references.network import NetworkReference

        assert isinstance(session, PaddleSession)
        assert request.paddleocr is not None
        assert source.checkpoint is not None
        tensors, prefix = source.checkpoint.tensors, chosen.tensors.prefix
        used = {name for move in chosen.tensors.moves for name in move.sources}
        return NetworkReference(
            session,
            request.paddleocr,
            network.architecture,
            {name.removeprefix(prefix): tensors[name] for name in used},
            card.task,
            None if network.form == chosen.network.form else chosen.network.build(),
            noisy,
        )
    from converter.conversion.planning import counterparts
    from converter.references.program import ProgramReference

    export = source.export
    assert export is not None
    planned = network.form == chosen.network.form or chosen.network.folding == "all"
    return ProgramReference(
        session,
        export.program,
        export.weights_file,
        counterparts(card, chosen, export.program, model.computed),
        card.task,
        noisy,
        chosen.layers if planned else None,
    )


def proof_batches(card: ModelCard) -> list[np.ndarray]:
    """Return the inputs of the proof, each batch of images `(N, C, H, W) float32, normalised`.

    Of a network that reads tokens, a batch is `(N, T) int64`; `sizes` are then N and T.
    """
    from converter.adapters.layoutlm import TokenAdapter
    from converter.adapters.registry import adapter_for
    from converter.parity import rendered_inputs

    proof, scale, adapter = card.proof, card.input, adapter_for(card.architecture)
    if isinstance(adapter, TokenAdapter):
        return [
            adapter.tokens(count, adapter.fitting(length), seed)
            for seed, (count, length) in enumerate(proof.sizes)
        ]
    return rendered_inputs.batches(proof.kind, proof.sizes, scale.mean, scale.std, proof.images)


def record_of(model: OpenedModel) -> Record:
    """Return the record of this network that comes with the project.

    Raises:
        ReferenceUnavailable: there is none of this very network.
    """
    from converter.references.recorded.record import shipped_record

    card = model.card
    record = shipped_record(card.recorded)
    if record is None or not same_network(
        record.facts.architecture, card.architecture, card.recorded_sizes
    ):
        raise ReferenceUnavailable(
            f"nothing to compare {card.name} with: there is no exported program beside the "
            "weights, no PaddleOCR checkout (--paddleocr), and no record of this very "
            "network. Give one of them, or --reference none for weights marked UNVERIFIED."
        )
    return record


# Stage 5: all -> the artefact


def write(
    output: tuple[Path, str],
    model: OpenedModel,
    chosen: ConversionPlan,
    network: Model,
    report: ParityReport | None,
    session: ChildSession | None,
) -> Outcome:
    """Write the weights and the JSON beside them, both or none.

    Args:
        output: the file to write and its format.
        model: the opened files.
        chosen: the plan by which the network was converted.
        network: the network as it is written.
        report: the proof; None marks the artefact UNVERIFIED.
        session: the process of the proof, whose version is named.

    Raises:
        OutputError: the files cannot be written.
    """
    from converter.mapping.values import unusual_values

    card = artefact_card(model, chosen, network, report, session)
    state = network.state_dict()
    size = write_artefact(*output, state, card)
    table = model.card.dictionary
    warnings = tuple(f"dictionary {table.file}: {note}" for note in table.notes) if table else ()
    holder = model.source.checkpoint or model.source.export
    warnings += holder.notes if holder is not None else ()
    warnings += (*_faults_of_export(model, report), *_sizes_not_proved(model, report))
    warnings += tuple(unusual_values(state))
    return Outcome(model.card, chosen.tensors, output[0], size, report, warnings)


def _faults_of_export(model: OpenedModel, report: ParityReport | None) -> tuple[str, ...]:
    """Return warnings about what the export that was compared computes otherwise."""
    from converter.adapters.registry import adapter_for

    export = model.source.export
    if export is None or report is None or report.reference != "program":
        return ()
    return adapter_for(model.card.architecture).faults_of(export.program)


def _sizes_not_proved(model: OpenedModel, report: ParityReport | None) -> tuple[str, ...]:
    """Return a warning where lines are read at another height than the record's."""
    height = model.card.pipeline.get("height")
    if report is None or report.reference != "recorded" or model.card.task != "rec":
        return ()
    proved = {comparison.input_shape[2] for comparison in report.comparisons}
    if height is None or height in proved:
        return ()
    return (
        f"the record proves the network at a height of {', '.join(map(str, sorted(proved)))}, but "
        f"lines are read at {height}; an export or --paddleocr compares at that height",
    )


def artefact_card(
    model: OpenedModel,
    chosen: ConversionPlan,
    network: Model,
    report: ParityReport | None,
    session: ChildSession | None,
) -> ArtefactCard:
    """Return the artefact's card without the entry of the weights file; Args as of `write`."""
    card, dictionary = model.card, model.card.dictionary
    if dictionary is not None:
        dictionary = fit_to_classes(dictionary, network.class_counts, card.decoder)
    return ArtefactCard(
        name=card.name,
        submodel=card.submodel,
        task=card.task,
        release=card.release,
        status="VERIFIED" if report else "UNVERIFIED",
        architecture=network.architecture,
        class_counts=network.class_counts,
        form=network.form,
        input=card.input,
        pipeline=pipeline_settings(model),
        dictionary=dictionary.entry() if dictionary else None,
        labels=card.labels,
        source=SourceEntry(model.source.files),
        fingerprint=model.request.fingerprint,
        counts=TensorCounts.from_dict(chosen.tensors.counts()),
        parity=report.to_dict() if report else None,
        proof_scope=proof_scope(model.reference, session.LIBRARY if session else ""),
        versions=versions(session.versions if session else None),
    )


def pipeline_settings(model: OpenedModel) -> dict[str, Any]:
    """Return how images are resized and outputs decoded; the export's own file overrides.

    The direction of text is always stated for recognisers of lines.
    """
    settings, card = model.source.settings, model.card
    stated = settings_of_export(settings, card.task) if settings else {}
    merged = merge_settings(card.pipeline, stated)
    if card.task == "rec":
        wanted = model.request.right_to_left
        merged["right_to_left"] = merged.get("right_to_left", False) if wanted is None else wanted
    return merged
