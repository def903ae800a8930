"""The page: one place to drop photos, and four tabs of what the model says of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from bioclip_jax.markup import text

from .answers import Answers
from .examples import Example
from .folder import Folder
from .metadata import colour_columns, default_column
from .photos import Photo
from .projection import methods
from .visits import NO_INDEX, NO_PHOTOS, NO_TAXA, Visits, told

TABS = ("Identify", "Labels", "Similar", "Map")
_MINE = "Your photos"
# Photos of a page that nobody has touched for so long are forgotten.
_FORGET_SECONDS = 3600


def build_page(
    answers: Answers,
    *,
    folder: Folder | None = None,
    labels: Sequence[str] = (),
    examples: Sequence[Example] = (),
) -> gr.Blocks:
    """The page as Gradio's blocks, not yet on a server."""
    visits = Visits(answers, folder, examples)
    # Where the index knows no lineage, there is nothing to be within.
    example_taxon = answers.index.example() if answers.index is not None else None
    with gr.Blocks(title="BioCLIP", analytics_enabled=False, delete_cache=(60, 600)) as page:
        photos = gr.State([], time_to_live=_FORGET_SECONDS)
        tab = gr.State(TABS[0])
        gr.HTML(_title(answers))
        limits = answers.limits
        drop = gr.File(
            label=f"Photos: at most {limits.files} files of {limits.file_mb} MB",
            file_count="multiple",
            elem_id="bj-drop",
            height=140,
        )
        with gr.Row(elem_id="bj-examples", visible=bool(examples)):
            gr.HTML('<span class="bj-muted">Or try</span>')
            buttons = [
                gr.Button(example.name, elem_id=f"bj-example-{place}", elem_classes="bj-example")
                for place, example in enumerate(examples)
            ]
        problems = gr.HTML(elem_classes="bj-quiet")
        with gr.Row(elem_id="bj-mine"):
            strip = gr.HTML(elem_classes="bj-quiet")
            clear = gr.Button("Clear all", size="sm", visible=False, elem_id="bj-clear")
        with gr.Tabs():
            with gr.Tab(TABS[0]) as identify_tab:
                floor = gr.Slider(
                    0,
                    99,
                    50,
                    step=1,
                    label="Confidence to ask for, in %",
                    info="The prediction is the narrowest rank that reaches it, from kingdom down to species.",
                    visible=answers.taxa is not None,
                )
                identified = gr.HTML(NO_PHOTOS if answers.taxa is not None else NO_TAXA)
            with gr.Tab(TABS[1]) as labels_tab:
                written = gr.Textbox(
                    "\n".join(labels),
                    lines=4,
                    max_lines=12,
                    label="Names to choose from",
                    placeholder="oak leaf\nmaple leaf\nbirch leaf",
                    info="One a line, or separated by commas.",
                )
                compare = gr.Button("Compare", variant="primary", elem_id="bj-compare")
                labelled = gr.HTML(NO_PHOTOS)
            with gr.Tab(TABS[2]) as similar_tab:
                with gr.Row(visible=answers.index is not None):
                    which = gr.Dropdown([], label="Photo", min_width=220, elem_id="bj-which")
                    within = gr.Textbox(
                        label="Only within",
                        placeholder=f"any taxon, such as {example_taxon}",
                        visible=example_taxon is not None,
                        min_width=220,
                    )
                    k = gr.Slider(1, 48, 11, step=1, label="How many", min_width=140)
                similar = gr.HTML(NO_PHOTOS if answers.index is not None else NO_INDEX)
            with gr.Tab(TABS[3]) as map_tab:
                with gr.Row():
                    sources = [_MINE, *([f"Images of {folder.name}"] if folder is not None else [])]
                    source = gr.Radio(
                        sources, value=sources[-1], label="Map of", visible=folder is not None, min_width=140
                    )
                    method = gr.Radio(methods(), value="PCA", label="Method", min_width=140)
                    column = gr.Dropdown(
                        [],
                        label="Color by",
                        info="A CSV of photos adds columns: drop it, too.",
                        min_width=140,
                    )
                drawn = gr.HTML(NO_PHOTOS)
        gr.HTML(_api(answers))

        def listen(
            event: Callable[..., Any], handler: Callable[..., Any], inputs: Any, outputs: Any, **more: Any
        ) -> Any:
            """Connects an event; what needs the model waits in one line."""
            settings: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"} | more
            return event(told(handler), inputs, outputs, **settings)

        model = {"concurrency_id": "model", "concurrency_limit": 1}
        # t-SNE and UMAP take seconds, and the first UMAP longer.
        mapping = {"concurrency_id": "map", "show_progress": "full"}
        # Sliders change many times while they are dragged.
        sliding = {"trigger_mode": "always_last", "show_progress": "hidden"}

        def after_change(every: list[Photo], floor_: float) -> tuple[Any, ...]:
            names = [(f"{place + 1}. {photo.name}", place) for place, photo in enumerate(every)]
            return (
                visits.strip(every),
                gr.update(visible=bool(every)),
                visits.identify(every, floor_),
                gr.update(choices=names, value=0 if names else None),
            )

        def labels_now(tab_: str, every: list[Photo], names: str) -> Any:
            return visits.labels(every, names) if tab_ == TABS[1] else gr.skip()

        def similar_now(tab_: str, every: list[Photo], place: int | None, taxon: str, count: int) -> Any:
            return visits.similar(every, place, taxon, count) if tab_ == TABS[2] else gr.skip()

        def columns_now(tab_: str, every: list[Photo], source_: str, column_: str | None) -> Any:
            if tab_ != TABS[3]:
                return gr.skip()
            columns = colour_columns(visits.mapped(every, source_ != _MINE))
            return gr.update(
                choices=columns, value=column_ if column_ in columns else default_column(columns)
            )

        def map_now(tab_: str, every: list[Photo], source_: str, method_: str, column_: str | None) -> Any:
            if tab_ != TABS[3]:
                return gr.skip()
            return visits.map(every, source_ != _MINE, method_, column_)

        def refresh(event: Callable[..., Any]) -> None:
            """Brings the open tab up to date after an event."""
            first = listen(event, labels_now, [tab, photos, written], labelled, **model)
            second = listen(first.then, similar_now, [tab, photos, which, within, k], similar, **model)
            third = listen(second.then, columns_now, [tab, photos, source, column], column, queue=False)
            listen(third.then, map_now, [tab, photos, source, method, column], drawn, **mapping)

        def on_photos(added: Any) -> None:
            shown = [strip, clear, identified, which]
            refresh(listen(added.then, after_change, [photos, floor], shown, queue=False).then)

        # The result is where the visitor will look, so that is where progress is shown.
        waiting = {
            "show_progress": "full",
            "show_progress_on": [identified, labelled, similar, drawn],
        } | model
        # Gradio's own preparation of the files leaves an empty file behind for each.
        added = listen(
            drop.upload, visits.add, [drop, photos], [photos, problems], preprocess=False, **waiting
        )
        listen(added.then, lambda: None, None, drop, queue=False)
        on_photos(added)
        for place, button in enumerate(buttons):
            on_photos(listen(button.click, _example(visits, place), photos, [photos, problems], **waiting))
        on_photos(listen(clear.click, lambda: ([], ""), None, [photos, problems], queue=False))
        # By pointer, keyboard or number.
        listen(floor.change, visits.identify, [photos, floor], identified, queue=False, **sliding)
        listen(compare.click, visits.labels, [photos, written], labelled, **model)
        for event, more in (
            (which.input, {}),
            (within.submit, {}),
            (within.blur, sliding),
            (k.change, sliding),
        ):
            listen(event, visits.similar, [photos, which, within, k], similar, **model, **more)
        recolored = listen(source.input, columns_now, [tab, photos, source, column], column, queue=False)
        for event in (recolored.then, method.input, column.input):
            listen(event, map_now, [tab, photos, source, method, column], drawn, **mapping)
        for name, chosen in zip(TABS, (identify_tab, labels_tab, similar_tab, map_tab)):
            selected = listen(chosen.select, _named(name), None, tab, queue=False)
            if name != TABS[0]:
                refresh(selected.then)
    page.queue(max_size=answers.limits.waiting)
    return page


def _example(visits: Visits, place: int) -> Callable[[list[Photo]], tuple[list[Photo], str]]:
    def chosen(photos: list[Photo]) -> tuple[list[Photo], str]:
        return visits.add_example(place, photos)

    return chosen


def _named(name: str) -> Callable[[], str]:
    return lambda: name


def _title(answers: Answers) -> str:
    taxa = f", {len(answers.taxa.names):,} taxa" if answers.taxa is not None else ""
    within = f" within {text(answers.within)}" if answers.within else ""
    index = f", {len(answers.index):,} images to compare with" if answers.index is not None else ""
    return (
        f'<div class="bj-title"><h1>What is in the photo?</h1><p>{text(answers.name)}{taxa}{within}{index}. '
        "Photos stay on this server and are forgotten when the page is closed or reloaded.</p></div>"
    )


def _api(answers: Answers) -> str:
    lines = ["curl -F file=@photo.jpg -F labels='oak leaf,maple leaf' ADDRESS/api/labels"]
    if answers.taxa is not None:
        lines.insert(0, "curl -F file=@photo.jpg 'ADDRESS/api/predict?rank=family&amp;k=5'")
    if answers.index is not None:
        lines.append("curl -F file=@photo.jpg 'ADDRESS/api/similar?k=10'")
    lines.append("curl -F file=@photo.jpg ADDRESS/api/embed")
    commands = "\n".join(lines).replace("ADDRESS", '<span class="bj-address">http://127.0.0.1:7860</span>')
    return (
        '<details class="bj-api"><summary class="bj-muted">Ask from a program</summary><p '
        'class="bj-muted">The same '
        f"results as JSON; send <code>file</code> several times for several "
        f"photos.</p><pre>{commands}</pre></details>"
    )
