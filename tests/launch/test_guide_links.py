"""Guides: links, headings and pictures that exist, commands that the parser takes, the first screens."""

import re
import shlex
from pathlib import Path

import pytest

from bioclip_jax.cli import _parser
from bioclip_jax.cli.eval import suite_first

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "bioclip_jax"
GUIDES = sorted([*ROOT.glob("*.md"), *PACKAGE.rglob("*.md"), *(ROOT / "launch").glob("*.md")])
each_guide = pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
# What a biologist with a memory card looks for, and the guide of each.
FIELD_GUIDES = ["detections", "events", "learn", "review", "taxa"]
_FIRST_SCREEN = 30
_MOST_BYTES = 20_000


def _text(guide: Path) -> str:
    """Return the text of a guide without its blocks of code."""
    return re.sub(r"^```.*?^```", "", guide.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def _anchors(guide: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a guide."""
    headings = re.findall(r"^#+ (.*)$", _text(guide), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", title).lower()) for title in headings)
    return {title.replace(" ", "-") for title in plain}


@each_guide
def test_links_lead_to_files_and_headings(guide):
    text = _text(guide)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img src="([^"]+)"', text)
    broken = []
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (guide.parent / name).resolve() if name else guide
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            broken.append(link)
    assert not broken, f"{guide.relative_to(ROOT)} links to {broken}"


def _commands(guide: Path) -> list[list[str]]:
    """Return the arguments of each `bioclip-jax` in the indented blocks and the tables of a guide.

    Lines that show a choice of options, with brackets or an ellipsis, are no commands.
    """
    lines = guide.read_text(encoding="utf-8").splitlines()
    blocks = "\n".join(line.strip() for line in lines if line[:4] == "    ").replace("\\\n", " ").splitlines()
    cells = [code for line in lines if line[:1] == "|" for code in re.findall(r"`([^`]+)`", line)]
    found = [re.match(r"(?:\w+=\S+ )*bioclip-jax (.*)", line) for line in [*blocks, *cells]]
    commands = [command[1] for command in found if command and not re.search(r"[\[…|]|\.\.\.", command[1])]
    return [shlex.split(command, comments=True) for command in commands]


@each_guide
def test_commands_have_the_options_of_the_command_line(guide, capsys):
    refused = []
    for command in _commands(guide):
        try:
            arguments, rest = _parser().parse_known_args(suite_first(command))
        except SystemExit:
            refused.append((" ".join(command), capsys.readouterr().err.strip().splitlines()[-1]))
            continue
        if rest and not arguments.takes_overrides:
            refused.append((" ".join(command), f"unrecognized: {rest}"))
    assert not refused, f"{guide.relative_to(ROOT)} has commands that are refused: {refused}"


@pytest.mark.parametrize("home", [ROOT, PACKAGE / "predict"], ids=["README.md", "predict/README.md"])
def test_a_biologist_finds_every_field_guide_on_the_first_screen(home):
    screen = "\n".join((home / "README.md").read_text(encoding="utf-8").splitlines()[:_FIRST_SCREEN])
    missing = [room for room in FIELD_GUIDES if f"{room}/README.md" not in screen]
    assert "bioclip-jax predict" in screen and not missing, f"no link to {missing}"


def test_the_guide_of_predict_stays_short():
    size = (PACKAGE / "predict" / "README.md").stat().st_size
    assert size <= _MOST_BYTES, f"{size:,} bytes: move sections about one room to the README.md of that room"
