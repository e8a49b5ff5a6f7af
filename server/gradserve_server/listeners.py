"""Several instruments where one is asked for, and none."""

from __future__ import annotations

from gradserve_server.facts import BatchFact, ChangeFact, Instruments, RequestFact, RpcFact, RpcMethod


class NullInstruments:
    """Does nothing with any fact: what those begin with who care for some facts only."""

    def __init__(self, *instruments: Instruments) -> None:
        """As Instruments."""

    def rpc_served(self, method: RpcMethod) -> None:
        """As Instruments."""

    def rpc_started(self, method: RpcMethod) -> None:
        """As Instruments."""

    def rpc_received(self, method: RpcMethod) -> None:
        """As Instruments."""

    def rpc_sent(self, method: RpcMethod) -> None:
        """As Instruments."""

    def rpc_handled(self, fact: RpcFact) -> None:
        """As Instruments."""

    def model_created(self, name: str) -> None:
        """As Instruments."""

    def model_deleted(self, name: str) -> None:
        """As Instruments."""

    def model_changed(self, fact: ChangeFact) -> None:
        """As Instruments."""

    def request_started(self, operation: str) -> None:
        """As Instruments."""

    def request_finished(self, fact: RequestFact) -> None:
        """As Instruments."""

    def batch_computed(self, fact: BatchFact) -> None:
        """As Instruments."""


class Listeners:
    """Tells each fact to several instruments, in their order: an Instruments too."""

    def __init__(self, *instruments: Instruments) -> None:
        self._all = instruments

    def rpc_served(self, method: RpcMethod) -> None:
        """As Instruments."""
        for one in self._all:
            one.rpc_served(method)

    def rpc_started(self, method: RpcMethod) -> None:
        """As Instruments."""
        for one in self._all:
            one.rpc_started(method)

    def rpc_received(self, method: RpcMethod) -> None:
        """As Instruments."""
        for one in self._all:
            one.rpc_received(method)

    def rpc_sent(self, method: RpcMethod) -> None:
        """As Instruments."""
        for one in self._all:
            one.rpc_sent(method)

    def rpc_handled(self, fact: RpcFact) -> None:
        """As Instruments."""
        for one in self._all:
            one.rpc_handled(fact)

    def model_created(self, name: str) -> None:
        """As Instruments."""
        for one in self._all:
            one.model_created(name)

    def model_deleted(self, name: str) -> None:
        """As Instruments."""
        for one in self._all:
            one.model_deleted(name)

    def model_changed(self, fact: ChangeFact) -> None:
        """As Instruments."""
        for one in self._all:
            one.model_changed(fact)

    def request_started(self, operation: str) -> None:
        """As Instruments."""
        for one in self._all:
            one.request_started(operation)

    def request_finished(self, fact: RequestFact) -> None:
        """As Instruments."""
        for one in self._all:
            one.request_finished(fact)

    def batch_computed(self, fact: BatchFact) -> None:
        """As Instruments."""
        for one in self._all:
            one.batch_computed(fact)
