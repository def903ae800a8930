"""Files that visitors send: limits, names, and a guard against other files of this machine."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import gradio as gr
from gradio.utils import get_upload_folder

from .language import VisitorError

_NAME_LENGTH = 80


@dataclass(frozen=True)
class Limits:
    """Limits of a request.

    file_mb: megabytes of one file. files: files of one request, and photos of a page. request_mb: megabytes
    of all files of a request. waiting: requests in the queue for the model. labels: number of labels, of at
    most label_length characters each.
    """

    file_mb: int = 20
    files: int = 100
    request_mb: int = 200
    waiting: int = 16
    labels: int = 100
    label_length: int = 120


class Upload:
    """An uploaded file, read on demand.

    name: the sender's name for it, cleaned by clean_name. digest: SHA-256 of the content, once it is read.
    """

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = clean_name(name)
        self.digest = ""
        self._file = file

    def read(self, max_bytes: int) -> bytes:
        """Read the content. Raises VisitorError if the file is empty or larger than `max_bytes`."""
        size = self._file.seek(0, os.SEEK_END)
        if size == 0:
            raise VisitorError("empty_file", name=self.name)
        if size > max_bytes:
            megabytes = {"size": round(size / 1e6), "limit": round(max_bytes / 1e6)}
            raise VisitorError("large_file", name=self.name, **megabytes)
        self._file.seek(0)
        content = self._file.read()
        self.digest = hashlib.sha256(content).hexdigest()
        return content


def clean_name(name: str) -> str:
    """Return a path's file name for display, without control characters and at most 80 characters long."""
    last = re.split(r"[/\\]", name)[-1]
    # Bidirectional control characters could make photo<mark>gpj.exe look like photoexe.jpg.
    shown = "".join(letter for letter in last if letter.isprintable()).strip() or "photo"
    if len(shown) > _NAME_LENGTH:
        shown = f"{shown[: _NAME_LENGTH - 12]}…{shown[-11:]}"
    return shown


def uploaded(path: str) -> str:
    """Resolve the path of an uploaded file. Raises VisitorError if it is gone, or not an upload."""
    resolved = Path(path).resolve()
    if not resolved.is_relative_to(Path(get_upload_folder()).resolve()) or not resolved.is_file():
        raise VisitorError("gone")
    return str(resolved)


def allow_only_uploads(page: gr.Blocks) -> None:
    """Keep visitors from making the page copy other files or fetch addresses.

    A mounted page, unlike one that Gradio launches, accepts any path, for blocks of all kinds.
    """

    def known(path: str | None) -> str:
        try:
            return uploaded(path or "")
        except VisitorError as error:
            # No handler shows it yet.
            raise gr.Error(str(error), print_exception=False) from None

    async def move(path: str | None) -> str:
        return known(path)

    for block in page.blocks.values():
        block.move_resource_to_block_cache = known
        block.async_move_resource_to_block_cache = move
