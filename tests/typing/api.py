"""The public API as a program that uses it, which mypy --strict checks and nothing runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
import torch

import gradserve
from gradserve.torch import RemoteModule, tensors

Array = npt.NDArray[Any]


def options(certificate: Path) -> None:
    with gradserve.Client() as client:
        assert_type(client, gradserve.Client)
        assert_type(client.with_options(timeout=None), gradserve.Client)
        client.with_options(metadata=[("tenant", "a"), ("blob-bin", b"\0")]).wait_until_ready(30)
    client = gradserve.Client("server:50051", timeout=2.5, token="secret", tls_ca=certificate, max_message_bytes=2**20)  # noqa: S106
    client.close()
    gradserve.Client(tls_ca="ca.pem", tls_certificate=(certificate, "client.key")).close()


def lifecycle(client: gradserve.Client) -> None:
    mlp = gradserve.MLP(50, [30, 20], 3, activation="Tanh")
    assert_type(client.create_model("mlp", mlp, seed=1, dtype="float64", device="cuda:0", timeout=60), gradserve.Model)
    layers = [
        gradserve.Layer("LayerNorm", normalized_shape=[4], eps=1e-6),
        gradserve.Layer("Linear", in_features=4, out_features=2, bias=False),
        gradserve.Layer("GELU", approximate="tanh"),
    ]
    model = client.create_model("norm", gradserve.Sequential(layers), dtype=torch.float64, device=torch.device("cpu"))
    assert_type(model.to("cpu"), gradserve.Model)
    assert_type(model.to(dtype=np.dtype("f4"), if_version=1), gradserve.Model)
    assert_type(model.requires_grad_("layers.0.*", False), gradserve.Model)
    client.create_model("copy", model.info().architecture)
    assert_type(client.delete_model("norm", if_version=2), int)


def descriptions(client: gradserve.Client) -> None:
    info = client.model("mlp").info(timeout=None)
    assert_type(info, gradserve.ModelInfo)
    assert_type(info.trainable_parameters, int)
    assert_type(info.architecture.layers, tuple[gradserve.Layer, ...])
    assert_type(client.list_models(), list[gradserve.ModelInfo])
    assert_type(dict(client.model("mlp").named_parameters()), dict[str, gradserve.ParameterInfo])
    assert_type(client.server_info().limits, gradserve.Limits)
    assert_type(client.server_info().devices[0], gradserve.Device)


def forward(model: gradserve.Model) -> None:
    assert_type(model(np.zeros((2, 50))), Array)
    assert_type(model.forward([[0.0] * 50], training=True, seed=3, if_version=1, deterministic=True, timeout=1), Array)
    assert_type(model(torch.zeros(2, 50)), torch.Tensor)
    assert_type(model.forward(torch.nn.Parameter(torch.zeros(50))), torch.Tensor)


def gradient(model: gradserve.Model) -> None:
    x = np.zeros((2, 50), np.float32)
    g = model.gradient(x, [0, 1], loss="cross_entropy", loss_kwargs={"label_smoothing": 0.1, "weight": [1.0, 2.0, 3.0]})
    assert_type(g, gradserve.Gradients[Array])
    assert_type(float(g.loss), float)
    assert_type(g["layers.0.weight"], Array)
    assert_type(dict(g), dict[str, Array])
    assert_type(g.seed, int | None)
    t = torch.zeros(2, 50)
    v = model.gradient(t, grad_output=torch.ones(2, 3), wrt="input", return_output=True)
    assert_type(v, gradserve.Gradients[torch.Tensor])
    assert_type(t - 0.1 * v.input, torch.Tensor)
    assert_type(v.output, torch.Tensor)
    model.gradient(t, torch.zeros(2, dtype=torch.int64), loss="nll_loss", reduction="sum", wrt=["layers.*", "input"])
    model.gradient(t, loss="sum", per_sample=True, training=True, seed=0, if_version=1, deterministic=True, timeout=9)


def gradients_of_rows(model: gradserve.Model) -> None:
    x, v = np.zeros((2, 50), np.float32), np.zeros((5, 2, 3), np.float32)
    assert_type(model.gradient(x, grad_output=v, is_grads_batched=True), gradserve.Gradients[Array])
    g = model.gradient(x, loss="sum", per_sample=True, per_sample_result="clipped_sum", max_norm=1.0)
    assert_type(g.norms, Array)


def derivatives(model: gradserve.Model) -> None:
    x, t = np.zeros((2, 50), np.float32), torch.zeros(2, 50)
    assert_type(model.jvp(x, [[1.0] * 50] * 2), gradserve.JacobianVectorProduct[Array])
    j = model.jvp(t, {"input": t, "layers.0.bias": np.zeros(30)}, return_output=True, training=True, seed=1)
    assert_type(j.jvp, torch.Tensor)
    assert_type(j.output, torch.Tensor)
    assert_type(
        model.jacobian(x, wrt=["input", "layers.0.*"], mode="reverse", chunk_size=2), gradserve.Jacobians[Array]
    )
    assert_type(model.jacobian(t).input, torch.Tensor)
    h = model.hvp(t, torch.zeros(2, 3), t, loss="mse_loss", wrt="layers.*", return_gradients=True)
    assert_type(h, gradserve.HessianVectorProducts[torch.Tensor])
    assert_type(h["layers.0.weight"], torch.Tensor)
    assert_type(h.gradients, Mapping[str, torch.Tensor])
    model.hvp(x, None, {"input": np.zeros((4, 2, 50))}, grad_output=np.zeros((2, 3)), is_vectors_batched=True)
    checked = model.check_gradients(x, [0, 1], loss="cross_entropy", seed=3)
    assert_type(checked.checks, tuple[gradserve.GradientCheck, ...])
    assert_type(checked.checks[0].remainders[0].step, float)
    assert_type(model.check_gradients().passed, bool)


def objective(model: gradserve.Model) -> None:
    objective = gradserve.Objective(
        model, "mse_loss", [0.0, 1.0], reduction="sum", shape=(2, 50), if_version=1, timeout=1
    )
    assert_type(objective, gradserve.Objective)
    assert_type(objective.fun([0.0] * 100), float)
    assert_type(objective.jac(np.zeros(100)), npt.NDArray[np.float64])
    assert_type(objective.hessp(np.zeros(100), np.zeros(100)), npt.NDArray[np.float64])


def remote_module(client: gradserve.Client) -> None:
    remote = RemoteModule(client, "mlp", deterministic=False)
    assert_type(remote.model, gradserve.Model)
    assert_type(remote.layers, torch.nn.Sequential)
    assert_type(remote.pull(), int)
    assert_type(RemoteModule("localhost:50051", "mlp").push(durable=False, force=True), int)
    torch.optim.SGD(remote.parameters(), lr=0.1)


def stream(model: gradserve.Model) -> None:
    t = torch.zeros(2, 50)
    with model.stream(max_in_flight=8) as stream:
        assert_type(stream, gradserve.Stream)
        assert_type(stream.forward(np.zeros((2, 50)), seed=3, training=True), gradserve.Future[Array])
        assert_type(stream.forward(t, deterministic=True, timeout=1).result(timeout=2), torch.Tensor)
        assert_type(
            stream.gradient([[0.0] * 50], loss="sum", wrt="input"), gradserve.Future[gradserve.Gradients[Array]]
        )
        gradients = stream.gradient(t, torch.zeros(2), loss="nll_loss", reduction="sum", if_version=1, timeout=None)
        assert_type(gradients.result(), gradserve.Gradients[torch.Tensor])
        assert_type(gradients.exception(), BaseException | None)
        assert_type(list(stream.map([np.zeros(50)])), list[Array])
        assert_type(next(stream.map(iter([t]), timeout=1)), torch.Tensor)
        stream.cancel()
    model.stream().close()


def show(done: int, total: int) -> None:
    assert_type(done / total, float)


def weights(model: gradserve.Model, module: torch.nn.Module, path: Path) -> None:
    state = model.state_dict("layers.0.*", if_version=1, timeout=None)
    assert_type(state, gradserve.StateDict)
    assert_type(state["layers.0.weight"], Array)
    assert_type(state.version, int)
    loaded = model.load_state_dict(state, strict=False, keys=["layers.*"], cast=True, durable=False, request_id="1")
    assert_type(loaded, gradserve.LoadedStateDict)
    assert_type(loaded.missing_keys, tuple[str, ...])
    model.load_state_dict(module.state_dict(), original_names=True, if_version=state.version)
    model.load_state_dict({"layers.0.weight": [[1.0]], "layers.0.bias": torch.nn.Parameter(torch.zeros(1))})
    model.load_state_dict(path, progress=show)
    assert_type(model.save_state_dict("weights.safetensors", original_names=True), int)
    module.load_state_dict(tensors(state))
    assert_type(tensors(model.state_dict()), dict[str, torch.Tensor])


def checkpoints(model: gradserve.Model) -> None:
    assert_type(model.save_checkpoint("v1", metadata={"loss": "0.1"}, if_version=1), gradserve.Checkpoint)
    assert_type(model.load_checkpoint("v1", if_version=2), int)
    assert_type(model.list_checkpoints(), list[gradserve.Checkpoint])
    assert_type(model.list_checkpoints()[0].metadata, Mapping[str, str])
    model.delete_checkpoint("v1", timeout=1)


def deployment(client: gradserve.Client, module: torch.nn.Module) -> None:
    assert_type(gradserve.deploy(module, "mlp", client, device=torch.device("cpu"), timeout=60), gradserve.Model)


def errors(model: gradserve.Model) -> None:
    try:
        model.info()
    except gradserve.NotFoundError as error:
        assert_type(error.reason, str)
        assert_type(error.field_violations, tuple[gradserve.FieldViolation, ...])
        assert_type(error.call_id, str | None)
        assert_type(error.retry_after, float | None)
        assert_type(error.code.name, str)
    except (gradserve.UnavailableError, gradserve.DeadlineExceededError) as failure:
        raise SystemExit(str(failure)) from failure


async def awaited(module: torch.nn.Module, path: Path) -> None:
    async with gradserve.AsyncClient("server:50051", timeout=None, token="secret", tls_ca=path) as client:  # noqa: S106
        assert_type(client, gradserve.AsyncClient)
        assert_type(client.with_options(timeout=1), gradserve.AsyncClient)
        await client.wait_until_ready(30)
        assert_type(await client.create_model("mlp", gradserve.MLP(50, [30], 3), seed=1), gradserve.AsyncModel)
        assert_type(await client.list_models(), list[gradserve.ModelInfo])
        assert_type(await gradserve.deploy(module, "mine", client, device="cpu"), gradserve.AsyncModel)
        model = client.model("mlp")
        assert_type(model, gradserve.AsyncModel)
        assert_type(await model.to("cpu"), gradserve.AsyncModel)
        assert_type((await model.state_dict("layers.0.*")).version, int)
        assert_type(await model.load_state_dict(path, progress=show), gradserve.LoadedStateDict)
        assert_type(await model.list_checkpoints(), list[gradserve.Checkpoint])
        assert_type(await client.delete_model("mlp", if_version=2), int)


async def awaited_tensors(model: gradserve.AsyncModel) -> None:
    x, t = np.zeros((2, 50)), torch.zeros(2, 50)
    assert_type(await model(x), Array)
    assert_type(await model.forward(t, deterministic=True, timeout=1), torch.Tensor)
    assert_type((await model.gradient(t, loss="sum")).loss, torch.Tensor)
    assert_type(await model.gradient(x, [0, 1], loss="cross_entropy", wrt="input"), gradserve.Gradients[Array])
    async with model.stream(max_in_flight=8) as stream:
        assert_type(stream, gradserve.AsyncStream)
        assert_type(await stream.forward(x, seed=3), gradserve.AsyncFuture[Array])
        assert_type(await (await stream.forward(t)), torch.Tensor)
        assert_type(await (await stream.gradient(t, loss="sum")), gradserve.Gradients[torch.Tensor])
        assert_type([y async for y in stream.map([t], timeout=1)], list[torch.Tensor])
        await stream.cancel()
