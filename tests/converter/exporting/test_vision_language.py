"""Vision-language models: PaddleX's small networks become folders that answer alike."""

from __future__ import annotations

import json
import pickle
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from converter.cli.main import main
from converter.errors import ExportError
from converter.exporting.vision_language import folder as folders
from converter.exporting.vision_language import proof
from converter.exporting.vision_language.family import Family, Network, families
from converter.references.recorded import vision_language as recorded

RECORDS = {
    "PP-Chart2Table": "pp_chart2table",
    "PP-DocBee-2B": "qwen2_vl_tied",
    "PP-DocBee-7B": "qwen2_vl",
    "PP-DocBee2-3B": "qwen2_5_vl",
}
MODEL = "PP-DocBee-7B"


def release(folder: Path, name: str = MODEL, /, **entries: object) -> Path:
    """Write a record's network as a release; `entries` replace some of its configuration."""
    record = recorded.read(RECORDS[name])
    folder.mkdir(exist_ok=True)
    with (folder / "model_state.pdparams").open("wb") as stream:
        pickle.dump(dict(record.tensors), stream, protocol=4)
    config = {**record.config, **entries}
    kept = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept), encoding="utf-8")
    return folder


def convert(source: Path, out: Path, *more: object, name: str = MODEL) -> int:
    arguments = [name, "--paddle-dir", source, "--out", out, *more]
    return main(["convert", *map(str, arguments)])


@pytest.mark.parametrize("name", RECORDS)
def test_the_folder_answers_as_paddlex_does(name, tmp_path, monkeypatch, capsys):
    import transformers

    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr("sys.path", [*__import__("sys").path])  # Transformers adds to it
    source, out = release(tmp_path / "source", name), tmp_path / "out"
    (source / "vocab.json").write_text("{}", encoding="utf-8")
    (source / "run.py").write_text("", encoding="utf-8")
    assert convert(source, out, name=name) == 0
    said = capsys.readouterr().out
    assert f"AutoModelForImageTextToText.from_pretrained({str(out)!r}" in said
    assert "recorded reference" in said
    own = name == "PP-DocBee2-3B"
    assert ("trust_remote_code=True" in said) == own
    written = {"README.md", "config.json", "model.safetensors", "vocab.json"}
    written |= {"modeling_pp_docbee2.py"} if own else set()
    assert {file.name for file in out.iterdir()} == written
    assert len({file.stat().st_mode for file in out.iterdir()}) == 1
    theirs, found = transformers.AutoModelForImageTextToText.from_pretrained(
        out, trust_remote_code=own, output_loading_info=True
    )
    assert not any(found.values())
    record = recorded.read(RECORDS[name])
    assert len(record.questions) == 2
    for question, expected in record.answers():
        actual = proof.answer(theirs.eval(), question)
        assert np.abs(actual - expected).max() <= 1e-4 * np.abs(expected).max()
        assert expected.std() > 1e-3
    if own:  # without its module, Transformers would take another network
        with pytest.raises(ValueError, match="trust_remote_code"):
            transformers.AutoModelForImageTextToText.from_pretrained(out, trust_remote_code=False)


def turn(name: str) -> Callable[[dict[str, Tensor]], None]:
    """Return what transposes a square matrix."""

    def change(state: dict[str, Tensor]) -> None:
        assert state[name].shape[0] == state[name].shape[1]
        state[name] = state[name].T.contiguous()

    return change


def swap(*names: str) -> Callable[[dict[str, Tensor]], None]:
    """Return what swaps two tensors."""

    def change(state: dict[str, Tensor]) -> None:
        first, second = names
        state[first], state[second] = state[second], state[first]

    return change


def clear(name: str) -> Callable[[dict[str, Tensor]], None]:
    """Return what makes a tensor zero."""

    def change(state: dict[str, Tensor]) -> None:
        state[name] = torch.zeros_like(state[name])

    return change


TEXT, VISION = "model.language_model.layers.1.", "model.visual.blocks.1."
CHART = "model.vision_tower.layers.1."
MISTAKES = [
    (MODEL, turn(f"{TEXT}self_attn.o_proj.weight")),
    (MODEL, turn(f"{VISION}attn.proj.weight")),
    (MODEL, turn("model.visual.merger.mlp.0.weight")),
    (MODEL, swap(f"{TEXT}mlp.gate_proj.weight", f"{TEXT}mlp.up_proj.weight")),
    (MODEL, swap(f"{TEXT}self_attn.k_proj.weight", f"{TEXT}self_attn.v_proj.weight")),
    (MODEL, swap(f"{VISION}norm1.weight", f"{VISION}norm2.weight")),
    (MODEL, clear(f"{TEXT}self_attn.q_proj.bias")),
    (MODEL, clear(f"{VISION}attn.qkv.bias")),
    ("PP-DocBee2-3B", swap(f"{VISION}mlp.gate_proj.weight", f"{VISION}mlp.up_proj.weight")),
    ("PP-Chart2Table", turn(f"{CHART}attn.proj.weight")),
    ("PP-Chart2Table", turn("model.multi_modal_projector.multimodal_projector.weight")),
    ("PP-Chart2Table", swap(f"{CHART}attn.rel_pos_h", f"{CHART}attn.rel_pos_w")),
    ("PP-Chart2Table", swap("model.vision_tower.neck.layer_norm1.weight",
                            "model.vision_tower.neck.layer_norm2.weight")),
]  # fmt: skip


def network_of(name: str) -> tuple[Family, Network]:
    family = families()[folders.cards.vision_language()[name]["model_type"]]
    (network,) = (n for n in (family.tied, family.untied) if n and n.record == RECORDS[name])
    return family, network


@pytest.mark.parametrize(("name", "change"), MISTAKES)
def test_a_mistake_in_the_tensors_is_found(name, change, monkeypatch):
    def changed(*arguments):
        state = converted(*arguments)
        change(state)
        return state

    converted = proof.apply
    monkeypatch.setattr(proof, "apply", changed)
    with pytest.raises(ExportError, match=r"differs by .*nothing was written"):
        proof.prove(*network_of(name))


@pytest.mark.parametrize(
    ("name", "part", "entry"),
    [
        (MODEL, "text_config", {"rms_norm_eps": 1e-5}),
        (MODEL, "text_config", {"rope_theta": 1e4}),
        (MODEL, "text_config", {"rope_scaling": {"type": "mrope", "mrope_section": [3, 1, 2]}}),
        (MODEL, "vision_config", {"hidden_act": "gelu"}),
        ("PP-DocBee2-3B", "vision_config", {"added_block_index": 0}),
        ("PP-DocBee2-3B", "vision_config", {"window_size": 32}),
        ("PP-DocBee2-3B", "vision_config", {"fullatt_block_indexes": [2]}),
        ("PP-Chart2Table", "vision_config", {"layer_norm_eps": 1e-5}),
        ("PP-Chart2Table", "vision_config", {"global_attn_indexes": []}),
    ],
)
def test_a_mistake_in_the_configuration_is_found(name, part, entry, monkeypatch):
    build = Family.build

    def changed(family, config):
        return build(family, {**config, part: {**config[part], **entry}})

    monkeypatch.setattr(Family, "build", changed)
    with pytest.raises((ExportError, RuntimeError, folders.MappingError)):
        proof.prove(*network_of(name))


def test_the_added_block_counts():
    """PP-DocBee2 is not Qwen2.5-VL, whose class has the same tensors."""
    family, network = network_of("PP-DocBee2-3B")
    known = {"name": "qwen2_5_vl", "kind": "Qwen2_5_VLForConditionalGeneration"}
    plain = replace(family, **known, auto_map={})
    with pytest.raises(ExportError, match="differs by"):
        proof.prove(plain, network)


def test_files_of_bfloat16_are_written_in_several(tmp_path, monkeypatch, capsys):
    import transformers

    source, out = release(tmp_path / "source"), tmp_path / "out"
    (source / "model_state.pdparams").unlink()
    tensors = {
        name: torch.from_numpy(array).bfloat16()
        for name, array in recorded.read(RECORDS[MODEL]).tensors.items()
    }
    table = {}
    for number, names in enumerate((list(tensors)[:20], list(tensors)[20:])):
        file = f"part-{number}.safetensors"
        save_file({name: tensors[name] for name in names}, source / file)
        table |= dict.fromkeys(names, file)
    index = json.dumps({"weight_map": table})
    (source / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    monkeypatch.setattr(folders, "LARGEST_SHARD", 30_000)
    assert convert(source, out, "-q", "--reference", "none") == 0
    assert capsys.readouterr().out == f"wrote {out}: UNVERIFIED: no reference was wanted\n"
    assert "UNVERIFIED" in (out / "README.md").read_text("utf-8")
    index = json.loads((out / "model.safetensors.index.json").read_text("utf-8"))
    parts = sorted(set(index["weight_map"].values()))
    assert len(parts) > 3
    assert parts[0] == f"model-00001-of-{len(parts):05}.safetensors"
    found = {}
    for part in parts:
        state = load_file(out / part)
        assert len(state) == 1 or sum(t.nbytes for t in state.values()) <= 30_000
        found |= state
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in found.values())
    key = "self_attn.q_proj.weight"
    assert torch.equal(
        found[f"model.language_model.layers.0.{key}"], tensors[f"model.layers.0.{key}"].T
    )
    theirs = transformers.AutoModelForImageTextToText.from_pretrained(out)
    assert theirs.dtype == torch.bfloat16
    assert theirs.state_dict().keys() == found.keys()


def test_weights_in_pytorchs_layouts_are_renamed_alone(tmp_path, capsys):
    paddle, source = release(tmp_path / "paddle"), release(tmp_path / "source")
    assert convert(paddle, tmp_path / "out", "--reference", "none") == 0
    state = load_file(tmp_path / "out" / "model.safetensors")
    (source / "model_state.pdparams").unlink()
    older = {name.replace("model.visual.", "visual."): tensor for name, tensor in state.items()}
    older = {name.replace("model.language_model.", "model."): t for name, t in older.items()}
    save_file(older, source / "model.safetensors")
    assert convert(source, tmp_path / "again", "--reference", "none") == 0
    assert "58 tensors, in PyTorch's layouts already" in capsys.readouterr().out
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())
    shutil.copy(tmp_path / "out" / "model.safetensors", source)
    assert convert(source, tmp_path / "third") == 3
    assert "needs no conversion: transformers.AutoModel" in capsys.readouterr().err


def test_an_archive(tmp_path):
    source = release(tmp_path / "source")
    (source / "merges.txt").write_text("a b", encoding="utf-8")
    with tarfile.open(tmp_path / "PP-DocBee-7B_infer.tar", "w") as tar:
        tar.add(source, "PP-DocBee-7B_infer")
    out = tmp_path / "out"
    assert convert(tmp_path / "PP-DocBee-7B_infer.tar", out, "--reference", "none") == 0
    assert (out / "merges.txt").read_text("utf-8") == "a b"


def test_several_tokens_may_end_a_text():
    source = {**recorded.read("qwen2_vl").config, "eos_token_id": [1, 2], "pad_token_id": 0}
    text = families()["qwen2_vl"].config(source, "config.json")["text_config"]
    assert (text["eos_token_id"], text["pad_token_id"]) == ([1, 2], 0)
    assert "bos_token_id" not in text


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"image_token_id": None}, "lacks image_token_id"),
        ({"hidden_size": "48"}, "hidden_size is '48', expected a value like 8192"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"num_hidden_layers": 10**9}, "announces 1000000002 layers, of 58 tensors"),
        ({"num_key_value_heads": 0}, "describes no Qwen2VLForConditionalGeneration"),
        ({"rope_scaling": {"type": "yarn", "mrope_section": [1, 1, 1]}}, "expected the type mrope"),
        ({"rope_scaling": {"type": "mrope", "mrope_section": "112"}}, "expected the type mrope"),
        (
            {"rope_scaling": {"type": "mrope", "mrope_section": [2, 2, 3]}},
            "half the width of an att",
        ),
        ({"vision_config": 3}, "vision_config is no object"),
        ({"eos_token_id": "1"}, "eos_token_id is '1', expected a whole number"),
        ({"bos_token_id": [1, 2]}, "bos_token_id is [1, 2], expected a whole number"),
    ],
)
def test_a_configuration_that_does_not_fit(entries, message, tmp_path, capsys):
    source, out = release(tmp_path / "source", **entries), tmp_path / "out"
    assert convert(source, out) == 3
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_network_without_the_added_block(tmp_path, capsys):
    vision = recorded.read("qwen2_5_vl").config["vision_config"]
    source = release(tmp_path, "PP-DocBee2-3B", vision_config={**vision, "added_block_index": 15})
    assert convert(source, tmp_path / "out", name="PP-DocBee2-3B") == 3
    assert "added_block_index is 15, of 3 blocks" in capsys.readouterr().err


def test_tensors_that_do_not_fit(tmp_path, capsys):
    source = release(tmp_path / "source", intermediate_size=64)
    assert convert(source, tmp_path / "out") == 4
    assert "mapping qwen2_vl does not fit" in capsys.readouterr().err
    source = release(tmp_path / "chart", "PP-Chart2Table", tie_word_embeddings=False)
    assert convert(source, tmp_path / "out", name="PP-Chart2Table") == 3
    assert "only the other network was released" in capsys.readouterr().err


@pytest.mark.parametrize(("value", "code", "message"), [
    (np.nan, 3, "are NaN"), (0.5, 4, "should be one tensor but hold other values"),
])  # fmt: skip
def test_impossible_values(value, code, message, tmp_path, capsys):
    source, out = release(tmp_path / "source", "PP-DocBee-2B"), tmp_path / "out"
    tensors = dict(recorded.read(RECORDS["PP-DocBee-2B"]).tensors)
    name = "lm_head.weight" if code == 4 else "model.norm.weight"
    tensors[name] = np.full_like(tensors[name], value)
    with (source / "model_state.pdparams").open("wb") as stream:
        pickle.dump(tensors, stream, protocol=4)
    assert convert(source, out, "--reference", "none", name="PP-DocBee-2B") == code
    assert message in capsys.readouterr().err
    assert not list(out.iterdir())


def test_the_command(tmp_path, capsys, monkeypatch):
    source, out = release(tmp_path / "source", rope_theta=1000), tmp_path / "out"
    assert convert(source, out, "--plan") == 0
    assert "visual.patch_embed.proj.weight -> model.visual" in capsys.readouterr().out
    assert not out.exists()
    assert convert(source, source) == 2
    assert "has files already" in capsys.readouterr().err
    assert convert(source, out, "--fuse", "--dict", "d.txt", "--tolerance", "1e-3") == 2
    assert "takes no --dict, --fuse, --tolerance" in capsys.readouterr().err
    assert convert(source, out, "--reference", "program") == 2
    assert "--reference recorded or none" in capsys.readouterr().err
    assert convert(tmp_path / "missing", out) == 3
    assert "does not exist" in capsys.readouterr().err
    assert main([MODEL]) == 2
    assert "--paddle-dir is missing" in capsys.readouterr().err
    assert main([MODEL, "--paddle-dir", str(source)]) == 2
    assert "--out is missing: name a folder" in capsys.readouterr().err
    assert main(["PaddleOCR-VL-1.5", "--paddle-dir", str(source), "--out", str(out)]) == 2
    assert "released for PyTorch already" in capsys.readouterr().err
    monkeypatch.setattr(folders, "find_spec", lambda _: None)
    assert convert(source, out) == 2
    assert "pip install 'paddleocr-to-torch[transformers]'" in capsys.readouterr().err
    assert not out.exists()


def test_the_networks_that_are_listed():
    assert set(folders.cards.vision_language()) == set(RECORDS)
    assert {network_of(name)[1].record for name in RECORDS} == set(RECORDS.values())
