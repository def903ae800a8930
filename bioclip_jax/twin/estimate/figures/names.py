"""Species names in figures, and writing a figure in the format of its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.files import atomic_write, check_suffix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMATS = (".png", ".pdf", ".svg")
# Without dates and random ids, so that equal results give equal files.
_METADATA: dict[str, dict[str, Any]] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, PDF or SVG, by the suffix of its name."""
    import matplotlib

    path = Path(path)
    check_suffix(path, _FORMATS, "the figure")
    suffix = path.suffix.lower()
    # Text stays text, for a journal's editor.
    options = {"svg.hashsalt": "twin", "svg.fonttype": "none", "pdf.fonttype": 42}
    with atomic_write(path) as partial, matplotlib.rc_context(options):
        figure.savefig(partial, format=suffix[1:], metadata=_METADATA.get(suffix))


def short_name(name: str, most: int) -> str:
    """Shorten a name of more than `most` letters: first the genus to its initial, then by an ellipsis."""
    genus, _, rest = name.partition(" ")
    if len(name) > most and rest and genus[:1].isupper():
        name = f"{genus[0]}. {rest}"
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


def fitted_name(figure: Figure, name: str, width: float, **style: Any) -> str:
    """Shorten a name until it fits a width in inches."""
    most = len(name)
    while text_width(figure, [short_name(name, most)], **style) > width and most > 4:
        most -= 1
    return short_name(name, most)


def text_width(figure: Figure, texts: Sequence[str], **style: Any) -> float:
    """Return the width in inches of the widest text."""
    widths = [0.0]
    for text in texts:
        label = figure.text(0, 0, text, **style)
        widths.append(label.get_window_extent().width / figure.dpi)
        label.remove()
    return max(widths)
