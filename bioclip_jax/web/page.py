"""Components of the page: a box for photos, and tabs with the model's results, in the visitor's language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from .cards import html
from .classifiers import ALL
from .gallery import Example, Gallery
from .language import LANGUAGES, Language, language
from .map import methods
from .service import PhotoService

TABS = ("identify", "labels", "similar", "map")
OWN_PHOTOS, GALLERY = "own", "gallery"
# Idle time after which a page's photos are forgotten.
_FORGET_SECONDS = 3600
# Page scripts send events through this element.
_BRIDGE = "bioclip.send = (name, data) => trigger(name, data);"


@dataclass(frozen=True)
class Contents:
    """Data that a page shows besides results. labels: initial labels. has_twin: link to the twin's page."""

    service: PhotoService
    gallery: Gallery | None = None
    labels: Sequence[str] = ()
    examples: Sequence[Example] = ()
    has_twin: bool = False


class Components:
    """Components of the page, laid out in the current gr.Blocks in English; `relabel` translates them."""

    def __init__(self, contents: Contents) -> None:
        self._labeled: list[tuple[Any, Callable[[Language], dict[str, Any]]]] = []
        service = contents.service
        # An index without lineages cannot be restricted to a taxon.
        self._taxon = service.index.example_taxon() if service.index is not None else None
        self.photos = gr.State([], time_to_live=_FORGET_SECONDS)
        self.choice = gr.State(ALL)
        self.language, self.tab = gr.State(LANGUAGES[0]), gr.State(TABS[0])
        # A script fills it in; a state would keep the server's value.
        self.wanted_language = gr.Textbox(visible=False)
        self._add(gr.HTML(), lambda t: {"value": _title(contents, t)})
        self.bridge = gr.HTML("<i hidden></i>", elem_id="bj-bridge", js_on_load=_BRIDGE)
        limits = {"files": service.limits.files, "mb": service.limits.file_mb}
        self.drop = self._add(
            gr.File(file_count="multiple", elem_id="bj-drop", height=140),
            lambda t: {"label": t("bar.limits", **limits)},
        )
        with gr.Row(elem_id="bj-examples", visible=bool(contents.examples)):
            self._add(gr.HTML(), lambda t: {"value": f'<span class="bj-muted">{t("bar.try")}</span>'})
            self.examples = [
                gr.Button(example.name, elem_id=f"bj-example-{i}", elem_classes="bj-example")
                for i, example in enumerate(contents.examples)
            ]
        self.tools = gr.HTML(elem_id="bj-tools", elem_classes="bj-quiet")
        self.notices = gr.HTML(elem_id="bj-notices", elem_classes="bj-quiet")
        with gr.Tabs():
            self.tabs = []
            layouts = (self._identify, self._labels, self._similar, self._map)
            for name, lay_out in zip(TABS, layouts):
                with gr.Tab(id=name) as tab:
                    self._add(tab, lambda t, name=name: {"label": t(f"tabs.{name}")})
                    self.tabs.append(tab)
                    lay_out(contents)
        self._add(gr.HTML(), lambda t: {"value": html(t.code).api(_commands(service))})
        for component, label in self._labeled:
            for name, value in label(language(LANGUAGES[0])).items():
                setattr(component, name, value)

    def _add(self, component: Any, label: Callable[[Language], dict[str, Any]]) -> Any:
        """Register the texts of a component: arguments of gr.update in a language."""
        self._labeled.append((component, label))
        return component

    @property
    def translated(self) -> list[Any]:
        """Components that `relabel` updates."""
        return [component for component, _ in self._labeled]

    def relabel(self, code: str) -> list[Any]:
        """Return an update of each of `translated`."""
        return [gr.update(**label(language(code))) for _, label in self._labeled]

    def _identify(self, contents: Contents) -> None:
        has_taxa = contents.service.taxa is not None
        self.threshold = self._add(
            gr.Slider(0, 99, 50, step=1, visible=has_taxa, elem_id="bj-minimum"),
            lambda t: {"label": t("identify.minimum"), "info": t("identify.minimum_about")},
        )
        name = "empty" if has_taxa else "no_taxa"
        self.identified = gr.HTML(html(LANGUAGES[0]).empty(f"identify.{name}", f"identify.{name}_about"))

    def _labels(self, contents: Contents) -> None:
        self.labels = self._add(
            gr.Textbox("\n".join(contents.labels), lines=4, max_lines=12),
            lambda t: {
                "label": t("labels.names"),
                "info": t("labels.names_about"),
                "placeholder": t("labels.names_example"),
            },
        )
        self.compare = self._add(
            gr.Button(variant="primary", elem_id="bj-compare"), lambda t: {"value": t("labels.compare")}
        )
        self.labeled = gr.HTML(html(LANGUAGES[0]).empty("identify.empty", "identify.empty_about"))

    def _similar(self, contents: Contents) -> None:
        has_index = contents.service.index is not None
        with gr.Row(visible=has_index):
            self.query = self._add(gr.Dropdown([], min_width=220), lambda t: {"label": t("similar.photo")})
            self.within = self._add(
                gr.Textbox(visible=self._taxon is not None, min_width=220),
                lambda t: {
                    "label": t("similar.within"),
                    "placeholder": t("choices.within_example", taxon=self._taxon),
                },
            )
            self.k = self._add(
                gr.Slider(1, 48, 11, step=1, min_width=140), lambda t: {"label": t("similar.count")}
            )
        name = "identify.empty" if has_index else "similar.no_index"
        self.similar = gr.HTML(html(LANGUAGES[0]).empty(name, f"{name}_about"))

    def _map(self, contents: Contents) -> None:
        gallery = contents.gallery

        def sources(t: Language) -> list[tuple[str, str]]:
            shown = [] if gallery is None else [(t("map.gallery", name=gallery.name), GALLERY)]
            return [(t("map.own"), OWN_PHOTOS), *shown]

        with gr.Row():
            initial = OWN_PHOTOS if gallery is None else GALLERY
            self.source = self._add(
                gr.Radio(
                    sources(language(LANGUAGES[0])), value=initial, visible=gallery is not None, min_width=140
                ),
                lambda t: {"label": t("map.of"), "choices": sources(t)},
            )
            self.method = self._add(
                gr.Radio(methods(), value="PCA", min_width=140), lambda t: {"label": t("map.method")}
            )
            self.column = self._add(
                gr.Dropdown([], min_width=140),
                lambda t: {"label": t("map.color"), "info": t("map.color_about")},
            )
        self.map = gr.HTML(html(LANGUAGES[0]).empty("identify.empty", "identify.empty_about"))


def _title(contents: Contents, t: Language) -> str:
    service, facts = contents.service, []
    if service.taxa is not None:
        taxa = t("page.taxa", count=len(service.taxa.names))
        facts.append(t("page.taxa_within", taxa=taxa, within=service.within) if service.within else taxa)
    if service.index is not None:
        facts.append(t("page.images", count=len(service.index)))
    languages = [(code, language(code)("name")) for code in LANGUAGES]
    return html(t.code).title(service.name, facts, languages, contents.has_twin)


def _commands(service: PhotoService) -> list[str]:
    commands = ["curl -F file=@photo.jpg -F labels='oak leaf,maple leaf' ADDRESS/api/labels"]
    if service.taxa is not None:
        commands.insert(0, "curl -F file=@photo.jpg 'ADDRESS/api/predict?rank=family&k=5'")
    if service.index is not None:
        commands.append("curl -F file=@photo.jpg 'ADDRESS/api/similar?k=10'")
    commands.append("curl -F file=@photo.jpg ADDRESS/api/embed")
    return commands
