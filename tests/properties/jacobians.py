"""Random cases of Jacobian."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st

from gradserve.v1 import inference_pb2
from tests.properties import stacks
from tests.properties.case import Case
from tests.properties.cases import REQUEST_SEEDS, inputs, leaves, parameter_shapes, shapes
from tests.properties.losses import SEEDS
from tests.properties.sample import FLOATS
from tests.properties.wire import Reply, Stubs, decode, encode, seed_of
from tests.support.jacobian_oracle import JacobianQuestion
from tests.support.oracle import Answer

MODES = ("UNSPECIFIED", "REVERSE", "FORWARD")
_CHUNKS = st.sampled_from([None, None, 1, 2, 5, 1000])
_ONE_BY_ONE = 1000
_DETERMINISTIC = st.sampled_from([True, False])


@dataclass(frozen=True)
class JacobianCase(Case):
    """A model and a JacobianRequest to it."""

    mode: str = "UNSPECIFIED"
    chunk_size: int | None = None

    @property
    def returns_output(self) -> bool:
        """Whether the reply holds the output."""
        return self.return_output

    def question(self, drawn_seed: int = 0) -> JacobianQuestion:
        """The request with real tensors, given the seed that the server drew if the case has none."""
        plain = super().question(drawn_seed)
        return JacobianQuestion(
            input=plain.input,
            training=plain.training,
            seed=plain.seed,
            wrt=self.wrt or ("input",),
            mode=self.mode,
            chunk_size=self.chunk_size,
        )

    def choices(self) -> Iterator[tuple[str, str]]:
        """What was chosen, as pairs of a group and a choice, to be counted."""
        yield from super().choices()
        yield "mode", self.mode
        yield "chunk_size", str(self.chunk_size)
        yield "wrt", "input by default" if not self.wrt else "input" if self.wrt == ("input",) else "parameters too"


@st.composite
def jacobian_cases(draw: st.DrawFn, mode: str, dtypes: tuple[str, ...] = FLOATS) -> JacobianCase:
    """A model and a JacobianRequest to it, in some mode."""
    shape = draw(shapes(st.sampled_from([0, 1, 2, 2, 2, 3])))
    layers, _ = draw(stacks.stacks(shape))
    wrt, frozen = draw(leaves(layers))
    input_ = draw(inputs(shape))
    if draw(st.integers(0, 2)) == 0:
        wrt, frozen = (), ()
    # Where layers draw random numbers passes may go one by one, and a server takes no more of these.
    has_many = sum(map(math.prod, parameter_shapes(layers).values())) > _ONE_BY_ONE
    return JacobianCase(
        layers,
        replace(input_, kind="normal"),
        dtype=draw(st.sampled_from(dtypes)),
        weights_seed=draw(SEEDS),
        frozen=frozen,
        training=not has_many and draw(st.booleans()),
        seed=draw(REQUEST_SEEDS),
        deterministic=draw(_DETERMINISTIC),
        wrt=wrt,
        return_output=draw(st.booleans()),
        mode=mode,
        chunk_size=draw(_CHUNKS),
    )


def jacobian_request(case: JacobianCase, name: str) -> inference_pb2.JacobianRequest:
    """The case as a JacobianRequest."""
    return inference_pb2.JacobianRequest(
        model=name,
        input=encode(case.input.tensor()),
        training=case.training,
        seed=case.seed,
        deterministic=case.deterministic,
        wrt=case.wrt,
        mode=f"JACOBIAN_MODE_{case.mode}",
        chunk_size=case.chunk_size,
        return_output=case.return_output,
    )


def ask_jacobian(stubs: Stubs, case: Case, name: str) -> Reply:
    """Call Jacobian; the output is empty unless the case asks for it."""
    assert isinstance(case, JacobianCase)
    reply = stubs.inference.Jacobian(jacobian_request(case, name), timeout=20)
    assert reply.HasField("output") == case.return_output, "the output is returned where it is asked for"
    output = decode(reply.output) if case.return_output else torch.empty(0)
    return Reply(
        Answer(output, gradients={key: decode(own) for key, own in reply.jacobians.items()}),
        reply.version,
        seed_of(reply),
    )
