"""The two ways to check a case: with ``check``, and with the plain frameworks."""

import keras
import pytest
import torch

from keras_parity.ladder.judge.judge import Judge
from tests.ladder import cases


@pytest.fixture
def never_settled(monkeypatch):
    """Has ``check`` run each training in float64 and with noise, however closely the frameworks agree."""
    monkeypatch.setattr(Judge, "_is_settled", lambda *_: False)


@pytest.fixture(params=["check", *(pytest.param(name, marks=pytest.mark.slow) for name in cases.ROUNDING)])
def hold(request):
    """Returns a function that checks a case against its expectation; the test builds the case after this fixture."""
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    if request.param == "check":
        yield cases.by_check
        return
    _set_precision(request.param)
    yield cases.plainly
    _set_precision("float32")


def _set_precision(name: str) -> None:
    keras.config.set_floatx(name)
    keras.config.set_dtype_policy(name)
    torch.set_default_dtype(getattr(torch, name))
