"""The HTTP API: the page's answers for programs, JSON for files that are sent as a form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Query, UploadFile

from bioclip_jax import __version__
from bioclip_jax.errors import UserError
from bioclip_jax.predict import Rank
from bioclip_jax.text import RANKS

from .answers import Answers, Row
from .photos import Photo, Upload

Files = Annotated[list[UploadFile], File()]
Count = Annotated[int, Query(ge=1, le=100)]


def add_routes(app: FastAPI, answers: Answers) -> None:
    """GET /api, and POST /api/predict, /api/labels, /api/similar and /api/embed.

    Files come in the form's field `file`, any number of times. Results keep the files' order, and files that
    are no images are told beside them; where none is one, the request fails with status 400. Every failure is
    one sentence: {"error": ...}.
    """

    @app.get("/api")
    def about() -> dict[str, Any]:
        """What this server has, and how much it takes."""
        return {
            "bioclip_jax": __version__,
            "model": answers.name,
            "fingerprint": answers.model.fingerprint,
            "embed_dim": answers.model.config.embed_dim,
            "taxa": None if answers.taxa is None else len(answers.taxa.names),
            "index": None if answers.index is None else len(answers.index),
            "limits": {"file_mb": answers.limits.file_mb, "files": answers.limits.files},
        }

    @app.post("/api/predict")
    def predict(
        file: Files,
        rank: str = "species",
        k: Count = 5,
        min_confidence: Annotated[float | None, Query(ge=0, le=1)] = None,
    ) -> dict[str, Any]:
        """The k most probable taxa at `rank`; or the narrowest rank that reaches `min_confidence`."""
        if rank.lower() not in RANKS:
            raise UserError(f"{rank[:40]!r} is not a rank; the ranks are {', '.join(RANKS)}")
        chosen = Rank[rank.upper()]

        def of_each(photos: list[Photo]) -> list[list[Row]]:
            return _without_names(answers.at_rank(photos, chosen, k, min_confidence))

        return _results(answers, file, "predictions", of_each)

    @app.post("/api/labels")
    def labels(file: Files, labels: Annotated[str, Form()], k: Count = 100) -> dict[str, Any]:
        """The probabilities of `labels`, which stand a line each or between commas."""

        def of_each(photos: list[Photo]) -> list[list[Row]]:
            return _without_names(answers.with_labels(photos, split(labels), k))

        return _results(answers, file, "predictions", of_each)

    @app.post("/api/similar")
    def similar(
        file: Files, k: Count = 10, within: Annotated[str | None, Query(max_length=200)] = None
    ) -> dict[str, Any]:
        """The k most similar images of the server's index; `within`: only those below that taxon."""

        def of_each(photos: list[Photo]) -> list[list[Row]]:
            return [answers.similar(photo, k, within) for photo in photos]

        return _results(answers, file, "images", of_each)

    @app.post("/api/embed")
    def embed(file: Files) -> dict[str, Any]:
        """Unit vectors."""
        return _results(
            answers, file, "embedding", lambda photos: [photo.vector.tolist() for photo in photos]
        )


def split(labels: str) -> list[str]:
    """Labels that stand a line each, or all on one line between commas."""
    lines = labels.splitlines()
    return lines if len(lines) > 1 else labels.split(",")


def _results(
    answers: Answers, files: Sequence[UploadFile], name: str, of_each: Callable[[list[Photo]], list[Any]]
) -> dict[str, Any]:
    """What `of_each` says of each file that is an image, under `name`."""
    uploads = [Upload(file.filename or "", file.file) for file in files]
    photos, unreadable = answers.photos(uploads, explain=False)
    if not photos:
        raise UserError(unreadable[0]["error"])
    results = [{"file_name": photo.name, name: found} for photo, found in zip(photos, of_each(photos))]
    return {"model": answers.name, "results": results, "unreadable": unreadable}


def _without_names(rows_of_each: list[list[Row]]) -> list[list[Row]]:
    return [
        [{name: row[name] for name in row if name != "file_name"} for row in rows] for rows in rows_of_each
    ]
