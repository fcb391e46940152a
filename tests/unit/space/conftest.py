from collections.abc import Callable
from functools import cache

import pytest

from fednas.models import start_architecture
from fednas.space import Space, trace


@cache
def _traced(name: str, size: int) -> Space:
    arch = start_architecture(name, channels=3, size=size, classes=10, width_multiplier=0.25)
    return trace(arch)


@pytest.fixture(scope="session")
def traced() -> Callable[[str, int], Space]:
    """The space of a family at an image size, width multiplier 0.25; traced once."""
    _traced("cnn", 8)  # the first trace of a process imports half of torch
    return _traced
