"""What torch in process answers to Jvp and Hvp: by torch.func.jvp, and by torch.autograd.grad twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor
from torch.func import functional_call

from tests.support.oracle import Answer, Hosted, Question, refusals


def jvp(model: Hosted, question: Question) -> Answer:
    """Computes the directional derivatives of the output, one after the other."""
    with refusals():
        model.train(question.training)
        x = question.input.to(model.dtype)
        leaves = _leaves(model, x)
        point = {name: leaves[name] for name in question.tangents}

        def output_of(leaves: Mapping[str, Tensor]) -> Tensor:
            torch.manual_seed(question.seed)
            parameters = {name: leaf for name, leaf in leaves.items() if name != "input"}
            buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
            return functional_call(model, {**parameters, **buffers}, (leaves.get("input", x),))

        pairs = [torch.func.jvp(output_of, (point,), (tangents,)) for tangents in _each(question.tangents, question, x)]
        products = _stacked([{"jvp": product.detach()} for _, product in pairs], question)
        return Answer(pairs[0][0].detach().cpu(), products=products)


def hvp(model: Hosted, question: Question) -> Answer:
    """Computes the products of vectors with a Hessian, by differentiating the gradients once more."""
    with refusals():
        model.train(question.training)
        torch.manual_seed(question.seed)
        rows = _selected(model, question)
        x = question.input.to(model.dtype).requires_grad_("input" in {*question.vectors, *rows})
        leaves = _leaves(model, x)
        output = model(x)
        value = output if question.loss is None else question.loss.of(output)
        weights = None if question.grad_output is None else question.grad_output.to(value.dtype).to(value.device)
        names = list(dict.fromkeys([*question.vectors, *rows]))
        found = torch.autograd.grad(value, [leaves[name] for name in names], weights, create_graph=True)
        gradients = dict(zip(names, found, strict=True))
        each = [_products(gradients, vectors, leaves, rows) for vectors in _each(question.vectors, question, x)]
        return Answer(
            output=torch.empty(0),
            loss=None if question.loss is None else value.detach().cpu(),
            gradients=_as_sent({name: gradients[name] for name in rows if question.return_gradients}, question),
            products=_as_sent(_stacked(each, question), question),
        )


def _products(
    gradients: Mapping[str, Tensor], vectors: Mapping[str, Tensor], leaves: Mapping[str, Tensor], rows: Sequence[str]
) -> dict[str, Tensor]:
    names = [name for name in vectors if gradients[name].requires_grad]
    if not names:
        return {name: torch.zeros_like(leaves[name]) for name in rows}
    found = torch.autograd.grad(
        [gradients[name] for name in names],
        [leaves[name] for name in rows],
        [vectors[name] for name in names],
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(rows, found, strict=True))


def _leaves(model: Hosted, x: Tensor) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), "input": x}


def _selected(model: Hosted, question: Question) -> list[str]:
    if not question.wrt:
        return list(question.vectors)
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    names = [name for name in trainable if any(fnmatchcase(name, glob) for glob in question.wrt)]
    return [*names, *(["input"] if "input" in question.wrt else [])]


def _each(directions: Mapping[str, Tensor], question: Question, x: Tensor) -> list[dict[str, Tensor]]:
    """The directions one by one, in the dtype of the model and on its device."""
    cast = {name: direction.to(x.dtype).to(x.device) for name, direction in directions.items()}
    if not question.batched:
        return [cast]
    count = len(next(iter(cast.values())))
    return [{name: direction[index].clone() for name, direction in cast.items()} for index in range(count)]


def _stacked(each: Sequence[Mapping[str, Tensor]], question: Question) -> dict[str, Tensor]:
    if not question.batched:
        return {name: product.cpu() for name, product in each[0].items()}
    return {name: torch.stack([products[name] for products in each]).cpu() for name in each[0]}


def _as_sent(tensors: Mapping[str, Tensor], question: Question) -> dict[str, Tensor]:
    return {
        name: tensor.detach().cpu().to(question.input.dtype if name == "input" else tensor.dtype)
        for name, tensor in tensors.items()
    }
