"""Reading tables of numbers."""

import re

import numpy as np
import pytest

from gradserve.cli.tensors.csv_table import parse_csv


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("1,2\n3,4", [[1, 2], [3, 4]]),
        ("1,2\r\n3,4\r\n", [[1, 2], [3, 4]]),
        ("1,2\r3,4", [[1, 2], [3, 4]]),
        ("1\n2\n3", [[1], [2], [3]]),
        ("1,2,3", [[1, 2, 3]]),
        ("7", [[7]]),
        ("\n1,2\n\n   \n3,4\n\n", [[1, 2], [3, 4]]),
        (" 1 ,  2\n", [[1, 2]]),
        ('"1","2"\n', [[1, 2]]),
        ("-1,+2\n", [[-1, 2]]),
        ("\ufeff1,2\n", [[1, 2]]),
        ("a,b\n1,2\n", [[1, 2]]),
        ('"a ""quoted"" name",\n1,2\n', [[1, 2]]),
        ("größe,#b\n1,2\n", [[1, 2]]),
        ("9223372036854775807\n", [[2**63 - 1]]),
    ],
)
def test_whole_numbers_are_int64(text, expected):
    np.testing.assert_array_equal(parse_csv(text.encode()), np.array(expected, np.int64), strict=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.0,2\n", [[1, 2]]),
        ("1e3,-.5\n", [[1000, -0.5]]),
        ("nan,inf\n-inf,NaN\n", [[np.nan, np.inf], [-np.inf, np.nan]]),
        ("a,b\n0.1,1e-300\n", [[0.1, 1e-300]]),
        ("9223372036854775808\n", [[2.0**63]]),
    ],
)
def test_other_numbers_are_float64(text, expected):
    np.testing.assert_array_equal(parse_csv(text.encode()), np.array(expected, np.float64), strict=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"1,2\n3\n", "line 2 has 1 columns, but line 1 has 2"),
        (b"a,b\n1,2\n\n3,4,5\n", "line 4 has 3 columns, but line 2 has 2"),
        (b"1,2\n3,x\n", "line 2, column 2: 'x' is not a number"),
        (b"1,x\n2,3\n", "line 1, column 2: 'x' is not a number"),
        (b"a,b\nc,d\n", "line 2, column 1: 'c' is not a number"),
        (b"1,\n2,3\n", "line 1, column 2: '' is not a number"),
        (b"1;2\n3;4\n5;6\n", "line 2, column 1: '3;4' is not a number"),
        (b"1_000\n1\n2_000\n", "line 3, column 1: '2_000' is not a number"),
        (b"0x10,1\n", "line 1, column 1: '0x10' is not a number"),
        (b"1,true\n", "line 1, column 2: 'true' is not a number"),
        (b"1,1+2j\n", "line 1, column 2: '1+2j' is not a number"),
        ("1,\u0661\n".encode(), "line 1, column 2: '\u0661' is not a number"),
        (b"1,\x00\n", r"line 1, column 2: '\x00' is not a number"),
        (b"a,b\n", "it holds no numbers"),
        (b"\n\n", "it holds no numbers"),
        (b"\xff\xfe1", "not text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "not text in UTF-8"),
        (b"1,'x\n" + b"y" * 200_000, "line 1, column 2"),
        (b"1\n" + b"y" * 200_000, "not CSV: field larger"),
    ],
)
def test_a_table_that_is_none_is_refused_and_the_message_says_where(text, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_csv(text)
