"""Export of a run as one HTML file that loads nothing and tells no place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError, listing
from bioclip_jax.files import check_output, check_suffix, json_text, write_text
from bioclip_jax.predict import track
from bioclip_jax.twin.scenario import Run, read_run
from bioclip_jax.twin.world import Twin

from .blocks import block_sizes, deltas
from .content import as_numbers, page_content, patch_order, public_texts
from .flows import link_flows
from .page import Page, make_page
from .privacy import Secrets, find_secrets, secrets_of
from .scenes import HOURS, scene_bank
from .series import QUANTILES, STEPS_PER_DECADE, quantiles
from .sight import sight_of
from .three import three_js
from .twin_of_run import find_twin

_TITLE = "Wildlife twin"
_MOST_BYTES = 15_000_000


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    twin: folder of the run's twin (default: the one beside the run). precise: show names and positions of
    patches. deployments: table whose camera ids and positions the page is searched for. overwrite: replace
    the output. three: include three.js. scene_seconds: length of each scene.
    """

    twin: Path | None = None
    precise: bool = False
    deployments: Path | None = None
    overwrite: bool = False
    three: bool = True
    scene_seconds: float = 120.0


def export_page(
    run: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: ExportOptions = ExportOptions(),
) -> dict[str, Any]:
    """Write the page of a run, and return what is in it; equal runs have equal bytes.

    Raises UserError for a run or twin that is not valid, for an output that exists or cannot be written, and
    if the page would tell a coordinate, a camera or a place.
    """
    output = Path(output)
    check_suffix(output, (".html", ".htm"), "the page")
    check_output(output, "the page")
    if output.exists() and not options.overwrite:
        raise UserError(f"{output} exists; name another file, or replace it with --overwrite")
    read = read_run(run)
    twin = find_twin(read, options.twin)
    page, content = compose_page(read, twin, options)
    size = len(page.html.encode())
    if size > _MOST_BYTES:
        raise UserError(
            f"the page has {size / 1e6:.1f} MB, at most {_MOST_BYTES / 1e6:g}; simulate fewer scenarios"
        )
    write_text(output, page.html)
    return {
        "output": str(output),
        "bytes": size,
        "calibrated": content["calibrated"],
        "note": read.note,
        "precise": options.precise,
        "species": len(content["species"]),
        "patches": len(content["patches"]),
        "scenarios": len(content["branches"]) - 1,
        "scenes": len(content["scenes"]),
        "trajectory_bytes": sum(n for name, n in block_sizes(page.html).items() if name.startswith("scene-")),
        "three_js": page.has_three,
    }


def compose_page(
    run: Run, twin: Twin, options: ExportOptions, live: tuple[dict[str, Any], bytes] | None = None
) -> tuple[Page, dict[str, Any]]:
    """Return the page of a run and its JSON. live: JSON and block for a page with simulations of its own.

    Raises UserError if the page would tell a coordinate, a camera or a place.
    """
    three = three_js() if options.three else None
    secrets = secrets_of(twin, options.deployments)
    content, blocks = _collected(run, twin, options, secrets)
    if live is not None:
        content["live"], blocks["live"] = live
    blocks["data"] = json_text(content, ensure_ascii=False, separators=(",", ":")).encode()
    page = make_page(content["name"] or _TITLE, blocks, three, live=live is not None)
    if not options.precise:
        found = find_secrets(page.html, secrets, page.programs, public_texts(content))
        if found:
            raise UserError(
                f"the page would tell the place: {listing(found, 3)}; rename it in the world, or name "
                "--precise if everybody may know"
            )
    return page, content


def _collected(
    run: Run, twin: Twin, options: ExportOptions, secrets: Secrets
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the JSON and the data blocks of a page, with a progress bar."""
    content: dict[str, Any] = {}
    blocks: dict[str, bytes] = {"data": b""}

    def collect_content() -> None:
        content.update(page_content(run, twin, secrets, precise=options.precise))

    def collect_flows() -> None:
        content["flows"] = as_numbers(link_flows(run, twin))

    def collect_series() -> None:
        total, patches = quantiles(run, patch_order(twin))
        content["series"] = {"quantiles": [round(100 * one) for one in QUANTILES], "steps": STEPS_PER_DECADE}
        blocks["series"] = deltas(total) + deltas(patches)

    def collect_sight() -> None:
        content["sight"] = {one.name: sight_of(one) for one in twin.species if one.kind != "producer"}
        content["sight"] |= {name: sight_of(name) for name in ("Homo sapiens", "Salticidae")}

    steps: list[Callable[[], None]] = [collect_content, collect_series, collect_flows, collect_sight]

    def work() -> Iterator[None]:
        for step in steps:
            step()
            yield
        content["scenes"] = []
        for header, name, encoded in scene_bank(run, twin, options.scene_seconds):
            blocks[name] = encoded
            if name == "landscape":
                content["landscape"] = header
            else:
                content["scenes"].append(header)
            yield

    # A landscape, and scenes of all branches and hours.
    for _ in track(work(), "exporting", len(steps) + 1 + len(run.branches) * len(HOURS)):
        pass
    return content, blocks
