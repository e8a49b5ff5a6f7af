"""Cases of Jvp and of Hvp as wire messages, and their replies as torch tensors."""

from __future__ import annotations

import torch

from gradserve.v1 import inference_pb2
from tests.properties.case import Case
from tests.properties.wire import Reply, Stubs, decode, encode, loss_message, seed_of
from tests.support.oracle import Answer


def ask_jvp(stubs: Stubs, case: Case, name: str) -> Reply:
    """Call Jvp; the output is empty unless the case asks for it."""
    request = inference_pb2.JvpRequest(
        model=name,
        input=encode(case.input.tensor()),
        training=case.training,
        seed=case.seed,
        deterministic=case.deterministic,
        tangents={key: encode(tangent.tensor()) for key, tangent in case.tangents.items()},
        is_tangents_batched=case.batched,
        return_output=case.return_output,
    )
    reply = stubs.inference.Jvp(request, timeout=20)
    assert reply.HasField("output") == case.return_output, "the output is returned where it is asked for"
    output = decode(reply.output) if case.return_output else torch.empty(0)
    return Reply(Answer(output, products={"jvp": decode(reply.jvp)}), reply.version, seed_of(reply))


def ask_hvp(stubs: Stubs, case: Case, name: str) -> Reply:
    """Call Hvp."""
    request = inference_pb2.HvpRequest(
        model=name,
        input=encode(case.input.tensor()),
        training=case.training,
        seed=case.seed,
        deterministic=case.deterministic,
        loss=loss_message(case.loss) if case.loss else None,
        grad_output=encode(case.grad_output.tensor()) if case.grad_output else None,
        vectors={key: encode(vector.tensor()) for key, vector in case.vectors.items()},
        is_vectors_batched=case.batched,
        wrt=case.wrt,
        return_gradients=case.return_gradients,
    )
    reply = stubs.inference.Hvp(request, timeout=20)
    answer = Answer(
        output=torch.empty(0),
        loss=decode(reply.loss) if reply.HasField("loss") else None,
        gradients={key: decode(gradient) for key, gradient in reply.gradients.items()},
        products={key: decode(product) for key, product in reply.products.items()},
    )
    return Reply(answer, reply.version, seed_of(reply))
