"""train.cpu_kernels: the same bytes whatever the CPU offers, or all that it offers."""

import hashlib
import os
from pathlib import Path

import pytest
import torch
from conftest import REPO, write_params
from real_dvc import SMALL, copy, python

from stages.core.machine.kernels import AVX2, VARIABLES, check_kernels, is_x86, pin_kernels

pytestmark = pytest.mark.skipif(not is_x86(), reason="no x86-64 CPU")


def variables(folder: Path, first: str = "stages, torch", **given: str) -> str:
    """What a stage's process has of AVX2's variables, and what torch then computes with.

    first: the modules it imports, in their order.
    """
    ask = f"import os, {first}; " + (
        f"print([os.environ.get(name) for name in {list(AVX2)}], torch.backends.cpu.get_cpu_capability())"
    )
    return python(folder, "-c", ask, PYTHONPATH=str(REPO), **given).strip()


@pytest.mark.slow
def test_avx2_is_set_before_torch_looks_at_the_cpu_whatever_the_shell_says(tmp_path):
    write_params(tmp_path, train={"cpu_kernels": "avx2"})
    expected = "['avx2', 'AVX2', 'COMPATIBLE'] AVX2"
    assert variables(tmp_path) == expected
    assert variables(tmp_path, ATEN_CPU_CAPABILITY="default", MKL_CBWR="AVX2") == expected


@pytest.mark.slow
def test_avx2_intel_lets_mkl_use_avx2(tmp_path):
    write_params(tmp_path, train={"cpu_kernels": "avx2_intel"})
    assert variables(tmp_path) == "['avx2', 'AVX2', 'AVX2'] AVX2"


@pytest.mark.slow
def test_avx2_holds_a_process_that_has_imported_torch_and_not_computed_yet(tmp_path):
    """As `mim train` does before it reads the rendered config."""
    write_params(tmp_path, train={"cpu_kernels": "avx2"})
    first = "torch, mmengine.runner, mmpretrain, stages"
    assert variables(tmp_path, first=first) == "['avx2', 'AVX2', 'COMPATIBLE'] AVX2"


@pytest.mark.slow
def test_native_leaves_the_choice_to_torch_and_the_shell(tmp_path):
    write_params(tmp_path, train={"cpu_kernels": "native"})
    assert variables(tmp_path).startswith("[None, None, None]")
    assert variables(tmp_path, ATEN_CPU_CAPABILITY="default").endswith("DEFAULT")


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"train: [", b"train: 3", b"train: {}"])
def test_a_damaged_params_yaml_is_left_to_its_own_reader(tmp_path, content):
    if content is not None:
        (tmp_path / "params.yaml").write_bytes(content)
    before = dict(os.environ)
    pin_kernels(tmp_path / "params.yaml")
    assert dict(os.environ) == before


def test_a_process_that_computes_otherwise_is_refused(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
    with pytest.raises(RuntimeError, match="ONEDNN_MAX_CPU_ISA=AVX2 is not set.*python -m stages"):
        check_kernels("avx2")
    check_kernels("native")


@pytest.mark.parametrize(("first", "then"), [("avx2", "avx2_intel"), ("avx2_intel", "avx2")])
def test_one_setting_is_not_taken_for_the_other(monkeypatch, first, then):
    for name, value in VARIABLES[first].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    check_kernels(first)
    with pytest.raises(RuntimeError, match=f"cpu_kernels is {then}.*MKL_CBWR=.* is not set"):
        check_kernels(then)


def trained(folder: Path, **given: str) -> str:
    python(folder, "-m", "stages.train", **given)
    return sha256(folder)


def sha256(folder: Path) -> str:
    return hashlib.sha256((folder / "data/checkpoints/best.pth").read_bytes()).hexdigest()


@pytest.mark.slow
def test_the_setting_decides_the_bytes_and_the_cpu_does_not(small_run, tmp_path):
    """A CPU without wide instructions, as torch's own switches imitate one, and this one."""
    poor = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "SSE4_2"}
    folder = copy(small_run, tmp_path / "project", **SMALL)
    assert trained(folder, **poor) == sha256(small_run)
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(params.replace("cpu_kernels: avx2", "cpu_kernels: native"))
    python(folder, "-m", "stages.render_config")
    assert trained(folder) != trained(folder, **poor)
