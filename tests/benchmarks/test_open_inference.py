"""The messages of the Open Inference Protocol, written and read."""

import numpy as np

from benchmarks.peers import open_inference


def test_raw_bytes_and_single_numbers_are_read_alike():
    """Field 5 of a reply is a tensor, with its own contents in field 5; field 6 holds raw bytes."""
    numbers = np.float32([1.5, -2]).tobytes()
    tensor = b"\x12\x04FP32\x1a\x02\x01\x02"
    as_raw = b"\x2a" + bytes([len(tensor)]) + tensor + b"\x32\x08" + numbers
    contents = b"\x2a\x0a\x32\x08" + numbers
    as_numbers = b"\x2a" + bytes([len(tensor + contents)]) + tensor + contents
    for reply in (as_raw, as_numbers):
        np.testing.assert_array_equal(open_inference.output(reply), [[1.5, -2]])


def test_a_request_holds_its_tensor_as_raw_bytes():
    message = open_inference.request("net", np.float32([[1.0, 2.0]]))
    assert message.startswith(b"\x0a\x03net")
    assert b"\x12\x04FP32" in message
    assert message.endswith(b"\x3a\x08" + np.float32([1, 2]).tobytes())
