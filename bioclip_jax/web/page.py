"""Components of the page: a box for photos, and tabs with the model's results, in the visitor's language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from .cards import html
from .classifiers import ALL, Choice
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
    """Data that a page shows besides results.

    labels: initial labels. has_twin: link to the twin's page. kiosk: nothing but photos and their names.
    """

    service: PhotoService
    gallery: Gallery | None = None
    labels: Sequence[str] = ()
    examples: Sequence[Example] = ()
    has_twin: bool = False
    kiosk: bool = False

    @property
    def advice(self) -> str:
        """Key of the text that tells a visitor without photos how to add some."""
        if self.kiosk:
            return "identify.empty_kiosk"
        return "identify.empty_about" if self.examples else "identify.empty_alone"


class Components:
    """Components of the page, laid out in the current gr.Blocks in English; `relabel` translates them."""

    def __init__(self, contents: Contents) -> None:
        self._labeled: list[tuple[Any, Callable[[Language], dict[str, Any]]]] = []
        service = contents.service
        # An index without lineages cannot be restricted to a taxon.
        self._taxon = service.index.example_taxon() if service.index is not None else None
        self.photos = gr.State([], time_to_live=_FORGET_SECONDS)
        only_heads = service.taxa is None and service.heads
        self.choice = gr.State(Choice(head=service.heads[0]) if only_heads else ALL)
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
                with gr.Tab(id=name, visible=name == TABS[0] or not contents.kiosk) as tab:
                    self._add(tab, lambda t, name=name: {"label": t(f"tabs.{name}")})
                    self.tabs.append(tab)
                    lay_out(contents)
        api = gr.HTML(visible=not contents.kiosk)
        self._add(api, lambda t: {"value": html(t.code).api(_commands(service))})
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
        service = contents.service
        has_taxa = service.taxa is not None
        self.loaded, self.calibration = gr.State(b""), gr.State(None)
        with self._add(
            gr.Accordion(
                open=False,
                visible=(has_taxa or bool(service.heads)) and not contents.kiosk,
                elem_id="bj-choices",
            ),
            lambda t: {"label": t("choices.title")},
        ):
            self._choices(service)
        self.active = gr.HTML(elem_id="bj-active", elem_classes="bj-quiet")
        texts = ("empty", contents.advice) if has_taxa else ("no_taxa", "identify.no_taxa_about")
        self.identified = gr.HTML(html(LANGUAGES[0]).empty(f"identify.{texts[0]}", texts[1]))

    def _choices(self, service: PhotoService) -> None:
        has_taxa = service.taxa is not None
        # A sure example: every server with taxa has that kingdom or another first name.
        example = next(iter(service.taxa.names.dictionary("kingdom").to_pylist()), "") if has_taxa else ""
        self.threshold = self._add(
            gr.Slider(0, 99, 50, step=1, elem_id="bj-minimum"),
            lambda t: {"label": t("identify.minimum"), "info": t("identify.minimum_about")},
        )

        def heads(t: Language) -> list[tuple[str, str]]:
            taxa = [(t("choices.head_taxa"), "")] if has_taxa else []
            return [*taxa, *((name, name) for name in service.heads)]

        with gr.Row():
            self.head = self._add(
                gr.Dropdown(
                    heads(language(LANGUAGES[0])),
                    value="" if has_taxa else (service.heads or [None])[0],
                    visible=bool(service.heads),
                    min_width=180,
                ),
                lambda t: {"label": t("choices.head"), "choices": heads(t)},
            )
            self.chosen_within = self._add(
                gr.Textbox(visible=has_taxa, min_width=180),
                lambda t: {
                    "label": t("choices.within"),
                    "placeholder": t("choices.within_example", taxon=example),
                },
            )
            self.temperature = self._add(
                gr.Textbox(visible=has_taxa, min_width=180, placeholder="1"),
                lambda t: {"label": t("choices.temperature"), "info": t("choices.temperature_about")},
            )
        self.checklist = self._add(
            gr.Textbox(visible=has_taxa, lines=2, max_lines=8),
            lambda t: {"label": t("choices.subset"), "info": t("choices.subset_about")},
        )
        self.skip_unknown = self._add(
            gr.Checkbox(visible=has_taxa), lambda t: {"label": t("choices.skip_unknown")}
        )
        with gr.Row(elem_classes="bj-choice-buttons"):
            self.load_checklist = self._add(
                gr.UploadButton(visible=has_taxa, size="md"), lambda t: {"label": t("choices.subset_load")}
            )
            self.load_calibration = self._add(
                gr.UploadButton(visible=has_taxa, size="md"),
                lambda t: {"label": t("choices.temperature_load")},
            )
            self.reset = self._add(gr.Button(size="md"), lambda t: {"value": t("choices.reset")})
            self.apply = self._add(
                gr.Button(size="md", variant="primary"), lambda t: {"value": t("choices.apply")}
            )

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
        self.labeled = gr.HTML(html(LANGUAGES[0]).empty("identify.empty", contents.advice))

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
        texts = ("identify.empty", contents.advice)
        if not has_index:
            texts = ("similar.no_index", "similar.no_index_about")
        self.similar = gr.HTML(html(LANGUAGES[0]).empty(*texts))

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
        self.map = gr.HTML(html(LANGUAGES[0]).empty("identify.empty", contents.advice))


def _title(contents: Contents, t: Language) -> str:
    service, facts = contents.service, []
    if service.taxa is not None:
        taxa = t("page.taxa", count=len(service.taxa.names))
        facts.append(t("page.taxa_within", taxa=taxa, within=service.within) if service.within else taxa)
    if service.index is not None:
        facts.append(t("page.images", count=len(service.index)))
    languages = [(code, language(code)("name")) for code in LANGUAGES]
    has_twin = contents.has_twin and not contents.kiosk
    return html(t.code).title(service.name, facts, languages, has_twin, service.within)


def _commands(service: PhotoService) -> list[str]:
    commands = ["curl -F file=@photo.jpg -F labels='oak leaf,maple leaf' ADDRESS/api/labels"]
    if service.taxa is not None:
        commands.insert(0, "curl -F file=@photo.jpg 'ADDRESS/api/predict?rank=family&k=5'")
    if service.index is not None:
        commands.append("curl -F file=@photo.jpg 'ADDRESS/api/similar?k=10'")
    commands.append("curl -F file=@photo.jpg ADDRESS/api/embed")
    return commands
