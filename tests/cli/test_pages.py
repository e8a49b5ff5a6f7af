"""What a terminal of some width shows of outputs and gradients."""

import numpy as np
import pytest
from rich.console import Console

from gradserve.cli.pages.tensor_pages import GradientsPage, OutputPage


def shown(page, width: int) -> list[str]:
    console = Console(width=width, markup=False, highlight=False)
    with console.capture() as captured:
        console.print(page.screen(width))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [1, 10, 20, 40, 79, 80, 200])
def test_no_line_of_an_output_is_wider_than_the_terminal(width):
    lines = shown(OutputPage("m", np.linspace(-1, 1, 300, dtype=np.float32).reshape(10, 30)), width)
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "columns"), [(15, 1), (26, 3), (60, 7), (300, 10)])
def test_as_many_columns_are_shown_as_fit(width, columns):
    lines = shown(OutputPage("m", np.full((2, 10), -1.25, np.float32)), width)
    (line,) = (line for line in lines if line.startswith(" row"))
    assert line.split() == ["row", *map(str, range(columns))]


@pytest.mark.parametrize("width", range(15, 120, 7))
def test_no_row_of_an_output_is_folded(width):
    lines = shown(OutputPage("m", np.full((5, 10), -1.25, np.float32)), width)
    assert sum("-1.25" in line for line in lines) == 5


def test_a_whole_output_has_no_note_and_a_cut_one_has():
    whole = shown(OutputPage("m", np.zeros((20, 3))), 200)
    assert "left out" not in "".join(whole)
    for cut in (np.zeros((21, 3)), np.zeros((1, 300))):
        assert "left out" in "".join(shown(OutputPage("m", cut), 200))


def test_each_row_has_its_index():
    lines = shown(OutputPage("m", np.zeros((2, 2, 1))), 80)
    assert [line.split()[0] for line in lines if "," in line][1:] == ["0,0", "0,1", "1,0", "1,1"]


@pytest.mark.parametrize("shape", [(), (3,)])
def test_an_output_of_one_row_has_one_line(shape):
    lines = shown(OutputPage("m", np.full(shape, 0.25)), 80)
    assert [line.split() for line in lines if "0.25" in line] == [["0.25"] * max(1, sum(shape))]


def test_an_empty_output_has_only_its_shape():
    assert shown(OutputPage("m", np.zeros((0, 3))), 80) == ["m: output float64 [0, 3]"]


def test_nan_is_shown():
    assert "nan" in "".join(shown(OutputPage("m", np.float32([[np.nan]])), 80))


def test_gradients_have_norm_and_first_values():
    page = GradientsPage("m", None, None, {"input": np.float32([[3, 4, 0, 0, 0]])}, version=7, seed=None)
    lines = shown(page, 80)
    assert lines[0] == "m: version 7"
    assert lines[4].split() == ["input", "[1,", "5]", "float32", "5", "3,", "4,", "0,", "0,", "..."]


def test_a_seed_is_shown_where_something_was_random():
    page = GradientsPage("m", None, None, {"input": np.float32([[3]])}, version=7, seed=0)
    assert shown(page, 80)[0] == "m: version 7, seed 0"
