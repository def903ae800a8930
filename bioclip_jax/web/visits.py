"""What a visit to the page does: photos come, are kept for as long as the page is open, and are looked at in tabs."""

from __future__ import annotations

import functools
import io
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np

from bioclip_jax.errors import UserError
from bioclip_jax.markup import text
from bioclip_jax.web import cards
from bioclip_jax.web.answers import Answers
from bioclip_jax.web.api import split
from bioclip_jax.web.folder import Folder
from bioclip_jax.web.map import Point, draw
from bioclip_jax.web.markup import empty, picture
from bioclip_jax.web.metadata import Columns, read_metadata
from bioclip_jax.web.near import thumbnail_of
from bioclip_jax.web.photos import Photo, Upload, data_url
from bioclip_jax.web.projection import project
from bioclip_jax.web.uploads import uploaded

NO_PHOTOS = empty("No photos yet", "Drop some into the box above, or choose one of the examples.")
NO_TAXA = empty(
    "No taxa to choose from",
    "This server was started without a taxa file. Build one with <code>bioclip-jax taxa build</code> and start with "
    "<code>--taxa FILE</code>, or write labels of your own in the next tab.",
)
NO_INDEX = empty(
    "No index of images",
    "Build one with <code>bioclip-jax index build</code> and start the server with <code>--index DIR</code>.",
)
NO_LABELS = empty("No labels yet", "Write the names to choose from, one a line, and press Compare.")

# Files that are named when they are left out.
_MOST_TOLD = 12


def told(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, whose errors a visitor reads as one sentence; what went wrong inside goes to the server's log."""

    @functools.wraps(handler)
    def telling(*arguments: Any) -> Any:
        try:
            return handler(*arguments)
        except gr.Error:
            raise
        except UserError as error:
            raise gr.Error(_sentence(error), duration=8, title="That did not work", print_exception=False) from None
        except Exception:
            traceback.print_exc()
            sentence = "Something went wrong on the server. Its log says what; please try again."
            raise gr.Error(sentence, duration=8, title="That did not work", print_exception=False) from None

    return telling


def _sentence(error: UserError) -> str:
    # A toast of Gradio shows markup, and a name may hold some.
    sentence = text(error)
    return f"{sentence[:1].upper()}{sentence[1:]}."


class Visits:
    """The handlers of the page's events. What a visitor has sent is an argument and a result: none is kept here."""

    def __init__(self, answers: Answers, folder: Folder | None, examples: Sequence[tuple[str, bytes]]) -> None:
        self._answers, self._folder, self._examples = answers, folder, examples

    def add(self, files: Sequence[Mapping[str, Any]], photos: list[Photo]) -> tuple[list[Photo], str]:
        """The photos with those of `files` (Gradio's "path" and "orig_name"), and what to say of files that are none.

        A CSV among the files has columns for the photos of the names that it holds.
        """
        problems: list[str] = []
        tables: dict[str, Columns] = {}
        uploads: list[Upload] = []
        with ExitStack() as opened:
            for file in files or ():
                upload = Upload(file["orig_name"] or "photo", opened.enter_context(open(uploaded(file["path"]), "rb")))
                if not upload.name.lower().endswith(".csv"):
                    uploads.append(upload)
                    continue
                try:
                    tables |= read_metadata(upload.read(self._answers.limits.file_mb * 1_000_000), upload.name)
                except UserError as problem:
                    problems.append(str(problem))
            return self._with(uploads, photos, tables, problems)

    def add_example(self, place: int, photos: list[Photo]) -> tuple[list[Photo], str]:
        """The photos with an example, which is there once however often it is chosen."""
        name, content = self._examples[place]
        others = [photo for photo in photos if photo.name != name]
        return self._with([Upload(name, io.BytesIO(content))], others, {}, [])

    def _with(
        self, uploads: Sequence[Upload], photos: list[Photo], tables: dict[str, Columns], problems: list[str]
    ) -> tuple[list[Photo], str]:
        room = self._answers.limits.files - len(photos)
        if len(uploads) > room:
            problems.append(f"{len(uploads) - room} more files than the page holds were left out; clear it first")
        new, unreadable = self._answers.photos(uploads[: max(room, 0)])
        problems.extend(row["error"] for row in unreadable)
        every = [
            replace(photo, about={**photo.about, **tables[photo.name]}) if photo.name in tables else photo
            for photo in [*photos, *new]
        ]
        return every, _told(problems)

    def strip(self, photos: Sequence[Photo]) -> str:
        """All photos in a row, the latest first."""
        if not photos:
            return ""
        number = f"{len(photos)} photo{'s' if len(photos) != 1 else ''}"
        shown = "".join(picture(photo.thumbnail, photo.name) for photo in reversed(photos))
        return f'<div class="bj-strip"><span>{number}</span>{shown}</div>'

    def identify(self, photos: Sequence[Photo], floor: float) -> str:
        """The tab Identify; `floor` in percent."""
        if self._answers.taxa is None:
            return NO_TAXA
        # The newest photo is what a visitor looks for.
        return cards.identified(photos[::-1], self._answers.taxa, floor / 100) if photos else NO_PHOTOS

    def labels(self, photos: Sequence[Photo], labels: str) -> str:
        """The tab Labels."""
        if not photos:
            return NO_PHOTOS
        if not labels.strip():
            return NO_LABELS
        return cards.labelled(photos[::-1], self._answers.with_labels(photos[::-1], split(labels)))

    def similar(self, photos: Sequence[Photo], which: int | None, within: str, k: int) -> str:
        """The tab Similar, for the photo of place `which`."""
        if self._answers.index is None:
            return NO_INDEX
        if not photos:
            return NO_PHOTOS
        photo = photos[which if which is not None and which < len(photos) else -1]
        rows = self._answers.similar(photo, int(k), within)
        return cards.similar_images(photo, rows, [thumbnail_of(row["path"]) for row in rows])

    def map(self, photos: Sequence[Photo], of_folder: bool, method: str, column: str | None) -> str:
        """The tab Map, of the visitor's photos or of the server's folder."""
        if of_folder and self._folder is not None:
            if not len(self._folder):
                return empty("The map is being made", "The server is looking at its images. Come back in a moment.")
            shown, sources, places = self._folder.map(method)
        else:
            if len(photos) < 2:
                return NO_PHOTOS if not photos else empty("One photo is no map", "Add some more photos.")
            shown, sources = photos, [data_url(photo.thumbnail) for photo in photos]
            places = project(np.stack([photo.vector for photo in photos]), method)
        points = [Point(p.name, source, p.about.get(column or "", "")) for p, source in zip(shown, sources)]
        return draw(points, places, column or "")

    def mapped(self, photos: Sequence[Photo], of_folder: bool) -> Sequence[Photo]:
        """The photos whose map that is."""
        return self._folder.photos if of_folder and self._folder is not None else photos


def _told(problems: Sequence[str]) -> str:
    """What a visitor should know of files that could not be taken."""
    if not problems:
        return ""
    items = "".join(f"<li>{text(problem)}</li>" for problem in problems[:_MOST_TOLD])
    more = f"<p>and {len(problems) - _MOST_TOLD} more.</p>" if len(problems) > _MOST_TOLD else ""
    title = "This file was left out:" if len(problems) == 1 else f"{len(problems)} files were left out:"
    return f'<div class="bj-told" role="alert"><b>{title}</b><ul>{items}</ul>{more}</div>'
