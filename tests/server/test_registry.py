"""The registry: names, versions, limits and writers that meet."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradserve_server import errors
from gradserve_server.architecture import Architecture, Layer, mlp
from gradserve_server.archive import Archive
from gradserve_server.changes import Changes
from gradserve_server.checkpoints.store import open_store
from gradserve_server.config import Limits
from gradserve_server.definitions import ModelUpdate, NewModel
from gradserve_server.engine import forward
from gradserve_server.engine.device import Devices
from gradserve_server.hosted import HostedModel
from gradserve_server.metrics import Metrics
from gradserve_server.operations.calls import ForwardCall
from gradserve_server.operations.results import ForwardResult
from gradserve_server.registry import Registry

SMALL = mlp(2, (3,), 1, "ReLU")
X = ForwardCall(np.ones((4, 2), np.float32))


@pytest.fixture
def devices() -> Iterator[Devices]:
    found = Devices(threads=1)
    yield found
    found.close()


@pytest.fixture(params=["in memory", "on disk"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Archive]:
    opened = Archive(open_store(tmp_path) if request.param == "on disk" else None, automatic_checkpoints=2)
    yield opened
    opened.close()


@pytest.fixture
def registry(devices: Devices, archive: Archive) -> Registry:
    return Registry(devices, Limits(max_models=3), archive, Changes(), Metrics())


async def output(hosted: HostedModel, call: ForwardCall) -> np.ndarray:
    """What a model puts out, computed on its device's thread."""

    def compute() -> np.ndarray:
        (result,) = forward.compute(hosted.model, [forward.prepare(hosted.model, call)])
        assert isinstance(result, ForwardResult)
        return result.output

    return await hosted.device.run(compute)


def test_of_many_who_create_one_name_at_once_one_succeeds(registry):
    async def race() -> list[object]:
        creations = (registry.create(NewModel("a", SMALL, device="cpu")) for _ in range(8))
        return await asyncio.gather(*creations, return_exceptions=True)

    outcomes = asyncio.run(race())
    refused = [outcome for outcome in outcomes if isinstance(outcome, errors.AlreadyExists)]
    assert (len(refused), registry.get("a").version) == (7, 1)


def test_a_name_made_again_goes_on_from_its_last_version(registry):
    async def versions() -> list[int]:
        seen = []
        for _ in range(3):
            await registry.create(NewModel("a", SMALL, device="cpu"))
            seen.append((await registry.update("a", ModelUpdate(dtype="float64"))).version)
            await registry.delete("a")
        return seen

    assert asyncio.run(versions()) == [2, 4, 6]


@pytest.mark.parametrize(
    ("update", "version"),
    [
        (ModelUpdate(dtype="bfloat16"), 2),
        (ModelUpdate(dtype="float32"), 1),
        (ModelUpdate(device="cpu"), 1),
        (ModelUpdate(requires_grad=[("*", False)]), 1),
    ],
)
def test_only_a_change_of_dtype_takes_a_new_version(registry, update, version):
    async def change() -> int:
        await registry.create(NewModel("a", SMALL, device="cpu"))
        return (await registry.update("a", update)).version

    assert asyncio.run(change()) == version


def test_of_writers_that_expect_one_version_the_first_succeeds_and_the_others_are_aborted(registry):
    async def race() -> list[object]:
        await registry.create(NewModel("a", SMALL, device="cpu"))
        dtypes = ("float64", "float16", "bfloat16")
        updates = (registry.update("a", ModelUpdate(dtype=dtype), if_version=1) for dtype in dtypes)
        return await asyncio.gather(*updates, registry.delete("a", if_version=1), return_exceptions=True)

    outcomes = asyncio.run(race())
    assert [isinstance(outcome, errors.Aborted) for outcome in outcomes] == [False, True, True, True]
    assert registry.get("a").model.dtype_name == "float64"


def test_a_writer_that_waited_for_a_model_since_deleted_finds_none(registry):
    async def race() -> list[object]:
        await registry.create(NewModel("a", SMALL, device="cpu"))
        both = (registry.delete("a"), registry.update("a", ModelUpdate(dtype="float64")))
        return await asyncio.gather(*both, return_exceptions=True)

    assert [type(outcome) for outcome in asyncio.run(race())][1] is errors.NotFound


def test_who_holds_a_model_computes_on_it_though_it_is_changed_and_deleted(registry):
    async def hold() -> tuple[str, str]:
        held = await registry.create(NewModel("a", SMALL, device="cpu"))
        changed = await registry.update("a", ModelUpdate(dtype="float64"))
        await registry.delete("a")
        return (await output(held, X)).dtype.name, (await output(changed, X)).dtype.name

    assert asyncio.run(hold()) == ("float32", "float64")


def test_changing_a_model_while_it_computes_in_training_leaves_its_statistics_alone(registry):
    normed = Architecture((*SMALL.layers[:1], Layer("BatchNorm1d", {"num_features": 3}), *SMALL.layers[1:]))
    x = ForwardCall(np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32))

    async def change() -> tuple[bytes, bytes]:
        hosted = await registry.create(NewModel("a", normed, device="cpu"))
        before = (await output(hosted, x)).tobytes()
        for flag in (False, True) * 20:
            training = [output(registry.get("a"), replace(x, training=True)) for _ in range(5)]
            await asyncio.gather(*training, registry.update("a", ModelUpdate(requires_grad=[("*", flag)])))
        return before, (await output(registry.get("a"), x)).tobytes()

    before, after = asyncio.run(change())
    assert before == after


@pytest.mark.parametrize(
    ("new", "refusal"),
    [
        (NewModel("b", Architecture((Layer("Nope"),)), device="cpu"), errors.InvalidArgument),
        (NewModel("b", SMALL, device="cuda:9999"), errors.FailedPrecondition),
        (NewModel("b", SMALL, device="gpu"), errors.InvalidArgument),
        (NewModel("b", mlp(2**20, (), 2**20, "ReLU"), device="cpu"), errors.ResourceExhausted),
        (
            NewModel("b", Architecture((*mlp(2, (), 3, "ReLU").layers, *mlp(4, (), 1, "ReLU").layers)), device="cpu"),
            errors.InvalidArgument,
        ),
    ],
)
def test_a_refused_creation_leaves_the_name_free(registry, new, refusal):
    async def create() -> int:
        with pytest.raises(refusal):
            await registry.create(new)
        return (await registry.create(NewModel("b", SMALL, device="cpu"))).version

    assert asyncio.run(create()) == 1


def test_a_creation_whose_caller_goes_away_is_done_to_the_end(registry):
    async def cancel() -> int:
        creation = asyncio.create_task(registry.create(NewModel("a", SMALL, device="cpu")))
        await asyncio.sleep(0)
        creation.cancel()
        await registry.settle()
        assert creation.cancelled()
        return registry.get("a").version

    assert asyncio.run(cancel()) == 1


def test_models_beyond_the_limit_are_refused_until_one_is_deleted(registry):
    async def fill() -> None:
        for name in ("a", "b", "c"):
            await registry.create(NewModel(name, SMALL, device="cpu"))
        with pytest.raises(errors.ResourceExhausted, match="3 models"):
            await registry.create(NewModel("d", SMALL, device="cpu"))
        await registry.delete("a")
        await registry.create(NewModel("d", SMALL, device="cpu"))

    asyncio.run(fill())
    assert [hosted.name for hosted in registry.models()] == ["b", "c", "d"]


def test_pages_of_models_go_by_name(registry):
    async def fill() -> None:
        for name in ("c", "a", "b"):
            await registry.create(NewModel(name, SMALL, device="cpu"))

    asyncio.run(fill())
    assert [hosted.name for hosted in registry.models(after="a", count=1)] == ["b"]
    assert [hosted.name for hosted in registry.models(after="aa")] == ["b", "c"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "-a",
        ".a",
        "a/b",
        "../x",
        "a\0",
        "a\n",
        "a b",
        "a" * 129,
        "\N{LATIN SMALL LETTER E WITH ACUTE}",
        "a.gradient",
    ],
)
def test_a_name_outside_the_pattern_is_refused(registry, name):
    with pytest.raises(errors.InvalidArgument) as caught:
        asyncio.run(registry.create(NewModel(name, SMALL, device="cpu")))
    assert (caught.value.field, caught.value.reason) == ("name", "INVALID_NAME")


@pytest.mark.parametrize("name", ["a", "0", "a.b-c_d", "a" * 128, "gradient"])
def test_a_name_within_the_pattern_is_taken(registry, name):
    assert asyncio.run(registry.create(NewModel(name, SMALL, device="cpu"))).name == name
