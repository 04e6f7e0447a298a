"""The service on a local Ray (make test-ray)."""

from __future__ import annotations

import json

import cv2
import httpx
import pytest

from pipelines.cli.serve_on_ray import build
from tests.support.pages import bar_page
from tests.support.paths import ROOT
from tests.support.small_networks import NETWORKS
from tests.support.small_weights import save_network, write_weights

pytestmark = pytest.mark.ray


def test_a_replica_answers(tmp_path, monkeypatch):
    import ray
    from ray import serve

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    det, _ = save_network(tmp_path / "det.pth", NETWORKS["det v4"][0])
    card = json.loads(det.with_suffix(".json").read_text(encoding="utf-8"))
    det.with_suffix(".json").write_text(json.dumps({**card, "task": "det", "input": {}}))
    write_weights(tmp_path / "rec.pth", {"task": "rec", "dictionary": {"characters": list("abc")}})
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        serve.run(build({"models": str(tmp_path)}), name="test")
        page = cv2.imencode(".png", bar_page())[1].tobytes()
        headers, url = {"content-type": "image/png"}, "http://127.0.0.1:8000"
        read = httpx.post(f"{url}/ocr", content=page, headers=headers, timeout=60)
        assert (read.status_code, read.json()["pages"][0]["width"]) == (200, 600)
        refused = httpx.post(f"{url}/ocr", content=page[:500], headers=headers, timeout=60)
        assert (refused.status_code, list(refused.json())) == (422, ["error"])
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}
    finally:
        serve.shutdown()
        ray.shutdown()
