import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from fednas.training import fingerprint, numerics

CODE = """
import torch
torch.set_num_threads(1)
from fednas.training import fingerprint
print(fingerprint())
"""
KERNELS = {
    "as here": {},
    "oneDNN": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "torch": {"ATEN_CPU_CAPABILITY": "default"},
}


@pytest.fixture(scope="module")
def elsewhere():
    """The fingerprints of other processes, by which kernels they are held to."""
    started = {
        name: subprocess.Popen(
            [sys.executable, "-c", CODE], env=os.environ | held, stdout=subprocess.PIPE, text=True
        )
        for name, held in KERNELS.items()
    }
    return {name: process.communicate()[0].strip() for name, process in started.items()}


@pytest.fixture(autouse=True)
def afresh():
    fingerprint.cache_clear()
    yield
    fingerprint.cache_clear()


def test_it_is_a_sha256_and_computed_once_a_process():
    first = fingerprint()
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert fingerprint() is first


def test_it_is_the_same_whatever_was_drawn_before_and_draws_nothing():
    first = fingerprint.__wrapped__()
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    assert fingerprint.__wrapped__() == first
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]


def test_another_process_with_the_same_kernels_has_the_same(elsewhere):
    assert elsewhere["as here"] == fingerprint()


@pytest.mark.parametrize("library", ["oneDNN", "torch"])
def test_other_kernels_have_another(elsewhere, library):
    # A processor of nothing but the least instructions runs the same kernels when held to them.
    has_more = torch.backends.cpu.get_cpu_capability() != "DEFAULT"
    assert re.fullmatch("[0-9a-f]{64}", elsewhere[library])
    assert (elsewhere[library] != elsewhere["as here"]) == has_more


def test_more_threads_are_a_mistake_of_the_caller():
    torch.set_num_threads(2)
    with pytest.raises(AssertionError, match="order of sums"):
        fingerprint()


def test_numerics_say_in_words_what_the_bits_depend_on():
    found = numerics()
    assert found["torch"] == torch.__version__
    assert found["cpu"] == torch.backends.cpu.get_cpu_capability()
    assert np.__version__.startswith(found["numpy"] + ".")
    assert found["numpy"].count(".") == 1
    assert found["digest"] == fingerprint()
    assert {type(value) for value in found.values()} == {str}


@pytest.fixture
def deterministic():
    """torch's deterministic mode, and what it was before."""
    mode = torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    yield
    torch.utils.deterministic.fill_uninitialized_memory = fill
    torch.use_deterministic_algorithms(mode)


@pytest.mark.usefixtures("deterministic")
def test_training_and_evaluation_read_no_memory_that_was_not_written():
    # Deterministic mode fills fresh memory with NaN, which costs time, and shows what reads it.
    found = set()
    for fill in (True, False):
        torch.utils.deterministic.fill_uninitialized_memory = fill
        assert torch.empty(3).isnan().all() or not fill
        found.add(fingerprint.__wrapped__())
    assert len(found) == 1
