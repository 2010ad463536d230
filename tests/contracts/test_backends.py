"""The backends keep their contract. A new backend gets a class here; one that is forgotten fails."""

import pytest
from backend_contract import BackendContract

from sovits_rt.backends.compiled import Compiled
from sovits_rt.backends.eager import Eager
from sovits_rt.settings import BACKENDS


class TestEager(BackendContract):
    @pytest.fixture
    def backend(self):
        return Eager()


class TestCompiled(BackendContract):
    @pytest.fixture
    def backend(self):
        return Compiled()


def test_every_backend_is_tested():
    tested = {name.removeprefix("Test").lower() for name in globals() if name.startswith("Test")}
    assert tested == set(BACKENDS.plugins)
