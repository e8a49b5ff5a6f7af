"""torch's process-wide state is borrowed and given back."""

import pytest
import torch

from gradserve_server.engine import global_state

CPU = torch.device("cpu")


def test_a_seeded_block_draws_what_torch_draws_after_manual_seed():
    with global_state.seeded(7, CPU):
        drawn = torch.rand(5)
    assert torch.equal(drawn, torch.rand(5, generator=torch.Generator().manual_seed(7)))


def test_a_seeded_block_leaves_the_generator_as_it_was():
    before = torch.get_rng_state()
    with global_state.seeded(7, CPU):
        torch.rand(5)
    assert torch.equal(torch.get_rng_state(), before)


def test_deterministic_algorithms_are_switched_off_again_even_after_an_error():
    def fail() -> None:
        with global_state.deterministic_algorithms():
            assert torch.are_deterministic_algorithms_enabled()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_new_seed_does_not_come_from_a_generator_that_a_request_can_seed():
    torch.manual_seed(0)
    first = global_state.new_seed()
    torch.manual_seed(0)
    assert first != global_state.new_seed()
    assert 0 <= first < 2**53
