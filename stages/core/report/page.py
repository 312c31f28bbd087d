"""The CAM report as one static page: no script, no network, every name escaped."""

from dataclasses import dataclass
from html import escape

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
h1 { font-size: 1.5rem; }
.scale { background: linear-gradient(90deg, #30123b, #4662d7, #36aaf9, #1ae4b6, #72fe5e, #c7ef34,
  #faba39, #f66b19, #cb2a04, #7a0403); border-radius: 4px; height: 0.75rem; max-width: 20rem; }
.ends { display: flex; font-size: 0.875rem; justify-content: space-between; max-width: 20rem; }
article { border-top: 1px solid #8886; padding: 1rem 0; }
h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
.path { color: #888; font-size: 0.8125rem; margin: 0 0 0.5rem; overflow-wrap: anywhere; }
.wrong { color: #c62828; } .right { color: #2e7d32; }
@media (prefers-color-scheme: dark) { .wrong { color: #ef9a9a; } .right { color: #a5d6a7; } }
.row { display: flex; flex-wrap: wrap; gap: 0.75rem; }
figure { flex: 0 1 16rem; margin: 0; min-width: 8rem; }
img { border-radius: 4px; display: block; height: auto; width: 100%; }
figcaption { font-size: 0.8125rem; overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Overlay:
    file: str
    """Beside the page."""
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


def report_page(
    pictures: list[ReportedImage], layers: list[str], num_images: int, num_mistakes: int
) -> str:
    """num_images, num_mistakes: of the whole test split."""
    top1 = 100 * (num_images - num_mistakes) / num_images
    articles = "\n".join(map(article, pictures))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src 'self'; style-src 'unsafe-inline'">
<title>What the classifier looked at</title>
<style>{STYLE}</style>
</head>
<body>
<h1>What the classifier looked at</h1>
<p>{num_images:,} test pictures, {num_mistakes:,} mistakes, top-1 {top1:.2f} %. Shown: {len(pictures)}.
Maps of the layer {escape(", ".join(layers))}. Each picture is the square that the network saw.</p>
<div class="scale"></div>
<div class="ends"><span>spoke least</span><span>spoke most for the class</span></div>
<p>Each map is scaled to its own maximum: colours of two maps cannot be compared.</p>
{articles}
</body>
</html>
"""


def article(picture: ReportedImage) -> str:
    if not picture.label:
        verdict = f"<span>{escape(picture.prediction)}</span>"
    elif picture.prediction == picture.label:
        verdict = f'<span class="right">{escape(picture.label)}</span>, rightly'
    else:
        verdict = (
            f'{escape(picture.label)}, taken for <span class="wrong">{escape(picture.prediction)}</span>'
        )
    figures = [figure(picture.file, f"the picture, {picture.label or picture.prediction}", "picture")]
    figures += [
        figure(o.file, f"{o.method} map for {o.target}", f"{o.method} for {o.target}")
        for o in picture.overlays
    ]
    return f"""<article>
<h2>{verdict}, score {picture.score:.3f}</h2>
<p class="path">{escape(picture.path)}</p>
<div class="row">{"".join(figures)}</div>
</article>"""


def figure(file: str, alt: str, caption: str) -> str:
    return (
        f'<figure><img src="{escape(file)}" alt="{escape(alt)}" loading="lazy">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
