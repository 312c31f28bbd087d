"""Markdown for GitHub. Values are escaped, so that none becomes markup or breaks a table."""

import json
import re

ROWS = 50
"""The most rows of a table: a changed folder can have one row for each of its files."""
CHARACTERS = 120
"""The most characters of a cell."""
HARMLESS = re.compile(r"-|[^\W_][\w ,()=./+-]*|[+-][\d.]+(e[+-]\d+)?")
ACTIVE = re.compile(r"(?<![^\W_])_|_(?![^\W_])|www\.")
"""An underscore at the edge of a word starts emphasis; GitHub links words that start with www."""


def cell(value: object) -> str:
    """A value for a table or a sentence: plain if that is harmless, else as code.

    GitHub links @names, #numbers and addresses in text, but not in code.
    """
    text = f"{value:.6g}" if isinstance(value, float) else "-" if value is None else str(value)
    if not text or text != text.strip() or not text.isprintable():
        text = repr(text)
    if len(text) > CHARACTERS:
        text = text[:CHARACTERS] + "…"
    if HARMLESS.fullmatch(text) and not ACTIVE.search(text):
        return text
    escaped = re.sub(r"[^\w ,'()=./+-]|_|(?<=www)\.", lambda found: f"&#{ord(found[0])};", text)
    return f"<code>{escaped}</code>"


def table(headers: list[str], rows: list[list]) -> str:
    lines = [headers, ["---"] * len(headers)] + [list(map(cell, row)) for row in rows[:ROWS]]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return text + (f"\nand {len(rows) - ROWS:,} more.\n" if len(rows) > ROWS else "")


def line_chart(title: str, x_label: str, x: list[int], lines: dict[str, list[float]]) -> str:
    """A Mermaid chart, which GitHub draws. It has no legend, so a caption names the colours.

    lines: at most three, each as long as x.
    """
    colours = dict(zip(lines, ("blue", "orange", "grey"), strict=False))
    palette = {"themeVariables": {"xyChart": {"plotColorPalette": "#1f77b4, #ff7f0e, #888888"}}}
    drawn = "".join(f"  line [{', '.join(f'{y:g}' for y in line)}]\n" for line in lines.values())
    caption = ", ".join(f"{colour}: {name}" for name, colour in colours.items())
    return (
        f"```mermaid\n%%{{init: {json.dumps(palette)}}}%%\nxychart-beta\n"
        f'  title "{title}"\n  x-axis "{x_label}" [{", ".join(map(str, x))}]\n{drawn}```\n\n{caption}\n'
    )
