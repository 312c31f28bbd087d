"""No value can break a page of Markdown, or become part of it."""

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


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_is_code_without_a_character_that_means_something(text):
    shown = cell(text)
    code = re.fullmatch("<code>(.*)</code>", shown)
    assert code, shown
    bare = re.sub("&#[0-9]+;", "", code[1])
    assert not set(bare) & set("|`<>&*_[]!~\\@#:${}\n\r\u202e")
    assert "www." not in bare
    expected = text if text and text == text.strip() and text.isprintable() else repr(text)
    assert html.unescape(code[1]) == expected


@pytest.mark.parametrize(
    "text",
    [
        "train.lr",
        "images_per_class",
        "data/sample/",
        "苹果",
        "efficientnet_lite0",
        "-0.5",
        "1e-05",
        "a, b",
    ],
)
def test_an_ordinary_value_stays_as_it_is(text):
    assert cell(text) == text


def test_numbers_have_six_digits_and_what_is_missing_is_a_dash():
    assert cell(0.1 + 0.2) == "0.3"
    assert cell(12345678) == "12345678"
    assert cell(float("nan")) == "nan"
    assert cell(None) == "-"


def test_a_long_value_is_cut_where_one_sees_it():
    assert cell("x" * 500) == f"<code>{'x' * 120}&#8230;</code>"


class Cells(HTMLParser):
    """The texts of a table's cells, and every element that is in the page."""

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


def test_a_markdown_parser_finds_each_value_in_its_cell_and_nothing_else():
    page = (
        MarkdownIt("commonmark")
        .enable(["table", "strikethrough"])
        .render(table(["name", "value"], [[text, text] for text in HOSTILE]))
    )
    cells = Cells(page)
    assert cells.elements == {"table", "thead", "tbody", "tr", "th", "td", "code"}
    plain = [
        text if text.isprintable() and text == text.strip() and text else repr(text) for text in HOSTILE
    ]
    assert cells.texts == [text for text in plain for _ in range(2)]


def test_a_table_has_as_many_cells_in_each_row_whatever_is_in_them():
    lines = table(["name", "value"], [["a|b", "1\n2"], ["c", "|"]]).splitlines()
    assert [line.count("|") for line in lines] == [3, 3, 3, 3]


def test_a_table_stops_at_fifty_rows_and_counts_the_rest():
    lines = table(["name"], [[index] for index in range(1234)]).splitlines()
    assert len(lines) == 2 + 50 + 2
    assert lines[-1] == "and 1,184 more."


def test_a_chart_names_its_lines_by_colour():
    text = line_chart("loss", "epoch", [1, 2], {"training": [0.5, 0.25], "val": [1, 2]})
    assert "  line [0.5, 0.25]\n  line [1, 2]\n```" in text
    assert text.endswith("blue: training, orange: val\n")
