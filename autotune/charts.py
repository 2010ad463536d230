"""Small pictures as SVG elements for an HTML page. Knows numbers, not what they mean.

Places along a line are percentages, so that the page's width decides and letters keep their size; colours come from the
page's style sheet.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autotune.markup import Element, element

HEIGHT, MIDDLE = 26, 13  # pixels of one row
TICKS_WANTED = 5


@dataclass(frozen=True, slots=True)
class Scale:
    """From low to high, evenly or by ratios. Outside of it everything is drawn at its ends. low < high; both above 0 if
    by ratios."""

    low: float
    high: float
    ratios: bool = False

    def share(self, value: float) -> float:
        """0 to 1."""
        if not self.ratios:
            place = (value - self.low) / (self.high - self.low)
        elif value <= 0:
            return 0.0
        else:
            place = math.log(value / self.low) / math.log(self.high / self.low)
        return min(1.0, max(0.0, place))

    def percent(self, value: float) -> str:
        return f"{100 * self.share(value):.2f}%"

    def ticks(self) -> list[float]:
        """Round values, about five of them."""
        first = _rounded((self.high - self.low) / TICKS_WANTED)
        found: list[float] = []
        for step in (first, 2 * first, 5 * first):
            found = [step * index for index in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
            if len(found) <= TICKS_WANTED + 2:
                break
        return found


def _rounded(step: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above the step."""
    power = 10.0 ** math.floor(math.log10(step))
    return max(factor * power for factor in (1.0, 2.0, 5.0) if factor * power <= step * (1 + 1e-9))


def scale_over(values: Sequence[float], *, ratios: bool = False, room: float = 0.05) -> Scale:
    """From the smallest to the largest value, with some room beside them."""
    low, high = min(values), max(values)
    if ratios:
        reach = (high / low) ** room if high > low else 1.05
        return Scale(low / reach, high * reach, ratios)
    reach = room * (high - low) or room * abs(high) or 1.0
    return Scale(low - reach, high + reach)


def picture(label: str, *children: Element, height: int = HEIGHT) -> Element:
    """label: what it shows, for those who can't see it."""
    return element("svg", *children, role="img", aria_label=label, width="100%", height=height)


def span(scale: Scale, low: float, high: float, kind: str, *, top: float = 0, height: float = HEIGHT) -> Element:
    """A filled part of the line."""
    left, right = scale.share(low), scale.share(high)
    width = f"{100 * (right - left):.2f}%"
    return element("rect", x=f"{100 * left:.2f}%", y=top, width=width, height=height, class_=kind)


def mark(scale: Scale, value: float, kind: str, *, top: float = 0, bottom: float = HEIGHT) -> Element:
    """An upright line."""
    place = scale.percent(value)
    return element("line", x1=place, x2=place, y1=top, y2=bottom, class_=kind)


def interval(scale: Scale, low: float, middle: float, high: float, kind: str) -> list[Element]:
    """A point with its interval."""
    left, right = scale.percent(low), scale.percent(high)
    line = element("line", x1=left, x2=right, y1=MIDDLE, y2=MIDDLE, class_=f"whisker {kind}")
    ends = [mark(scale, each, f"whisker {kind}", top=MIDDLE - 4, bottom=MIDDLE + 4) for each in (low, high)]
    return [line, *ends, element("circle", cx=scale.percent(middle), cy=MIDDLE, r=4.5, class_=kind)]


def dots(scale: Scale, values: Sequence[float], kind: str) -> list[Element]:
    """One dot for each value, on three levels so that equal ones show."""
    return [
        element("circle", cx=scale.percent(value), cy=MIDDLE - 6 + 6 * (index % 3), r=3.5, class_=f"dot {kind}")
        for index, value in enumerate(values)
    ]


def axis(scale: Scale, label: str) -> Element:
    """Ticks with their values, below what they belong to."""
    parts: list[Element] = []
    for value in scale.ticks():
        parts.append(mark(scale, value, "tick", bottom=5))
        share = scale.share(value)
        anchor = "start" if share < 0.04 else "end" if share > 0.96 else "middle"
        text = f"{value:.6g}"
        parts.append(element("text", text, x=scale.percent(value), y=18, text_anchor=anchor, class_="tick"))
    return picture(label, *parts)
