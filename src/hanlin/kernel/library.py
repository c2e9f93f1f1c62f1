"""The compiled kernel as Python sees it: found, loaded, and its functions declared."""

import ctypes
from functools import cache

from hanlin.base.language import Text
from hanlin.kernel.build import library_path

F32, Q4_0, Q4_1, Q8_0 = 0, 2, 3, 8
"""Number formats of matrices, with the numbers that GGUF gives them."""
BLOCK = 32
"""Values of a row that share a scale, in all formats but F32."""

_pointer, _int, _size = ctypes.c_void_p, ctypes.c_int32, ctypes.c_size_t


class Matrix(ctypes.Structure):
    """`hanlin_matrix`."""

    _fields_ = (("data", _pointer), ("rows", _int), ("columns", _int), ("format", _int))


class Shape(ctypes.Structure):
    """`hanlin_shape`."""

    _fields_ = (
        *(
            (name, _int)
            for name in ("vocab_size", "width", "layers", "heads", "kv_heads", "head_size", "ffn_width")
        ),
        *((name, _int) for name in ("slots", "window", "rotary", "neighbours", "half_cache", "threads")),
        *((name, ctypes.c_float) for name in ("norm_eps", "attention_scale", "embedding_scale")),
    )


class Layer(ctypes.Structure):
    """`hanlin_layer`."""

    _fields_ = (
        *((name, Matrix) for name in ("query", "key", "value", "output", "gate", "up", "down")),
        *((f"{name}_norm", _pointer) for name in ("attention", "ffn", "query", "key")),
        *((f"{name}_bias", _pointer) for name in ("query", "key", "value", "output", "gate", "up", "down")),
        ("window", _int),
        ("table", _int),
    )


_FUNCTIONS = {
    "packed_bytes": (_size, _int, _int, _int),
    "pack": (None, _int, _int, _int, _pointer, _pointer),
    "unpack_row": (None, _pointer, _int, _pointer),
    "instructions": (ctypes.c_char_p,),
    "use": (_int, ctypes.c_char_p),
    "network_new": (_pointer, _pointer, _pointer, _pointer, _pointer, _pointer, _pointer),
    "network_free": (None, _pointer),
    "network_turns": (None, _pointer, _int, _pointer, _pointer, _int),
    "network_forward": (_int, _pointer, _int, *[_pointer] * 3, _int, _pointer, _pointer),
    "network_copy": (None, _pointer, _int, _int, _int),
    "network_release": (None, _pointer, _int, _int),
    "network_token_bytes": (_size, _pointer),
    "network_threads": (_int, _pointer),
}
"""Function -> what it returns and takes."""


class Library:
    """The functions of the kernel, without the `hanlin_` of their names."""

    def __init__(self, path: str) -> None:
        loaded = ctypes.CDLL(path)
        for name, (result, *arguments) in _FUNCTIONS.items():
            function = getattr(loaded, f"hanlin_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def __getattr__(self, name: str) -> "ctypes._NamedFuncPointer":
        raise AttributeError(name)


_path = cache(library_path)


@cache
def library() -> Library:
    """The kernel of these sources. Only where it is `available`."""
    return Library(str(_path()))


@cache
def why_not() -> Text | None:
    """Why the kernel cannot be used; None where it can."""
    path = _path()
    if not path.is_file():
        return Text(
            "the kernel is not built: install a C compiler, then install Hanlin again, or run "
            "`python -m hanlin.kernel.build`",
            "内核尚未编译：请安装 C 编译器后重新安装 Hanlin，或运行 `python -m hanlin.kernel.build`",
        )
    try:
        library()
    except (OSError, AttributeError) as error:
        return Text(f"{path} cannot be loaded: {error}", f"无法载入 {path}：{error}")
    return None


def available() -> bool:
    """Whether the kernel can be used."""
    return why_not() is None


def instructions() -> str:
    """Which instruction set runs: "avx512-vnni", "avx2", "neon" or "generic"."""
    name: bytes = library().instructions()
    return name.decode()
