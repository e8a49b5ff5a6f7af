"""Values and durations as people read and write them."""

import math

import pytest

from deploy.grafana.render.durations import duration_of, seconds_of
from deploy.grafana.render.units import told


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "s", "0 s"),
        (0.000_05, "s", "50 µs"),
        (0.0981, "s", "98.1 ms"),
        (90.0, "s", "1.5 min"),
        (0.0, "bytes", "0 B"),
        (1536.0, "bytes", "1.5 KiB"),
        (3 * 2**30, "bytes", "3 GiB"),
        (0.144, "percentunit", "14.4%"),
        (92.17, "reqps", "92.2 req/s"),
        (2400.0, "rowsps", "2.4K rows/s"),
        (4.0, "none", "4"),
        (1e-12, "none", "0"),
        (math.nan, "s", "-"),
    ],
)
def test_a_value_is_told_with_its_unit_to_three_digits(value, unit, text):
    assert told(value, unit) == text


def test_decimals_that_are_given_are_kept():
    assert told(0.02234, "percentunit", 2) == "2.23%"


@pytest.mark.parametrize(("text", "seconds"), [("15m", 900), ("1m30s", 90), ("250ms", 0.25), ("2d", 172_800)])
def test_a_duration_is_so_many_seconds(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "1.5h", "-1s", "15m "])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="no duration such as 15m"):
        seconds_of(text)


@pytest.mark.parametrize(("seconds", "text"), [(900, "900s"), (0.25, "250ms"), (1.5, "1500ms")])
def test_seconds_are_written_as_prometheus_reads_them(seconds, text):
    assert duration_of(seconds) == text
