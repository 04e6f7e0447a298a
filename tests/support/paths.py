"""Places in the checkout that tests read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "records"
SUPPORT = ROOT / "tests" / "support"
NAMES = ROOT / "tests" / "data" / "names"
CONFIGS = ROOT / "tests" / "data" / "recorded_configs"
