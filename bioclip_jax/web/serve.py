"""The verb `serve`."""

from __future__ import annotations

import ipaddress
import os
import re
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError

from .limits import Limits

if TYPE_CHECKING:
    from bioclip_jax.pipeline.images import ReadOptions
    from bioclip_jax.predict import Model, Rank

    from .answers import PhotoTaxa
    from .near import Near


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
    skip_unknown: bool = False,
    host: str = "127.0.0.1",
    port: int = 7860,
    root_path: str = "",
    max_upload_mb: int = 20,
    queue: int = 16,
    pretrained: str | None = None,
    transform: str | None = None,
    reading: ReadOptions | None = None,
    device: str | None = None,
    batch_size: int | None = None,
) -> None:
    """Serves the page and the API until Ctrl-C.

    Args: `model`, `pretrained`, `transform`, `device`, `batch_size`, `reading`, as load_model, but without a
      model or transform those of the index; `taxa`, a head for the model, without one that of the model's
      directory, or none; `index`, a folder of `index build`; `images`, a folder for the map and the examples;
      `labels`, initial labels, as read_labels; `temperature`, `subset`, `skip_unknown`, `within`, as predict;
      `host`, a loopback address unless others on the network shall see the page; `root_path`, the path or the
      whole URL under which a proxy shows the page; `max_upload_mb`, of one file; `queue`, how many requests
      may wait for the model.
    Errors: UserError for an address that is not to be had, before the model is loaded, and for whatever of
      the arguments is not there.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"the port is {port}; give one from 1 to 65535")
    for name, number in (("--max-upload-mb", max_upload_mb), ("--queue", queue)):
        if number < 1:
            raise UserError(f"{name} is {number}; it must be at least 1")
    if root_path and not re.fullmatch(r"(?:https?://[\w.:\[\]-]+)?(?:/[\w.~-]+)*/?", root_path):
        raise UserError(
            f"--root-path is {root_path}; give a path such as /bioclip, or https://example.org/bioclip"
        )
    for name, path in (("--taxa", taxa), ("--index", index), ("--images", images), ("--subset", subset)):
        if path is not None and not os.path.exists(path):
            raise UserError(f"{name} {path} does not exist; name what is there, or leave it out")
    if skip_unknown and subset is None:
        raise UserError("--skip-unknown is about --subset, which is not given; leave it out")
    written: list[str] = []
    if labels is not None:
        from bioclip_jax.predict.classifiers import read_labels

        written = read_labels(labels)
    selection = None
    if subset is not None:
        from bioclip_jax.predict.taxa import read_subset

        selection = read_subset(subset)
    limits = Limits(file_mb=max_upload_mb, request_mb=10 * max_upload_mb, waiting=queue)
    local = is_loopback(host)
    with _bound(host, port) as bound, _private_uploads():
        try:
            import gradio  # noqa: F401
            import uvicorn
        except ModuleNotFoundError as error:
            raise UserError(
                "the page needs gradio; install it with: pip install 'bioclip-jax[web]'"
            ) from error
        from bioclip_jax.predict import load_model

        from .answers import Answers
        from .app import build_app
        from .examples import examples
        from .folder import Folder

        near = _index(index)
        if model is None and near is not None:
            model = near.model
        transform = transform or (near.transform if near is not None else None)
        how = {"pretrained": pretrained, "device": device, "batch_size": batch_size, "transform": transform}
        loaded = load_model(model, **how, reading=reading)
        if near is not None:
            near.check_model(loaded)
        head = _taxa(loaded, taxa, temperature, selection, within, skip_unknown)
        answers = Answers(loaded, taxa=head, index=near, limits=limits, within=within)
        folder = None if images is None else Folder(os.fspath(images), answers)
        shown = examples(folder.images if folder is not None else (), loaded.preprocess)
        app = build_app(
            answers, folder=folder, labels=written, examples=shown, local=local, root_path=root_path
        )
        if folder is not None:
            threading.Thread(target=folder.embed, name="folder", daemon=True).start()
        # Whoever follows the address at once waits for the server, and is not refused.
        bound.listen()
        name = f"[{host}]" if ":" in host else host
        print(f"The page is at http://{name}:{bound.getsockname()[1]} until Ctrl-C.", file=sys.stderr)
        if not local:
            print(
                f"warning: {host} is no loopback address: whoever reaches it can use the page",
                file=sys.stderr,
            )
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)

        class Server(uvicorn.Server):
            async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
                # Open pages keep streams that never end by themselves, and uvicorn logs a traceback for each.
                app.end_streams()
                await super().shutdown(sockets)

        with _ends_quietly():
            Server(config).run(sockets=[bound])


def _taxa(
    model: Model,
    path: str | os.PathLike[str] | None,
    temperature: float | str | None,
    selection: tuple[Rank, list[str]] | None,
    within: str | None,
    skip_unknown: bool,
) -> PhotoTaxa | None:
    """The chosen taxa of a file, or without one those of the model; None, and a warning, where it has none."""
    from bioclip_jax.predict.taxa import read_temperature

    from .answers import PhotoTaxa

    degrees = 1.0 if temperature is None else read_temperature(str(temperature), model.fingerprint)
    try:
        taxa = PhotoTaxa(model, path, temperature=degrees)
    except UserError as error:
        # Who named taxa, or chose among them, does not want a page without.
        if any(option is not None for option in (path, temperature, selection, within)):
            raise
        print(f"warning: the page can compare with labels only: {error}", file=sys.stderr)
        return None
    if selection is not None or within is not None:
        taxa.choose(selection, within, skip_unknown=skip_unknown)
    return taxa


def _index(directory: str | os.PathLike[str] | None) -> Near | None:
    if directory is None:
        return None
    from .near import Near

    return Near(directory)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _ends_quietly() -> Iterator[None]:
    """Ctrl-C and SIGTERM, which uvicorn raises again when it has closed all, end the block, and no more."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if main else None
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket at the address. UserError where it is taken, or not of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
        except OSError as error:
            reason = error.strerror or error
            raise UserError(
                f"{host}:{port} cannot be used ({reason}); choose another --port or --host"
            ) from error
        yield bound


@contextmanager
def _private_uploads() -> Iterator[None]:
    """A folder for uploads that only this user can read, gone at the end; Gradio's own is shared by its users."""
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
