"""Values in a Markdown page stay values: none becomes markup, and none breaks a table."""

import html
import re
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from stages.core.provenance.markdown import cell, line_chart, table

HOSTILE = [
    "a|b",
    "`rm -rf`",
    "``",
    "line\nbreak",
    "a\r\nb",
    "<script>alert(1)</script>",
    "<!-- open",
    "&amp;",
    "*bold* __init__ ~~gone~~",
    "[text](https://example.org)",
    "![](https://example.org/x.png)",
    "see www.example.org",
    "@octocat #1 GH-1",
    "\\|",
    "\\",
    "$x$ {y} :smile:",
    " padded ",
    "",
    "\u202eright to left",
    "苹果|<b>",
]


def plain(text: str) -> str:
    """How a reader sees a value: empty, padded and unprintable ones as Python writes them."""
    return text if text and text == text.strip() and text.isprintable() else repr(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_becomes_code_without_special_characters(text):
    code = re.fullmatch("<code>(.*)</code>", cell(text))[1]
    assert not set(re.sub("&#[0-9]+;", "", code)) & set("|`<>&*_[]!~\\@#:${}\n\r\u202e")
    assert "www." not in code
    assert html.unescape(code) == plain(text)


def test_an_ordinary_value_stays_as_it_is():
    for text in ("train.lr", "images_per_class", "data/sample/", "苹果", "-0.5", "1e-05", "a, b"):
        assert cell(text) == text


def test_numbers_have_six_digits_and_a_missing_value_is_a_dash():
    assert [cell(value) for value in (0.1 + 0.2, 12345678, float("nan"), None)] == [
        *("0.3", "12345678", "nan", "-")
    ]


def test_a_long_value_ends_with_an_ellipsis():
    assert cell("x" * 500) == f"<code>{'x' * 120}&#8230;</code>"


class Cells(HTMLParser):
    """The texts of a table's cells, and the names of all elements of the page."""

    def __init__(self, page: str):
        super().__init__()
        self.texts, self.elements = [], set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        if tag == "td":
            self.texts.append("")

    def handle_data(self, data):
        if self.texts and data != "\n":
            self.texts[-1] += data


def test_a_markdown_parser_finds_each_value_in_its_cell_and_no_other_element():
    page = (
        MarkdownIt("commonmark")
        .enable(["table", "strikethrough"])
        .render(table(["name", "value"], [[text, text] for text in HOSTILE]))
    )
    cells = Cells(page)
    assert cells.elements == {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert cells.texts == [plain(text) for text in HOSTILE for _ in range(2)]


def test_a_table_stops_at_fifty_rows_and_counts_the_rest():
    lines = table(["name"], [[index] for index in range(1234)]).splitlines()
    assert len(lines) == 2 + 50 + 2
    assert lines[-1] == "and 1,184 more."


def test_a_chart_names_its_lines_by_colour():
    text = line_chart("loss", "epoch", [1, 2], {"training": [0.5, 0.25], "val": [1, 2]})
    assert "  line [0.5, 0.25]\n  line [1, 2]\n```" in text
    assert text.endswith("blue: training, orange: val\n")
