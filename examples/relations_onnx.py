"""Find relations with the two files of `python -m converter export X.pth --to onnx`.

    python examples/relations_onnx.py exported/X page.npz

`page.npz` has the inputs of `X.encoder.onnx` for one page, and `entities`, (E, 3) int64: of each
entity the first token, the one behind the last, and its label, 1 for QUESTION and 2 for ANSWER.
Prints the pairs of question and answer, with the probability of each. Needs onnxruntime alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

import numpy as np
import onnxruntime


def relate(
    stem: str, inputs: Mapping[str, np.ndarray], entities: np.ndarray
) -> list[tuple[int, int, float]]:
    """Return places of a question and its answer among the entities (E, 3), and a probability."""
    encoder, relations = (
        onnxruntime.InferenceSession(f"{stem}.{part}.onnx") for part in ("encoder", "relations")
    )
    metadata = relations.get_modelmeta().custom_metadata_map
    labels = [json.loads(metadata["entity_labels"])[number] for number in entities[:, 2]]
    questions, answers = (
        [place for place, label in enumerate(labels) if label == kind]
        for kind in ("QUESTION", "ANSWER")
    )
    pairs = np.array([(q, a) for q in questions for a in answers], np.int64)
    if not len(pairs):
        return []
    given = {each.name: inputs[each.name] for each in encoder.get_inputs()}
    (features,) = encoder.run(None, given)
    counted = np.vstack([np.full(3, len(entities)), entities]).astype(np.int64)
    page = {"features": features[0], "entities": counted, "pairs": pairs}
    (scores,) = relations.run(None, page)
    shares = 1 / (1 + np.exp(scores[:, 0] - scores[:, 1]))
    return [
        (int(question), int(answer), float(share))
        for (question, answer), share in zip(pairs, shares, strict=True)
        if share > 0.5
    ]


def main() -> None:
    """Read the inputs of one page from a file of NumPy."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stem", metavar="X", help="the files without .encoder.onnx")
    parser.add_argument("page", metavar="page.npz")
    options = parser.parse_args()
    page = np.load(options.page)
    for question, answer, share in relate(options.stem, page, page["entities"]):
        print(f"{answer} answers {question}: {share:.3f}")


if __name__ == "__main__":
    main()
