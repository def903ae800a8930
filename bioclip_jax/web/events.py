"""The page and its events: which handler answers what a visitor does, and what it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gradio as gr

from . import cards
from .classifiers import Choice, ChoiceForm
from .handlers import Handlers, show_errors
from .language import LANGUAGES, language
from .page import OWN_PHOTOS, TABS, Components, Contents
from .photos import Photo, color_columns, default_column

# A visitor's language as page scripts know it, from a choice or the browser.
_WANTED_LANGUAGE = "() => [bioclip.code]"


def build_page(contents: Contents) -> gr.Blocks:
    """Build the page as Gradio blocks, to be mounted on a server."""
    with gr.Blocks(title="BioCLIP", analytics_enabled=False, delete_cache=(60, 600)) as page:
        _Events(page, Components(contents), contents).connect()
    page.queue(max_size=contents.service.limits.waiting)
    return page


class _Events:
    def __init__(self, blocks: gr.Blocks, components: Components, contents: Contents) -> None:
        self._blocks, self._page = blocks, components
        self._handlers = Handlers(contents.service, contents.gallery, contents.examples, contents.advice)
        self._model = {"concurrency_id": "model", "concurrency_limit": 1}
        # t-SNE and UMAP take seconds, and the first UMAP longer.
        self._mapping = {"concurrency_id": "map", "show_progress": "full"}
        # A dragged slider changes many times.
        self._sliding = {"trigger_mode": "always_last", "show_progress": "hidden"}

    def _listen(
        self,
        event: Callable[..., Any],
        handler: Callable[..., Any],
        inputs: Any,
        outputs: Any,
        **options: Any,
    ) -> Any:
        """Connect an event to a handler, whose first argument is the language."""
        settings: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"} | options
        return event(show_errors(handler), [self._page.language, *inputs], outputs, **settings)

    def connect(self) -> None:
        """Connect all components."""
        self._connect_photos()
        self._connect_choices()
        self._connect_tabs()
        self._connect_language()

    def _connect_photos(self) -> None:
        page, handlers = self._page, self._handlers
        # Progress is shown where the result will appear.
        results = [page.identified, page.labeled, page.similar, page.map]
        adding = {"show_progress": "full", "show_progress_on": results} | self._model
        changed = [page.photos, page.notices]
        # Gradio's preprocessing would leave an empty file behind for each upload.
        inputs = [page.drop, page.photos, page.choice]
        # Files that are chosen while others are read must not be dropped.
        adding_files = {"preprocess": False, "trigger_mode": "multiple"} | adding
        added = self._listen(page.drop.upload, handlers.add, inputs, changed, **adding_files)
        self._listen(added.then, lambda code: None, [], page.drop, queue=False)
        self._update_after(added)
        for i, button in enumerate(page.examples):
            example = partial(handlers.add_example, i)
            self._update_after(
                self._listen(button.click, example, [page.photos, page.choice], changed, **adding)
            )

        def remove(code: str, photos: list[Photo], event: gr.EventData) -> Any:
            digest = event._data.get("photo")
            return handlers.remove(code, photos, None if digest is None else str(digest))

        self._update_after(self._listen(page.bridge.delete, remove, [page.photos], changed, queue=False))

    def _connect_choices(self) -> None:
        page, handlers = self._page, self._handlers
        fields = [
            page.head,
            page.chosen_within,
            page.checklist,
            page.loaded,
            page.skip_unknown,
            page.temperature,
            page.calibration,
        ]

        def apply(code: str, photos: list[Photo], before: Choice, *values: Any) -> Any:
            return handlers.choose(code, photos, before, ChoiceForm(*values))

        def reset(code: str) -> tuple[Any, ...]:
            return gr.skip() if page.head.value is None else page.head.value, "", "", b"", False, "", None

        def load_checklist(code: str, file: Mapping[str, Any]) -> tuple[Any, ...]:
            content, name = handlers.load_checklist(code, file["path"])
            return content, "", cards.html(code).active([language(code)("choices.loaded", name=name)])

        def load_calibration(code: str, file: Mapping[str, Any]) -> tuple[Any, ...]:
            value = handlers.load_calibration(code, file["path"])
            return value, repr(value)

        inputs, outputs = [page.photos, page.choice, *fields], [page.photos, page.choice, page.active]
        applied = [
            self._listen(page.apply.click, apply, inputs, outputs, **self._model),
            self._listen(page.chosen_within.submit, apply, inputs, outputs, **self._model),
            self._listen(page.temperature.submit, apply, inputs, outputs, **self._model),
        ]
        cleared = self._listen(page.reset.click, reset, [], fields, queue=False)
        applied.append(self._listen(cleared.then, apply, inputs, outputs, **self._model))
        for event in applied:
            self._update_after(event)
        raw = {"preprocess": False, "queue": False}
        outputs = [page.loaded, page.checklist, page.active]
        self._listen(page.load_checklist.upload, load_checklist, [page.load_checklist], outputs, **raw)
        outputs = [page.calibration, page.temperature]
        self._listen(page.load_calibration.upload, load_calibration, [page.load_calibration], outputs, **raw)

    def _update_after(self, changed: Any) -> None:
        """Render everything that depends on the photos, after an event that changed them."""
        page, handlers = self._page, self._handlers

        def update(code: str, photos: list[Photo], choice: Choice, threshold: float) -> tuple[Any, ...]:
            names = [(f"{i + 1}. {photo.name}", i) for i, photo in enumerate(photos)]
            return (
                handlers.identify(code, photos, choice, threshold),
                handlers.tools(code, photos),
                gr.update(choices=names, value=0 if names else None),
            )

        inputs = [page.photos, page.choice, page.threshold]
        outputs = [page.identified, page.tools, page.query]
        updated = self._listen(changed.then, update, inputs, outputs, queue=False)
        self._update_open_tab(updated.then)

    def _update_open_tab(self, event: Callable[..., Any]) -> None:
        page, handlers, model = self._page, self._handlers, self._model

        def labels(code: str, tab: str, photos: list[Photo], labels: str) -> Any:
            return handlers.labels(code, photos, labels) if tab == "labels" else gr.skip()

        def similar(code: str, tab: str, *inputs: Any) -> Any:
            return handlers.similar(code, *inputs) if tab == "similar" else gr.skip()

        first = self._listen(event, labels, [page.tab, page.photos, page.labels], page.labeled, **model)
        second = self._listen(first.then, similar, [page.tab, *self._similar_inputs], page.similar, **model)
        third = self._listen(second.then, self._columns, self._column_inputs, page.column, queue=False)
        self._listen(third.then, self._map, self._map_inputs, page.map, **self._mapping)

    @property
    def _similar_inputs(self) -> list[Any]:
        return [self._page.photos, self._page.query, self._page.within, self._page.k]

    @property
    def _column_inputs(self) -> list[Any]:
        return [self._page.tab, self._page.photos, self._page.source, self._page.column]

    @property
    def _map_inputs(self) -> list[Any]:
        page = self._page
        return [page.tab, page.photos, page.source, page.method, page.column]

    def _columns(self, code: str, tab: str, photos: list[Photo], source: str, column: str | None) -> Any:
        if tab != "map":
            return gr.skip()
        columns = color_columns(self._handlers.mapped(photos, source != OWN_PHOTOS))
        choices = [(language(code).rank(name), name) for name in columns]
        return gr.update(choices=choices, value=column if column in columns else default_column(columns))

    def _map(
        self, code: str, tab: str, photos: list[Photo], source: str, method: str, column: str | None
    ) -> Any:
        if tab != "map":
            return gr.skip()
        return self._handlers.map(code, photos, source != OWN_PHOTOS, method, column)

    def _connect_tabs(self) -> None:
        page, handlers = self._page, self._handlers
        # `change` fires for pointer, keyboard and number input alike.
        inputs = [page.photos, page.choice, page.threshold]
        sliding = self._sliding
        self._listen(
            page.threshold.change, handlers.identify, inputs, page.identified, queue=False, **sliding
        )
        inputs = [page.photos, page.labels]
        self._listen(page.compare.click, handlers.labels, inputs, page.labeled, **self._model)
        for event, options in (
            (page.query.input, {}),
            (page.within.submit, {}),
            (page.within.blur, sliding),
            (page.k.change, sliding),
        ):
            self._listen(
                event, handlers.similar, self._similar_inputs, page.similar, **self._model, **options
            )
        recolored = self._listen(
            page.source.input, self._columns, self._column_inputs, page.column, queue=False
        )
        for event in (recolored.then, page.method.input, page.column.input):
            self._listen(event, self._map, self._map_inputs, page.map, **self._mapping)
        for name, tab in zip(TABS, page.tabs):
            selected = self._listen(tab.select, lambda code, name=name: name, [], page.tab, queue=False)
            if name != TABS[0]:
                self._update_open_tab(selected.then)

    def _connect_language(self) -> None:
        page = self._page
        outputs = [page.language, *page.translated]

        def begin(code: str) -> Any:
            return gr.skip() if code == LANGUAGES[0] else speak(code)

        def speak(code: str) -> Any:
            code = language(code).code
            return [code, *page.relabel(code)]

        def change(code: str, event: gr.EventData) -> Any:
            return speak(str(event._data.get("code")))

        options = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
        # The script's value replaces the input's.
        begun = self._blocks.load(begin, page.wanted_language, outputs, js=_WANTED_LANGUAGE, **options)
        changed = self._listen(page.bridge.apply, change, [], outputs, **options)
        for event in (begun, changed):
            self._update_after(event)
