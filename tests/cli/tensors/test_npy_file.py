"""Reading numpy's files, sound and hostile."""

import io
import pickle
import struct
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest

from gradserve.cli.tensors.npy_file import parse_npy, parse_npz

MEBIBYTE = 2**20


class Trap:
    """Something that cannot be unpickled without being noticed."""

    def __reduce__(self):
        return (pytest.fail, ("the pickle was read",))


def npy(array, **options) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), **options)
    return buffer.getvalue()


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + version + length + text.encode("latin1")


def described(descr: str, shape: str, fortran_order: str = "False") -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': {fortran_order}, 'shape': {shape}}}")


def npz(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8", ">f4", ">i8"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (2, 3), (1, 2, 3)])
def test_an_array_is_read_in_its_own_dtype_and_shape(dtype, shape):
    array = np.ones(shape, dtype)
    read = parse_npy(npy(array))
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array, strict=True)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_both_versions_of_the_header_are_read(version):
    np.testing.assert_array_equal(parse_npy(npy(np.arange(3), version=version)), np.arange(3))


def test_fortran_order_is_read_as_it_reads():
    array = np.arange(6).reshape(2, 3).copy(order="F")
    assert b"'fortran_order': True" in npy(array)
    np.testing.assert_array_equal(parse_npy(npy(array)), array)


def test_a_pickle_is_never_read():
    with pytest.raises(ValueError, match="pickled Python objects"):
        parse_npy(npy(np.array([Trap()], dtype=object), allow_pickle=True))


def test_a_bare_pickle_is_no_npy_file():
    with pytest.raises(ValueError, match=r"not a sound \.npy file"):
        parse_npy(pickle.dumps(Trap()))


@pytest.mark.parametrize("length", [0, 1, 5, 6, 8, 9, 10, 11, 60, 127, 128, 129, 150])
def test_a_truncated_file_is_refused(length):
    with pytest.raises(ValueError, match=r"not a sound .npy file|bytes follow"):
        parse_npy(npy(np.zeros(3))[:length])


def test_trailing_bytes_are_refused():
    with pytest.raises(ValueError, match="25 bytes follow"):
        parse_npy(npy(np.zeros(3)) + b"x")


@pytest.mark.parametrize(
    "content",
    [
        header("x" * 60_000),
        header("(" * 9_000),
        header("{'descr': '<f4'}"),
        header("not a dictionary"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'more': 1}"),
        header("", b"\x09\x00"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (0,)}", b"\x03\x00"),
        described("'<f4'", "3"),
        described("'<f4'", "('3',)"),
        described("'nonsense'", "(3,)"),
        described("3", "(3,)"),
        described("'<f4'", "(3,)", "'maybe'"),
        described("'<f4'", "(__import__('os'),)"),
        b"\x93NUMPY\x01\x00\xff\xff",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
    ],
)
def test_a_malformed_header_is_refused(content):
    with pytest.raises(ValueError, match=r"not a sound \.npy file"):
        parse_npy(content)


@pytest.mark.parametrize(
    "shape", ["(-1,)", "(-1, -3)", "(2**62,)", f"({2**62}, {2**62})", f"({10**9}, {10**9})", "(4,)"]
)
def test_a_shape_that_the_content_does_not_bear_out_is_refused_and_not_allocated(shape):
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"bytes follow|not a sound .npy file"):
        parse_npy(described("'<f4'", shape) + bytes(12))
    assert tracemalloc.get_traced_memory()[1] < MEBIBYTE
    tracemalloc.stop()


@pytest.mark.parametrize("shape", [f"(0, {2**62}, {2**62})", f"({'1, ' * 70})"])
def test_a_shape_that_numpy_cannot_hold_is_refused(shape):
    with pytest.raises(ValueError, match=r"."):
        parse_npy(described("'<f4'", shape) + bytes(4 if "1" in shape[:2] else 0))


@pytest.mark.parametrize(
    "array", [np.zeros(2, complex), np.array(["a"]), np.array([b"a"]), np.zeros(2, "M8[s]"), np.zeros(2, [("x", "f4")])]
)
def test_what_is_not_numbers_is_refused(array):
    with pytest.raises(ValueError, match="not a dtype of tensors"):
        parse_npy(npy(array))


def test_bfloat16_is_refused_with_advice_because_npy_does_not_name_it():
    with pytest.raises(ValueError, match="save bfloat16 as float32"):
        parse_npy(npy(np.ones(2, ml_dtypes.bfloat16)))


def test_the_only_array_of_an_archive_needs_no_name():
    np.testing.assert_array_equal(parse_npz(npz({"x.npy": npy([1, 2])}), None), [1, 2])


def test_one_of_several_arrays_is_named():
    archive = npz({"x.npy": npy([1, 2]), "y.npy": npy([3])}, zipfile.ZIP_DEFLATED)
    np.testing.assert_array_equal(parse_npz(archive, "y"), [3])


def test_several_arrays_without_a_name_are_listed():
    with pytest.raises(ValueError, match=r"holds 12 arrays.*\(a0, a1, .*, a9, \.\.\.\)"):
        parse_npz(npz({f"a{index}.npy": npy([1]) for index in range(12)}), None)


def test_a_name_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match="no array named 'z', but x, y"):
        parse_npz(npz({"x.npy": npy([1]), "y.npy": npy([1])}), "z")


def test_an_archive_without_arrays_is_refused():
    with pytest.raises(ValueError, match="holds 0 arrays"):
        parse_npz(npz({}), None)
    with pytest.raises(ValueError, match="no array named 'x', but none at all"):
        parse_npz(npz({}), "x")


def test_a_pickle_in_an_archive_is_never_read():
    content = npy(np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickled Python objects"):
        parse_npz(npz({"x.npy": content}), None)


def test_an_archive_that_is_none_is_refused():
    for content in (b"PK\x03\x04garbage", b"garbage", npz({"x.npy": npy([1])})[:-30]):
        with pytest.raises(ValueError, match=r"not a sound \.npz file"):
            parse_npz(content, None)


def test_a_damaged_member_is_refused():
    archive = bytearray(npz({"x.npy": npy(np.arange(100))}))
    archive[200] ^= 0xFF
    with pytest.raises(ValueError, match="Bad CRC-32"):
        parse_npz(bytes(archive), None)


def test_a_member_that_unpacks_to_more_than_any_message_is_refused_before_it_is_unpacked(monkeypatch):
    monkeypatch.setattr("gradserve.cli.tensors.npy_file.MAX_BYTES", MEBIBYTE)
    archive = npz({"x.npy": npy(np.zeros(MEBIBYTE))}, zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    with pytest.raises(ValueError, match="larger than 1048576 bytes"):
        parse_npz(archive, None)
    assert tracemalloc.get_traced_memory()[1] < MEBIBYTE
    tracemalloc.stop()


def test_a_member_that_lies_about_its_size_is_unpacked_no_further():
    content = npy(np.zeros(4 * MEBIBYTE))
    archive = npz({"x.npy": content}, zipfile.ZIP_DEFLATED)
    lying = archive.replace(struct.pack("<I", len(content)), struct.pack("<I", 200))
    assert lying != archive
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"bytes follow|not a sound .npz file"):
        parse_npz(lying, None)
    assert tracemalloc.get_traced_memory()[1] < MEBIBYTE
    tracemalloc.stop()
