"""Modules of torch on a server: the same numbers, the same flags, and their names on request."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import gradserve
from gradserve.torch import tensors
from gradserve.v1 import model_pb2, state_pb2
from tests.client.scripted_server import Refusal, scripted_server
from tests.client.torch_modules import MODULES, Functional
from tests.support.either_client import either_client

pytestmark = either_client

X = torch.linspace(-2, 2, 24).reshape(4, 6)


@pytest.fixture
def client(durable_client: gradserve.Client) -> Iterator[gradserve.Client]:
    """A client of a server without the model "deployed-net", before and after."""
    yield durable_client
    if "deployed-net" in {info.name for info in durable_client.list_models()}:
        durable_client.delete_model("deployed-net")


def deploy(module: nn.Module, client: gradserve.Client) -> gradserve.Model:
    return gradserve.deploy(module, "deployed-net", client, device="cpu")


def new_module(name: str) -> nn.Module:
    """Return a module with weights, and running statistics, that are its own."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        module = MODULES[name]()
        module.train()
        with torch.no_grad():
            module(X.to(next(iter(module.state_dict().values()), X).dtype))
    return module


@pytest.mark.parametrize("name", MODULES)
class TestEveryModule:
    def test_computes_on_the_server_what_it_computes_here(self, client: gradserve.Client, name: str):
        module = new_module(name).eval()
        model = deploy(module, client)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        with torch.no_grad():
            expected = module(X.to(next(iter(module.state_dict().values()), X).dtype))
        torch.set_num_threads(threads)
        assert torch.equal(model(X, deterministic=True), expected)

    def test_gets_its_weights_back_under_its_own_names(self, client: gradserve.Client, name: str, tmp_path: Path):
        module = new_module(name)
        deploy(module, client).save_state_dict(tmp_path / "w.safetensors", original_names=True)
        loaded = safetensors.torch.load_file(tmp_path / "w.safetensors")
        assert loaded.keys() == module.state_dict().keys()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in module.state_dict().items())

    def test_stays_as_it_is(self, client: gradserve.Client, name: str):
        module = new_module(name)
        before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
        flags = [part.training for part in module.modules()]
        deploy(module, client)
        assert all(torch.equal(before[key], tensor) for key, tensor in module.state_dict().items())
        assert [part.training for part in module.modules()] == flags


class TestDeployed:
    def test_dropout_is_on_in_training_alone(self, client: gradserve.Client):
        model = deploy(new_module("functions"), client)
        torch.testing.assert_close(model(X), model(X))
        assert not torch.equal(model(X, training=True, seed=1), model(X, training=True, seed=2))

    def test_frozen_parameters_stay_frozen(self, client: gradserve.Client):
        model = deploy(new_module("functions"), client)
        frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
        assert frozen == ["layers.7.bias"]

    @pytest.mark.parametrize(
        ("name", "dtype"), [("nested", "float32"), ("double", "float64"), ("bfloat16", "bfloat16")]
    )
    def test_the_dtype_stays(self, client: gradserve.Client, name: str, dtype: str):
        assert deploy(new_module(name), client).info().dtype == dtype

    def test_new_weights_go_in_under_the_modules_names(self, client: gradserve.Client):
        model = deploy(new_module("functions"), client)
        trained = Functional().eval()
        model.load_state_dict(trained.state_dict(), original_names=True)
        torch.testing.assert_close(model(X), trained(X).detach())

    def test_a_file_goes_in_under_the_modules_names(self, client: gradserve.Client, tmp_path: Path):
        model = deploy(new_module("functions"), client)
        trained = Functional().eval()
        safetensors.torch.save_file(trained.state_dict(), tmp_path / "w.safetensors")
        model.load_state_dict(tmp_path / "w.safetensors", original_names=True)
        torch.testing.assert_close(model(X), trained(X).detach())

    def test_the_names_outlive_other_weights(self, client: gradserve.Client):
        model = deploy(new_module("functions"), client)
        model.load_state_dict(model.state_dict())
        Functional().load_state_dict(tensors(model.state_dict(original_names=True)))

    def test_the_weights_as_deployed_can_be_loaded_again(self, client: gradserve.Client):
        module = new_module("nested")
        model = deploy(module, client)
        model.load_state_dict({name: np.zeros_like(array) for name, array in model.state_dict().items()})
        model.load_checkpoint("deployed")
        torch.testing.assert_close(model(X), module(X).detach())

    def test_the_names_are_in_plain_words_in_the_checkpoint(self, client: gradserve.Client):
        model = deploy(new_module("loop"), client)
        (deployed,) = [found for found in model.list_checkpoints() if found.name == "deployed"]
        assert deployed.metadata == {
            "original_names": '{"layers.0": "blocks.0.0", "layers.1": "blocks.0.1", '
            '"layers.3": "blocks.1.0", "layers.4": "blocks.1.1", "layers.6": "unwrapped.last"}'
        }


class TestRefusals:
    def test_a_name_that_is_taken_is_refused_and_its_model_stays(self, client: gradserve.Client):
        first = deploy(new_module("nested"), client)
        version = first.info().version
        with pytest.raises(gradserve.AlreadyExistsError):
            deploy(new_module("plain"), client)
        assert first.info().version == version

    @pytest.mark.parametrize("failing", ["LoadStateDict", "SaveCheckpoint"])
    def test_a_model_that_cannot_be_filled_is_deleted_again(self, failing: str):
        answers = {
            "CreateModel": [model_pb2.CreateModelResponse()],
            "LoadStateDict": [state_pb2.LoadStateDictResponse()],
            "DeleteModel": [model_pb2.DeleteModelResponse()],
            failing: [Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED)],
        }
        with scripted_server(**answers) as (target, script), gradserve.Client(target) as client:
            with pytest.raises(gradserve.ResourceExhaustedError):
                gradserve.deploy(nn.Linear(1, 1), "m", client)
            assert script.calls[-1].method == "DeleteModel"

    def test_what_is_no_module_is_a_type_error(self, client: gradserve.Client):
        with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module, got OrderedDict"):
            deploy(nn.Linear(1, 1).state_dict(), client)  # type: ignore[arg-type]

    def test_what_cannot_be_served_is_refused_before_anything_is_sent(self):
        with scripted_server() as (target, script), gradserve.Client(target) as client:
            with pytest.raises(gradserve.InvalidArgumentError, match="Conv1d") as caught:
                gradserve.deploy(nn.Conv1d(1, 1, 1), "m", client)
            assert caught.value.reason == "UNSUPPORTED_MODULE"
            assert script.calls == []


def test_a_server_that_keeps_nothing_hosts_it_without_its_names(target: str):
    with gradserve.Client(target) as ephemeral:
        model = gradserve.deploy(new_module("plain"), "deployed-ephemeral", ephemeral, device="cpu")
        with pytest.raises(gradserve.FailedPreconditionError, match="there is no checkpoint 'deployed'"):
            model.state_dict(original_names=True)
        ephemeral.delete_model("deployed-ephemeral")


def test_a_model_that_was_not_deployed_has_no_original_names(durable_client: gradserve.Client):
    with pytest.raises(gradserve.FailedPreconditionError, match=r"as gradserve.deploy makes it"):
        durable_client.model("digits").state_dict(original_names=True)


def test_without_torch_it_is_told_what_to_install():
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import gradserve\n"
        "try: gradserve.deploy(None, 'm', None)\n"
        "except ModuleNotFoundError as error: print(error, error.name)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "torch is not installed: pip install 'gradserve[torch]' torch\n"
