"""Texts to embed, from a file."""

from __future__ import annotations

from pathlib import Path

from bioclip_jax.errors import UserError


def read_texts(path: Path) -> list[str]:
    """The lines of a text file, blank ones left out. UserError if it cannot be read or has none."""
    try:
        texts = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        raise UserError(f"the file of texts {path} does not exist; give one with a text a line") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"the file of texts {path} is not UTF-8 text; write one text a line") from error
    texts = [text for text in texts if text]
    if not texts:
        raise UserError(f"the file of texts {path} holds no text; write one a line")
    return texts
