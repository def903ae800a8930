"""The files of a MODEL, on this machine or on the Hugging Face Hub."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bioclip_jax.checkpoint import TrainingDirectory
from bioclip_jax.errors import UserError, did_you_mean
from bioclip_jax.files import files_below
from bioclip_jax.models import model_names

from .pretrained import MODEL_FORMS, repository
from .published import Origin, recognize
from .weights import TAXA_FILE, find_weights, is_weights_file

__all__ = [
    "CONFIG_FILE",
    "RECORD_KEY",
    "ModelFiles",
    "Run",
    "WeightsFile",
    "download_pair",
    "is_bare_directory",
    "local_path",
    "locate",
    "model_files",
]

CONFIG_FILE = "open_clip_config.json"
# Key of CONFIG_FILE for the Origin that export and import record; open_clip ignores other keys than
# model_cfg and preprocess_cfg.
RECORD_KEY = "bioclip_jax"
# Other files read from a model's directory: open_clip's tokenizer, and the records of a training run.
_OTHER_FILES = (
    CONFIG_FILE,
    "config.json",
    "metrics.jsonl",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)
# Least difflib ratio at which a name counts as a misspelled architecture.
_LIKE_AN_ARCHITECTURE = 0.8

# Seconds to wait for a response of the Hub before a download is tried.
_HUB_TIMEOUT = 5.0
_UNREACHABLE = "is not in the cache and the Hub cannot be reached"
_PAIR = (".npy", ".json")
# In open_clip's order.
_HUB_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)


class Run(NamedTuple):
    """A training directory, and the step of one of its checkpoints; None for the newest."""

    path: Path
    step: int | None


class ModelFiles(NamedTuple):
    """A model in open_clip's layout; `directory` is None for a model of the Hub."""

    source: str
    config_file: Path
    weights: Path
    directory: Path | None

    def origin(self, content: Mapping[str, Any]) -> Origin:
        """Recognize the model's origin, from the content of `config_file` and the files themselves."""
        return recognize(self.source, self.weights, content.get(RECORD_KEY))


class WeightsFile(NamedTuple):
    """A bare weights file, and the name of its architecture."""

    path: Path
    architecture: str


def locate(model: str | Path, pretrained: str | Path | None = None) -> Run | ModelFiles | WeightsFile:
    """Find the files of a MODEL: the only function that knows its forms, pretrained.MODEL_FORMS.

    pretrained: a weights file or tag of an architecture, as after the colon; None for the only tag it has.
    Raises UserError if `model` has none of the forms.
    """
    text = str(model)
    name, _, tag = text.partition(":")
    if name.replace("/", "-") in model_names() and not os.path.isdir(text):
        if tag and pretrained is not None:
            raise UserError(f"{text} names its weights; leave out --pretrained {pretrained}")
        pretrained = tag or pretrained
        if pretrained is not None and is_weights_file(path := Path(pretrained).expanduser()):
            return WeightsFile(path, name)
        text = repository(name, None if pretrained is None else str(pretrained))
    elif pretrained is not None and (tag or os.path.exists(text)):
        raise UserError(
            f"{text} has its own weights; leave out --pretrained {pretrained}, or name an architecture"
        )
    if text.startswith("hf-hub:"):
        return ModelFiles(text, *_download(text.removeprefix("hf-hub:"), CONFIG_FILE), None)
    path = local_path(text)
    if (run := _as_run(path)) is not None:
        return run
    if (path / CONFIG_FILE).is_file():
        return ModelFiles(text, path / CONFIG_FILE, find_weights(path), path)
    raise UserError(_problem(text, path))


def model_files(model: str | Path | None, *, taxa: bool = True) -> Iterator[Path]:
    """Yield the files of a local MODEL: configuration, weights, checkpoints, and its taxa unless excluded.

    Nothing for None and a model of the Hub.
    """
    if model is None:
        return
    path = local_path(str(model))
    if path.is_file():
        yield path
    if not path.is_dir():
        return
    if (run := _as_run(path)) is not None:
        path = run.path
        yield from files_below(path / "checkpoints")
    for file in path.iterdir():
        if is_weights_file(file) and (taxa or file.name != TAXA_FILE) or file.name in _OTHER_FILES:
            yield file


def local_path(model: str) -> Path:
    """Return the absolute path of a MODEL on this machine, with or without local-dir:."""
    return Path(model.removeprefix("local-dir:")).expanduser().absolute()


def is_bare_directory(path: Path) -> bool:
    """Return True for a directory of weights without open_clip's configuration that is not a run."""
    if not path.is_dir() or (path / CONFIG_FILE).is_file() or TrainingDirectory.exists_at(path):
        return False
    return any(is_weights_file(file) for file in path.iterdir())


def _as_run(path: Path) -> Run | None:
    if TrainingDirectory.exists_at(path):
        return Run(path, None)
    is_step = path.name.isdecimal() and path.parent.name == "checkpoints"
    if is_step and TrainingDirectory.exists_at(path.parents[1]):
        return Run(path.parents[1], int(path.name))
    return None


def _problem(text: str, path: Path) -> str:
    advice = f"`bioclip-jax import {text} OUT --model NAME` makes a model directory of it"
    if path.is_file() and is_weights_file(path):
        return f"{text} is a bare weights file: {advice}"
    if is_bare_directory(path):
        kind = "a transformers model" if (path / "config.json").is_file() else "weights alone"
        return f"{text} holds {kind}, without {CONFIG_FILE}: {advice}"
    if path.is_dir():
        return (
            f"{text} is not a model: it holds neither {CONFIG_FILE} nor config.json with checkpoints/; "
            f"give {MODEL_FORMS}"
        )
    name = text.partition(":")[0].replace("/", "-")
    if not path.exists() and (hint := did_you_mean(name, model_names(), cutoff=_LIKE_AN_ARCHITECTURE)):
        return f"unknown model {text!r}{hint}"
    if not text.startswith("local-dir:") and text.count("/") == 1 and not text.startswith((".", "/", "~")):
        return f"no such directory: {text}; a model of the Hub is hf-hub:{text}"
    return f"no such model: {text}; give {MODEL_FORMS}"


def _download(repository: str, config_name: str) -> tuple[Path, Path]:
    """Return configuration and weights of hf-hub:`repository`, as paths in huggingface_hub's cache.

    If both are cached, the network is not used: a model that was downloaded once works offline, starts fast
    and does not change. Raises UserError if they are not available.
    """
    # The Hub's client takes a quarter of a second to import.
    from huggingface_hub import errors as hub_errors
    from huggingface_hub import hf_hub_download, hf_hub_url

    try:
        return _cached(repository, config_name)
    except hub_errors.LocalEntryNotFoundError:
        pass
    except hub_errors.HFValidationError as error:
        raise UserError(f"hf-hub:{repository} is not a Hub name: write hf-hub:ORG/NAME") from error
    advice = "connect once to fetch it, or give a model on this machine with --model DIR"
    _check_reachable(hf_hub_url(repository, config_name), f"hf-hub:{repository}", advice)
    try:
        config = hf_hub_download(repository, config_name)
        return Path(config), _fetch_weights(repository)
    except (hub_errors.LocalEntryNotFoundError, hub_errors.OfflineModeIsEnabled) as error:
        raise UserError(f"hf-hub:{repository} {_UNREACHABLE}; {advice}") from error
    except hub_errors.GatedRepoError as error:
        raise UserError(
            f"hf-hub:{repository} is gated: accept its terms on the Hub, then `hf auth login`"
        ) from error
    except hub_errors.RepositoryNotFoundError as error:
        raise UserError(
            f"hf-hub:{repository} does not exist or is private: check the name, or `hf auth login`"
        ) from error
    except hub_errors.EntryNotFoundError as error:
        raise UserError(f"hf-hub:{repository} has no {config_name}: it is not an open_clip model") from error
    except (hub_errors.HfHubHTTPError, OSError) as error:
        raise UserError(
            f"hf-hub:{repository} could not be fetched ({type(error).__name__}): try again"
        ) from error


def _cached(repository: str, config_name: str) -> tuple[Path, Path]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    config = hf_hub_download(repository, config_name, local_files_only=True)
    for name in _HUB_WEIGHTS:
        try:
            return Path(config), Path(hf_hub_download(repository, name, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
    raise LocalEntryNotFoundError("no weights are cached")


def _fetch_weights(repository: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in _HUB_WEIGHTS:
        try:
            return Path(hf_hub_download(repository, name))
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            continue
    raise UserError(
        f"hf-hub:{repository} has no {' or '.join(_HUB_WEIGHTS)}: only open_clip's ViT-CLIP models have them"
    )


def download_pair(repository: str, stems: Sequence[str]) -> Path:
    """Return STEM.npy of a Hub dataset, with STEM.json beside it, for the first of `stems` that it contains.

    A pair in huggingface_hub's cache takes precedence and needs no network. Raises UserError if none is
    available.
    """
    from huggingface_hub import errors as hub_errors
    from huggingface_hub import hf_hub_download, hf_hub_url

    for stem in stems:
        try:
            array, _ = (
                hf_hub_download(repository, stem + suffix, repo_type="dataset", local_files_only=True)
                for suffix in _PAIR
            )
            return Path(array)
        except hub_errors.LocalEntryNotFoundError:
            continue
    names = " or ".join(stem + _PAIR[0] for stem in stems)
    advice = "connect once to fetch it"
    url = hf_hub_url(repository, stems[0] + _PAIR[0], repo_type="dataset")
    _check_reachable(url, f"{names} of {repository}", advice)
    for stem in stems:
        try:
            array, _ = (hf_hub_download(repository, stem + suffix, repo_type="dataset") for suffix in _PAIR)
            return Path(array)
        except (hub_errors.LocalEntryNotFoundError, hub_errors.OfflineModeIsEnabled) as error:
            raise UserError(f"{names} of {repository} {_UNREACHABLE}; {advice}") from error
        except hub_errors.EntryNotFoundError:
            continue
        except (hub_errors.HfHubHTTPError, OSError) as error:
            raise UserError(
                f"{stem} of {repository} could not be fetched ({type(error).__name__}): try again"
            ) from error
    raise UserError(
        f"{repository} has no {names}: no text embeddings are published for this model; make them with "
        "`bioclip-jax taxa build NAMES --model MODEL`, or give labels with --cls"
    )


def _check_reachable(url: str, name: str, advice: str) -> None:
    """Raise UserError at once if `url` does not respond; huggingface_hub itself retries for half a minute."""
    from huggingface_hub.utils import get_session

    try:
        get_session().head(url, timeout=_HUB_TIMEOUT)
    except Exception as error:  # the HTTP library, and so its errors, depend on huggingface_hub's version
        raise UserError(f"{name} {_UNREACHABLE}; {advice}") from error
