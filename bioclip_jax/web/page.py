"""The page: a box for photos, and four tabs with the model's results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gradio as gr

from .cards import html
from .gallery import Example, Gallery
from .handlers import Handlers, show_errors
from .map import methods
from .photos import Photo, color_columns, default_column
from .service import PhotoService

TABS = ("Identify", "Labels", "Similar", "Map")
_OWN_PHOTOS = "Your photos"
# Idle time after which a page's photos are forgotten.
_FORGET_SECONDS = 3600


def build_page(
    service: PhotoService,
    *,
    gallery: Gallery | None = None,
    labels: Sequence[str] = (),
    examples: Sequence[Example] = (),
    has_twin: bool = False,
) -> gr.Blocks:
    """Build the page as Gradio blocks, to be mounted on a server. has_twin: link to the twin's page."""
    with gr.Blocks(title="BioCLIP", analytics_enabled=False, delete_cache=(60, 600)) as page:
        components = _Components(service, gallery, labels, examples, has_twin)
        _connect(components, Handlers(service, gallery, examples))
    page.queue(max_size=service.limits.waiting)
    return page


class _Components:
    """Components of the page, laid out in the current gr.Blocks."""

    def __init__(
        self,
        service: PhotoService,
        gallery: Gallery | None,
        labels: Sequence[str],
        examples: Sequence[Example],
        has_twin: bool,
    ) -> None:
        self.photos = gr.State([], time_to_live=_FORGET_SECONDS)
        self.tab = gr.State(TABS[0])
        gr.HTML(_title(service, has_twin))
        limits = service.limits
        self.drop = gr.File(
            label=f"Photos: at most {limits.files} files of {limits.file_mb} MB",
            file_count="multiple",
            elem_id="bj-drop",
            height=140,
        )
        with gr.Row(elem_id="bj-examples", visible=bool(examples)):
            gr.HTML('<span class="bj-muted">Or try</span>')
            self.examples = [
                gr.Button(example.name, elem_id=f"bj-example-{i}", elem_classes="bj-example")
                for i, example in enumerate(examples)
            ]
        self.notices = gr.HTML(elem_classes="bj-quiet")
        with gr.Row(elem_id="bj-mine"):
            self.strip = gr.HTML(elem_classes="bj-quiet")
            self.clear = gr.Button("Clear all", size="sm", visible=False, elem_id="bj-clear")
        with gr.Tabs():
            with gr.Tab(TABS[0]) as identify:
                self._lay_out_identify(service)
            with gr.Tab(TABS[1]) as compare:
                self._lay_out_labels(labels)
            with gr.Tab(TABS[2]) as similar:
                self._lay_out_similar(service)
            with gr.Tab(TABS[3]) as mapping:
                self._lay_out_map(gallery)
        self.tabs = (identify, compare, similar, mapping)
        gr.HTML(_api(service))

    def _lay_out_identify(self, service: PhotoService) -> None:
        has_taxa = service.taxa is not None
        self.threshold = gr.Slider(
            0,
            99,
            50,
            step=1,
            label="Minimum confidence, in %",
            info="The prediction is the narrowest rank that reaches it, from kingdom down to species.",
            visible=has_taxa,
        )
        self.identified = gr.HTML(html.no_photos() if has_taxa else html.no_taxa())

    def _lay_out_labels(self, labels: Sequence[str]) -> None:
        self.labels = gr.Textbox(
            "\n".join(labels),
            lines=4,
            max_lines=12,
            label="Names to choose from",
            placeholder="oak leaf\nmaple leaf\nbirch leaf",
            info="One per line, or separated by commas.",
        )
        self.compare = gr.Button("Compare", variant="primary", elem_id="bj-compare")
        self.labeled = gr.HTML(html.no_photos())

    def _lay_out_similar(self, service: PhotoService) -> None:
        # An index without lineages cannot be restricted to a taxon.
        taxon = service.index.example_taxon() if service.index is not None else None
        with gr.Row(visible=service.index is not None):
            self.query = gr.Dropdown([], label="Photo", min_width=220)
            self.within = gr.Textbox(
                label="Only within",
                placeholder=f"any taxon, such as {taxon}",
                visible=taxon is not None,
                min_width=220,
            )
            self.k = gr.Slider(1, 48, 11, step=1, label="How many", min_width=140)
        self.similar = gr.HTML(html.no_photos() if service.index is not None else html.no_index())

    def _lay_out_map(self, gallery: Gallery | None) -> None:
        with gr.Row():
            sources = [_OWN_PHOTOS, *([f"Images of {gallery.name}"] if gallery is not None else [])]
            self.source = gr.Radio(
                sources, value=sources[-1], label="Map of", visible=gallery is not None, min_width=140
            )
            self.method = gr.Radio(methods(), value="PCA", label="Method", min_width=140)
            self.column = gr.Dropdown(
                [], label="Color by", info="A CSV of photos adds columns: drop it, too.", min_width=140
            )
        self.map = gr.HTML(html.no_photos())


def _connect(page: _Components, handlers: Handlers) -> None:
    """Connect the components' events to the handlers."""
    model = {"concurrency_id": "model", "concurrency_limit": 1}
    # t-SNE and UMAP take seconds, and the first UMAP longer.
    mapping = {"concurrency_id": "map", "show_progress": "full"}
    # A dragged slider changes many times.
    sliding = {"trigger_mode": "always_last", "show_progress": "hidden"}
    map_inputs = [page.tab, page.photos, page.source, page.method, page.column]
    similar_inputs = [page.photos, page.query, page.within, page.k]

    def listen(
        event: Callable[..., Any], handler: Callable[..., Any], inputs: Any, outputs: Any, **options: Any
    ) -> Any:
        settings: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"} | options
        return event(show_errors(handler), inputs, outputs, **settings)

    def update_photos(photos: list[Photo], threshold: float) -> tuple[Any, ...]:
        names = [(f"{i + 1}. {photo.name}", i) for i, photo in enumerate(photos)]
        return (
            handlers.strip(photos),
            gr.update(visible=bool(photos)),
            handlers.identify(photos, threshold),
            gr.update(choices=names, value=0 if names else None),
        )

    def update_labels(tab: str, photos: list[Photo], labels: str) -> Any:
        return handlers.labels(photos, labels) if tab == TABS[1] else gr.skip()

    def update_similar(tab: str, photos: list[Photo], query: int | None, within: str, k: int) -> Any:
        return handlers.similar(photos, query, within, k) if tab == TABS[2] else gr.skip()

    def update_columns(tab: str, photos: list[Photo], source: str, column: str | None) -> Any:
        if tab != TABS[3]:
            return gr.skip()
        columns = color_columns(handlers.mapped(photos, source != _OWN_PHOTOS))
        return gr.update(choices=columns, value=column if column in columns else default_column(columns))

    def update_map(tab: str, photos: list[Photo], source: str, method: str, column: str | None) -> Any:
        if tab != TABS[3]:
            return gr.skip()
        return handlers.map(photos, source != _OWN_PHOTOS, method, column)

    def update_open_tab(event: Callable[..., Any]) -> None:
        first = listen(event, update_labels, [page.tab, page.photos, page.labels], page.labeled, **model)
        second = listen(first.then, update_similar, [page.tab, *similar_inputs], page.similar, **model)
        columns = [page.tab, page.photos, page.source, page.column]
        third = listen(second.then, update_columns, columns, page.column, queue=False)
        listen(third.then, update_map, map_inputs, page.map, **mapping)

    def update_after(added: Any) -> None:
        outputs = [page.strip, page.clear, page.identified, page.query]
        updated = listen(added.then, update_photos, [page.photos, page.threshold], outputs, queue=False)
        update_open_tab(updated.then)

    # Progress is shown where the result will appear.
    results = [page.identified, page.labeled, page.similar, page.map]
    adding = {"show_progress": "full", "show_progress_on": results} | model
    photos = [page.photos, page.notices]
    # Gradio's preprocessing would leave an empty file behind for each upload.
    added = listen(
        page.drop.upload, handlers.add, [page.drop, page.photos], photos, preprocess=False, **adding
    )
    listen(added.then, lambda: None, None, page.drop, queue=False)
    update_after(added)
    for i, button in enumerate(page.examples):
        update_after(listen(button.click, partial(handlers.add_example, i), page.photos, photos, **adding))
    update_after(listen(page.clear.click, lambda: ([], ""), None, photos, queue=False))
    # `change` fires for pointer, keyboard and number input alike.
    inputs = [page.photos, page.threshold]
    listen(page.threshold.change, handlers.identify, inputs, page.identified, queue=False, **sliding)
    listen(page.compare.click, handlers.labels, [page.photos, page.labels], page.labeled, **model)
    for event, options in (
        (page.query.input, {}),
        (page.within.submit, {}),
        (page.within.blur, sliding),
        (page.k.change, sliding),
    ):
        listen(event, handlers.similar, similar_inputs, page.similar, **model, **options)
    columns = [page.tab, page.photos, page.source, page.column]
    recolored = listen(page.source.input, update_columns, columns, page.column, queue=False)
    for event in (recolored.then, page.method.input, page.column.input):
        listen(event, update_map, map_inputs, page.map, **mapping)
    for name, tab in zip(TABS, page.tabs):
        selected = listen(tab.select, lambda name=name: name, None, page.tab, queue=False)
        if name != TABS[0]:
            update_open_tab(selected.then)


def _title(service: PhotoService, has_twin: bool) -> str:
    facts = []
    if service.taxa is not None:
        within = f" within {service.within}" if service.within else ""
        facts.append(f"{len(service.taxa.names):,} taxa{within}")
    if service.index is not None:
        facts.append(f"{len(service.index):,} images to compare with")
    return html.title(service.name, facts, has_twin)


def _api(service: PhotoService) -> str:
    commands = ["curl -F file=@photo.jpg -F labels='oak leaf,maple leaf' ADDRESS/api/labels"]
    if service.taxa is not None:
        commands.insert(0, "curl -F file=@photo.jpg 'ADDRESS/api/predict?rank=family&k=5'")
    if service.index is not None:
        commands.append("curl -F file=@photo.jpg 'ADDRESS/api/similar?k=10'")
    commands.append("curl -F file=@photo.jpg ADDRESS/api/embed")
    return html.api(commands)
