"""Files that are almost safetensors, each wrong in one way: what a hostile or broken client may send."""

from __future__ import annotations

import json

from gradserve_server.safetensors_layout import MAX_HEADER_BYTES, MAX_TENSORS

U64_MAX = 2**64 - 1
FILL = MAX_HEADER_BYTES - 64
"""How much of something makes a header that is nearly as long as it may be."""


def file_of(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A file with some header, which is given as an object, as text or as bytes."""
    text = header if isinstance(header, str | bytes) else json.dumps(header)
    raw = text.encode() if isinstance(text, str) else text
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def tensor(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    """The entry of a tensor; as it stands, a sound one of four bytes."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


FOUR = bytes(4)
SOUND = json.dumps(tensor())
ATTACKS: dict[str, bytes] = {
    "nothing at all": b"",
    "less than a length": b"\0" * 7,
    "a length of 2^64 - 1": file_of({}, length=U64_MAX),
    "a length of 2^63": file_of({}, length=2**63),
    "a length beyond the file": file_of({}, length=3),
    "a length above the cap": file_of(b" " * (MAX_HEADER_BYTES + 1)),
    "a length of 0": file_of(b"", FOUR),
    "a length that cuts the header": file_of({"a": tensor()}, FOUR, length=20),
    "a length that takes in the tensor": file_of({"a": tensor()}, FOUR, length=len(SOUND) + len('{"a": }') + 4),
    "no JSON": file_of("{weights}"),
    "an empty list": file_of("[]"),
    "null": file_of("null"),
    "a number": file_of("7"),
    "a string": file_of('"{}"'),
    "a list of a tensor": file_of([tensor()], FOUR),
    "two objects": file_of("{}{}"),
    "a comma too many": file_of('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],}}', FOUR),
    "a comment": file_of("{}//"),
    "a NUL behind": file_of("{}\0"),
    "bad UTF-8": file_of(b'{"\xff":' + SOUND.encode() + b"}", FOUR),
    "an overlong UTF-8 form": file_of(b'{"\xc0\xaf":' + SOUND.encode() + b"}", FOUR),
    "UTF-16": file_of(json.dumps({"a": tensor()}).encode("utf-16-le"), FOUR),
    "a byte order mark": file_of(b"\xef\xbb\xbf{}"),
    "half a surrogate pair as a name": file_of(f'{{"\\ud800":{SOUND}}}', FOUR),
    "half a surrogate pair in the metadata": file_of('{"__metadata__":{"a":"\\udc00"}}'),
    "a raw control character": file_of(f'{{"a\n":{SOUND}}}', FOUR),
    "a leading space": file_of(" {}"),
    "a leading newline": file_of("\n{}"),
    "deep lists": file_of('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "deep objects": file_of('{"a":' * 100_000 + "0" + "}" * 100_000),
    "deep and never closed": file_of('{"a":' + "[" * FILL),
    "deep and mixed": file_of('{"a":' + '[{"a":' * 100_000 + "0" + "}]" * 100_000 + "}"),
    "deep inside an entry": file_of('{"a":{"dtype":"F32","shape":[1],"data_offsets":[[[[[[[[0]]]]]]],4]}}', FOUR),
    "a string that never ends": file_of('{"' + "a" * FILL),
    "escapes that never end": file_of('{"' + '\\"' * (FILL // 2)),
    "quotes": file_of("{" + '"' * FILL),
    "backslashes": file_of("{" + "\\" * FILL),
    "a number of a million digits": file_of('{"a":' + "9" * FILL + "}"),
    "an offset of a million digits": file_of(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,' + "4" * (FILL - 50) + "]}}"
    ),
    "a shape of half a million ones": file_of({"a": tensor(shape=[1] * 300_000)}, FOUR),
    "nine dimensions": file_of({"a": tensor(shape=[1] * 9)}, FOUR),
    "a hole before the first": file_of({"a": tensor(offsets=[4, 8])}, FOUR * 2),
    "a hole in between": file_of({"a": tensor(), "b": tensor(offsets=[8, 12])}, FOUR * 3),
    "an overlap": file_of({"a": tensor(), "b": tensor(shape=[2], offsets=[2, 10])}, bytes(10)),
    "two tensors in one place": file_of({"a": tensor(), "b": tensor()}, FOUR),
    "one tensor inside another": file_of(
        {"a": tensor(shape=[3], offsets=[0, 12]), "b": tensor(offsets=[4, 8])}, bytes(12)
    ),
    "reversed offsets": file_of({"a": tensor(offsets=[4, 0])}, FOUR),
    "negative offsets": file_of({"a": tensor(offsets=[-4, 0])}, FOUR),
    "an offset of -0": file_of('{"a":{"dtype":"F32","shape":[1],"data_offsets":[-0,4]}}', FOUR),
    "offsets beyond the file": file_of({"a": tensor(shape=[2], offsets=[0, 8])}, FOUR),
    "offsets that overflow": file_of({"a": tensor(offsets=[U64_MAX - 3, 2**64])}, FOUR),
    "offsets of 2^63": file_of({"a": tensor(offsets=[0, 2**63])}, FOUR),
    "one offset": file_of({"a": tensor(offsets=[0])}, FOUR),
    "three offsets": file_of({"a": tensor(offsets=[0, 4, 4])}, FOUR),
    "offsets as floats": file_of('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0.0,4.0]}}', FOUR),
    "offsets as text": file_of({"a": tensor(offsets=["0", "4"])}, FOUR),
    "offsets as booleans": file_of({"a": tensor("U8", [1], [False, True])}, b"\0"),
    "no offsets": file_of({"a": {"dtype": "F32", "shape": [1]}}, FOUR),
    "offsets of null": file_of({"a": tensor(offsets=None)}, FOUR),
    "a size below shape x dtype": file_of({"a": tensor(shape=[2])}, FOUR),
    "a size above shape x dtype": file_of({"a": tensor("F16")}, FOUR),
    "a shape that overflows to 0": file_of({"a": tensor(shape=[2**32, 2**32], offsets=[0, 0])}),
    "a shape that overflows to 4": file_of({"a": tensor(shape=[2**62 + 1])}, FOUR),
    "a dimension of 2^64 - 1": file_of({"a": tensor(shape=[U64_MAX], offsets=[0, 0])}),
    "an empty shape that overflows": file_of({"a": tensor(shape=[0, 2**62, 2**62], offsets=[0, 0])}),
    "a negative dimension": file_of({"a": tensor(shape=[-1])}, FOUR),
    "two negative dimensions": file_of({"a": tensor(shape=[-1, -1])}, FOUR),
    "a dimension as a float": file_of('{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', FOUR),
    "a dimension as 1e0": file_of('{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}', FOUR),
    "a dimension as NaN": file_of('{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', FOUR),
    "a dimension as true": file_of({"a": tensor(shape=[True])}, FOUR),
    "a leading zero": file_of('{"a":{"dtype":"F32","shape":[01],"data_offsets":[0,4]}}', FOUR),
    "a shape as a number": file_of({"a": tensor(shape=1)}, FOUR),
    "a shape as text": file_of({"a": tensor(shape="1")}, FOUR),
    "a shape as an object": file_of({"a": tensor(shape={})}, FOUR),
    "an unknown dtype": file_of({"a": tensor("F31")}, FOUR),
    "a dtype that the wire lacks": file_of({"a": tensor("U32")}, FOUR),
    "a dtype by torch's name": file_of({"a": tensor("float32")}, FOUR),
    "a dtype as a number": file_of({"a": tensor(7)}, FOUR),
    "a dtype as a list": file_of({"a": tensor(["F32"])}, FOUR),
    "an entry as a number": file_of({"a": 0}),
    "an entry as a list": file_of({"a": ["F32", [1], [0, 4]]}, FOUR),
    "an entry with more than it should": file_of({"a": {**tensor(), "code": "import os"}}, FOUR),
    "one trailing byte": file_of({"a": tensor()}, FOUR + b"\0"),
    "a byte without a tensor": file_of({}, b"\0"),
    "one byte too few": file_of({"a": tensor()}, FOUR[1:]),
    "a name twice": file_of(f'{{"a":{SOUND},"a":{SOUND}}}', FOUR),
    "a name twice, once escaped": file_of(f'{{"a":{SOUND},"\\u0061":{SOUND}}}', FOUR),
    "a dtype twice": file_of('{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', FOUR),
    "metadata twice": file_of('{"__metadata__":{},"__metadata__":{}}'),
    "a note twice": file_of('{"__metadata__":{"a":"1","a":"1"}}'),
    "300,000 empty tensors": file_of({str(i): tensor(shape=[0], offsets=[0, 0]) for i in range(300_000)}),
    "more tensors than a model has": file_of(
        {str(i): tensor(shape=[0], offsets=[0, 0]) for i in range(MAX_TENSORS + 1)}
    ),
    "metadata as a tensor": file_of({"__metadata__": tensor()}, FOUR),
    "metadata as a number": file_of({"__metadata__": 1}),
    "metadata as a list": file_of({"__metadata__": []}),
    "metadata as null": file_of({"__metadata__": None}),
    "metadata of a number": file_of({"__metadata__": {"epoch": 1}}),
    "metadata of null": file_of({"__metadata__": {"epoch": None}}),
    "metadata of an object": file_of({"__metadata__": {"epoch": {}}}),
    "a pickle": b"\x80\x04\x95" + b"cposix\nsystem\n(S'true'\ntR." * 4,
    "a zip": b"PK\x03\x04" + bytes(100),
    "an empty zip": b"PK\x05\x06" + bytes(18),
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(100),
}
"""Each by what is wrong with it."""
