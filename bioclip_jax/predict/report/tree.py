"""The best answers as a tree that opens and closes, without a program."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from bioclip_jax.markup import number, share, text
from bioclip_jax.text import RANKS

from .report import Name

MOST_NODES = 2_000
# Where so few taxa hold most of the images, the tree is open from the start.
_OPEN_CHILDREN = 3

Lineage = tuple[str, ...]


def tree(best: Mapping[Name, int], ranks: tuple[str, ...] = RANKS) -> str:
    """Nested lists of taxa with their images, the largest first; the smallest beyond MOST_NODES become "and n more"."""
    counts: dict[Lineage, int] = {}
    common: dict[Lineage, str] = {}
    for name, images in best.items():
        for depth in range(1, len(name.lineage) + 1):
            part = name.lineage[:depth]
            counts[part] = counts.get(part, 0) + images
        common[name.lineage] = name.common
    # A parent has no fewer images than its children, so that it is never left out before them.
    kept = heapq.nlargest(MOST_NODES, counts, key=lambda lineage: (counts[lineage], -len(lineage)))
    children: dict[Lineage, list[Lineage]] = {}
    for lineage in sorted(kept, key=lambda lineage: (-counts[lineage], lineage)):
        children.setdefault(lineage[:-1], []).append(lineage)
    missing: dict[Lineage, int] = {}
    for lineage in counts.keys() - set(kept):
        missing[lineage[:-1]] = missing.get(lineage[:-1], 0) + 1
    total = sum(best.values())

    def listed(parent: Lineage, opened: bool) -> str:
        items = "".join(node(child, opened) for child in children.get(parent, ()))
        more = missing.get(parent)
        return f"<ul>{items}{f'<li class=more>and {number(more)} more</li>' if more else ''}</ul>"

    def node(lineage: Lineage, opened: bool) -> str:
        below = children.get(lineage, ())
        opened = opened and len(below) <= _OPEN_CHILDREN
        images = counts[lineage]
        label = _label(lineage, ranks[len(lineage) - 1], common.get(lineage, ""))
        bar = f'<i class="share"><i style="width:{100 * images / total:.2f}%"></i></i>'
        figures = f'<span class="count" title="{share(images, total)}">{number(images)}</span>'
        if below or missing.get(lineage):
            inner = f"<summary>{label}{bar}{figures}</summary>{listed(lineage, opened)}"
            return f"<li><details{' open' if opened else ''}>{inner}</details></li>"
        return f'<li><div class="leaf">{label}{bar}{figures}</div></li>'

    return f'<div class="tree">{listed((), True)}</div>'


def _label(lineage: Lineage, rank: str, common: str) -> str:
    name = text(lineage[-1]) if lineage[-1] else f"(no {rank})"
    name = f"<em>{name}</em>" if rank in ("genus", "species") and lineage[-1] else name
    second = f' <span class="muted">{text(common)}</span>' if common else ""
    return f'<span class="taxon"><span class="rank">{rank}</span> {name}{second}</span>'
