"""One case put to the server and to torch in this process, and the two answers held against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import uuid4

import grpc

from gradserve.v1 import model_pb2
from tests.properties.agreement import disagreements
from tests.properties.case import Case
from tests.properties.effort import Tally
from tests.properties.wire import Ask, Reply, Stubs, create_request, freeze_request, parameters
from tests.support.oracle import Answer, Hosted, Question, RefusedError, draws_random_numbers

Compute = Callable[[Hosted, Question], Answer]


@dataclass(frozen=True)
class Comparison:
    """Asks both, and fails where they differ.

    Attributes:
        stubs: The server.
        device: Where the models are, on both sides.
        ask: Puts a case to the server.
        compute: Puts a question to torch.
        tally: Counts the cases.
    """

    stubs: Stubs
    device: str
    ask: Ask
    compute: Compute
    tally: Tally

    def check(self, case: Case) -> None:
        """Compare one case.

        Raises:
            AssertionError: If the two disagree.
        """
        name = f"case-{uuid4().hex}"
        try:
            reply = self._answer(case, name)
        except grpc.RpcError as error:
            self._check_refusal(case, error)
        else:
            self._check_reply(case, reply, name)
            self.tally.add(case)
        finally:
            self._delete(name)

    def _answer(self, case: Case, name: str) -> Reply:
        created = self.stubs.models.CreateModel(create_request(case, name, self.device), timeout=20)
        named = case.model("meta").named_parameters()
        expected = [(key, tuple(parameter.shape), str(parameter.dtype)) for key, parameter in named]
        assert parameters(created.model) == expected
        if case.frozen:
            self.stubs.models.UpdateModel(freeze_request(case, name), timeout=20)
        return self.ask(self.stubs, case, name)

    def _delete(self, name: str) -> None:
        try:
            self.stubs.models.DeleteModel(model_pb2.DeleteModelRequest(name=name), timeout=20)
        except grpc.RpcError as error:
            # The server may have refused to create it.
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise

    def _torch(self, case: Case, seed: int) -> Answer | RefusedError:
        try:
            return self.compute(case.model(self.device), case.question(seed))
        except RefusedError as refusal:
            return refusal

    def _check_refusal(self, case: Case, error: grpc.RpcError) -> None:
        expected = self._torch(case, 0)
        assert isinstance(expected, RefusedError), f"torch answers {expected}, the server refuses: {error}"
        status = grpc.StatusCode.UNIMPLEMENTED if expected.no_kernel else grpc.StatusCode.INVALID_ARGUMENT
        assert error.code() is status, f"torch refuses ({expected}), the server: {error}"
        self.tally.outcomes[f"refused by both as {status.name}"] += 1

    def _check_reply(self, case: Case, reply: Reply, name: str) -> None:
        random = case.training and draws_random_numbers(case.model("meta"))
        assert (reply.seed is not None) == random, f"the reply's seed is {reply.seed}"
        assert case.seed is None or reply.seed in {None, case.seed}, f"the reply's seed is {reply.seed}"
        assert reply.version == 1
        expected = self._torch(case, reply.seed or 0)
        if isinstance(expected, RefusedError) and expected.no_kernel and 0 in case.input.shape:
            return  # Without elements the server may have nothing to ask of torch.
        assert isinstance(expected, Answer), f"the server answers {reply}, torch refuses: {expected}"
        self._check_answer(case, reply.answer, expected)
        if case.training:
            # Neither statistics nor generators of the server's have moved.
            again = self.ask(self.stubs, replace(case, seed=reply.seed or 0), name)
            self._check_answer(case, again.answer, expected)

    def _check_answer(self, case: Case, actual: Answer, expected: Answer) -> None:
        exact = case.deterministic and self.device == "cpu"
        wanted = expected if case.returns_output else replace(expected, output=actual.output)
        found = list(disagreements(actual, wanted, dtype=case.dtype, exact=exact))
        assert not found, "\n".join(found)
