"""Event handlers without a server: a small model, and a page of at most three photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the page needs the extra [web]")

from bioclip_jax import load_model
from bioclip_jax.predict import Rank
from bioclip_jax.predict.classifiers import Explanation, RankPrediction
from bioclip_jax.predict.taxa import TaxaChoice, build_taxa
from bioclip_jax.web import cards, handlers
from bioclip_jax.web.classifiers import ALL, PhotoTaxa
from bioclip_jax.web.gallery import Example, find_examples
from bioclip_jax.web.handlers import Handlers
from bioclip_jax.web.photos import Photo
from bioclip_jax.web.service import PhotoService
from bioclip_jax.web.uploads import Limits


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> PhotoService:
    import jax

    from bioclip_jax.convert import ModelBundle, write_model_directory
    from bioclip_jax.models import get_config, init_params
    from bioclip_jax.pipeline.images import Preprocess

    folder = tmp_path_factory.mktemp("handlers")
    config = get_config("ViT-Test-16")
    params = jax.tree.map(np.array, init_params(config, seed=2))
    bundle = ModelBundle(config, params, Preprocess(config.vision.image_size), "ViT-Test-16", "a test")
    model = load_model(write_model_directory(bundle, folder / "small", replay_projector=False))
    table = folder / "names.csv"
    table.write_text("family,genus,species\nThraupidae,Geospiza,fortis\nThraupidae,Certhidea,olivacea\n")
    build_taxa(str(table), model, folder / "taxa.safetensors", templates=("a photo of {}.",))
    return PhotoService(
        model, taxa=PhotoTaxa(model, folder / "taxa.safetensors"), limits=Limits(files=3, labels=4)
    )


@pytest.fixture
def visit(service: PhotoService, monkeypatch: pytest.MonkeyPatch) -> Handlers:
    # Paths of uploads are tested elsewhere.
    monkeypatch.setattr(handlers, "uploaded", lambda path: path)
    return Handlers(service, None, [])


@pytest.fixture
def files(tmp_path: Path):
    def create(*names: str) -> list[dict[str, str]]:
        for name in names:
            if name.endswith(".jpg"):
                Image.new("RGB", (40, 40), (20 * (ord(name[0]) - 96), 90, 200)).save(tmp_path / name)
        return [{"path": str(tmp_path / name), "orig_name": name} for name in names]

    return create


def names(photos) -> list[str]:
    return [photo.name for photo in photos]


def test_photos_stay_in_the_order_in_which_they_were_added(visit, files):
    photos, notices = visit.add("en", files("b.jpg", "a.jpg"), [], ALL)
    assert names(photos) == ["b.jpg", "a.jpg"] and "bj-notice" not in notices
    photos, _ = visit.add("en", files("c.jpg"), photos, ALL)
    assert names(photos) == ["b.jpg", "a.jpg", "c.jpg"]
    left, _ = visit.remove("en", photos, photos[1].digest)
    assert names(left) == ["b.jpg", "c.jpg"]
    assert visit.remove("en", photos, "unknown")[0] == photos and visit.remove("en", photos, None)[0] == []
    shown = visit.tools("en", left).split('data-photos="')[1].split('"')[0].split()
    assert shown == [photo.digest for photo in left] and visit.tools("en", []) == ""


def test_the_same_photo_is_shown_once(visit, files, tmp_path):
    (first, second) = files("a.jpg", "b.jpg")
    (tmp_path / "copy.jpg").write_bytes((tmp_path / "a.jpg").read_bytes())
    copy = {"path": str(tmp_path / "copy.jpg"), "orig_name": "copy.jpg"}
    photos, notices = visit.add("en", [first, copy], [], ALL)
    assert names(photos) == ["a.jpg"] and "1 photo was already on the page" in notices
    photos, notices = visit.add("fr", [copy, second], photos, ALL)
    assert names(photos) == ["a.jpg", "b.jpg"] and "1 photo était déjà sur la page" in notices


def test_photos_beyond_the_limit_are_not_reported_as_skipped(visit, files, tmp_path):
    photos, notices = visit.add("en", files("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"), [], ALL)
    assert len(photos) == 3 and "2 photos were not added, because the page holds at most 3" in notices
    assert "Skipped" not in notices
    (tmp_path / "empty.txt").touch()
    photos, notices = visit.add("en", files("empty.txt", "f.jpg"), photos[:2], ALL)
    assert (
        "Skipped 1 file:" in notices
        and "empty.txt is empty" in notices
        and "1 photo was not added" in notices
    )


def test_table_without_names_of_the_photos_is_reported(visit, files, tmp_path):
    (tmp_path / "sites.csv").write_text("filepath,site\nelsewhere.jpg,north\n")
    photos, notices = visit.add("en", files("a.jpg", "sites.csv"), [], ALL)
    assert len(photos) == 1 and "names none of the photos" in notices
    (tmp_path / "sites.csv").write_text("filepath,site\na.jpg,north\n")
    photos, notices = visit.add("en", files("sites.csv"), photos, ALL)
    assert photos[0].metadata["site"] == "north" and "bj-notice" not in notices


def test_errors_replace_older_results(visit, files, capsys):
    photos, _ = visit.add("en", files("a.jpg"), [], ALL)
    assert "bj-label-card" in visit.labels("en", photos, "a\nb")
    problem = visit.labels("en", photos, "a\nb\nc\nd\ne")
    assert "bj-failed" in problem and "5 labels are too many" in problem and "bj-label-card" not in problem
    assert "bj-failed" in visit.map("en", [*photos, *photos], False, "<b>", None)
    broken = Photo("x.jpg", b"", np.ones(3, np.float32))
    assert "Something went wrong on the server" in visit.labels("en", [broken], "a")
    assert "Traceback" in capsys.readouterr().err


def test_lineage_is_consistent_and_names_the_best_species_elsewhere(service):
    names = service.taxa.names
    rows = {names.row(row)["species"]: row for row in range(len(names))}
    finch, warbler = rows["Geospiza fortis"], rows["Certhidea olivacea"]

    def lineage(row: int, genus: float, species: float) -> list[RankPrediction]:
        wider = [
            RankPrediction(rank, row, 1.0, names.row(row, rank)[rank.get_label()]) for rank in list(Rank)[:5]
        ]
        own = names.row(row)
        return [
            *wider,
            RankPrediction(Rank.GENUS, row, genus, own["genus"]),
            RankPrediction(Rank.SPECIES, row, species, own["species"]),
        ]

    of_finch, of_warbler = lineage(finch, 0.6, 0.3), lineage(warbler, 0.4, 0.4)
    ranks = [*of_finch[:-1], of_warbler[-1]]
    lineages = {rank: of_warbler if rank is Rank.SPECIES else of_finch for rank in Rank}
    species = [{"species": "Certhidea olivacea", "common_name": "", "score": 0.4}]
    explained = Explanation(
        "a.jpg", species, ranks, lineages, {"name": "", "rank": "", "score": 1.0, "children": []}
    )
    photo = Photo("a.jpg", b"", np.ones(2, np.float32), explained)
    page = cards.identified("en", [photo], service.taxa, 0.5)
    ladder = page.split("bj-ladder")[1].split("</ol>")[0]
    assert "Geospiza fortis" in ladder and "Certhidea" not in ladder
    note = page.split("</ol>")[1].split("</p>")[0]
    assert "Certhidea olivacea" in note and "is in another genus" in note
    assert (
        "Geospiza"
        not in cards.identified("en", [photo], service.taxa, 0.35).split("bj-ladder")[1].split("</ol>")[0]
    )
    row = cards.prediction_row(photo, service.taxa, 1.1)
    assert row["rank"] == row["prediction"] == row["species"] == "unknown"
    assert row["score"] == 0.4 and row["best_species"] == "Certhidea olivacea"
    assert "No rank reaches 110\u00a0% confidence" in cards.identified("en", [photo], service.taxa, 1.1)


def test_labels_without_photos_or_names(visit, files):
    photos, _ = visit.add("en", files("a.jpg"), [], ALL)
    assert "Nothing compared yet" in visit.labels("en", photos, " ")
    assert "No photos yet" in visit.labels("en", [], "a\nb")


class Unreadable:
    name = "gone.jpg"

    def read(self) -> bytes:
        raise FileNotFoundError(2, "No such file")


class Readable:
    def __init__(self, name: str, content: bytes) -> None:
        self.name, self._content = name, content

    def read(self) -> bytes:
        return self._content


def test_unreadable_examples_are_skipped(service, tmp_path, capsys):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.jpg")
    good = (tmp_path / "a.jpg").read_bytes()
    images = [
        Unreadable(),
        *(Readable(f"{i}.jpg", good if i % 2 else b"no picture") for i in range(20)),
    ]
    examples = find_examples(images, service.model.preprocess)
    assert len(examples) == 6 and all(isinstance(one, Example) and one.content == good for one in examples)
    assert "skipped unreadable images as examples: gone.jpg" in capsys.readouterr().err
    assert find_examples([Unreadable()] * 8, service.model.preprocess) == []


def test_drawings_are_examples_of_a_server_without_images(service):
    examples = find_examples((), service.model.preprocess)
    assert len({example.content for example in examples}) == 6 and examples[0].name == "pennant coralfish.jpg"


def test_options_of_taxa_need_taxa(service, capsys):
    from bioclip_jax.errors import UserError
    from bioclip_jax.web.serve import _taxa

    # The taxa are in a file elsewhere, and the model's own directory has none.
    assert _taxa(service.model, None, None, None) is None
    assert "labels only" in capsys.readouterr().err
    for options in ((2.0, None), (None, TaxaChoice.read(within="Thraupidae"))):
        with pytest.raises(UserError, match="has no taxa to choose from"):
            _taxa(service.model, None, *options)


def test_model_of_an_index(service, tmp_path):
    pytest.importorskip("lancedb", reason="similar images need the extra [search]")
    from bioclip_jax.errors import UserError
    from bioclip_jax.predict.search import ImageIndex
    from bioclip_jax.web.similar import SimilarImages

    about = {"fingerprint": service.model.fingerprint, "source": "small"}
    ImageIndex.create(tmp_path / "one", 32, model=str(tmp_path), **about)
    similar = SimilarImages(tmp_path / "one")
    assert similar.model == str(tmp_path) and similar.example_taxon() is None
    similar.check_model(service.model)
    ImageIndex.create(tmp_path / "other", 32, model=None, **(about | {"fingerprint": "0" * 64}))
    with pytest.raises(UserError, match="give that model with --model"):
        _ = SimilarImages(tmp_path / "other").model
    with pytest.raises(UserError, match="holds vectors of small"):
        SimilarImages(tmp_path / "other").check_model(service.model)
