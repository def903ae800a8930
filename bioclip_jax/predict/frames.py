"""Pages of TIFFs and frames of videos among INPUTS, each an image of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import TIFF_SUFFIXES, has_extra, is_video, suffix_of
from bioclip_jax.pipeline.images import (
    MOST_PAGES,
    BadImage,
    ReadOptions,
    VideoAbout,
    VideoFile,
    tiff_pages,
    video_about,
)

from .image_file import ImageFile, frame_name
from .progress import track

MOST_FRAMES = 100_000
# Fewer files are listed before a progress bar could be read.
_TRACKED = 50


def check_every(every: float | None) -> None:
    """Raise UserError if --every is not a number of seconds that frames can be apart."""
    if every is not None and not 0.001 <= every < 1e9:
        raise UserError(f"--every is {every:g}; give the seconds between two frames, 0.001 or more")


def expand_frames(
    images: Sequence[ImageFile],
    every: float | None,
    skip: Callable[[str], None],
    report: Callable[[str], None],
) -> list[ImageFile]:
    """Replace TIFFs of several pages and videos by their pages, and by frames at 0, every, 2 * every, ... s.

    skip: called with the name of each video that is not read. report: called with a description of each file
    with too many pages or frames. A damaged file stays one image, which is then unreadable.
    """
    check_every(every)

    def parts(image: ImageFile) -> list[ImageFile] | str | None:
        try:
            return _frames(image, every) if is_video(image.name) else _pages(image)
        except (BadImage, OSError):
            return [replace(image, frame=0.0)] if is_video(image.name) else [image]

    several = [image for image in images if image.frame is None and _may_have_parts(image.name)]
    if not several:
        return list(images)
    result: list[ImageFile] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        listed = pool.map(parts, several)
        if len(several) > _TRACKED:
            listed = track(listed, "listing frames", len(several))
        for image in images:
            if image.frame is not None or not _may_have_parts(image.name):
                result.append(image)
            elif (found := next(listed)) is None:
                skip(image.name)
            elif isinstance(found, str):
                report(found)
            else:
                result += found
        next(listed, None)  # ends the progress bar
    return result


def _may_have_parts(name: str) -> bool:
    return suffix_of(name) in TIFF_SUFFIXES or is_video(name)


def frame_time(image: ImageFile) -> str:
    """Return the time of recording of a video's frame, YYYY-MM-DDTHH:MM:SS as the file states it; "" without.

    Most cameras write their local time; some files state UTC.
    """
    try:
        created = _about(image.video).created
        moment = datetime.fromisoformat((created or "").replace("Z", "").strip())
        return (moment.replace(tzinfo=None) + timedelta(seconds=float(image.frame or 0))).isoformat()
    except (BadImage, OSError, ValueError, OverflowError):
        return ""


def _pages(image: ImageFile) -> list[ImageFile] | str:
    with image.open() as file:
        pages = tiff_pages(file)
    if len(pages) > MOST_PAGES:
        return f"{image.name} has more than {MOST_PAGES:,} pages; split it"
    if len(pages) < 2 and pages in ([], [1]):
        return [image]
    return [replace(image, name=frame_name(image.name, page), frame=page) for page in pages]


def _frames(image: ImageFile, every: float | None) -> list[ImageFile] | str | None:
    if every is None or image.content is not None or not has_extra("video"):
        return None
    count = int(_about(image.video).last / every + 1e-6) + 1
    if count > MOST_FRAMES:
        return f"{image.name} has {count:,} frames at --every {every:g}, more than {MOST_FRAMES:,}; raise it"
    times = (round(float(number * every), 3) for number in range(count))
    return [replace(image, name=frame_name(image.name, time), frame=time) for time in times]


@lru_cache(maxsize=1024)
def _about(video: VideoFile) -> VideoAbout:
    return video_about(video, ReadOptions())
