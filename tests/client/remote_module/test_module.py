"""A remote module as an nn.Module: its parameters, its modes, and who may change its weights."""

import copy
import signal
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

import gradserve
from gradserve import Layer
from gradserve.torch import RemoteModule, tensors
from tests.client.remote_module.conftest import Make
from tests.client.scripted_server import scripted_server
from tests.support.no_pickle.sitecustomize import pickled_copy

X = torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(2, 4)


@pytest.fixture
def theirs(client: gradserve.Client, mlp: RemoteModule) -> gradserve.Model:
    """Somebody else's handle of the same model."""
    return client.with_options().model(mlp.model.name)


def disturb(theirs: gradserve.Model) -> int:
    return theirs.load_state_dict({name: 2 * array for name, array in theirs.state_dict().items()}).version


class TestParameters:
    def test_they_are_the_servers_under_its_names(self, make: Make):
        remote = make([Layer("Linear", in_features=4, out_features=3), Layer("BatchNorm1d", num_features=3)])
        state = remote.model.state_dict()
        assert [name for name, _ in remote.named_parameters()] == [name for name, _ in remote.model.named_parameters()]
        assert list(remote.state_dict()) == list(state)
        assert all(torch.equal(tensor, tensors(state)[name]) for name, tensor in remote.state_dict().items())

    def test_frozen_ones_are_frozen(self, client: gradserve.Client, mlp: RemoteModule):
        mlp.model.requires_grad_("layers.0.*", False)
        again = RemoteModule(client, mlp.model.name)
        assert [name for name, parameter in again.named_parameters() if parameter.requires_grad] == [
            "layers.2.weight",
            "layers.2.bias",
        ]
        again(X).sum().backward()
        assert again.layers[0].weight.grad is None

    def test_making_one_draws_no_random_numbers(self, client: gradserve.Client):
        before = torch.get_rng_state()
        RemoteModule(client, "digits")
        assert torch.equal(torch.get_rng_state(), before)

    def test_a_target_is_as_good_as_a_client(self, target: str, client: gradserve.Client):
        x = torch.ones(1, 50)
        assert torch.equal(RemoteModule(target, "mlp-50-30-20-3")(x), RemoteModule(client, "mlp-50-30-20-3")(x))

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
    def test_gradients_are_those_in_process(self, make: Make, dtype: str):
        remote = make(gradserve.MLP(4, [5], 3), dtype)
        x = X.to(getattr(torch, dtype))
        y, x_here, x_there = torch.ones(2, 3, dtype=x.dtype), x.clone().requires_grad_(), x.clone().requires_grad_()
        nn.functional.mse_loss(remote(x_there), y).backward()
        there = [x_there.grad, *(parameter.grad for parameter in remote.parameters())]
        remote.zero_grad()
        nn.functional.mse_loss(remote.layers(x_here), y).backward()
        here = [x_here.grad, *(parameter.grad for parameter in remote.parameters())]
        assert all(map(torch.equal, there, here))

    def test_it_is_one_part_of_a_larger_module(self, mlp: RemoteModule):
        def gradients(middle: nn.Module) -> list[torch.Tensor]:
            torch.manual_seed(0)
            whole = nn.Sequential(nn.Linear(2, 4), middle, nn.Linear(3, 1)).double()
            whole.zero_grad()
            whole(X[:, :2]).sum().backward()
            return [parameter.grad for parameter in whole.parameters()]

        assert all(map(torch.equal, gradients(mlp), gradients(mlp.layers)))

    def test_it_says_what_it_is(self, mlp: RemoteModule):
        assert "gradserve.Model 'remote' at 127.0.0.1" in repr(mlp)
        assert "(1): Tanh()" in repr(mlp)


class TestChanges:
    def test_a_change_of_data_is_seen(self, mlp: RemoteModule):
        mlp.layers[0].weight.data.mul_(3)
        mlp.layers[2].bias.data = torch.ones(3, dtype=torch.float64)
        assert torch.equal(mlp(X), mlp.layers(X))

    def test_weights_that_have_not_changed_are_not_sent(self, mlp: RemoteModule):
        mlp.layers[0].weight.data.fill_(torch.nan)
        mlp(X)
        version = mlp.model.info().version
        mlp(X).sum().backward()
        assert mlp.model.info().version == version

    def test_loading_a_state_dict_is_a_change(self, mlp: RemoteModule):
        mlp.load_state_dict({name: 2 * tensor for name, tensor in mlp.state_dict().items()})
        assert torch.equal(mlp(X), mlp.layers(X))
        np.testing.assert_array_equal(mlp.model.state_dict()["layers.0.weight"], mlp.layers[0].weight.detach())

    def test_other_parameters_for_one_call_hold_for_its_gradient_too(self, mlp: RemoteModule):
        others = {name: (2 * p.detach()).requires_grad_() for name, p in mlp.named_parameters()}
        y = functional_call(mlp, others, (X,))
        mlp(X)
        expected = torch.autograd.grad(functional_call(mlp.layers, _relative(others), (X,)).sum(), [*others.values()])
        assert all(map(torch.equal, torch.autograd.grad(y.sum(), [*others.values()]), expected))

    def test_parameters_that_were_changed_in_place_before_backward_are_refused_as_in_process(self, mlp: RemoteModule):
        y = mlp(X).sum()
        with torch.no_grad():
            mlp.layers[2].weight.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.backward()


class TestChangesBySomebodyElse:
    def test_they_are_seen_between_forward_and_backward(self, mlp: RemoteModule, theirs: gradserve.Model):
        y = mlp(X).sum()
        disturb(theirs)
        with pytest.raises(
            gradserve.FailedPreconditionError, match="somebody else has changed the weights of 'remote'"
        ):
            y.backward()
        assert mlp.layers[0].weight.grad is None

    def test_they_are_seen_before_forward(self, mlp: RemoteModule, theirs: gradserve.Model):
        disturb(theirs)
        with pytest.raises(gradserve.FailedPreconditionError, match="somebody else"):
            mlp(X)

    def test_they_are_not_overwritten(self, mlp: RemoteModule, theirs: gradserve.Model):
        disturb(theirs)
        mlp.layers[0].weight.data.mul_(3)
        with pytest.raises(gradserve.AbortedError, match="somebody else"):
            mlp(X)
        with pytest.raises(gradserve.AbortedError, match="somebody else"):
            mlp.push()

    def test_pull_takes_them(self, mlp: RemoteModule, theirs: gradserve.Model):
        version = disturb(theirs)
        assert mlp.pull() == version
        torch.testing.assert_close(mlp(X), torch.from_numpy(theirs.forward(X.numpy())))
        assert torch.equal(mlp(X), mlp.layers(X))

    def test_push_with_force_replaces_them(self, mlp: RemoteModule, theirs: gradserve.Model):
        before = mlp(X)
        disturb(theirs)
        assert mlp.push(durable=False, force=True) == theirs.info().version
        assert torch.equal(mlp(X), before)

    def test_another_dtype_is_not_pulled(self, mlp: RemoteModule, theirs: gradserve.Model):
        theirs.to(dtype="float32")
        with pytest.raises(TypeError, match=r"is torch\.float32 on the server and torch\.float64 here"):
            mlp.pull()


class TestRefused:
    def test_batch_statistics_that_would_be_updated(self, make: Make):
        remote = make([Layer("BatchNorm1d", num_features=4)])
        with pytest.raises(NotImplementedError, match=r"layers\.0 is BatchNorm1d in training"):
            remote(X)
        remote.eval()
        torch.testing.assert_close(remote(X), remote.layers(X))

    def test_layers_in_different_modes(self, make: Make):
        remote = make([Layer("Dropout"), Layer("RReLU")])
        remote.layers[0].eval()
        with pytest.raises(NotImplementedError, match=r"layers\.0\.training=False, layers\.1\.training=True"):
            remote(X)

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled_copy])
    def test_copies(self, mlp: RemoteModule, copied):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            copied(mlp)

    def test_what_the_server_refuses(self, mlp: RemoteModule):
        with pytest.raises(gradserve.InvalidArgumentError, match=r"input\.shape"):
            mlp(X[:, :3])

    def test_a_model_that_is_not_there(self, client: gradserve.Client):
        with pytest.raises(gradserve.NotFoundError):
            RemoteModule(client, "missing")


class TestSilence:
    """A server that does not answer, from forward to backward."""

    @pytest.fixture
    def silent(self) -> Iterator[tuple[str, threading.Event]]:
        with scripted_server() as (target, script):
            yield target, script.arrived

    def backward_at(self, mlp: RemoteModule, client: gradserve.Client) -> torch.Tensor:
        """The output of a forward pass whose backward goes to another server."""
        y = mlp(X).sum()
        forward, _ = y.grad_fn.next_functions[0]
        object.__setattr__(forward.call, "model", client.model("silent"))
        return y

    def test_a_deadline_ends_backward(self, mlp: RemoteModule, silent: tuple[str, threading.Event]):
        with gradserve.Client(silent[0], timeout=0.2) as client, pytest.raises(gradserve.DeadlineExceededError):
            self.backward_at(mlp, client).backward()

    def test_control_c_ends_backward(self, mlp: RemoteModule, silent: tuple[str, threading.Event]):
        target, arrived = silent
        main = threading.main_thread().ident

        def interrupt() -> None:
            arrived.wait()
            signal.pthread_kill(main, signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with gradserve.Client(target, timeout=None) as client, pytest.raises(KeyboardInterrupt):
            self.backward_at(mlp, client).backward()


def _relative(parameters: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("layers."): tensor for name, tensor in parameters.items()}
