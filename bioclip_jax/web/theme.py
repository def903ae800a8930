"""Theme of the page: colors, fonts, style sheet and script."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib import resources

import gradio as gr

from bioclip_jax.html import asset, data_url

from .gallery import Example
from .language import LANGUAGES, language

_STYLES = ("base.css", "cards.css", "photos.css")
# Of dialogs and of the whole window, as they are: Gradio limits the other rules to its own blocks.
_WINDOW_STYLES = ("photos.css", "closer.css", "kiosk.css")
# The review is that of reports.
_REVIEW = ("review_texts.js", "review.js", "review_names.js", "review_panel.js")
# Each adds to the object `bioclip`, the first what the others use.
_SCRIPTS = (
    "language.js",
    "status.js",
    "upload.js",
    "photos.js",
    "dialog.js",
    "map.js",
    "review.js",
    "explain.js",
    "kiosk.js",
)
_SCRIPT_TEXTS = ("bar.", "closer.", "dialog.", "errors.upload", "kiosk.", "page.slider")

# Fonts of the reader's system, so that none is downloaded.
_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
_MONOSPACE = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "monospace")
_GREEN = gr.themes.Color(
    "#f0f7f3",
    "#dbece2",
    "#b9dac7",
    "#8cc1a3",
    "#5ba27c",
    "#3a865f",
    "#2a6d4b",
    "#23583e",
    "#1d4733",
    "#18392a",
    "#0d2219",
)
_STONE = gr.themes.Color(
    "#fafaf8",
    "#f3f3ef",
    "#e5e5df",
    "#d3d3cb",
    "#a3a59b",
    "#75786f",
    "#565950",
    "#42453d",
    "#292c26",
    "#1b1d19",
    "#121411",
)


def theme() -> gr.themes.Base:
    """Gradio theme in warm grays and one green."""
    base = gr.themes.Base(
        primary_hue=_GREEN,
        secondary_hue=_GREEN,
        neutral_hue=_STONE,
        radius_size="lg",
        font=[gr.themes.Font(name) for name in _SANS],
        font_mono=[gr.themes.Font(name) for name in _MONOSPACE],
    )
    return base.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="1px",
        block_shadow="none",
        block_radius="16px",
        container_radius="16px",
        input_radius="10px",
        button_large_radius="10px",
        button_medium_radius="10px",
        button_small_radius="10px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_300",
        button_primary_background_fill_hover_dark="*primary_200",
        button_primary_text_color="white",
        button_primary_text_color_dark="*neutral_950",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
        # Text has a contrast of at least 4.5:1 (WCAG AA).
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_600",
        input_placeholder_color_dark="*neutral_300",
    )


def css(examples: Sequence[Example]) -> str:
    """Style sheet, with the examples' thumbnails on their buttons."""
    buttons = (
        f"#bj-example-{i} {{ background-image: url({data_url(example.thumbnail)}); }}"
        for i, example in enumerate(examples)
    )
    return "\n".join([*map(_asset, _STYLES), *buttons])


def head(request_mb: int, examples: Sequence[Example] = (), kiosk: int = 0) -> str:
    """Scripts of the page, with its texts in all languages.

    request_mb: limit of a request in megabytes. examples: as build_page. kiosk: seconds until a page that
    nobody uses starts again, 0 for an ordinary page.
    """
    texts = {code: language(code).with_prefix(*_SCRIPT_TEXTS) for code in LANGUAGES}
    shown = {
        hashlib.sha256(example.content).hexdigest(): f"photos/example-{i}"
        for i, example in enumerate(examples)
    }
    settings = {"requestMb": request_mb, "texts": texts, "examples": shown, "kiosk": kiosk}
    settings = json.dumps(settings).replace("<", "\\u003c")
    scripts = "".join([*map(asset, _REVIEW), *map(_asset, _SCRIPTS)])
    styles = "".join([asset("review.css"), *map(_asset, _WINDOW_STYLES)])
    return f"<style>{styles}</style><script>const bioclip = {settings};\n{scripts}</script>"


def _asset(name: str) -> str:
    return (resources.files(__package__) / "browser" / name).read_text(encoding="utf-8")
