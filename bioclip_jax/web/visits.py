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
from bioclip_jax.tables import is_table
from bioclip_jax.web import cards

from .answers import Answers
from .api import split
from .examples import Example
from .folder import Folder
from .map import Point, draw
from .markup import empty, failed, picture, sentence
from .metadata import Columns, read_metadata
from .near import thumbnail_of
from .photos import Photo, Upload, data_url
from .projection import compiles_first, project
from .uploads import uploaded

NO_PHOTOS = empty("No photos yet", "Drop some into the box above, or choose one of the examples.")
NO_TAXA = empty(
    "No taxa to choose from",
    "This server was started without a taxa file. Build one with <code>bioclip-jax taxa build</code> and "
    "start with "
    "<code>--taxa FILE</code>, or write labels of your own in the next tab.",
)
NO_INDEX = empty(
    "No index of images",
    "Build one with <code>bioclip-jax index build</code> and start the server with <code>--index DIR</code>.",
)
NO_LABELS = empty("Nothing compared yet", "Write the names to choose from, one a line, and press Compare.")

# Problems that are told one by one.
_MOST_TOLD = 12
_OUR_FAULT = "Something went wrong on the server. Its log says what; please try again."


def told(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler, whose errors a visitor reads as one sentence; what went wrong inside goes to the server's log."""

    @functools.wraps(handler)
    def telling(*arguments: Any) -> Any:
        try:
            return handler(*arguments)
        except gr.Error:
            raise
        except UserError as error:
            # A toast of Gradio shows markup, and a name may hold some.
            problem = text(sentence(error))
        except Exception:
            traceback.print_exc()
            problem = _OUR_FAULT
        raise gr.Error(problem, duration=8, title="That did not work", print_exception=False)

    return telling


def _in_place(view: Callable[..., str]) -> Callable[..., str]:
    """The view, with its errors where its result would be, so that no older result stays under them."""

    @functools.wraps(view)
    def showing(*arguments: Any) -> str:
        try:
            return view(*arguments)
        except UserError as error:
            return failed(error)
        except Exception:
            traceback.print_exc()
            return failed(_OUR_FAULT)

    return showing


class Visits:
    """The handlers of the page's events. What a visitor has sent is an argument and a result: none is kept here."""

    def __init__(self, answers: Answers, folder: Folder | None, examples: Sequence[Example]) -> None:
        self._answers, self._folder, self._examples = answers, folder, examples

    def add(self, files: Sequence[Mapping[str, Any]], photos: list[Photo]) -> tuple[list[Photo], str]:
        """Those of `files` (Gradio's "path" and "orig_name") before the photos, and what to say of files that are none.

        A table among the files has columns for the photos of the names that it holds.
        """
        problems: list[str] = []
        tables: dict[str, Columns] = {}
        uploads: list[Upload] = []
        with ExitStack() as opened:
            for file in files or ():
                upload = Upload(
                    file["orig_name"] or "photo", opened.enter_context(open(uploaded(file["path"]), "rb"))
                )
                if not is_table(upload.name):
                    uploads.append(upload)
                    continue
                try:
                    tables |= read_metadata(
                        upload.read(self._answers.limits.file_mb * 1_000_000), upload.name
                    )
                except UserError as problem:
                    problems.append(str(problem))
            return self._with(uploads, photos, tables, problems)

    def add_example(self, place: int, photos: list[Photo]) -> tuple[list[Photo], str]:
        """The photos with an example, which is there once however often it is chosen."""
        example = self._examples[place]
        others = [photo for photo in photos if photo.name != example.name]
        return self._with([Upload(example.name, io.BytesIO(example.content))], others, {}, [])

    def _with(
        self, uploads: Sequence[Upload], photos: list[Photo], tables: dict[str, Columns], problems: list[str]
    ) -> tuple[list[Photo], str]:
        most = self._answers.limits.files
        room = max(most - len(photos), 0)
        new, unreadable = self._answers.photos(uploads[:room])
        problems.extend(row["error"] for row in unreadable)
        # The newest first, which is what a visitor looks for, but those of one time in their own order.
        every = [
            replace(photo, about={**photo.about, **tables[photo.name]}) if photo.name in tables else photo
            for photo in [*new, *photos]
        ]
        notes = []
        if len(uploads) > room:
            count = len(uploads) - room
            were = "1 photo was" if count == 1 else f"{count} photos were"
            notes.append(
                f"{were} not added, because the page holds at most {most}; press Clear all to begin again."
            )
        if tables and not any(photo.name in tables for photo in every):
            notes.append(
                "The table names none of the photos; its column filepath must hold their file names."
            )
        return every, _told(problems, notes)

    def strip(self, photos: Sequence[Photo]) -> str:
        """All photos in a row."""
        if not photos:
            return ""
        number = f"{len(photos)} photo{'s' if len(photos) != 1 else ''}"
        shown = "".join(picture(photo.thumbnail, photo.name) for photo in photos)
        return f'<div class="bj-strip"><span>{number}</span>{shown}</div>'

    @_in_place
    def identify(self, photos: Sequence[Photo], floor: float) -> str:
        """The tab Identify; `floor` in percent."""
        if self._answers.taxa is None:
            return NO_TAXA
        return cards.identified(photos, self._answers.taxa, floor / 100) if photos else NO_PHOTOS

    @_in_place
    def labels(self, photos: Sequence[Photo], labels: str) -> str:
        """The tab Labels."""
        if not photos:
            return NO_PHOTOS
        if not labels.strip():
            return NO_LABELS
        return cards.labelled(photos, self._answers.with_labels(photos, split(labels)))

    @_in_place
    def similar(self, photos: Sequence[Photo], which: int | None, within: str, k: int) -> str:
        """The tab Similar, for the photo of place `which`."""
        if self._answers.index is None:
            return NO_INDEX
        if not photos:
            return NO_PHOTOS
        photo = photos[which if which is not None and which < len(photos) else 0]
        rows = self._answers.similar(photo, int(k), within)
        return cards.similar_images(photo, rows, [thumbnail_of(row["path"]) for row in rows])

    @_in_place
    def map(self, photos: Sequence[Photo], of_folder: bool, method: str, column: str | None) -> str:
        """The tab Map, of the visitor's photos or of the server's folder."""
        if compiles_first(len(self.mapped(photos, of_folder)), method):
            gr.Info(
                "The first map by UMAP takes up to a minute; later ones take seconds.",
                duration=20,
                title="UMAP",
            )
        if of_folder and self._folder is not None:
            if not len(self._folder):
                return empty(
                    "The map is being made", "The server is looking at its images. Come back in a moment."
                )
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


def _told(problems: Sequence[str], notes: Sequence[str]) -> str:
    """Messages about files that could not be taken (`problems`), and about the rest (`notes`)."""
    parts = []
    if problems:
        items = "".join(f"<li>{text(problem)}</li>" for problem in problems[:_MOST_TOLD])
        more = f"<p>and {len(problems) - _MOST_TOLD} more.</p>" if len(problems) > _MOST_TOLD else ""
        files = f"{len(problems)} file{'s' if len(problems) != 1 else ''}"
        parts.append(f"<b>Skipped {files}:</b><ul>{items}</ul>{more}")
    parts.extend(f"<p>{text(note)}</p>" for note in notes)
    return f'<div class="bj-told" role="alert">{"".join(parts)}</div>' if parts else ""
