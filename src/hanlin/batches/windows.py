"""A long text as windows that overlap, and which window knows most about a place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Tokens `start` to `stop` - 1 of a text. Of the places that several windows see, `first` to `last` - 1 are this one's."""

    start: int
    stop: int
    first: int
    last: int


def windows(length: int, room: int, overlap: int) -> list[Window]:
    """Windows of at most `room` tokens, each of which shares `overlap` or more with the next; the last one is full too.

    A place belongs to the window in which the nearer border is farthest away. Source: the maximum context of the code of
    arXiv 1810.04805 (`run_squad.py`).
    """
    assert 0 <= overlap < room
    starts = [*range(0, max(1, length - room), room - overlap)]
    if length > room:
        starts.append(length - room)
    stops = [min(start + room, length) for start in starts]
    middles = [(start + stop + 1) // 2 for start, stop in zip(starts[1:], stops[:-1], strict=True)]
    return [
        Window(*borders) for borders in zip(starts, stops, [0, *middles], [*middles, length], strict=True)
    ]
