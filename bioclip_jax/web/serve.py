"""Start the server of the page and the API."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError

from .listen import bind, check_address, is_loopback, run_until_interrupt

if TYPE_CHECKING:
    from bioclip_jax.pipeline.images import ReadOptions
    from bioclip_jax.predict import Model, Precision
    from bioclip_jax.predict.taxa import TaxaChoice

    from .classifiers import PhotoHead, PhotoTaxa
    from .twin import TwinService


def serve_page(
    model: str | os.PathLike[str] | None = None,
    *,
    taxa: str | os.PathLike[str] | None = None,
    index: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    labels: str | None = None,
    temperature: float | str | None = None,
    subset: str | os.PathLike[str] | None = None,
    within: str | None = None,
    prior: str | os.PathLike[str] | None = None,
    backbone: str | os.PathLike[str] | None = None,
    skip_unknown: bool = False,
    heads: Sequence[str | os.PathLike[str]] = (),
    host: str = "127.0.0.1",
    port: int = 7860,
    root_path: str = "",
    max_upload_mb: int = 20,
    queue: int = 16,
    twin: str | os.PathLike[str] | None = None,
    kiosk: int = 0,
    pretrained: str | None = None,
    transform: str | None = None,
    reading: ReadOptions | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    precision: Precision = "fp32",
) -> None:
    """Serve the page and the API until Ctrl-C.

    model, pretrained, transform, device, batch_size, precision, reading: as load_model; without a model or
    transform, those of the index. taxa: a head for the model; without it, that of the model's directory, if
    any. index: a folder of `index build`. images: a folder for the map and the examples. labels: initial
    labels, as read_labels. heads: folders of `taxa learn`, to choose from in the page. temperature, subset,
    within, prior, backbone, skip_unknown: as predict. host: a loopback address unless others on the network
    shall use the page. root_path: path or URL under which a proxy shows the page. max_upload_mb: of one file.
    queue: number of requests that may wait for the model. twin: a run of a twin, whose page is shown under
    /twin. kiosk: seconds after which a page for a museum forgets a visitor who has left; 0: no such page.

    Raises UserError for an unavailable address, before the model is loaded, and for missing inputs.
    """
    check_address(port, root_path)
    for name, number in (("--max-upload-mb", max_upload_mb), ("--queue", queue)):
        if number < 1:
            raise UserError(f"{name} is {number}; it must be at least 1")
    for name, path in (
        ("--taxa", taxa),
        ("--index", index),
        ("--images", images),
        ("--subset", subset),
        ("--prior", prior),
        ("--backbone", backbone),
        ("--twin", twin),
    ):
        if path is not None and not os.path.exists(path):
            raise UserError(f"{name} {path} does not exist; correct the path, or omit {name}")
    for name, given in (("--skip-unknown", skip_unknown), ("--backbone", backbone)):
        if given and subset is None and prior is None:
            raise UserError(f"{name} needs --subset or --prior; add one of them, or omit {name}")
    initial_labels: list[str] = []
    if labels is not None:
        from bioclip_jax.predict.classifiers import read_labels

        initial_labels = read_labels(labels)
    from bioclip_jax.predict.taxa import TaxaChoice

    choice = TaxaChoice.read(
        subset=subset, within=within, prior=prior, backbone=backbone, skip_unknown=skip_unknown
    )
    local = is_loopback(host)
    with bind(host, port) as bound, _private_upload_folder():
        try:
            import gradio  # noqa: F401
            import uvicorn  # noqa: F401
        except ModuleNotFoundError as error:
            raise UserError(
                "the page needs gradio; install it with: pip install 'bioclip-jax[web]'"
            ) from error
        from bioclip_jax.predict import load_model

        from .app import build_app
        from .gallery import Gallery, find_examples
        from .service import PhotoService
        from .similar import SimilarImages
        from .uploads import Limits

        similar = None if index is None else SimilarImages(index)
        if similar is not None:
            model = similar.model if model is None else model
            transform = transform or similar.transform
        loaded = load_model(
            model,
            pretrained=pretrained,
            device=device,
            batch_size=batch_size,
            precision=precision,
            transform=transform,
            reading=reading,
        )
        if similar is not None:
            similar.check_model(loaded)
        head = _taxa(loaded, taxa, temperature, choice)
        limits = Limits(file_mb=max_upload_mb, request_mb=10 * max_upload_mb, waiting=queue)
        service = PhotoService(
            loaded,
            taxa=head,
            index=similar,
            limits=limits,
            within=within,
            heads=_learned(loaded, heads),
        )
        gallery = None if images is None else Gallery(os.fspath(images), service)
        app = build_app(
            service,
            gallery=gallery,
            labels=initial_labels,
            examples=find_examples(() if gallery is None else gallery.images, loaded.preprocess),
            local=local,
            root_path=root_path,
            kiosk=kiosk,
            twin=None if twin is None else _open_twin(twin, queue),
        )
        if gallery is not None:
            threading.Thread(target=gallery.embed, name="gallery", daemon=True).start()
        run_until_interrupt(app, bound, host)


def _open_twin(run: str | os.PathLike[str], queue: int) -> TwinService:
    from bioclip_jax.twin.view import ExportOptions

    from .twin import TwinLimits, open_twin

    return open_twin(run, ExportOptions(), TwinLimits(waiting=queue))


def _taxa(
    model: Model,
    path: str | os.PathLike[str] | None,
    temperature: float | str | None,
    choice: TaxaChoice | None,
) -> PhotoTaxa | None:
    """Open the taxa of a file or of the model, and restrict them; warn and return None if there are none."""
    from bioclip_jax.predict.taxa import read_temperature

    from .classifiers import PhotoTaxa

    value = 1.0 if temperature is None else read_temperature(str(temperature), model.fingerprint)
    try:
        taxa = PhotoTaxa(model, path, temperature=value)
    except UserError as error:
        # Options about taxa mean that they are wanted.
        if any(option is not None for option in (path, temperature, choice)):
            raise
        print(f"warning: the page can compare with labels only: {error}", file=sys.stderr)
        return None
    # A number may come from anywhere.
    taxa.calibrated = temperature is not None and os.path.isfile(str(temperature))
    if choice is not None:
        choice.apply(taxa)
    return taxa


def _learned(model: Model, folders: Sequence[str | os.PathLike[str]]) -> dict[str, PhotoHead]:
    """Open learned heads, by the names of their folders. Raises UserError for two of one name."""
    from .classifiers import PhotoHead

    heads = {}
    for folder in folders:
        name = os.path.basename(os.path.abspath(folder))
        if name in heads:
            raise UserError(f"--head has two folders called {name}; rename one of them")
        heads[name] = PhotoHead(model, folder)
    return heads


@contextmanager
def _private_upload_folder() -> Iterator[None]:
    """Let Gradio store uploads in a temporary folder that only this user can read."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    with tempfile.TemporaryDirectory(prefix="bioclip-jax-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["GRADIO_TEMP_DIR"]
            else:
                os.environ["GRADIO_TEMP_DIR"] = before
