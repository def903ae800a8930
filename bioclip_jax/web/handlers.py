"""Event handlers of the page: add and remove photos, choose candidates, and render the tabs."""

from __future__ import annotations

import functools
import io
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
from markupsafe import Markup, escape

from bioclip_jax.errors import UserError
from bioclip_jax.html import data_url
from bioclip_jax.tables import is_table

from . import cards
from .api import split_labels
from .classifiers import (
    ALL,
    MAX_CHECKLIST,
    Choice,
    ChoiceForm,
    PhotoHead,
    parse_calibration,
)
from .gallery import Example, Gallery
from .language import error_text, language
from .map import Point, compiles_first, draw, project
from .photos import Columns, Photo, read_metadata
from .service import PhotoService
from .similar import indexed_thumbnail
from .uploads import Upload, uploaded

_MAX_CALIBRATION = 1_000_000


def show_errors(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a handler, whose first argument is a language, to show its errors as one sentence.

    Tracebacks go to the server's log only.
    """

    @functools.wraps(handler)
    def wrapped(code: str, *arguments: Any) -> Any:
        try:
            return handler(code, *arguments)
        except UserError as error:
            # Gradio's toast renders markup, which a file name may contain.
            message = str(escape(cards.sentence(error_text(error, code))))
        except Exception:
            traceback.print_exc()
            message = language(code)("errors.internal")
        raise gr.Error(message, duration=8, title=language(code)("errors.title"), print_exception=False)

    return wrapped


def errors_as_result(view: Callable[..., Markup]) -> Callable[..., Markup]:
    """Decorate a view to return its errors in place of the result, so that no older result remains."""

    @functools.wraps(view)
    def wrapped(self: Handlers, code: str, *arguments: Any) -> Markup:
        try:
            return view(self, code, *arguments)
        except UserError as error:
            return cards.html(code).failed(cards.sentence(error_text(error, code)))
        except Exception:
            traceback.print_exc()
            return cards.html(code).failed(language(code)("errors.internal"))

    return wrapped


class Handlers:
    """Handlers of the page's events; a visitor's photos are arguments and results, never stored here.

    The first argument of each is the code of the visitor's language.
    """

    def __init__(
        self,
        service: PhotoService,
        gallery: Gallery | None,
        examples: Sequence[Example],
        advice: str = "identify.empty_about",
    ) -> None:
        """advice: key of the text for a visitor without photos."""
        self._service, self._gallery, self._examples, self._advice = service, gallery, examples, advice

    def _without_photos(self, code: str) -> Markup:
        return cards.html(code).empty("identify.empty", self._advice)

    def add(
        self, code: str, files: Sequence[Mapping[str, Any]], photos: list[Photo], choice: Choice
    ) -> tuple[list[Photo], Markup]:
        """Add uploaded files after the photos, and return notices about skipped ones.

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
                    problems.append(error_text(error, code))
            return self._add(code, uploads, photos, choice, tables, problems)

    def add_example(
        self, index: int, code: str, photos: list[Photo], choice: Choice
    ) -> tuple[list[Photo], Markup]:
        """Add an example, unless it is among the photos already."""
        example = self._examples[index]
        upload = Upload(example.name, io.BytesIO(example.content))
        return self._add(code, [upload], photos, choice, {}, [])

    def _add(
        self,
        code: str,
        uploads: Sequence[Upload],
        photos: list[Photo],
        choice: Choice,
        tables: dict[str, Columns],
        problems: list[str],
    ) -> tuple[list[Photo], Markup]:
        words, max_photos = language(code), self._service.limits.files
        room = max(max_photos - len(photos), 0)
        new, unreadable = self._service.read(uploads[:room], choice)
        problems.extend(error_text(error, code) for _, error in unreadable)
        # A photo is named by its content, in the page's corrections too.
        present = {photo.digest for photo in photos}
        unique = {photo.digest: photo for photo in reversed(new) if photo.digest not in present}
        added = [photo for photo in new if unique.get(photo.digest) is photo]
        photos = [
            replace(photo, metadata={**photo.metadata, **tables[photo.name]})
            if photo.name in tables
            else photo
            for photo in [*photos, *added]
        ]
        notes = []
        if len(new) > len(added):
            notes.append(words("errors.same", count=len(new) - len(added)))
        if len(uploads) > room:
            notes.append(words("errors.full", count=len(uploads) - room, most=max_photos))
        if tables and not any(photo.name in tables for photo in photos):
            notes.append(words("errors.table_unmatched"))
        return photos, cards.notices(code, problems, notes)

    def remove(self, code: str, photos: list[Photo], digest: str | None) -> tuple[list[Photo], Markup]:
        """Remove the photo of a digest, all photos without one; notices are removed too."""
        left = [] if digest is None else [photo for photo in photos if photo.digest != digest]
        return left, cards.notices(code, [], [])

    def tools(self, code: str, photos: Sequence[Photo]) -> Markup:
        """Render the bar above the tabs; empty without photos."""
        return cards.html(code).tools(photos) if photos else Markup()

    @errors_as_result
    def identify(self, code: str, photos: Sequence[Photo], choice: Choice, threshold: float) -> Markup:
        """Render the tab Identify; threshold: confidence in percent."""
        taxa = self._service.chosen(choice)
        if taxa is None:
            return cards.html(code).empty("identify.no_taxa", "identify.no_taxa_about")
        if not photos:
            return self._without_photos(code)
        if isinstance(taxa, PhotoHead):
            return cards.learned(code, photos, threshold / 100, choice)
        return cards.identified(code, photos, taxa, threshold / 100, choice)

    def choose(
        self, code: str, photos: list[Photo], before: Choice, values: ChoiceForm
    ) -> tuple[list[Photo], Choice, Markup]:
        """Name the photos among other candidates; an impossible choice changes nothing, and is told."""
        try:
            choice = values.choice()
            photos = self._service.explain(photos, choice)
            active = cards.active(code, self._service.chosen(choice), choice) if choice != ALL else Markup()
        except UserError as error:
            return photos, before, cards.html(code).failed(cards.sentence(error_text(error, code)))
        return photos, choice, active

    def load_checklist(self, code: str, path: str | None) -> tuple[bytes, str]:
        """Read an uploaded checklist; return its content and its name."""
        with open(uploaded(path or ""), "rb") as stream:
            upload = Upload(os.path.basename(path), stream)
            return upload.read(MAX_CHECKLIST), upload.name

    def load_calibration(self, code: str, path: str | None) -> float:
        """Read the temperature of an uploaded calibration of the server's model."""
        with open(uploaded(path or ""), "rb") as stream:
            upload = Upload(os.path.basename(path), stream)
            content = upload.read(_MAX_CALIBRATION)
        return parse_calibration(content, upload.name, self._service.model.fingerprint)

    @errors_as_result
    def labels(self, code: str, photos: Sequence[Photo], labels: str) -> Markup:
        """Render the tab Labels."""
        if not photos:
            return self._without_photos(code)
        if not labels.strip():
            return cards.html(code).empty("labels.empty", "labels.empty_about")
        return cards.labeled(code, photos, self._service.compare(photos, split_labels(labels)))

    @errors_as_result
    def similar(self, code: str, photos: Sequence[Photo], index: int | None, within: str, k: int) -> Markup:
        """Render the tab Similar for one of the photos, the first if `index` is None or out of range."""
        if self._service.index is None:
            return cards.html(code).empty("similar.no_index", "similar.no_index_about")
        if not photos:
            return self._without_photos(code)
        photo = photos[index if index is not None and index < len(photos) else 0]
        rows = self._service.similar(photo, int(k), within)
        return cards.similar_images(code, photo, rows, [indexed_thumbnail(row["path"]) for row in rows])

    @errors_as_result
    def map(
        self, code: str, photos: Sequence[Photo], from_gallery: bool, method: str, column: str | None
    ) -> Markup:
        """Render the tab Map, of the visitor's photos or of the gallery."""
        if compiles_first(len(self.mapped(photos, from_gallery)), method):
            gr.Info(language(code)("map.umap"), duration=20, title="UMAP")
        if from_gallery and self._gallery is not None:
            if not len(self._gallery):
                return cards.html(code).empty("map.waiting", "map.waiting_about")
            shown, sources, coordinates = self._gallery.map(method)
        elif not photos:
            return self._without_photos(code)
        elif len(photos) < 2:
            return cards.html(code).empty("map.two", "map.two_about")
        else:
            shown, sources = photos, [data_url(photo.thumbnail) for photo in photos]
            coordinates = project(np.stack([photo.vector for photo in photos]), method)
        points = [
            Point(photo.name, source, photo.metadata.get(column or "", ""))
            for photo, source in zip(shown, sources)
        ]
        return draw(code, points, coordinates, column or "")

    def mapped(self, photos: Sequence[Photo], from_gallery: bool) -> Sequence[Photo]:
        """Photos on the map."""
        return self._gallery.photos if from_gallery and self._gallery is not None else photos
