"""HTTP API: the page's results as JSON, for files in a form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Query, UploadFile

from bioclip_jax import __version__
from bioclip_jax.errors import UserError
from bioclip_jax.predict import Rank
from bioclip_jax.text import RANKS

from .classifiers import Choice
from .photos import Photo
from .service import PhotoService, Row
from .uploads import Upload

Files = Annotated[list[UploadFile], File()]
Count = Annotated[int, Query(ge=1, le=100)]


def add_routes(app: FastAPI, service: PhotoService) -> None:
    """Add GET /api, and POST /api/predict, /api/labels, /api/similar, /api/embed and /api/explain.

    The form's field `file` holds one or more files. Results keep their order, with unreadable files in a
    separate list; if no file is readable, the request fails with status 400. Errors are {"error": sentence}.
    """

    @app.get("/api")
    def about() -> dict[str, Any]:
        """Model, sizes and limits of this server."""
        return {
            "bioclip_jax": __version__,
            "model": service.name,
            "fingerprint": service.model.fingerprint,
            "precision": service.model.precision,
            "embed_dim": service.model.config.embed_dim,
            "taxa": None if service.taxa is None else len(service.taxa.names),
            "heads": service.heads,
            "index": None if service.index is None else len(service.index),
            "limits": {"file_mb": service.limits.file_mb, "files": service.limits.files},
        }

    @app.post("/api/predict")
    def predict(
        file: Files,
        rank: str = "species",
        k: Count = 5,
        min_confidence: Annotated[float | None, Query(ge=0, le=1)] = None,
        within: Annotated[str, Query(max_length=200)] = "",
        subset: Annotated[str, Form()] = "",
        skip_unknown: bool = False,
        temperature: Annotated[float | None, Query(ge=0.05, le=100)] = None,
        head: Annotated[str, Query(max_length=200)] = "",
    ) -> dict[str, Any]:
        """Predict the k most probable taxa at `rank`, or the narrowest rank that reaches `min_confidence`.

        within, subset (content of a checklist), skip_unknown, temperature: as the options of predict.
        head: classes of a learned head instead of taxa; those of a wider rank keep theirs.
        """
        choice = Choice.create(
            subset.encode(), within=within, skip_unknown=skip_unknown, temperature=temperature, head=head
        )
        if rank.lower() not in RANKS:
            raise UserError(f"{rank[:40]!r} is not a rank; the ranks are {', '.join(RANKS)}")
        at_rank = Rank[rank.upper()]
        return _results(
            service,
            file,
            "predictions",
            lambda photos: service.predict(photos, at_rank, k, min_confidence, choice),
        )

    @app.post("/api/labels")
    def labels(file: Files, labels: Annotated[str, Form()], k: Count = 100) -> dict[str, Any]:
        """Predict probabilities of `labels`, one per line or separated by commas."""
        return _results(
            service, file, "predictions", lambda photos: service.compare(photos, split_labels(labels), k)
        )

    @app.post("/api/similar")
    def similar(
        file: Files, k: Count = 10, within: Annotated[str | None, Query(max_length=200)] = None
    ) -> dict[str, Any]:
        """Find the k most similar images of the server's index, of the taxon `within` only if given."""
        return _results(
            service, file, "images", lambda photos: [service.similar(photo, k, within) for photo in photos]
        )

    @app.post("/api/embed")
    def embed(file: Files) -> dict[str, Any]:
        """Compute unit vectors."""
        return _results(
            service, file, "embedding", lambda photos: [photo.vector.tolist() for photo in photos]
        )

    @app.post("/api/explain")
    def explain(
        file: Annotated[UploadFile, File()],
        labels: Annotated[str, Form()] = "",
        rank: str = "species",
        k: Annotated[int, Query(ge=1, le=10)] = 5,
        within: Annotated[str, Query(max_length=200)] = "",
        subset: Annotated[str, Form()] = "",
        skip_unknown: bool = False,
        temperature: Annotated[float | None, Query(ge=0.05, le=100)] = None,
        head: Annotated[str, Query(max_length=200)] = "",
    ) -> dict[str, Any]:
        """Explain one photo: the k best candidates, the patches that decided, and reference pictures.

        Candidates are the taxa at `rank`, or `labels`, if given; others as in predict.
        """
        choice = Choice.create(
            subset.encode(), within=within, skip_unknown=skip_unknown, temperature=temperature, head=head
        )
        if rank.lower() not in RANKS:
            raise UserError(f"{rank[:40]!r} is not a rank; the ranks are {', '.join(RANKS)}")
        upload = Upload(file.filename or "", file.file)
        chosen = split_labels(labels) if labels.strip() else []
        return {"model": service.name, **service.attribution(upload, Rank[rank.upper()], k, chosen, choice)}


def split_labels(labels: str) -> list[str]:
    """Split labels by line, or by comma if there is only one line."""
    lines = labels.splitlines()
    return lines if len(lines) > 1 else labels.split(",")


def _results(
    service: PhotoService,
    files: Sequence[UploadFile],
    name: str,
    compute: Callable[[list[Photo]], list[list[Row]] | list[list[float]]],
) -> dict[str, Any]:
    """Response with the result of `compute` for each readable file, under `name`."""
    uploads = [Upload(file.filename or "", file.file) for file in files]
    photos, unreadable = service.read(uploads, None)
    if not photos:
        raise unreadable[0][1]
    results = compute(photos)
    if name == "predictions":  # the file's name is beside them already
        results = [[{k: v for k, v in row.items() if k != "file_name"} for row in rows] for rows in results]
    results = [{"file_name": photo.name, name: result} for photo, result in zip(photos, results)]
    errors = [{"file_name": name, "error": str(error)} for name, error in unreadable]
    return {"model": service.name, "results": results, "unreadable": errors}
