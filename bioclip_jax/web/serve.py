"""The verb `serve`."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bioclip_jax.errors import UserError
from bioclip_jax.web.limits import Limits

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model
    from bioclip_jax.web.answers import PhotoTaxa
    from bioclip_jax.web.near import Near


def serve(
    model: str | os.PathLike[str] | None = None,
    *,
    taxa: str | os.PathLike[str] | None = None,
    index: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    labels: str | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    max_upload_mb: int = 20,
    queue: int = 16,
    pretrained: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
) -> None:
    """Serves the page and the API until Ctrl-C.

    Args: `model`, `pretrained`, `device`, `batch_size`, as load_model; `taxa`, a head for the model, without one that
      of the model's directory, or none; `index`, a folder of `index build`; `images`, a folder for the map and the
      examples; `labels`, what stands in the box of labels, as read_labels; `host`, a loopback address unless others on
      the network shall see the page; `max_upload_mb`, of one file; `queue`, how many requests may wait for the model.
    Errors: UserError for an address that is not to be had, before the model is loaded, and for whatever of the
      arguments is not there.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"the port is {port}; give one from 1 to 65535")
    for name, number in (("--max-upload-mb", max_upload_mb), ("--queue", queue)):
        if number < 1:
            raise UserError(f"{name} is {number}; it must be at least 1")
    for name, path in (("--taxa", taxa), ("--index", index), ("--images", images)):
        if path is not None and not os.path.exists(path):
            raise UserError(f"{name} {path} does not exist; name what is there, or leave it out")
    written: list[str] = []
    if labels is not None:
        from bioclip_jax.predict.classifiers.labels import read_labels

        written = read_labels(labels)
    limits = Limits(file_mb=max_upload_mb, request_mb=10 * max_upload_mb, waiting=queue)
    local = is_loopback(host)
    with _bound(host, port) as bound, _private_uploads():
        try:
            import gradio  # noqa: F401
            import uvicorn
        except ModuleNotFoundError as error:
            raise UserError("the page needs gradio; install it with: pip install 'bioclip-jax[web]'") from error
        from bioclip_jax.predict.model import load_model
        from bioclip_jax.web.answers import Answers
        from bioclip_jax.web.app import build_app
        from bioclip_jax.web.examples import examples
        from bioclip_jax.web.folder import Folder

        loaded = load_model(model, pretrained=pretrained, device=device, batch_size=batch_size)
        answers = Answers(loaded, taxa=_taxa(loaded, taxa), index=_index(loaded, index), limits=limits)
        folder = None if images is None else Folder(os.fspath(images), answers)
        shown = examples(folder.images if folder is not None else ())
        app = build_app(answers, folder=folder, labels=written, examples=shown, local=local)
        if folder is not None:
            threading.Thread(target=folder.embed, name="folder", daemon=True).start()
        name = f"[{host}]" if ":" in host else host
        print(f"The page is at http://{name}:{bound.getsockname()[1]} until Ctrl-C.", file=sys.stderr)
        if not local:
            print(f"warning: {host} is no loopback address: whoever reaches it can use the page", file=sys.stderr)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
        with _ends_quietly():
            uvicorn.Server(config).run(sockets=[bound])


def _taxa(model: Model, path: str | os.PathLike[str] | None) -> PhotoTaxa | None:
    """The taxa of a file, or without one those of the model; None, and a warning, where it has none."""
    from bioclip_jax.web.answers import PhotoTaxa

    try:
        return PhotoTaxa(model, path)
    except UserError as error:
        if path is not None:
            raise
        print(f"warning: the page can compare with labels only: {error}", file=sys.stderr)
        return None


def _index(model: Model, directory: str | os.PathLike[str] | None) -> Near | None:
    if directory is None:
        return None
    from bioclip_jax.web.near import Near

    return Near(directory, model.fingerprint)


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
            raise UserError(f"{host}:{port} cannot be used ({reason}); choose another --port or --host") from error
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
