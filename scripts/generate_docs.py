"""Write the pages of the documentation that follow from the code, the configs and the records.

    python scripts/generate_docs.py [--verified FILE.json]

Writes `docs/models.md` and `docs/exports.md` (committed, since GitHub shows them too), and
`docs/commands.md` and `docs/api/` (both made by each build). `--verified` adds the results of
`python -m converter verify records --json FILE.json` to `docs/verified.json`, from which the errors
in `models.md` come.

MkDocs calls `on_config` before a build (`hooks` in mkdocs.yml).
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from converter.catalog import cards as catalog
from converter.cli.main import COMMANDS as CONVERTER_COMMANDS
from converter.cli.main import main as converter_main
from converter.exporting.rapidocr import MODELS
from converter.exporting.transformers_folder import families
from converter.exporting.vision_language import family as vision_language
from pipelines.cli.main import COMMANDS as PIPELINE_COMMANDS
from pipelines.cli.main import main as pipelines_main

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
VERIFIED = DOCS / "verified.json"
EXPORTS = DOCS / "exports.json"
ROUTES = {
    "torch": "torch.export",
    "onnx": "ONNX",
    "torchscript": "TorchScript",
    "compiled": "AOTInductor",
}
"""Routes of an export that `scripts/measure_exports.py` takes."""
PACKAGES = ("architectures", "pipelines", "converter", "schemas", "cores")
NOISE_LIMIT = 1e-4
TITLES = {
    "det": "Text detection",
    "cls": "Classification",
    "rec": "Text recognition",
    "e2e": "Detection and recognition in one network",
    "formula": "Formula recognition",
    "sr": "Super-resolution of text lines",
    "layout": "Layout analysis",
    "table": "Table structure recognition",
    "unwarp": "Page unwarping",
}


def on_config(config: Any) -> Any:
    """Write all generated pages and put the API pages into MkDocs' navigation."""
    write_if_changed(DOCS / "models.md", models_page())
    write_if_changed(DOCS / "exports.md", exports_page())
    write_if_changed(DOCS / "commands.md", commands_page())
    config["nav"].append({"API reference": api_pages()})
    return config


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--verified", type=Path, metavar="FILE.json")
    options = parser.parse_args(argv)
    if options.verified:
        results = json.loads(options.verified.read_text(encoding="utf-8"))
        rows = sorted({**read_measurements(), **measured(results)}.items())
        lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(row)}" for name, row in rows)
        VERIFIED.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    on_config({"nav": []})
    return 0


def measured(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the worst error of each record, with the date and the state of the code.

    Args:
        results: what `verify --json` wrote, of all records or of some.

    Raises:
        ValueError: a record failed; such results are not published.
    """
    if failed := [name for name, result in results.items() if result["status"] != "passed"]:
        raise ValueError(f"these records failed: {', '.join(failed)}")
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    state = {
        "date": datetime.date.today().isoformat(),
        "commit": commit,
        "torch": importlib.metadata.version("torch"),
    }
    return {
        name: {"worst_difference": result["worst_difference"], **state}
        for name, result in results.items()
    }


def read_measurements() -> dict[str, dict[str, Any]]:
    """Return the measurements that are committed, by the record's name."""
    content: dict[str, dict[str, Any]] = json.loads(VERIFIED.read_text(encoding="utf-8"))
    return content


def models_page() -> str:
    """Return the page of all models: a table per task, from the catalogue and the records."""
    measurements = read_measurements()
    rows: dict[str, list[str]] = {}
    cards = catalog.cards()
    for card in cards:
        cells = (
            ", ".join(f"`{name}`" for name in (card.name, *card.aliases)),
            card.release,
            network_of(card.architecture),
            sources_of(card),
            error_of(card.recorded, measurements),
        )
        rows.setdefault(card.task, []).append(f"| {' | '.join(cells)} |")
    used = [measurements[card.recorded] for card in cards if card.recorded in measurements]
    states = sorted({(row["date"], row["commit"], row["torch"]) for row in used})
    page = [
        "# Models",
        "",
        "<!-- Written by scripts/generate_docs.py; do not edit. -->",
        "",
        f"{len(cards)} released models can be converted. "
        "`python -m converter --list` prints them with their class counts and dictionaries.",
        "",
        "*Released as* says in which forms PaddleOCR publishes the model; [Convert a model]"
        "(convert.md#what-an-export-is-good-for) says which exports cannot be converted alone. "
        "*Record* is the worst max|difference| / max|reference| between this network and "
        "PaddleOCR's own with the same seeded weights, over all outputs and layers that the record "
        "holds. Networks marked * amplify rounding errors: the [noise](verification.md#noise) "
        "measured for them is subtracted first.",
        "",
        "`python -m converter verify records` measured the errors "
        + ", ".join(
            f"on {date} at commit {commit} (PyTorch {torch})" for date, commit, torch in states
        )
        + ".",
    ]
    for task in catalog.TASKS:
        if task in rows:
            page += ["", f"## {TITLES.get(task, task)}", ""]
            page += [
                "| model | release | network | released as | record |",
                "|---|---|---|---|---|",
            ]
            page += rows[task]
    page += ["", "## Vision-language models", ""]
    page += [
        "They become [folders for Transformers](export.md#vision-language-models).",
        "",
        "| model | release | class | record |",
        "|---|---|---|---|",
    ]
    for name, row in catalog.vision_language().items():
        family = vision_language.families()[row["model_type"]]
        note = f"; {row['note']}" if "note" in row else ""
        known = filter(None, (family.tied, family.untied))
        records = ", ".join(f"`{network.record}`" for network in known)
        page.append(f"| `{name}` | {row['release']}{note} | {family.kind} | {records} |")
    page += ["", "## Refused", "", "These releases are known, but not converted:", ""]
    page += ["| model | reason |", "|---|---|"]
    page += [f"| `{name}` | {reason} |" for name, reason in catalog.refused().items()]
    return "\n".join(page) + "\n"


def exports_page() -> str:
    """Return the page of routes: which networks were exported by which, and what they take."""
    measured: dict[str, dict[str, Any]] = json.loads(EXPORTS.read_text(encoding="utf-8"))
    transformers = {network_of(catalog.card(name).architecture) for name in families()}
    rapid = {network_of(catalog.card(each.released).architecture) for each in MODELS.values()}
    page = [
        "# Which networks go where",
        "",
        "<!-- Written by scripts/generate_docs.py from exports.json; do not edit. -->",
        "",
        "`scripts/measure_exports.py` exported networks of these architectures, most of them "
        "small, with seeded weights, by the routes of [`export`](export.md). A cell says what the "
        "file takes: N images, and sides that are any multiple of a number or fixed, or the inputs "
        "of key information. Each was "
        "compared with the network on inputs of three sizes, where sides are free, and the worst "
        "difference of the maximum follows. *Beyond* is what rounding alone changes, which was "
        "subtracted: some networks amplify it, with seeded weights more than with trained ones. "
        "*Choice* stands where a network goes on with the positions of the greatest scores and the "
        "file chose others: how far their scores are from the greatest; the network was compared "
        "with the file's choice. "
        "*Two files* are an image's part and a step of the decoder, or the features of a text and "
        "the scores of a page's pairs. Refused exports are not "
        "written; their [reasons](#refused) follow the table. Networks that are not listed were "
        "not measured in this way.",
        "",
        f"| network | {' | '.join(ROUTES.values())} | Transformers | RapidOCR |",
        f"|---|{'---|' * len(ROUTES)}---|---|",
    ]
    rows = sorted(measured.values(), key=sort_key)
    for result in rows:
        name = network_of(result["architecture"])
        cells = [export_of(result["routes"].get(route)) for route in ROUTES]
        cells += ["yes" if name in others else "no" for others in (transformers, rapid)]
        page.append(f"| {name} | {' | '.join(cells)} |")
    commits: dict[str, set[str]] = {}
    for row in rows:
        for route in row["routes"].values():
            commits.setdefault(route["torch"], set()).add(route["commit"])
    said = "; ".join(
        f"with PyTorch {torch} at commit {', '.join(sorted(found))}"
        for torch, found in sorted(commits.items())
    )
    page += [
        "",
        f"Measured {said}. Every architecture goes back to [Paddle](export.md#paddleocr).",
        "",
        "## Refused",
        "",
        "| route | reason | networks |",
        "|---|---|---|",
        *refusals(rows),
    ]
    return "\n".join(page) + "\n"


def sort_key(result: Mapping[str, Any]) -> tuple[str, str]:
    """Return what rows are sorted by: the task, then the network."""
    return result["architecture"]["model_type"], network_of(result["architecture"])


def refusals(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a row for each reason why a route refuses networks."""
    found: dict[tuple[str, str], list[str]] = {}
    for result in rows:
        for route, title in ROUTES.items():
            if reason := result["routes"].get(route, {}).get("refused"):
                line = " ".join(reason.split()).replace("|", "/")
                found.setdefault((title, line), []).append(network_of(result["architecture"]))
    return [f"| {route} | {why} | {'; '.join(who)} |" for (route, why), who in found.items()]


def export_of(result: Mapping[str, Any] | None) -> str:
    """Return a cell: what an export takes and how far it is from the network."""
    if result is None:
        return "not measured"
    if "refused" in result:
        return "refused"
    takes = re.sub(r"\w+ as the network; free axes: ", "free: ", str(result["takes"]))
    files = "two files, " if result["files"] > 1 else ""
    noise = f" beyond {result['noise']:.0e}" if result.get("noise") else ""
    choice = f", choice {result['choice']:.0e}" if "choice" in result else ""
    return f"{files}{takes}, {result['difference']:.0e}{noise}{choice}"


def network_of(architecture: Mapping[str, Any]) -> str:
    """Return the names of a network's parts, in the order in which they run."""
    parts = []
    for key in ("Transform", "Backbone", "Neck", "Head"):
        section = architecture.get(key) or {}
        name = section.get("name")
        if name == "SequenceEncoder":
            name = {"reshape": None, "rnn": "BiLSTM"}.get(section["encoder_type"], name)
        if name == "MultiHead":
            ctc = next(entry["CTCHead"] for entry in section["head_list"] if "CTCHead" in entry)
            parts.append(ctc["Neck"]["name"])
            name = "CTCHead"
        parts += [name] if name else []
    return ", ".join(parts)


def sources_of(card: catalog.ModelCard) -> str:
    """Return the forms in which a model is released."""
    forms = {"checkpoint": card.train, "export": card.infer}
    return ", ".join(form for form, url in forms.items() if url) or "your own training"


def error_of(record: str, measurements: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a record's worst error; an asterisk marks a network that amplifies rounding errors."""
    if record not in measurements:
        return "not measured"
    facts = json.loads((ROOT / "records" / record / "reference.json").read_text(encoding="utf-8"))
    noisy = any(change > NOISE_LIMIT for change in facts["change_under_1e-6_jitter"].values())
    return f"{measurements[record]['worst_difference']:.1e}{' *' if noisy else ''}"


def commands_page() -> str:
    """Return the page of both command lines: what each `--help` prints."""
    page = [
        "# All commands and options",
        "",
        "The output of `--help`, from the version that this site was built from. The [exit codes]"
        "(command-line.md#exit-codes) have a table of their own.",
    ]
    page += help_of("converter", CONVERTER_COMMANDS, converter_main)
    page += help_of("pipelines", PIPELINE_COMMANDS, pipelines_main)
    return "\n".join(page) + "\n"


def help_of(
    package: str, commands: Iterable[str], run: Callable[[Sequence[str]], int]
) -> Iterator[str]:
    """Yield a section for the package and for each of its commands."""
    for command in ("", *commands):
        title = f"python -m {package} {command}".rstrip()
        arguments = [command, "--help"] if command else ["--help"]
        text = printed_help(package, run, arguments)
        yield from ("", f"## `{title}`", "", "```text", text, "```")


def printed_help(
    package: str, run: Callable[[Sequence[str]], int], arguments: Sequence[str]
) -> str:
    """Return what a command line prints for `--help`, wrapped at 84 columns."""
    output, argv, columns = io.StringIO(), sys.argv, os.environ.get("COLUMNS")
    sys.argv, os.environ["COLUMNS"] = [f"{package}/__main__.py"], "84"
    try:
        with redirect_stdout(output):
            run(arguments)
    except SystemExit:  # argparse ends the program after the help
        pass
    finally:
        sys.argv = argv
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
    return output.getvalue().strip()


def api_pages() -> list[dict[str, Any]]:
    """Write a page per package and per room of it, and return them as MkDocs' navigation."""
    folder = DOCS / "api"
    navigation: list[dict[str, Any]] = []
    written = set()
    for package in PACKAGES:
        if not (ROOT / package / "__init__.py").is_file():
            continue
        pages: list[dict[str, Any]] = []
        for room, modules in rooms_of(package).items():
            file = folder / f"{room}.md"
            blocks = [f"# `{room}`", *(block_of(module, room) for module in modules)]
            write_if_changed(file, "\n\n".join(blocks) + "\n")
            written.add(file)
            pages.append({room: file.relative_to(DOCS).as_posix()})
        navigation.append({package: pages})
    for file in folder.glob("*.md"):
        if file not in written:
            file.unlink()  # of a module that has been renamed
    return navigation


def block_of(module: str, room: str) -> str:
    """Return the lines by which mkdocstrings documents a module; a room has its title already."""
    options = "\n    options:\n      show_root_heading: false" if module == room else ""
    return f"::: {module}{options}"


def rooms_of(package: str) -> dict[str, list[str]]:
    """Return the public modules of a package by the folder that they lie in."""
    rooms: dict[str, list[str]] = {}
    for file in sorted((ROOT / package).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        if file.name == "__main__.py" or any(p.startswith("_") for p in parts if p != "__init__"):
            continue
        module = ".".join(part for part in parts if part != "__init__")
        room = module if file.name == "__init__.py" else module.rpartition(".")[0]
        if file.stat().st_size:
            rooms.setdefault(room, []).append(module)
    return dict(sorted(rooms.items()))


def write_if_changed(file: Path, text: str) -> None:
    """Write a page unless it is there already, so that `mkdocs serve` does not build for ever."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
