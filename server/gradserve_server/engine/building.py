"""Making models: from an architecture and a seed or a file of weights, and from another model."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import safetensors.torch

from gradserve_server.architecture import Architecture
from gradserve_server.config import Limits
from gradserve_server.engine.device import Device
from gradserve_server.engine.model import Model
from gradserve_server.engine.network.mlp import check
from gradserve_server.engine.network.shapes import Shapes
from gradserve_server.engine.refusals import torch_refusals
from gradserve_server.engine.tensors import DTYPES


def build(architecture: Architecture, seed: int, dtype: str, device: Device, limits: Limits) -> Model:
    """Check an architecture, draw its weights on the CPU from a seed, and put it on its device.

    Raises:
        ServiceError: If the architecture or the dtype is refused.
    """
    blueprint = check(architecture, limits)
    torch_dtype, torch_device = DTYPES[dtype], device.torch_device
    with torch_refusals("CreateModel", torch_dtype, torch_device):
        module = blueprint.draw(seed, torch_dtype).to(torch_device)
    return Model(blueprint, module, torch_device, torch_dtype, Shapes(blueprint.skeleton, limits), limits)


def load(model: Model, weights: bytes) -> Model:
    """The model with the weights of a safetensors file of this package in place of its own."""
    model.module.load_state_dict(safetensors.torch.load(weights))
    return model


def move(model: Model, device: Device, dtype: str, requires_grad: Mapping[str, bool]) -> Model:
    """The model on another device, in another dtype, or with other requires_grad flags."""
    torch_dtype, torch_device = DTYPES[dtype], device.torch_device
    with torch_refusals("UpdateModel", torch_dtype, torch_device):
        return model.moved(torch_device, torch_dtype, requires_grad)


def hollow(
    architecture: Architecture, dtype: str, device: Device, requires_grad: Mapping[str, bool], limits: Limits
) -> Model:
    """A model without weights: its shapes, dtypes and flags, on torch's meta device.

    Raises:
        ServiceError: If the architecture is refused.
    """
    blueprint = check(architecture, limits)
    module = copy.deepcopy(blueprint.skeleton).to(DTYPES[dtype])
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(requires_grad.get(name, True))
    shapes = Shapes(blueprint.skeleton, limits)
    return Model(blueprint, module, device.torch_device, DTYPES[dtype], shapes, limits)
