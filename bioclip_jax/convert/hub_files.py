"""Model files of the Hugging Face Hub, from the cache where they are there."""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import get_session

from bioclip_jax.errors import UserError

__all__ = ["download", "download_pair"]

# Seconds in which the Hub has to answer before a download is tried.
_PATIENCE = 5.0
_UNREACHABLE = "is not in the cache and the Hub cannot be reached"

_PAIR = (".npy", ".json")
# In open_clip's order.
_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)


def download(repository: str, config_name: str) -> tuple[Path, Path]:
    """The configuration and weights of hf-hub:`repository`, as paths in huggingface_hub's cache.

    Nothing is asked of the network when both are cached: a model that was fetched once works offline, at
    once, and does not change under its user. UserError where it cannot be had.
    """
    try:
        return _cached(repository, config_name)
    except LocalEntryNotFoundError:
        pass
    except HFValidationError as error:
        raise UserError(f"hf-hub:{repository} is not a Hub name: write hf-hub:ORG/NAME") from error
    advice = "connect once to fetch it, or give a model on this machine with --model DIR"
    _check_reachable(hf_hub_url(repository, config_name), f"hf-hub:{repository}", advice)
    try:
        config = hf_hub_download(repository, config_name)
        return Path(config), _fetch_weights(repository)
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise UserError(f"hf-hub:{repository} {_UNREACHABLE}; {advice}") from error
    except GatedRepoError as error:
        raise UserError(
            f"hf-hub:{repository} asks for consent first: accept its terms on the Hub, then `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"hf-hub:{repository} does not exist on the Hub, or is private: check the name, or `hf auth "
            f"login`"
        ) from error
    except EntryNotFoundError as error:
        raise UserError(f"hf-hub:{repository} has no {config_name}: it is not an open_clip model") from error
    except (HfHubHTTPError, OSError) as error:
        raise UserError(
            f"hf-hub:{repository} could not be fetched ({type(error).__name__}): try again"
        ) from error


def _cached(repository: str, config_name: str) -> tuple[Path, Path]:
    config = hf_hub_download(repository, config_name, local_files_only=True)
    for name in _WEIGHTS:
        try:
            return Path(config), Path(hf_hub_download(repository, name, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
    raise LocalEntryNotFoundError("no weights are cached")


def _fetch_weights(repository: str) -> Path:
    for name in _WEIGHTS:
        try:
            return Path(hf_hub_download(repository, name))
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            continue
    raise UserError(
        f"hf-hub:{repository} has no {' or '.join(_WEIGHTS)}: only ViT-CLIP models of open_clip are supported"
    )


def download_pair(repository: str, stems: Sequence[str]) -> Path:
    """STEM.npy of a dataset of the Hub, with STEM.json beside it, for the first of `stems` that it holds.

    A pair in huggingface_hub's cache is taken without a connection, whichever it is. UserError where none can
    be had.
    """
    for stem in stems:
        try:
            array, _ = (
                hf_hub_download(repository, stem + suffix, repo_type="dataset", local_files_only=True)
                for suffix in _PAIR
            )
            return Path(array)
        except LocalEntryNotFoundError:
            continue
    names = " or ".join(stem + _PAIR[0] for stem in stems)
    advice = "connect once to fetch it"
    url = hf_hub_url(repository, stems[0] + _PAIR[0], repo_type="dataset")
    _check_reachable(url, f"{names} of {repository}", advice)
    for stem in stems:
        try:
            array, _ = (hf_hub_download(repository, stem + suffix, repo_type="dataset") for suffix in _PAIR)
            return Path(array)
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            raise UserError(f"{names} of {repository} {_UNREACHABLE}; {advice}") from error
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError) as error:
            raise UserError(
                f"{stem} of {repository} could not be fetched ({type(error).__name__}): try again"
            ) from error
    raise UserError(
        f"{repository} has no {names}: no text embeddings are published for this model; make them with "
        "`bioclip-jax taxa build NAMES --model MODEL`, or give labels with --cls"
    )


def _check_reachable(url: str, what: str, advice: str) -> None:
    """UserError at once where `url` gets no answer of any kind; huggingface_hub itself retries for half a minute."""
    try:
        get_session().head(url, timeout=_PATIENCE)
    except (
        Exception
    ) as error:  # the session's library, and so its errors, depend on huggingface_hub's version
        raise UserError(f"{what} {_UNREACHABLE}; {advice}") from error
