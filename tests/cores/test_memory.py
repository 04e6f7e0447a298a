"""The memory that may be taken, by files of the system that are made here."""

from __future__ import annotations

import math

import pytest

from cores.memory import available_memory
from tests.support.system_files import write_system

MEMINFO = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    4000 kB\nSwapFree: 1 kB\n"}


def v2(limit, used):
    folder = "sys/fs/cgroup/job"
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": "anon 5\nactive_file 900\ninactive_file 300\n",
    }


V1 = {
    "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "5000\n",
    "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "1000\n",
    "sys/fs/cgroup/memory/job/memory.stat": "cache 7\ntotal_inactive_file 200\n",
}


@pytest.mark.parametrize(
    ("group", "files", "memory"),
    [
        ("0::/job\n", MEMINFO, 4_096_000),
        ("0::/job\n", {**MEMINFO, **v2(3_000, 1_000)}, 2_300),
        ("0::/job\n", {**MEMINFO, **v2("max", 1_000)}, 4_096_000),
        ("0::/job\n", v2(1_000, 2_000), 0),
        ("4:memory:/job\n", {**MEMINFO, **V1}, 4_200),
        ("0::/job\n", {"proc/meminfo": "nothing\n"}, math.inf),
        ("garbage", {}, math.inf),
    ],
)
def test_available_memory(tmp_path, group, files, memory):
    assert available_memory(write_system(tmp_path, group, files)) == memory
