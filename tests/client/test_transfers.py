"""State_dicts on their way: attempts, timeouts and failures, with servers that do what a test says."""

import hashlib
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import safetensors.numpy

import gradserve
from gradserve._retries import pause_after
from gradserve.v1.model_pb2 import GetServerInfoResponse, Limits
from gradserve.v1.state_pb2 import (
    GetStateDictResponse,
    ListCheckpointsResponse,
    LoadStateDictRequest,
    LoadStateDictResponse,
    StateDictHeader,
    StateDictTrailer,
)
from tests.client.scripted_server import Refusal, Script, Stream, scripted_server
from tests.support.either_client import either_client

pytestmark = either_client

GET, LOAD = "GetStateDict", "LoadStateDict"
STATE = {"layers.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
INFO = GetServerInfoResponse(limits=Limits(max_message_bytes=2**26))
LARGE = {"layers.0.weight": np.arange(2**20, dtype=np.float32)}
DONE = LoadStateDictResponse(version=2)
DOWN = Refusal(grpc.StatusCode.UNAVAILABLE)
FULL = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, trailers=(("grpc-retry-pushback-ms", "1"),))
TOO_LARGE = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, trailers=(("grpc-retry-pushback-ms", "-1"),))


def parts_of(content: bytes) -> list[GetStateDictResponse]:
    """Return a sound reply, with the content in two chunks."""
    half = len(content) // 2
    return [
        GetStateDictResponse(header=StateDictHeader(version=3, total_bytes=len(content))),
        GetStateDictResponse(chunk=content[:half]),
        GetStateDictResponse(chunk=content[half:]),
        GetStateDictResponse(trailer=StateDictTrailer(sha256=hashlib.sha256(content).digest())),
    ]


CONTENT = safetensors.numpy.save(STATE)
PARTS = parts_of(CONTENT)


def uploads(script: Script) -> list[list[LoadStateDictRequest]]:
    return [call.parts for call in script.calls if call.method == LOAD]


class TestRepeatedUploads:
    @pytest.mark.parametrize("failure", [DOWN, FULL], ids=["unavailable", "full"])
    def test_an_upload_is_repeated_with_the_same_id_and_the_same_bytes(self, failure: Refusal):
        with (
            scripted_server(LoadStateDict=[failure, failure, DONE]) as (target, script),
            gradserve.Client(target) as client,
        ):
            assert client.model("m").load_state_dict(STATE).version == 2
        first, second, third = uploads(script)
        assert first == second == third
        assert first[0].header.request_id

    def test_a_file_is_sent_again_from_its_beginning(self, tmp_path: Path):
        safetensors.numpy.save_file(LARGE, tmp_path / "w.safetensors")
        with (
            scripted_server(GetServerInfo=[INFO], LoadStateDict=[DOWN, DONE]) as (target, script),
            gradserve.Client(target) as client,
        ):
            client.model("m").load_state_dict(tmp_path / "w.safetensors")
        first, second = uploads(script)
        assert first == second
        assert b"".join(part.chunk for part in second) == (tmp_path / "w.safetensors").read_bytes()

    def test_an_upload_beyond_what_grpc_can_repeat_is_repeated_too(self):
        with (
            scripted_server(GetServerInfo=[INFO], LoadStateDict=[DOWN, DONE]) as (target, script),
            gradserve.Client(target) as client,
        ):
            client.model("m").load_state_dict({"w": np.zeros(2**22, np.float32)})
        assert len(uploads(script)) == 2

    def test_an_upload_is_tried_five_times_at_most(self):
        with scripted_server(LoadStateDict=[DOWN]) as (target, script), gradserve.Client(target) as client:
            with pytest.raises(gradserve.UnavailableError):
                client.model("m").load_state_dict(STATE)
            assert len(uploads(script)) == 5

    @pytest.mark.parametrize(
        "refusal",
        [TOO_LARGE, Refusal(grpc.StatusCode.ABORTED), Refusal(grpc.StatusCode.INTERNAL)],
        ids=lambda refusal: refusal.code.name,
    )
    def test_a_refusal_that_will_not_change_is_not_asked_for_twice(self, refusal: Refusal):
        with scripted_server(LoadStateDict=[refusal, DONE]) as (target, script), gradserve.Client(target) as client:
            with pytest.raises(gradserve.Error) as caught:
                client.model("m").load_state_dict(STATE)
            assert caught.value.code is refusal.code
            assert len(uploads(script)) == 1

    def test_two_calls_have_two_ids(self):
        with scripted_server(LoadStateDict=[DONE]) as (target, script), gradserve.Client(target) as client:
            client.model("m").load_state_dict(STATE)
            client.model("m").load_state_dict(STATE)
        first, second = (parts[0].header.request_id for parts in uploads(script))
        assert first != second

    def test_an_id_of_the_callers_own_is_kept(self):
        with scripted_server(LoadStateDict=[DONE]) as (target, script), gradserve.Client(target) as client:
            client.model("m").load_state_dict(STATE, request_id="epoch-7")
        assert uploads(script)[0][0].header.request_id == "epoch-7"


class TestRepeatedDownloads:
    @pytest.mark.parametrize(
        "failure", [DOWN, Stream(PARTS[:3], DOWN)], ids=["before the first byte", "after most of them"]
    )
    def test_a_download_that_breaks_off_is_begun_again(self, failure: Refusal | Stream):
        with (
            scripted_server(GetStateDict=[failure, Stream(PARTS)]) as (target, script),
            gradserve.Client(target) as client,
        ):
            state = client.model("m").state_dict()
        np.testing.assert_array_equal(state["layers.0.weight"], STATE["layers.0.weight"])
        assert state.version == 3
        assert script.count(GET) == 2

    def test_a_file_holds_only_the_last_attempt(self, tmp_path: Path):
        longer = parts_of(safetensors.numpy.save(LARGE))[:3]
        with (
            scripted_server(GetStateDict=[Stream(longer, DOWN), Stream(PARTS)]) as (target, _),
            gradserve.Client(target) as client,
        ):
            assert client.model("m").save_state_dict(tmp_path / "w.safetensors") == 3
        assert (tmp_path / "w.safetensors").read_bytes() == CONTENT

    @pytest.mark.parametrize(
        ("parts", "error"),
        [
            ([*PARTS[:3], GetStateDictResponse(trailer=StateDictTrailer(sha256=b"wrong"))], gradserve.DataLossError),
            (PARTS[:3], gradserve.DataLossError),
            (PARTS[1:], gradserve.InternalError),
            (parts_of(b"no such file"), gradserve.InternalError),
        ],
        ids=["wrong checksum", "no trailer", "no header", "not safetensors"],
    )
    def test_a_reply_that_is_wrong_is_no_state_dict(
        self, parts: list[GetStateDictResponse], error: type[gradserve.Error]
    ):
        with (
            scripted_server(GetStateDict=[Stream(parts)]) as (target, script),
            gradserve.Client(target) as client,
        ):
            with pytest.raises(error):
                client.model("m").state_dict()
            assert script.count(GET) == 1

    def test_a_reply_that_is_wrong_leaves_no_file(self, tmp_path: Path):
        with (
            scripted_server(GetStateDict=[Stream(PARTS[:3])]) as (target, _),
            gradserve.Client(target) as client,
            pytest.raises(gradserve.DataLossError),
        ):
            client.model("m").save_state_dict(tmp_path / "w.safetensors")
        assert list(tmp_path.iterdir()) == []


class TestTimeout:
    def test_a_download_that_stalls_is_a_timeout_error(self):
        with (
            scripted_server(GetStateDict=[Stream(PARTS[:2], endless=True)]) as (target, _),
            gradserve.Client(target) as client,
            pytest.raises(TimeoutError, match=r"nothing has moved for 0\.2 s"),
        ):
            client.model("m").state_dict(timeout=0.2)

    def test_an_upload_that_nobody_takes_is_a_timeout_error(self):
        with (
            scripted_server(GetServerInfo=[INFO]) as (target, _),
            gradserve.Client(target, timeout=0.2) as client,
            pytest.raises(gradserve.DeadlineExceededError, match=r"nothing has moved for 0\.2 s"),
        ):
            client.model("m").load_state_dict(LARGE)

    def test_a_transfer_that_moves_may_take_longer(self):
        seconds = 0.5
        with (
            scripted_server(GetServerInfo=[INFO], LoadStateDict=[DONE]) as (target, _),
            gradserve.Client(target, timeout=seconds) as client,
        ):
            began = time.monotonic()
            # Each of the seven parts is given after a pause.
            model = client.model("m")
            model.load_state_dict(LARGE, progress=lambda _done, _total: time.sleep(0.15))
            assert time.monotonic() - began > seconds

    def test_no_timeout_is_none(self):
        with scripted_server(GetStateDict=[Stream(PARTS)]) as (target, _), gradserve.Client(target) as client:
            assert client.model("m").state_dict(timeout=None).version == 3


class TestEnd:
    @pytest.mark.parametrize("call", [GET, LOAD])
    def test_closing_the_client_ends_a_transfer(self, call: str):
        with (
            scripted_server(GetServerInfo=[INFO]) as (target, script),
            gradserve.Client(target, timeout=30) as client,
            futures.ThreadPoolExecutor(1) as pool,
        ):
            model = client.model("m")
            running = pool.submit(model.state_dict) if call == GET else pool.submit(model.load_state_dict, LARGE)
            assert script.arrived.wait(30)
            client.close()
            with pytest.raises(gradserve.ClientClosedError):
                running.result()

    def test_a_closed_client_transfers_nothing(self):
        client = gradserve.Client("127.0.0.1:1")
        client.close()
        with pytest.raises(gradserve.ClientClosedError):
            client.model("m").state_dict()

    def test_what_the_progress_raises_ends_an_upload_and_is_raised(self, caplog: pytest.LogCaptureFixture):
        def fail(done: int, _total: int) -> None:
            if done:
                raise LookupError("of the progress")

        with (
            scripted_server(GetServerInfo=[INFO], LoadStateDict=[DONE]) as (target, script),
            gradserve.Client(target) as client,
            pytest.raises(LookupError, match="of the progress"),
        ):
            client.model("m").load_state_dict(STATE, progress=fail)
        assert "trailer" not in [part.WhichOneof("part") for parts in uploads(script) for part in parts]
        assert caplog.records == []

    def test_metadata_and_an_id_go_with_a_transfer(self):
        with (
            scripted_server(GetStateDict=[Stream(PARTS)]) as (target, script),
            gradserve.Client(target, metadata=[("tenant", "a")]) as client,
        ):
            client.model("m").state_dict()
        assert script.calls[0].metadata["tenant"] == "a"
        assert script.calls[0].metadata["x-request-id"]


class TestProgress:
    def test_an_upload_tells_how_far_it_is(self):
        told: list[tuple[int, int]] = []
        with (
            scripted_server(GetServerInfo=[INFO], LoadStateDict=[DONE]) as (target, script),
            gradserve.Client(target) as client,
        ):
            client.model("m").load_state_dict(LARGE, progress=lambda *where: told.append(where))
            total = uploads(script)[0][0].header.total_bytes
        assert told == sorted(told)
        assert told[-1] == (total, total)
        assert len(told) >= 5

    def test_a_download_tells_how_far_it_is(self, tmp_path: Path):
        told: list[tuple[int, int]] = []
        with scripted_server(GetStateDict=[Stream(PARTS)]) as (target, _), gradserve.Client(target) as client:
            client.model("m").save_state_dict(tmp_path / "w", progress=lambda *where: told.append(where))
        total = len(CONTENT)
        assert told == [(0, total), (total // 2, total), (total, total), (total, total)]


class TestCheckpoints:
    def test_the_list_is_asked_for_again_while_the_server_is_unavailable(self):
        with (
            scripted_server(ListCheckpoints=[DOWN, ListCheckpointsResponse()]) as (target, script),
            gradserve.Client(target) as client,
        ):
            assert client.model("m").list_checkpoints() == []
        assert script.count("ListCheckpoints") == 2

    @pytest.mark.parametrize("method", ["SaveCheckpoint", "LoadCheckpoint", "DeleteCheckpoint"])
    def test_what_changes_one_is_sent_once(self, method: str):
        call = {"S": "save_checkpoint", "L": "load_checkpoint", "D": "delete_checkpoint"}[method[0]]
        with scripted_server(**{method: [DOWN]}) as (target, script), gradserve.Client(target) as client:
            with pytest.raises(gradserve.UnavailableError):
                getattr(client.model("m"), call)("v1")
            assert script.count(method) == 1


class TestPauses:
    @pytest.mark.parametrize(("number", "seconds"), [(1, 0.1), (2, 0.2), (4, 0.8), (6, 2.0), (60, 2.0)])
    def test_pauses_grow_to_two_seconds_and_differ_by_a_fifth(self, number: int, seconds: float):
        pauses = {pause_after(gradserve.UnavailableError("down"), number) for _ in range(50)}
        assert len(pauses) > 1
        assert all(pause is not None and 0.8 * seconds <= pause <= 1.2 * seconds for pause in pauses)

    def test_the_servers_wish_goes_first(self):
        assert pause_after(gradserve.UnavailableError("down", retry_after=7), 1) == 7

    def test_a_full_server_that_names_no_time_is_not_asked_again(self):
        assert pause_after(gradserve.ResourceExhaustedError("full"), 1) is None
