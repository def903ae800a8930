"""Which files of this machine a visitor may name: those that came by an upload, and no others."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder


def uploaded(path: str) -> str:
    """The path of a file in the folder of uploads. gr.Error for any other, and for one that is gone."""
    real = Path(path).resolve()
    if not real.is_relative_to(Path(get_upload_folder()).resolve()) or not real.is_file():
        raise gr.Error("That file is not there any more. Please choose it again.", print_exception=False)
    return str(real)


def only_uploads(page: gr.Blocks) -> None:
    """From now on visitors cannot make the page copy other files, or fetch addresses.

    A page that is mounted and not launched by itself takes any path, and any block a file, whatever it is
    for.
    """

    async def moved(path: str | None) -> str:
        return uploaded(path or "")

    for block in page.blocks.values():
        block.move_resource_to_block_cache = lambda path: uploaded(path or "")
        block.async_move_resource_to_block_cache = moved
