"""The header of a GGUF file: read as the `gguf` package reads it, and refused before memory is taken."""

import struct
import tracemalloc

import gguf
import numpy as np
import pytest

from gguf_files import write_small
from hanlin.base.errors import CheckpointError
from hanlin.checkpoint.gguf.header import read_header
from hanlin.checkpoint.gguf.quants import FORMATS

HUGE = 2**62


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


def tensor(name="a", dimensions=(8,), kind=0, offset=0):
    head = struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return text(name) + head + struct.pack("<IQ", kind, offset)


def file(pairs=(), tensors=(), size=64, version=3, counts=None, magic=b"GGUF"):
    number = counts or (len(tensors), len(pairs))
    header = magic + struct.pack("<IQQ", version, *number) + b"".join(pairs) + b"".join(tensors)
    return header + bytes(-len(header) % 32) + bytes(size)


def test_every_kind_of_value_is_read_as_the_gguf_package_reads_it(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    for name, value in {"uint8": 200, "int8": -3, "uint16": 60000, "int16": -300, "uint32": 2**31, "int32": -7,
                        "uint64": 2**40, "int64": -(2**40), "float32": 1e-5, "float64": 1e-9, "bool": True,
                        "string": "翰林"}.items():  # fmt: skip
        getattr(writer, f"add_{name}")(f"x.{name}", value)
    writer.add_array("x.strings", ["a", "", "字"])
    writer.add_array("x.numbers", [1, -2, 3])
    writer.add_array("x.truths", [True, False])
    writer.add_tensor("matrix", np.arange(12, dtype=np.float32).reshape(3, 4))
    writer.add_tensor("vector", np.arange(5, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    header = read_header(tmp_path / "a.gguf")
    theirs = gguf.GGUFReader(tmp_path / "a.gguf")

    assert header.metadata["x.float32"] == 1e-5  # not 9.999999747378752e-06
    for key, field in theirs.fields.items():
        if not key.startswith("GGUF."):
            expected = field.contents()
            found = header.metadata[key]
            assert found == (pytest.approx(expected) if isinstance(expected, float) else expected), key
    places = {
        tensor.name: (tuple(int(n) for n in tensor.shape[::-1]), tensor.data_offset)
        for tensor in theirs.tensors
    }
    assert {name: (place.shape, place.start) for name, place in header.tensors.items()} == places


def test_formats_are_those_of_the_gguf_package():
    for id, format in FORMATS.items():
        kind = gguf.GGMLQuantizationType[format.name]
        assert (kind.value, gguf.GGML_QUANT_SIZES[kind]) == (id, (format.block, format.bytes))


WRONG = {
    "magic": (file(magic=b"GGML"), "not a GGUF file"),
    "empty": (b"", "not a GGUF file"),
    "version 1": (file(version=1), "version 1"),
    "version 4": (file(version=4), "version 4"),
    "big-endian": (file(version=3 << 24), "version 3 (big-endian)"),
    "too many tensors": (file(counts=(HUGE, 0)), f"announces {HUGE} tensors"),
    "too many settings": (file(counts=(0, HUGE)), f"announces {HUGE} settings"),
    "long key": (file([struct.pack("<Q", HUGE)]), "the name of a setting"),
    "long string": (file([pair("a", 8, struct.pack("<Q", HUGE))]), f"takes {HUGE} bytes"),
    "long list": (file([pair("a", 9, struct.pack("<IQ", 4, HUGE))]), f"announces {HUGE} values in a"),
    "many strings": (file([pair("a", 9, struct.pack("<IQ", 8, HUGE))]), f"announces {HUGE} strings in a"),
    "list of lists": (file([pair("a", 9, struct.pack("<IQ", 9, 1))]), "a is of the unknown type 9"),
    "unknown value": (file([pair("a", 77, b"")]), "a is of the unknown type 77"),
    "not UTF-8": (file([pair("a", 8, text(b"\xff\xfe"))]), "not UTF-8"),
    "twice a key": (file([pair("a", 0, b"\1")] * 2), "the setting a is there twice"),
    "alignment": (file([pair("general.alignment", 4, struct.pack("<I", 3))]), "general.alignment is 3"),
    "five dimensions": (file(tensors=[tensor(dimensions=(1,) * 5)]), "a has 5 dimensions"),
    "no dimensions": (file(tensors=[tensor(dimensions=())]), "a has 0 dimensions"),
    "no values": (file(tensors=[tensor(dimensions=(0, 4))]), "a has shape (4, 0)"),
    "half a block": (file(tensors=[tensor(dimensions=(16,), kind=2)]), "Q4_0 cannot store"),
    "unknown format": (file(tensors=[tensor(kind=99)]), "the unknown format 99"),
    "overflow": (file(tensors=[tensor(dimensions=(2**32, 2**32))]), "a ends at byte"),
    "beyond the end": (file(tensors=[tensor(offset=4096)]), "a ends at byte"),
    "far away": (file(tensors=[tensor(offset=2**64 - 32)]), "a ends at byte"),
    "overlap": (file(tensors=[tensor("a", (16,)), tensor("b", (8,), offset=32)]), "a and b overlap"),
    "misaligned": (file(tensors=[tensor(offset=4)]), "a is not aligned"),
    "twice a tensor": (file(tensors=[tensor("a"), tensor("a", offset=32)]), "the tensor a is there twice"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_refused_by_name_before_memory_is_taken(name, tmp_path):
    content, words = WRONG[name]
    path = tmp_path / "wrong.gguf"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(CheckpointError) as caught:
        read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert words in caught.value.problem.en
    assert str(path) in caught.value.problem.en
    assert str(path) in caught.value.problem.zh
    assert peak < 2**20


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    whole = file(
        [pair("a", 8, text("b")), pair("c", 9, struct.pack("<IQ", 4, 2) + bytes(8))], [tensor()], size=32
    )
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole)
    assert read_header(path).metadata == {"a": "b", "c": [0, 0]}
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            read_header(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.gguf cannot be opened"):
        read_header(tmp_path / "none.gguf")


def test_opening_takes_no_memory_for_the_weights(tmp_path):
    write_small(tmp_path / "a.gguf")
    tracemalloc.start()
    header = read_header(tmp_path / "a.gguf")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    weights = sum(place.size for place in header.tensors.values())
    assert weights > 300_000
    assert peak < weights
