"""The number of threads by control groups that are made here, and how threads wait."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

import pipelines
from cores import threads
from cores.threads import available_cores, configure_threads, cores_are_contended, threads_spin
from tests.support.paths import ROOT
from tests.support.system_files import write_system


@pytest.fixture
def affinity(monkeypatch):
    """Return a function that sets how many cores the process may use by its affinity."""

    def set_cores(cores):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)

    set_cores(16)
    return set_cores


@pytest.fixture
def environment(monkeypatch):
    """Remove all variables about threads, and PyTorch from the imported modules."""
    ours = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", threads.HUGE_PAGES
    for name in (*threads.THREADS, *threads.WAITING, *ours):
        monkeypatch.setenv(name, "")  # so that what a test sets is removed after it
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    return monkeypatch


V2 = "0::/system.slice/job.service\n"
V1 = "9:name=systemd:/\n4:memory:/docker/ab\n3:cpuset:/docker/ab\n2:cpu,cpuacct:/docker/ab\n"


def v1_files(folder, quota, period="100000"):
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": period}


@pytest.mark.usefixtures("affinity")
@pytest.mark.parametrize(
    ("group", "files", "cores"),
    [
        (V2, {"sys/fs/cgroup/system.slice/job.service/cpu.max": "400000 100000\n"}, 4),
        (V2, {"sys/fs/cgroup/system.slice/job.service/cpu.max": "max 100000\n"}, 16),
        # The quota of the group around this one is lower.
        (
            V2,
            {
                "sys/fs/cgroup/system.slice/job.service/cpu.max": "800000 100000\n",
                "sys/fs/cgroup/system.slice/cpu.max": "300000 100000\n",
            },
            3,
        ),
        # In a container, its own group is the root; in others only the root can be seen.
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        (V2, {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ("0::/../..\n", {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        # Parts of cores.
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "9900000 100000\n"}, 16),
        # Version 1, by the controllers' names together or by a link, and without a quota.
        (V1, v1_files("sys/fs/cgroup/cpu,cpuacct/docker/ab", 500000), 5),
        (V1, v1_files("sys/fs/cgroup/cpu,cpuacct", 600000), 6),
        (V1, v1_files("sys/fs/cgroup/cpu/docker/ab", 75000, "50000"), 1),
        (V1, v1_files("sys/fs/cgroup/cpu,cpuacct/docker/ab", -1), 16),
        # Files that say nothing.
        (V1, v1_files("sys/fs/cgroup/cpu,cpuacct", 100000, "0"), 16),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "many\n"}, 16),
        ("garbage", {}, 16),
        ("", {}, 16),
    ],
)
def test_quotas_of_control_groups(tmp_path, group, files, cores):
    assert available_cores(write_system(tmp_path, group, files)) == cores


def test_the_affinity_bounds_the_cores(tmp_path, affinity, monkeypatch):
    root = write_system(tmp_path, "0::/\n", {"sys/fs/cgroup/cpu.max": "800000 100000\n"})
    affinity(3)
    assert available_cores(root) == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert available_cores(root) == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores(tmp_path / "none") == 1


@pytest.mark.usefixtures("affinity")
def test_threads_sleep_and_a_quota_bounds_them(environment):
    environment.setattr(threads, "available_cores", lambda: 16)
    assert configure_threads() == {
        "OMP_WAIT_POLICY": "passive",
        "GOMP_SPINCOUNT": "1000",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256",
        "THP_MEM_ALLOC_ENABLE": "1",
    }
    assert configure_threads() == {}
    environment.setattr(threads, "available_cores", lambda: 4)
    assert configure_threads() == dict.fromkeys(threads.THREADS, "4")
    assert os.environ["OMP_NUM_THREADS"] == "4"
    assert not threads_spin()


@pytest.mark.usefixtures("affinity")
@pytest.mark.parametrize("name", threads.WAITING)
def test_what_the_user_has_set_is_left(environment, name):
    environment.setenv(name, "7")
    environment.setenv("OMP_NUM_THREADS", "9")
    environment.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "5")
    environment.setenv("THP_MEM_ALLOC_ENABLE", "0")
    assert configure_threads(2) == {"MKL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    assert (os.environ[name], os.environ["OMP_NUM_THREADS"]) == ("7", "9")


def test_too_late_is_logged(environment, caplog):
    environment.setitem(sys.modules, "torch", logging)
    configure_threads()
    assert "imported already" in caplog.text


@pytest.mark.parametrize(
    ("variables", "spin"),
    [
        ({}, True),
        ({"OMP_WAIT_POLICY": "active"}, True),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, False),
        ({"GOMP_SPINCOUNT": "1000"}, False),
        ({"GOMP_SPINCOUNT": "infinity"}, True),
    ],
)
def test_how_threads_wait(environment, variables, spin):
    for name, value in variables.items():
        environment.setenv(name, value)
    assert threads_spin() is spin


@pytest.mark.parametrize(
    ("load", "available", "cores", "contended"),
    [(0.2, 2, 2, False), (1.0, 2, 2, False), (2.0, 2, 2, True), (9.0, 1, 2, True),
     (20.0, 4, 64, False), (40.0, 64, 64, True)],
)  # fmt: skip
def test_contention(monkeypatch, load, available, cores, contended):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(threads, "available_cores", lambda: available)
    assert cores_are_contended() is contended


def test_without_a_load_average_nothing_is_contended(monkeypatch):
    monkeypatch.delattr(os, "getloadavg")
    assert not cores_are_contended()


def run_python(code, **variables):
    kept = {name: value for name, value in os.environ.items() if name not in threads.WAITING}
    environment = {**kept, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_pipelines_can_be_configured_before_pytorch_is_imported():
    code = (
        "import sys, os, pipelines; assert 'torch' not in sys.modules; "
        "pipelines.configure_threads(); from pipelines import OCR; assert 'torch' in sys.modules; "
        "print(os.environ['OMP_WAIT_POLICY'])"
    )
    assert run_python(code) == "passive\n"


def test_every_public_name_of_pipelines_is_imported_on_use():
    names = [name for name in pipelines.__all__ if name != "configure_threads"]
    assert set(names) == set(pipelines._MODULES)
    assert all(hasattr(pipelines, name) for name in names)
    with pytest.raises(AttributeError, match="has no attribute 'Reader'"):
        pipelines.Reader  # noqa: B018


@pytest.mark.parametrize("given", [None, "active"])
def test_the_command_lines_configure_threads_before_pytorch(given):
    """Each command fails for a file that is missing, after PyTorch has been imported."""
    code = (
        "import os, sys, {module}; assert 'torch' not in sys.modules; "
        "sys.argv = ['program', {arguments}]\n"
        "try:\n    {module}.{function}()\nexcept SystemExit: pass\n"
        "print(os.environ['OMP_WAIT_POLICY'], os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'])"
    )
    variables = {"OMP_WAIT_POLICY": given} if given else {}
    for module, function, arguments in (
        ("pipelines.cli.main", "main", "'detect', 'none.png', '--weights', 'none.pth'"),
        ("converter.__main__", "run", "'convert-all', '--paddle-root', 'none', '--out', 'none'"),
        ("converter.__main__", "run", "'ch_PP-OCRv4_det', '--paddle-dir', 'none'"),
    ):
        script = code.format(module=module, function=function, arguments=arguments)
        assert run_python(script, **variables).splitlines()[-1] == f"{given or 'passive'} 256"
