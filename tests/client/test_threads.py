"""What only threads can do to a Client, and a Client to threads."""

import threading

import numpy as np
import pytest

import gradserve
from gradserve._sync.caller import Caller


@pytest.mark.parametrize("method", ["info", "state_dict", "load_state_dict"])
def test_a_client_that_another_thread_closes_as_a_call_begins_says_so(
    target: str, monkeypatch: pytest.MonkeyPatch, method: str
):
    identify = Caller.identify

    def close_after(caller: Caller) -> object:
        identified = identify(caller)
        client.close()
        return identified

    monkeypatch.setattr(Caller, "identify", close_after)
    client = gradserve.Client(target)
    arguments = [{"layers.0.bias": np.zeros(128)}] if method == "load_state_dict" else []
    with pytest.raises(gradserve.ClientClosedError, match="the client is closed"):
        getattr(client.model("digits"), method)(*arguments)


def test_a_stream_leaves_no_thread_behind(target: str):
    before = set(threading.enumerate())
    with gradserve.Client(target) as client, client.model("mlp-50-30-20-3").stream() as stream:
        stream.forward(np.ones((4, 50), np.float32)).result()
        during = set(threading.enumerate()) - before
    for thread in during:
        thread.join(30)
    assert during
    assert not any(thread.is_alive() for thread in during)
