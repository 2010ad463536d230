"""Elements of HTML and SVG, and the few forms a report is made of. Text is escaped where it is written out."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from autotune.profile import redacted

Element = ElementTree.Element

SHORT = 24  # letters that stay on one line in a table
NOT_TEXT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML and HTML can't hold


def element(tag: str, /, *children: "Element | str", **attributes: str | float) -> Element:
    """An element of HTML or SVG. A trailing "_" is dropped from a name, other "_" become "-"; numbers are shortened."""
    made = Element(tag)
    for key, value in attributes.items():
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        made.set(key.rstrip("_").replace("_", "-"), text)
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif last is None:
            made.text = (made.text or "") + child
        else:
            last.tail = (last.tail or "") + child
    return made


def section(heading: str, *parts: Element) -> Element:
    return element("section", element("h2", heading), *parts)


def row(label: str, drawing: Element, value: str, kind: str = "") -> Element:
    return element(
        "div",
        element("div", label, class_="label"),
        element("div", drawing, class_="plot"),
        element("div", value, class_="value"),
        class_=f"row {kind}".strip(),
    )


def group(words: str) -> Element:
    return element("div", words, class_="row group")


def table(rows: Sequence[Sequence[tuple[str, str]]]) -> Element:
    """One row of (heading, text) each; on a narrow screen every row becomes a card."""
    head = element("tr", *(element("th", name) for name, _ in rows[0]))
    body = [element("tr", *(_cell(name, text) for name, text in each)) for each in rows]
    return element("table", element("thead", head), element("tbody", *body), class_="cards")


def _cell(heading: str, text: str) -> Element:
    return element("td", text, data_label=heading, class_="short" if len(text) <= SHORT else "long")


def titled(part: Element, words: str) -> Element:
    part.append(element("title", words))
    return part


def cleaned(root: Element) -> Element:
    """Every text and attribute without signs that HTML can't hold, and without what is private."""
    for node in root.iter():
        if node.tag == "style":
            continue
        node.text, node.tail = (each and redacted(NOT_TEXT.sub("\ufffd", each)) for each in (node.text, node.tail))
        for name, value in node.items():
            node.set(name, redacted(NOT_TEXT.sub("\ufffd", value)))
    return root


def document(root: Element) -> str:
    return "<!DOCTYPE html>\n" + ElementTree.tostring(root, encoding="unicode", method="html") + "\n"
