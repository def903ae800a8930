"""Set up all tests: eight CPU devices, a compilation cache, a browser, and the shared photographs if any."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

# Compiled programs run once or twice here, so optimizing them costs more than it saves.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        "--xla_backend_optimization_level=0",
    ]
)
os.environ["JAX_PLATFORMS"] = "cpu"
# Shared by test processes and the commands they start.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "xla")

import hypothesis
import pytest

# A slow machine is not a failure.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

# Modules of peers/ are importable here and, through PYTHONPATH, in the peers' processes.
PEERS = Path(__file__).resolve().parent / "peers"
sys.path.insert(0, str(PEERS))

from torchvision_operators import declare

declare()

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Resolve the public host of a proxy in front of the web page.
_HOST_RULES = "--host-resolver-rules=MAP photos.example 127.0.0.1"

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


# Minutes each: they run first, so that no process is left with one when the others have finished.
LONG = (
    "test_recovery.py",
    "test_two_processes.py",
    "test_meshes.py",
    "test_open_clip_parity.py",
    "test_loop.py",
    "test_predict_bench.py",
    "test_gpu_bench.py",
    "test_web_page.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))
    if SHARED_DATA.is_dir():
        return
    kept = [item for item in items if item.get_closest_marker("shared_data") is None]
    without = len(items) - len(kept)
    if without:
        print(f"\n{SHARED_DATA} does not exist: skipping {without} tests on real photographs")
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


@pytest.fixture(scope="session")
def peer_environment() -> dict[str, str]:
    """Return the environment of a process that runs open_clip or pybioclip offline."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return environment | {"PYTHONPATH": str(PEERS), "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a file system without locks, such as Lustre mounted without flock."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photographs, tars and taxa."""
    return SHARED_DATA


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the installed Chromium."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: the page is not opened in a browser")
    return CHROMIUM


# Per module, because Playwright keeps an event loop in the thread, which other files' own loops exclude.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", _HOST_RULES])
        yield browser
        browser.close()


@pytest.fixture
def artefacts(tmp_path: Path) -> Path:
    """Folder of screenshots."""
    folder = Path(os.environ.get("BIOCLIP_JAX_ARTEFACTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
