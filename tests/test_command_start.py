"""Start and end of a command: locale, home directory, JAX_PLATFORMS, system-specific modules."""

from __future__ import annotations

import ast
import io
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bioclip_jax
from bioclip_jax.cli import main
from bioclip_jax.convert import ModelBundle, write_model_directory
from bioclip_jax.files import cache_directory
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.pipeline.sources.storage import Files
from bioclip_jax.predict import ImageFile

PACKAGE = Path(bioclip_jax.__file__).parent


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "small"
    config = get_config("ViT-Test-16")
    preprocess = Preprocess(size=config.vision.image_size)
    write_model_directory(
        ModelBundle(config, init_params(config), preprocess, "ViT-Test-16", "random"),
        directory,
        replay_projector=False,
    )
    return directory


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)).save(path)
    return path


@pytest.mark.parametrize(("encoding", "format"), [("ascii", "csv"), ("latin-1", "table")])
def test_names_in_any_script_are_printed_in_any_locale(model, photo, monkeypatch, encoding, format):
    bytes_out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_out, encoding=encoding))
    assert (
        main(["predict", str(photo), "--model", str(model), "--cls", "苹果,naïve", "--format", format]) == 0
    )
    sys.stdout.flush()
    printed = bytes_out.getvalue().decode("utf-8")
    assert "naïve" in printed and "苹果" in printed, printed


def test_a_label_that_is_not_text_in_the_locale_is_one_line(model, photo, capfd):
    # Python decodes arguments like this if the locale's encoding lacks the bytes.
    label = "苹果".encode().decode("ascii", "surrogateescape")
    assert main(["predict", str(photo), "--model", str(model), "--cls", f"{label},b"]) == 2
    errors = capfd.readouterr().err
    assert errors.startswith("error: ") and "set LC_ALL=C.UTF-8" in errors and errors.count("\n") == 1, errors


def test_a_process_without_a_home_directory_caches_in_the_temporary_folder(model, photo, monkeypatch, capfd):
    def no_entry(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    with pytest.raises(RuntimeError):
        Path.home()
    assert cache_directory() == Path(tempfile.gettempdir()) / f"bioclip_jax-{os.getuid()}"
    assert main(["models"]) == 0
    assert main(["predict", str(photo), "--model", str(model), "--cls", "a,b"]) == 0, capfd.readouterr().err


def test_the_cache_is_in_xdg_cache_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "bioclip_jax"


@pytest.mark.parametrize("platforms", ["cuda", "foo"])
def test_missing_devices_are_one_line_and_the_cpu_still_works(platforms, tmp_path):
    config = PACKAGE.parent / "configs" / "mini.py"
    code = f"""
from bioclip_jax.cli import main
from bioclip_jax.predict import local_devices
assert main(["train", "--config", {str(config)!r}, "--workdir", {str(tmp_path / "run")!r}]) == 2
try:
    local_devices()
except Exception as error:
    print(type(error).__name__)
print(local_devices("cpu")[0].platform)
"""
    environment = os.environ | {"JAX_PLATFORMS": platforms}
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == ["UserError", "cpu"], process.stdout + process.stderr
    [line] = process.stderr.splitlines()
    assert line.startswith(f"error: JAX_PLATFORMS is {platforms}, ") and "set it to cpu" in line, line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "verb", [["embed"], ["predict", "--cls", "a,b"], ["predict", "--cls", "a,b", "--resume"]]
)
def test_sigterm_ends_a_command_as_ctrl_c_does(model, tmp_path, monkeypatch, capfd, verb):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(np.full((40, 50, 3), 40 * number, np.uint8)).save(folder / f"{number}.png")
    original, names = ImageFile.read, []

    def read(image: ImageFile) -> bytes:
        names.append(image.name)
        if len(names) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(image)

    monkeypatch.setattr(ImageFile, "read", read)
    before = signal.getsignal(signal.SIGTERM)
    output = tmp_path / ("x.npy" if verb[0] == "embed" else "x.csv")
    status = main([*verb, str(folder), "--model", str(model), "--output", str(output), "--batch-size", "1"])
    errors = capfd.readouterr().err
    assert (
        status == 128 + signal.SIGTERM and errors.startswith("interrupted") and "Traceback" not in errors
    ), errors
    assert signal.getsignal(signal.SIGTERM) is before
    left = {path.name for path in tmp_path.iterdir()} - {"photos"}
    assert not [name for name in left if ".partial" in name] and output.name not in left, left


def _imported_at_once(file: Path) -> set[str]:
    """Modules that the file imports at module level."""
    names = set()
    for statement in ast.parse(file.read_text("utf-8")).body:
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            names.add(statement.module)
    return names


def test_no_module_requires_unix_only_modules(monkeypatch):
    unix = {"fcntl", "resource", "pwd", "grp", "termios", "pty"}
    files = list(PACKAGE.rglob("*.py"))
    assert len(files) > 200
    imports = {str(file.relative_to(PACKAGE)): _imported_at_once(file) & unix for file in files}
    unix_only = {file: modules for file, modules in imports.items() if modules}
    assert not unix_only, f"cannot be imported on every system: {unix_only}"
    monkeypatch.setitem(sys.modules, "resource", None)
    assert Files().read(Path(__file__), 0, 3) == b'"""'


@pytest.mark.parametrize("json", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize(
    ("reader", "status", "message"),
    [
        ("gone", 0, ""),
        ("full", 2, "error: No space left on device; check the path, its permissions and the disk\n"),
    ],
)
def test_an_unprintable_result_is_reported(monkeypatch, capfd, json, reader, status, message):
    if reader == "gone":
        end, descriptor = os.pipe()
        os.close(end)
    else:
        descriptor = os.open("/dev/full", os.O_WRONLY)
    with open(descriptor, "w") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        assert main(["models", *json]) == status
    assert capfd.readouterr().err == message


def test_closed_streams_cause_no_traceback(model, photo, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["predict", str(photo), "--model", str(model), "--cls", "a,b"]) == 0
    assert main(["predict", "nothing.jpg", "--model", str(model), "--cls", "a,b", "--json"]) == 2
