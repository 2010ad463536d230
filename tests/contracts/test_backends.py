"""The backends keep their contract. A new backend gets a class here; one that is forgotten fails."""

import pytest
from backend_contract import BackendContract, BackendParity, DecoderParity, VocoderParity
from replaying import Replays

from sovits_rt.backends import _recording
from sovits_rt.backends.channels_last import ChannelsLast
from sovits_rt.backends.compiled import Compiled
from sovits_rt.backends.cudagraph import CudaGraph
from sovits_rt.backends.eager import Eager
from sovits_rt.backends.native import Native
from sovits_rt.backends.onnxruntime import OnnxRuntime
from sovits_rt.backends.resident import Resident
from sovits_rt.settings import BACKENDS


class TestEager(BackendContract, BackendParity):
    @pytest.fixture
    def backend(self):
        return Eager()


class TestCompiled(BackendContract):
    @pytest.fixture
    def backend(self):
        return Compiled()


@pytest.mark.full  # a minute of compiling
class TestCompiledParity(BackendParity):
    @pytest.fixture
    def backend(self):
        return Compiled()


class TestChannelsLast(BackendContract, VocoderParity):
    @pytest.fixture
    def backend(self):
        return ChannelsLast()


class TestCudaGraph(BackendContract, BackendParity):
    """On the CPU with recordings that are the function itself; on a GPU nothing has been run."""

    @pytest.fixture
    def backend(self):
        return CudaGraph()

    @pytest.fixture
    def here(self, monkeypatch):
        monkeypatch.setattr(_recording, "CudaRecorder", Replays)
        monkeypatch.setattr(CudaGraph, "devices", ("cpu",))


class TestResident(BackendContract, DecoderParity):
    """On the CPU: what it leaves out is what only a GPU has."""

    @pytest.fixture
    def backend(self):
        return Resident()

    @pytest.fixture
    def here(self):
        pass


class TestOnnxRuntime(BackendContract, DecoderParity):
    @pytest.fixture
    def backend(self):
        return OnnxRuntime()


class TestNative(BackendContract, DecoderParity):
    @pytest.fixture
    def backend(self):
        return Native()


PARITIES = {"t2s_step": DecoderParity, "vocoder": VocoderParity}


@pytest.mark.parametrize("contract", [BackendContract, *PARITIES.values()])
def test_every_backend_is_tested(contract):
    tested = [each for each in globals().values() if isinstance(each, type) and each.__name__.startswith("Test")]
    names = {each.__name__.removeprefix("Test").removesuffix("Parity") for each in tested if issubclass(each, contract)}
    runs = {
        name
        for name, backend in BACKENDS.items()
        if all(backend.formats(entry) for entry, parity in PARITIES.items() if parity is contract)
    }
    assert {name.lower() for name in names} == {name.replace("_", "") for name in runs}
