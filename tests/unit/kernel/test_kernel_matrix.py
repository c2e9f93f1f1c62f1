"""The products of the native kernel, on each instruction set that the machine has, beside numpy's in float64."""

import ctypes
from collections.abc import Iterator

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.kernel.build import BuildError, build, library_path
from hanlin.kernel.library import F32, Q4_0, Q4_1, Q8_0, Matrix

GROUP, BLOCK = 16, 32
FORMATS = {F32: "F32", Q4_0: "Q4_0", Q4_1: "Q4_1", Q8_0: "Q8_0"}
INSTRUCTIONS = ("avx512-vnni", "avx2", "neon-dotprod", "neon", "generic")
UNTOUCHED = np.float32(12345.5)


class Inputs(ctypes.Structure):
    _fields_ = (
        ("count", ctypes.c_int32),
        ("columns", ctypes.c_int32),
        ("values", ctypes.c_void_p),
        ("prepared", ctypes.c_void_p),
    )


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ctypes.CDLL]:
    path = library_path()
    if not path.is_file():
        try:
            path = build(target=tmp_path_factory.mktemp("kernel") / "kernel.so")
        except BuildError as error:
            pytest.skip(f"the kernel cannot be built: {error}")
    library = ctypes.CDLL(str(path))
    library.hanlin_packed_bytes.restype = library.hanlin_prepared_bytes.restype = ctypes.c_size_t
    library.hanlin_instructions.restype = ctypes.c_char_p
    best = library.hanlin_instructions()
    yield library
    library.hanlin_use(best)


@pytest.fixture(params=INSTRUCTIONS)
def kernel_on(request: pytest.FixtureRequest, kernel: ctypes.CDLL) -> ctypes.CDLL:
    if not kernel.hanlin_use(request.param.encode()):
        pytest.skip(f"this machine has no {request.param}")
    assert kernel.hanlin_instructions().decode() == request.param
    return kernel


def aligned(size: int, offset: int = 0, dtype: type = np.uint8) -> np.ndarray:
    """`size` values that begin `offset` bytes behind a multiple of 64."""
    space = np.empty(size * np.dtype(dtype).itemsize + 64 + offset, np.uint8)
    start = -space.ctypes.data % 64 + offset
    return space[start : start + size * np.dtype(dtype).itemsize].view(dtype)


def address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def random_weights(random: np.random.Generator, format: int, rows: int, columns: int) -> np.ndarray:
    """What a file holds: (R, C) float32, or (R, bytes) of blocks with any values, and scales of any size and sign."""
    if format == F32:
        return random.standard_normal((rows, columns), np.float32)
    halves = 2 if format == Q4_1 else 1
    blocks = random.integers(256, size=(rows, columns // BLOCK, {Q8_0: 32}.get(format, 16)), dtype=np.uint8)
    sizes = random.choice(
        [0.0, 6e-8, 1e-5, 0.01, 1.0, 60000.0], (*blocks.shape[:2], halves), p=[0.05] * 3 + [0.7, 0.1, 0.05]
    )
    scales = (sizes * random.uniform(-1, 1, sizes.shape)).astype(np.float16)
    return np.concatenate([scales.view(np.uint8), blocks], axis=-1).reshape(rows, -1)


def random_inputs(random: np.random.Generator, count: int, columns: int) -> np.ndarray:
    """Whole and half numbers among them, which fall on the borders of rounding, zeros, and sizes from 1e-35 to 1e30."""
    values = random.standard_normal((count, columns)) * random.choice([1e-35, 1e-3, 1, 1e30], (count, 1))
    borders = random.integers(-254, 255, (count, columns)) / 2
    borders[:, ::BLOCK] = 127
    values = np.where(random.random((count, 1)) < 0.3, borders, values)
    return np.where(random.random((count, columns)) < 0.1, 0, values).astype(np.float32)


def rounded(values: np.ndarray) -> np.ndarray:
    """What products of block formats see of the inputs: (N, C) float64."""
    blocks = values.reshape(len(values), -1, BLOCK)
    greatest = np.abs(blocks).max(-1, keepdims=True)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        whole = np.where(greatest < 2.0**-100, 0, np.rint(blocks * (np.float32(127) / greatest)))
    scale = (greatest / np.float32(127)).astype(np.float64)
    return (whole * scale).reshape(values.shape)


def dequantised(weights: np.ndarray, format: int) -> np.ndarray:
    return weights if format == F32 else gguf.dequantize(weights, gguf.GGMLQuantizationType(format))


class Packed:
    def __init__(self, kernel: ctypes.CDLL, format: int, weights: np.ndarray, columns: int) -> None:
        self.kernel, self.rows, self.columns, self.format = kernel, len(weights), columns, format
        self.memory = aligned(kernel.hanlin_packed_bytes(format, self.rows, columns))
        kernel.hanlin_pack(format, self.rows, columns, address(weights), address(self.memory))
        self.matrix = Matrix(self.memory.ctypes.data, self.rows, columns, format)
        self.groups = -(-self.rows // GROUP)

    def multiply(
        self, values: np.ndarray, first: int = 0, last: int | None = None, spare: int = 0, offset: int = 0
    ) -> np.ndarray:
        """(N, R + spare): what is not written is UNTOUCHED. Inputs are prepared in two parts."""
        count = len(values)
        ours = aligned(values.size, offset, np.float32).reshape(values.shape)
        ours[:] = values
        prepared = aligned(self.kernel.hanlin_prepared_bytes(self.format, count, self.columns), offset)
        out = aligned(count * (self.rows + spare), offset, np.float32).reshape(count, -1)
        out[:] = UNTOUCHED
        inputs = Inputs(count, self.columns, ours.ctypes.data, prepared.ctypes.data)
        for part in ((count // 3, count), (0, count // 3)):
            self.kernel.hanlin_prepare(self.format, ctypes.byref(inputs), *part)
        stride = ctypes.c_size_t(self.rows + spare)
        last = self.groups if last is None else last
        self.kernel.hanlin_multiply(
            ctypes.byref(self.matrix), ctypes.byref(inputs), address(out), stride, first, last
        )
        return out


@pytest.mark.parametrize("format", FORMATS, ids=FORMATS.get)
def test_products_are_those_of_float64_and_nothing_else_is_written(
    kernel_on: ctypes.CDLL, format: int
) -> None:
    @settings(max_examples=80, deadline=None, database=None)
    @given(
        seed=st.integers(0, 2**31),
        rows=st.integers(1, 70),
        columns=st.integers(1, 260),
        count=st.integers(1, 37),
    )
    def check(seed: int, rows: int, columns: int, count: int) -> None:
        random = np.random.default_rng(seed)
        columns = columns if format == F32 else -(-columns // BLOCK) * BLOCK
        weights = random_weights(random, format, rows, columns)
        values = random_inputs(random, count, columns)
        packed = Packed(kernel_on, format, weights, columns)
        first = int(random.integers(packed.groups))
        last = int(random.integers(first, packed.groups + 1))
        spare, offset = int(random.integers(4)), 4 * int(random.integers(4))
        out = packed.multiply(values, first, last, spare, offset)

        written = slice(first * GROUP, min(last * GROUP, rows))
        seen, matrix = values.astype(np.float64), dequantised(weights, format).astype(np.float64)
        if format != F32:
            seen = rounded(values)
        sizes = np.abs(seen) @ np.abs(matrix).T
        if format == Q4_1:  # the minima are added apart from the products
            sizes += np.abs(seen).sum(-1, keepdims=True) * 2 * np.abs(matrix).max()
        wrong = np.abs(out[:, :rows] - seen @ matrix.T) > (columns + 8) * 2.0**-24 * sizes + 1e-37
        assert not wrong[:, written].any()
        out[:, written] = UNTOUCHED
        assert (out == UNTOUCHED).all()

    check()


@pytest.mark.parametrize("format", FORMATS, ids=FORMATS.get)
def test_what_an_input_gives_hangs_on_nothing_else_in_any_bit(kernel_on: ctypes.CDLL, format: int) -> None:
    random = np.random.default_rng(format)
    for rows, columns, counts in ((70, 576, (*range(2, 10), 37)), (33, 32, (5, 16)), (16, 96, (3, 33))):
        weights = random_weights(random, format, rows, columns)
        packed = Packed(kernel_on, format, weights, columns)
        values = random_inputs(random, max(counts), columns)
        alone = np.concatenate([packed.multiply(row[None]) for row in values])
        for count in counts:
            assert (packed.multiply(values[:count]) == alone[:count]).all()
            assert (packed.multiply(values[::-1][:count]) == alone[::-1][:count]).all()
        parts = [packed.multiply(values, group, group + 1) for group in range(packed.groups)]
        for group, part in enumerate(parts):
            written = slice(group * GROUP, (group + 1) * GROUP)
            assert (part[:, written] == alone[:, written]).all()


def test_inputs_are_rounded_alike_on_all_instruction_sets(kernel: ctypes.CDLL) -> None:
    random = np.random.default_rng(0)
    values = random_inputs(random, 64, 128)
    values[0, 3], values[1, 40], values[2, 0], values[3] = np.inf, np.nan, -np.inf, 1e-44
    values[4, :32] = 3.4e38 * random.uniform(-1, 1, 32)
    values[5, :4] = 2.0**-100, -(2.0**-100), 2.0**-101, 2.0**-107
    prepared = {}
    for name in INSTRUCTIONS:
        if kernel.hanlin_use(name.encode()):
            prepared[name] = aligned(kernel.hanlin_prepared_bytes(Q8_0, 64, 128))
            inputs = Inputs(64, 128, values.ctypes.data, prepared[name].ctypes.data)
            kernel.hanlin_prepare(Q8_0, ctypes.byref(inputs), 0, 64)
    for name, theirs in prepared.items():
        assert (theirs == prepared["generic"]).all(), name


@pytest.mark.parametrize("format", FORMATS, ids=FORMATS.get)
def test_values_without_a_number_spoil_their_own_input_only(kernel_on: ctypes.CDLL, format: int) -> None:
    random = np.random.default_rng(1)
    weights = random_weights(random, format, 20, 64)
    packed = Packed(kernel_on, format, weights, 64)
    values = random.standard_normal((11, 64)).astype(np.float32)
    right = packed.multiply(values)
    spoilt = values.copy()
    spoilt[2, 40], spoilt[5, 0], spoilt[9, 63] = np.nan, np.inf, -np.inf
    spoilt[10], spoilt[0] = 0, 1e-40
    out = packed.multiply(spoilt)
    assert np.isnan(out[2]).all()
    assert not np.isfinite(out[[5, 9]]).any()
    assert (out[10] == 0).all()
    assert format == F32 or (out[0] == 0).all()
    whole = [1, 3, 4, 6, 7, 8]
    assert (out[whole] == right[whole]).all()


@pytest.mark.parametrize("format", FORMATS, ids=FORMATS.get)
def test_rows_are_unpacked_as_the_readers_of_gguf_do(kernel: ctypes.CDLL, format: int) -> None:
    random = np.random.default_rng(2)
    for rows, columns in ((1, 32), (16, 64), (37, 96)):
        weights = random_weights(random, format, rows, columns)
        packed = Packed(kernel, format, weights, columns)
        row = np.empty(columns, np.float32)
        for r, expected in enumerate(dequantised(weights, format)):
            kernel.hanlin_unpack_row(ctypes.byref(packed.matrix), r, address(row))
            assert (row == expected).all()


def test_shapes_that_cannot_be_packed_take_no_bytes(kernel: ctypes.CDLL) -> None:
    assert kernel.hanlin_packed_bytes(F32, 17, 5) == 2 * 16 * 5 * 4
    assert kernel.hanlin_packed_bytes(Q8_0, 16, 64) == 16 * 2 * 34
    for format, rows, columns in ((Q8_0, 16, 33), (7, 16, 32), (F32, 0, 8), (Q4_0, 4, 0), (F32, 1, -1)):
        assert kernel.hanlin_packed_bytes(format, rows, columns) == 0


def test_instructions_that_are_not_there_are_refused(kernel: ctypes.CDLL) -> None:
    before = kernel.hanlin_instructions()
    assert kernel.hanlin_use(b"abacus") == 0
    assert kernel.hanlin_instructions() == before
