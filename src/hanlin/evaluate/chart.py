"""Charts as inline SVG: lines over steps, bars with whiskers. Colours come from the page's CSS.

Every text is escaped. Each point carries a `<title>`, which browsers show when the pointer rests on it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 720, 292
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 14, 50
MOST_POINTS = 400
"""Points drawn of one series; of a longer one neighbours are drawn together."""
DOTS_UP_TO = 40
"""A series of at most this many points shows them as dots."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A named line. Points whose y is not finite (or not above zero on a log axis) leave a gap.

    joined: whether a line joins the points, or each stands for itself.
    """

    name: str
    points: Sequence[Point]
    joined: bool = True


@dataclass(frozen=True)
class Stretch:
    """Neighbouring points drawn as one: the mean at `x`, and a band from the lowest to the highest."""

    x: float
    mean: float
    low: float
    high: float
    points: int


@dataclass(frozen=True)
class Chart:
    """An SVG picture; how many points it tells of, how many it draws, how many have no finite value."""

    svg: Markup
    points: int
    drawn: int
    missing: int


@dataclass(frozen=True)
class Bar:
    """A named value, with the ends of its interval if it has one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Axis:
    """Maps values onto `start`..`stop` of the picture."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where `value` lies in the picture."""
        warp: Callable[[float], float] = math.log10 if self.log else float
        share = (warp(value) - warp(self.low)) / (warp(self.high) - warp(self.low))
        return self.start + share * (self.stop - self.start)


def line_chart(series: Sequence[Series], x_name: str, y_name: str, log: bool = False) -> Chart | None:
    """Draw `series` over a common x axis; `log` draws y on a logarithmic axis. None if nothing can be drawn."""
    usable = [[p for p in one.points if _drawable(p, log)] for one in series]
    flat = [point for points in usable for point in points]
    if not flat:
        return None
    first, last = min(x for x, _ in flat), max(x for x, _ in flat)
    x_ticks = nice_ticks(first, last, most=6, whole=all(x == round(x) for x, _ in flat))
    lowest, highest = min(y for _, y in flat), max(y for _, y in flat)
    y_ticks = log_ticks(lowest, highest) if log else nice_ticks(lowest, highest, most=6)
    single = first == last
    x_axis = Axis(first - single, last + single, LEFT, WIDTH - RIGHT)
    y_axis = Axis(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP, log)
    parts = [_grid(x_axis, x_ticks, y_axis, y_ticks, x_name, y_name)]
    drawn = 0
    for index, one in enumerate(series):
        whole_runs = runs_of(one.points, log) if one.joined else [[point] for point in usable[index]]
        runs = thin(whole_runs, MOST_POINTS)
        drawn += sum(map(len, runs))
        parts.append(_line(index, one.name, runs, x_axis, y_axis))
    points = sum(len(one.points) for one in series)
    return Chart(_svg(y_name, HEIGHT, parts), points, drawn, points - len(flat))


def bar_chart(bars: Sequence[Bar], x_name: str, alike: bool = False) -> Markup | None:
    """Horizontal bars from zero, one under another, each with its whiskers. None if there are none.

    alike: all in one colour, where colours would say nothing.
    """
    finite = [bar for bar in bars if math.isfinite(bar.value)]
    if not finite:
        return None
    row, top = 54, 4
    height = top + row * len(finite) + BOTTOM
    ticks = nice_ticks(0, max(bar.high if bar.high is not None else bar.value for bar in finite), most=8)
    axis = Axis(0, ticks[-1], 4, WIDTH - 104)
    lines = Markup().join(
        Markup(
            '<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/><text x="{0}" y="{3}" {4}>{5}</text>'
        ).format(_at(axis(tick)), top, height - BOTTOM, height - BOTTOM + 20, _anchor(index), short(tick))
        for index, tick in enumerate(ticks)
    )
    name = Markup('<text class="axis" x="{}" y="{}" text-anchor="end">{}</text>').format(
        WIDTH - 104, height - 4, x_name
    )
    rows = [_bar(0 if alike else n, bar, axis, top + n * row) for n, bar in enumerate(finite)]
    return _svg(x_name, height, [lines, name, *rows])


def nice_ticks(low: float, high: float, most: int, whole: bool = False) -> list[float]:
    """At most `most` + 1 round numbers (1, 2 or 5 times a power of ten apart) that enclose low..high."""
    if math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-290):
        room = abs(low) / 2 if abs(low) > 1e-290 else 0.5
        low, high = low - room, high + room
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten that enclose low..high, with twos and fives between where they are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last = max(last, first + 1)
    apart = max(1, math.ceil((last - first) / 6))
    last = first + apart * math.ceil((last - first) / apart)
    factors = (1, 2, 5) if high <= 100 * low else (1,)
    ticks = [factor * 10.0**power for power in range(first, last + 1, apart) for factor in factors]
    inside = [tick for tick in ticks if tick <= 10.0**last]
    start = max((tick for tick in inside if tick <= low), default=inside[0])
    stop = min((tick for tick in inside if tick >= high), default=inside[-1])
    chosen = [tick for tick in inside if start <= tick <= stop]
    return chosen if len(chosen) > 1 else inside


def runs_of(points: Iterable[Point], log: bool) -> list[list[Point]]:
    """The stretches of points that can be drawn, cut where one can not."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if _drawable(point, log):
            runs[-1].append(point)
        else:
            runs.append([])
    return [run for run in runs if run]


def thin(runs: list[list[Point]], most: int) -> list[list[Stretch]]:
    """At most about `most` stretches of equal numbers of points, none across a gap; all points if they are few."""
    size = max(1, math.ceil(sum(map(len, runs)) / most))
    return [[_stretch(run[start : start + size]) for start in range(0, len(run), size)] for run in runs]


def short(value: float) -> str:
    """A number in few characters: 0.25, 12k, 3.4M, 6e-04."""
    size = abs(value)
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{value / unit:.4g}{name}"
    if size and size < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.4g}"


def _stretch(points: list[Point]) -> Stretch:
    ys = [y for _, y in points]
    return Stretch(points[len(points) // 2][0], sum(ys) / len(ys), min(ys), max(ys), len(points))


def _drawable(point: Point, log: bool) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1]) and (not log or point[1] > 0)


def _grid(
    x_axis: Axis, x_ticks: list[float], y_axis: Axis, y_ticks: list[float], x_name: str, y_name: str
) -> Markup:
    floor = HEIGHT - BOTTOM
    parts = [
        Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{y}" y2="{y}"/><text x="{}" y="{}" text-anchor="end">{}</text>'
        ).format(LEFT, WIDTH - RIGHT, LEFT - 8, _at(y_axis(t) + 4), short(t), y=_at(y_axis(t)))
        for t in y_ticks
    ]
    parts += [
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            _at(x_axis(t)), floor + 20, short(t)
        )
        for t in x_ticks
        if x_axis.low <= t <= x_axis.high
    ]
    parts.append(
        Markup('<text class="axis" x="{}" y="{}" text-anchor="end">{}</text>').format(
            WIDTH - RIGHT, HEIGHT - 6, x_name
        )
    )
    return Markup().join(parts)


def _line(index: int, name: str, runs: list[list[Stretch]], x_axis: Axis, y_axis: Axis) -> Markup:
    dots = sum(map(len, runs)) <= DOTS_UP_TO
    parts: list[Markup] = []
    for run in runs:
        if any(stretch.points > 1 for stretch in run):
            edge = [(one.x, one.high) for one in run] + [(one.x, one.low) for one in reversed(run)]
            parts.append(Markup('<polygon points="{}"/>').format(_path(edge, x_axis, y_axis)))
        line = _path([(one.x, one.mean) for one in run], x_axis, y_axis)
        parts.append(Markup('<polyline points="{}"/>').format(line))
        visible = dots or len(run) == 1
        parts += [
            Markup('<circle class="{}" cx="{}" cy="{}" r="{}"><title>{} · {:.6g}: {:.4g}</title></circle>').format(
                "dot" if visible else "touch", _at(x_axis(one.x)), _at(y_axis(one.mean)), 3.5 if visible else 5,
                name, one.x, one.mean,
            )
            for one in run
        ]  # fmt: skip
    return Markup('<g class="line c{}">{}</g>').format(index, Markup().join(parts))


def _path(points: Iterable[Point], x_axis: Axis, y_axis: Axis) -> str:
    return " ".join(f"{_at(x_axis(x))},{_at(y_axis(y))}" for x, y in points)


def _bar(index: int, bar: Bar, axis: Axis, top: float) -> Markup:
    zero, end, middle = axis(0), axis(bar.value), top + 34
    whiskers, label, right = Markup(), f"{bar.value:.3f}", end
    if bar.low is not None and bar.high is not None:
        label = f"{bar.value:.3f}  ({bar.low:.3f}–{bar.high:.3f})"
        right = max(end, axis(bar.high))
        whiskers = Markup(
            '<path class="whisker" d="M{low} {0}H{high}M{low} {1}V{2}M{high} {1}V{2}"/>'
        ).format(middle, middle - 6, middle + 6, low=_at(axis(bar.low)), high=_at(axis(bar.high)))
    return Markup(
        '<g class="bar c{}"><title>{}: {}</title><text class="name" x="{}" y="{}">{}</text>'
        '<rect x="{}" y="{}" width="{}" height="20" rx="3"/>{}<text class="value" x="{}" y="{}">{:.3f}</text></g>'
    ).format(
        index, bar.name, label, zero, top + 18, bar.name,
        zero, middle - 10, _at(max(end - zero, 1)), whiskers, _at(right + 8), middle + 5, bar.value,
    )  # fmt: skip


def _svg(name: str, height: float, parts: Iterable[Markup]) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, name, Markup().join(parts)
    )


def _at(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _anchor(index: int) -> Markup:
    return Markup('text-anchor="start"') if index == 0 else Markup('text-anchor="middle"')
