"""Event handlers of the page: add photos, and render the tabs."""

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
from markupsafe import escape

from bioclip_jax.errors import UserError
from bioclip_jax.html import data_url
from bioclip_jax.tables import is_table

from . import cards
from .api import split_labels
from .gallery import Example, Gallery
from .map import Point, compiles_first, draw, project
from .photos import Columns, Photo, read_metadata
from .service import PhotoService, indexed_thumbnail
from .uploads import Upload, uploaded

_INTERNAL_ERROR = "Something went wrong on the server. Its log has the reason; please try again."


def show_errors(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a handler to show its errors as one sentence; tracebacks go to the server's log only."""

    @functools.wraps(handler)
    def wrapped(*arguments: Any) -> Any:
        try:
            return handler(*arguments)
        except gr.Error:
            raise
        except UserError as error:
            # Gradio's toast renders markup, which a file name may contain.
            message = str(escape(cards.sentence(error)))
        except Exception:
            traceback.print_exc()
            message = _INTERNAL_ERROR
        raise gr.Error(message, duration=8, title="That did not work", print_exception=False)

    return wrapped


def _errors_as_result(view: Callable[..., str]) -> Callable[..., str]:
    """Decorate a view to return its errors in place of the result, so that no older result remains."""

    @functools.wraps(view)
    def wrapped(*arguments: Any) -> str:
        try:
            return view(*arguments)
        except UserError as error:
            return cards.html.failed(cards.sentence(error))
        except Exception:
            traceback.print_exc()
            return cards.html.failed(_INTERNAL_ERROR)

    return wrapped


class Handlers:
    """Handlers of the page's events; a visitor's photos are arguments and results, never stored here."""

    def __init__(self, service: PhotoService, gallery: Gallery | None, examples: Sequence[Example]) -> None:
        self._service, self._gallery, self._examples = service, gallery, examples

    def add(self, files: Sequence[Mapping[str, Any]], photos: list[Photo]) -> tuple[list[Photo], str]:
        """Add uploaded files before the photos, and return notices about skipped ones.

        files: Gradio's dicts with "path" and "orig_name". Tables among them add metadata to the photos that
        they name.
        """
        problems: list[str] = []
        tables: dict[str, Columns] = {}
        uploads: list[Upload] = []
        with ExitStack() as stack:
            for file in files or ():
                stream = stack.enter_context(open(uploaded(file["path"]), "rb"))
                upload = Upload(file["orig_name"] or "photo", stream)
                if not is_table(upload.name):
                    uploads.append(upload)
                    continue
                try:
                    content = upload.read(self._service.limits.file_mb * 1_000_000)
                    tables |= read_metadata(content, upload.name)
                except UserError as error:
                    problems.append(str(error))
            return self._add(uploads, photos, tables, problems)

    def add_example(self, index: int, photos: list[Photo]) -> tuple[list[Photo], str]:
        """Add an example, or move it to the front if it is among the photos already."""
        example = self._examples[index]
        others = [photo for photo in photos if photo.name != example.name]
        return self._add([Upload(example.name, io.BytesIO(example.content))], others, {}, [])

    def _add(
        self, uploads: Sequence[Upload], photos: list[Photo], tables: dict[str, Columns], problems: list[str]
    ) -> tuple[list[Photo], str]:
        max_photos = self._service.limits.files
        room = max(max_photos - len(photos), 0)
        new, unreadable = self._service.read(uploads[:room])
        problems.extend(row["error"] for row in unreadable)
        # The newest upload is first, because visitors look for it; its files keep their order.
        photos = [
            replace(photo, metadata={**photo.metadata, **tables[photo.name]})
            if photo.name in tables
            else photo
            for photo in [*new, *photos]
        ]
        notes = []
        if len(uploads) > room:
            count = len(uploads) - room
            were = "1 photo was" if count == 1 else f"{count} photos were"
            limit = f"the page holds at most {max_photos}"
            notes.append(f"{were} not added, because {limit}; press Clear all to start over.")
        if tables and not any(photo.name in tables for photo in photos):
            notes.append(
                "The table names none of the photos; its column filepath must contain their file names."
            )
        return photos, cards.notices(problems, notes)

    def strip(self, photos: Sequence[Photo]) -> str:
        """Render all photos in a row."""
        return cards.html.strip(photos) if photos else ""

    @_errors_as_result
    def identify(self, photos: Sequence[Photo], threshold: float) -> str:
        """Render the tab Identify; threshold: confidence in percent."""
        if self._service.taxa is None:
            return cards.html.no_taxa()
        if not photos:
            return cards.html.no_photos()
        return cards.identified(photos, self._service.taxa, threshold / 100)

    @_errors_as_result
    def labels(self, photos: Sequence[Photo], labels: str) -> str:
        """Render the tab Labels."""
        if not photos:
            return cards.html.no_photos()
        if not labels.strip():
            advice = "Write the names to choose from, one per line, and press Compare."
            return cards.html.empty("Nothing compared yet", advice)
        return cards.labeled(photos, self._service.compare(photos, split_labels(labels)))

    @_errors_as_result
    def similar(self, photos: Sequence[Photo], index: int | None, within: str, k: int) -> str:
        """Render the tab Similar for one of the photos, the first if `index` is None or out of range."""
        if self._service.index is None:
            return cards.html.no_index()
        if not photos:
            return cards.html.no_photos()
        photo = photos[index if index is not None and index < len(photos) else 0]
        rows = self._service.similar(photo, int(k), within)
        return cards.similar_images(photo, rows, [indexed_thumbnail(row["path"]) for row in rows])

    @_errors_as_result
    def map(self, photos: Sequence[Photo], from_gallery: bool, method: str, column: str | None) -> str:
        """Render the tab Map, of the visitor's photos or of the gallery."""
        if compiles_first(len(self.mapped(photos, from_gallery)), method):
            gr.Info(
                "The first map by UMAP takes up to a minute; later ones take seconds.",
                duration=20,
                title="UMAP",
            )
        if from_gallery and self._gallery is not None:
            if not len(self._gallery):
                advice = "The server is embedding its images. Come back in a moment."
                return cards.html.empty("The map is not ready yet", advice)
            shown, sources, coordinates = self._gallery.map(method)
        elif not photos:
            return cards.html.no_photos()
        elif len(photos) < 2:
            return cards.html.empty("A map needs two photos", "Add some more photos.")
        else:
            shown, sources = photos, [data_url(photo.thumbnail) for photo in photos]
            coordinates = project(np.stack([photo.vector for photo in photos]), method)
        points = [
            Point(photo.name, source, photo.metadata.get(column or "", ""))
            for photo, source in zip(shown, sources)
        ]
        return draw(points, coordinates, column or "")

    def mapped(self, photos: Sequence[Photo], from_gallery: bool) -> Sequence[Photo]:
        """Photos on the map."""
        return self._gallery.photos if from_gallery and self._gallery is not None else photos
