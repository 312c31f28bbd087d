"""Reports as static pages: no script, no network, every name escaped and shown as it is."""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.core.names import shown


def without_effect(value: object) -> object:
    """A text that is no markup, so that it neither reorders nor hides what is around it."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    finalize=without_effect,
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class Overlay:
    file: str
    """Its name beside the page; empty if no pixel spoke for the class."""
    method: str
    target: str
    """The class that the map is for."""


@dataclass(frozen=True)
class ReportedImage:
    path: str
    label: str
    """Empty when it is not known."""
    prediction: str
    score: float
    file: str
    overlays: list[Overlay]


@dataclass(frozen=True)
class Thumbnail:
    source: str
    """A data URI, so that the page is one file."""
    path: str
    label: str


@dataclass(frozen=True)
class Suspect:
    """An image to look at before training."""

    image: Thumbnail
    reason: str
    nearest: list[Thumbnail]
    row: str
    """The line that leaves it out, for the file that dataset.exclude names."""


def labels_page(
    source: str,
    num_images: int,
    doubtful: list[Suspect],
    odd: list[Suspect],
    totals: tuple[int, int],
    notes: list[str],
    exclude: str,
) -> str:
    """source: the folder that was checked. totals: how many were found, of which some are shown.
    exclude: the file for the lines that leave images out."""
    return TEMPLATES.get_template("labels.html.j2").render(
        source=source,
        num_images=num_images,
        groups=[
            ("Labels that look wrong", "the most doubtful first", doubtful, totals[0]),
            ("Images unlike their class", "the oddest first", odd, totals[1]),
        ],
        notes=notes,
        exclude=exclude,
    )


def report_page(
    images: list[ReportedImage], layers: list[str], num_images: int, num_mistakes: int
) -> str:
    """num_images, num_mistakes: of the whole test split. images may be empty."""
    return TEMPLATES.get_template("cam.html.j2").render(
        images=images,
        layers=layers,
        num_images=num_images,
        num_mistakes=num_mistakes,
        top1=100 * (num_images - num_mistakes) / num_images,
    )
