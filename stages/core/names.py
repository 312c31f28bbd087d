"""Names of classes and files are data. In a file they round-trip exactly; in a message they only show.

A file system allows any character in a name but a slash and NUL. Some act when they are printed:
control characters steer a terminal, direction marks reorder a line, and a spreadsheet computes a cell
that starts with an equals sign.
"""

import json
import re
import unicodedata
from collections.abc import Callable

ACTIVE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories: control and format characters, bytes that are not UTF-8, line ends."""
JOINERS = "\u200c\u200d"
"""Format characters that spelling needs, in Persian and in emoji for example."""
FILLERS = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters that are drawn as nothing."""
FORMULA = re.compile(r"(?:^|(?<=;))[=+@\-\uff0b\uff0d\uff1d\uff20]")
"""What starts a formula in a spreadsheet, also after a semicolon, which can separate cells."""


def shown(text: str) -> str:
    """The text on one line; a character that acts, or that nobody sees, is escaped as in Python."""
    return without_acting(text, escaped)


def shown_lines(text: str) -> str:
    return "\n".join(map(shown, text.split("\n")))


def escape(name: str) -> str:
    """`shown`, so that `unescape` returns the name: a backslash is escaped, too."""
    return shown(name.replace("\\", "\\\\"))


def unescape(text: str) -> str:
    return re.sub(
        r"\\(?:[\\nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})",
        lambda found: found[0].encode("ascii").decode("unicode_escape"),
        text,
    )


def csv_cell(name: str) -> str:
    """`escape` for a cell of a CSV file: no spreadsheet takes it for a formula."""
    return FORMULA.sub(lambda found: escaped(found[0]), escape(name))


def json_text(content: object) -> str:
    """JSON with names in any script; a character in them that acts is escaped as JSON has it."""
    lines = json.dumps(content, indent=2, ensure_ascii=False).split("\n")
    return "".join(without_acting(line, lambda sign: json.dumps(sign)[1:-1]) + "\n" for line in lines)


def without_acting(text: str, escaped: Callable[[str], str]) -> str:
    if text.isascii() and text.isprintable():  # nearly every name
        return text
    return "".join(escaped(sign) if acts(sign) else sign for sign in text)


def acts(sign: str) -> bool:
    return sign in FILLERS or (unicodedata.category(sign) in ACTIVE and sign not in JOINERS)


def escaped(sign: str) -> str:
    text = sign.encode("unicode_escape").decode("ascii")
    return text if text != sign else f"\\x{ord(sign):02x}"
