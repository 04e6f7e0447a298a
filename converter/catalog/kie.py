"""Networks for key information: their classes, their settings, and their tokenisers.

PaddleOCR: `load_vqa_bio_label_maps` in `ppocr/utils/utility.py`, `VQATokenLabelEncode` in
`ppocr/data/imaug/label_ops.py`. The tokenisers are PaddleNLP's; neither checkpoints nor exports
contain them, so users give their files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from converter.catalog.labels import read_labels
from converter.catalog.tokenizer import Tokenizer
from converter.catalog.yaml_io import read_file
from converter.errors import ConfigError
from schemas.artefact import Architecture
from schemas.checks import shorten

NO_CLASS = ("OTHER", "OTHERS", "IGNORE")
"""What class lists call texts that are none of their classes."""

XFUND = ("OTHER", "QUESTION", "ANSWER", "HEADER")
"""The classes of the data set that the released models were trained with."""
XFUND_FILES = ("class_list_xfun.txt", "xfund_class_list.txt")
"""What PaddleOCR calls the file of them."""

VOCABULARIES = {"LayoutLM": 30522, "LayoutLMv2": 30522, "LayoutXLM": 250002}
"""Tokens that the networks know, by what the names of their backbones begin with."""

TRIAL = "Total: 12,50 \u20ac \u5408\u8ba1 \u00e9"
"""A text that a tokeniser has to read without an error."""

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
"""XLM-RoBERTa's first tokens; of the sentencepiece model's own, three take part in them."""


def class_labels(lines: Sequence[str], architecture: Architecture) -> tuple[str, ...]:
    """Return what the classes of a network stand for.

    Args:
        lines: of a class list, `QUESTION`, `ANSWER` and so on.
        architecture: the network's. The classes of SDMGR are the lines; of other networks each
            line stands for two classes, the first token of an entity and the others.
    """
    if architecture.get("Head"):
        return tuple(lines)
    names = [line.strip() for line in lines if line.strip().upper() not in NO_CLASS]
    return ("O", *(f"{mark}-{name}".upper() for name in names for mark in "BI"))


def read_class_list(file: Path, architecture: Architecture) -> tuple[str, ...]:
    """Read a class list: one class per line.

    Raises:
        ConfigError: the file cannot be read, names nothing, or names a class twice.
    """
    return class_labels(read_labels(file), architecture)


def labels_of(
    content: Mapping[str, Any],
    training: Path,
    architecture: Architecture,
    other: Path | None = None,
) -> tuple[str, ...]:
    """Return the labels by the class list that a training YAML names, or by another list.

    A network of relations has no labels.

    Args:
        content: the YAML.
        training: the file of it.
        architecture: the network's.
        other: a class list in place of the one that the YAML names.

    Raises:
        ConfigError: the class list is neither where the YAML says nor beside the YAML.
    """
    if str((architecture.get("Backbone") or {}).get("name", "")).endswith("ForRe"):
        if other is not None:
            raise ConfigError("a network of relations has no classes, so --labels has no place")
        return ()
    if other is not None:
        return read_class_list(other, architecture)
    named = next(_class_paths(content), None)
    if named is None:
        raise ConfigError(f"{training} names no class list; give it with --labels")
    name = PureWindowsPath(named).name
    for file in (Path(named), training.parent / named, training.absolute().parent / name):
        if file.is_file():
            return read_class_list(file, architecture)
    if name in XFUND_FILES:
        return class_labels(XFUND, architecture)
    raise ConfigError(
        f"{training} names the class list {shorten(named)}, which is neither there nor beside the "
        "YAML; give it with --labels"
    )


def _class_paths(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths of class lists that a training YAML names."""
    sections = [content.get("PostProcess"), content.get("Global")]
    evaluation = content.get("Eval")
    steps = _transforms(evaluation) if isinstance(evaluation, Mapping) else []
    for section in [*sections, *steps]:
        if isinstance(section, Mapping) and isinstance(section.get("class_path"), str):
            yield section["class_path"]


def _transforms(evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the options of each step that prepares the pages of an evaluation."""
    dataset = evaluation.get("dataset")
    steps = dataset.get("transforms") if isinstance(dataset, Mapping) else None
    return [
        options
        for step in (steps if isinstance(steps, list) else [])
        if isinstance(step, Mapping)
        for options in step.values()
        if isinstance(options, Mapping)
    ]


def settings_of_training(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with which a training YAML makes tokens of a page."""
    names = ("order_method", "use_textline_bbox_info", "max_seq_len")
    evaluation = content.get("Eval")
    steps = _transforms(evaluation) if isinstance(evaluation, Mapping) else []
    return {name: step[name] for step in steps for name in names if name in step}


def vocabulary_size(architecture: Architecture) -> int | None:
    """Return how many tokens a network knows; None for one that reads no tokens."""
    backbone = architecture.get("Backbone") or {}
    kind = str(backbone.get("name", "")).partition("For")[0]
    if kind not in VOCABULARIES:
        return None
    sizes = backbone.get("sizes") or {}
    return int(sizes.get("vocab_size", VOCABULARIES[kind]))


def read_encoder(file: Path) -> Tokenizer:
    """Read a tokeniser that turns texts into tokens.

    Args:
        file: `vocab.txt` of BERT, `sentencepiece.bpe.model` of XLM-RoBERTa, or a `tokenizer.json`.

    Raises:
        ConfigError: the file is none of these, or the library `tokenizers` is missing.
    """
    try:
        from tokenizers import Tokenizer as Library
    except ImportError as error:
        raise ConfigError(
            "reading a tokeniser needs the library tokenizers: pip install 'tokenizers>=0.15'"
        ) from error
    data = read_file(file, "the tokeniser ")
    try:
        if file.suffix == ".txt":
            content = _of_vocabulary(data.decode("utf-8"))
        elif file.suffix == ".json":
            content = json.loads(data)
        else:
            content = _of_sentencepiece(data)
        library = Library.from_str(json.dumps(content))
        library.encode(TRIAL)
    except KeyboardInterrupt:
        raise
    # The library raises Exception itself; where Rust panics, a BaseException.
    except BaseException as error:
        raise ConfigError(
            f"{file} is no tokeniser ({shorten(str(error))}); expected vocab.txt, "
            "sentencepiece.bpe.model or tokenizer.json"
        ) from error
    library.no_truncation()
    library.no_padding()
    written = json.loads(library.to_str())
    written["post_processor"] = None  # PaddleOCR drops the tokens of start and end
    return Tokenizer(file.name, hashlib.sha256(data).hexdigest(), written)


def check_encoder(tokenizer: Tokenizer, architecture: Architecture) -> int:
    """Return the number of tokens, if a network knows as many.

    Raises:
        ConfigError: it knows another number, or reads no tokens.
    """
    known = vocabulary_size(architecture)
    if known is None:
        raise ConfigError("the network reads no tokens, so it takes no tokeniser")
    count = len(tokenizer.content["model"]["vocab"])
    if count > known:
        raise ConfigError(
            f"{tokenizer.file} has {count} tokens, the network knows {known}: it is another "
            "model's tokeniser"
        )
    return count


def _of_vocabulary(text: str) -> dict[str, Any]:
    """Return BERT's WordPiece, lower case, for the lines of `vocab.txt`."""
    tokens = text.splitlines()
    if "[UNK]" not in tokens:
        raise ValueError("no line is [UNK]")
    cased = {"clean_text": True, "handle_chinese_chars": True, "lowercase": True}
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "strip_accents": True, **cased},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: number for number, token in enumerate(tokens)},
        },
    }


def _of_sentencepiece(data: bytes) -> dict[str, Any]:
    """Return XLM-RoBERTa's tokeniser for the bytes of its `sentencepiece.bpe.model`."""
    import base64

    model = _message().FromString(data)
    pieces = [[piece.piece, piece.score] for piece in model.pieces]
    if len(pieces) < len(SPECIAL) or not model.normalizer.precompiled_charsmap:
        raise ValueError("it holds no pieces of text")
    charsmap = base64.b64encode(model.normalizer.precompiled_charsmap).decode()
    vocabulary = [[token, 0.0] for token in SPECIAL] + pieces[3:] + [["<mask>", 0.0]]
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": charsmap},
                spaces,
            ],
        },
        "pre_tokenizer": {
            "type": "Metaspace",
            "replacement": "\u2581",
            "prepend_scheme": "always",
            "split": True,
        },
        "post_processor": None,
        "decoder": None,
        "model": {"type": "Unigram", "unk_id": SPECIAL.index("<unk>"), "vocab": vocabulary},
    }


def _message() -> Any:
    """Return the protobuf message of a sentencepiece model, as far as it is read here.

    Field numbers are those of sentencepiece's `sentencepiece_model.proto`.
    """
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.message_factory import GetMessages

    schema = FileDescriptorProto(name="pieces.proto", package="pieces", syntax="proto2")
    piece = schema.message_type.add(name="Piece")
    piece.field.add(name="piece", number=1, label=1, type=Field.TYPE_STRING)
    piece.field.add(name="score", number=2, label=1, type=Field.TYPE_FLOAT)
    rules = schema.message_type.add(name="Normalizer")
    rules.field.add(name="precompiled_charsmap", number=2, label=1, type=Field.TYPE_BYTES)
    model = schema.message_type.add(name="Model")
    model.field.add(name="pieces", number=1, label=3, type=11, type_name=".pieces.Piece")
    model.field.add(name="normalizer", number=3, label=1, type=11, type_name=".pieces.Normalizer")
    return GetMessages([schema])["pieces.Model"]
