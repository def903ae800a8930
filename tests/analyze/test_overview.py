"""The overview picture: training curve, embedding map, and placement of labels."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image
from threadpoolctl import threadpool_limits

from bioclip_jax.analyze.figures.curves import plot_training_curve, smooth
from bioclip_jax.analyze.figures.embedding_map import LabelPlacer, family_colors
from bioclip_jax.analyze.overview import draw_overview, map_points, write_overview
from bioclip_jax.convert import ModelBundle, write_model_directory
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.text import Taxon


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads slow down t-SNE of few points, very much so on a busy machine."""
    with threadpool_limits(1):
        yield


def clusters(families: int, each: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(families, 24))
    embeddings = np.repeat(centers, each, axis=0) + 0.15 * rng.normal(size=(families * each, 24))
    kingdoms = ["Animalia", "Fungi", "Plantae"]
    taxa = [
        Taxon(kingdoms[f % 3], "p", "c", "o", f"Family{f}idae", f"Genus{f}", f"species{i % 3}")
        for f in range(families)
        for i in range(each)
    ]
    return embeddings.astype(np.float32), taxa


def test_28_families_have_distinct_colors_that_are_visible_on_white():
    colors = family_colors([f"family {n}" for n in range(28)])
    assert len(set(colors.values())) == 28
    for family, color in colors.items():
        luminance = np.dot(color, (0.2126, 0.7152, 0.0722))
        assert luminance < 0.85, f"{family} is too pale on white: {color}"


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=200))
def test_smoothing_keeps_the_ends_and_the_range(values):
    values = np.array(values)
    smoothed = smooth(values)
    assert np.allclose(smoothed[[0, -1]], values[[0, -1]])
    assert smoothed.min() >= values.min() - 1e-9 and smoothed.max() <= values.max() + 1e-9


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_boxes_neither_overlap_nor_leave_the_frame(seed, number):
    rng = np.random.default_rng(seed)
    frame = Bbox([(0, 0), (500, 400)])
    points = rng.uniform(0, 400, (200, 2))
    placer = LabelPlacer(frame, points)
    boxes = []
    for _ in range(number):
        width, height = rng.uniform(10, 120), rng.uniform(10, 60)
        anchor = rng.uniform(0, 400, 2)
        center = placer.place(anchor, width, height, reach=80)
        if center is not None:
            assert np.linalg.norm(center - anchor) <= 80 + 1e-6
            boxes.append(Bbox([center - (width / 2, height / 2), center + (width / 2, height / 2)]))
    assert boxes or number < 3
    for n, box in enumerate(boxes):
        assert box.x0 >= -1e-6 and box.y0 >= -1e-6 and box.x1 <= 500 + 1e-6 and box.y1 <= 400 + 1e-6
        shrunk = box.shrunk(0.999, 0.999)
        assert not any(shrunk.overlaps(other.shrunk(0.999, 0.999)) for other in boxes[:n])


def test_map_keeps_neighbors_together():
    embeddings, taxa = clusters(5, 12)
    points = map_points(embeddings)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    nearest = np.argsort(distances, axis=1)[:, 1]
    same = np.mean([taxa[a].family == taxa[b].family for a, b in enumerate(nearest)])
    assert same > 0.95, f"only {same:.0%} of the images are next to one of their family"


@pytest.mark.parametrize("number", [1, 4, 6])
def test_map_of_few_images(number):
    embeddings = np.random.default_rng(0).normal(size=(number, 16)).astype(np.float32)
    points = map_points(embeddings)
    assert points.shape == (number, 2) and np.isfinite(points).all()
    assert np.array_equal(points, map_points(embeddings)), "the map changes from run to run"


def test_curve_shows_losses_and_accuracies_as_logged():
    lines = [{"step": s, "loss": 5.0 - s / 100} for s in range(10, 310, 10)]
    lines[9]["val"] = {"top1": 0.2, "ranks": {"kingdom": 0.9, "family": 0.5, "species": 0.2}}
    lines[-1]["val"] = {"top1": 0.4, "ranks": {"kingdom": 1.0, "family": 0.6, "species": 0.4}}
    figure = Figure()
    FigureCanvasAgg(figure)
    loss, accuracy = figure.subplots(2, 1)
    plot_training_curve(loss, accuracy, lines)
    assert np.allclose(loss.lines[0].get_xydata(), [(line["step"], line["loss"]) for line in lines])
    drawn = {tuple(line.get_ydata()) for line in accuracy.lines}
    assert drawn == {(90.0, 100.0), (50.0, 60.0), (20.0, 40.0)}
    assert {text.get_text() for text in accuracy.texts} == {"kingdom 100", "family 60", "species 40"}


@pytest.mark.parametrize("with_curve", [True, False])
def test_picture_is_a_png_with_something_in_each_panel(tmp_path, with_curve):
    embeddings, taxa = clusters(5, 12)
    lines = [{"step": s, "loss": 1 / s, "val": {"ranks": {"species": s / 10}}} for s in range(1, 10)]
    lines = lines if with_curve else []
    thumbnails = {0: np.full((32, 32, 3), (255, 0, 255), np.uint8)}
    draw_overview(tmp_path / "o.png", lines, embeddings, taxa, thumbnails)
    assert [path.name for path in tmp_path.iterdir()] == ["o.png"]
    picture = np.asarray(Image.open(tmp_path / "o.png").convert("RGB"))
    height, width, _ = picture.shape
    assert width >= 1800, "too small to read in a README"
    inked = (picture < 250).any(axis=2)
    left = inked[:, : width // 4].mean()
    assert left > 0.002, f"the left panel is empty ({left:.4f} of it inked)"
    magenta = (picture == (255, 0, 255)).all(axis=2).sum()
    assert magenta > 30 * 30, f"the thumbnail shows on only {magenta} pixels"


def test_overview_of_a_model_and_data_with_a_bad_image(tmp_path, capsys):
    config = get_config("ViT-Test-16")
    params = jax.tree.map(np.asarray, init_params(config))
    bundle = ModelBundle(config, params, Preprocess(config.vision.image_size), "ViT-Test-16", "a test")
    model = write_model_directory(bundle, tmp_path / "model", replay_projector=False)
    data = tmp_path / "data"
    data.mkdir()
    rows = ["filepath,kingdom,family,genus,species"]
    for number in range(9):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(data / f"{number}.png")
        rows.append(f"{number}.png,Animalia,Family{number % 2},G,s{number % 3}")
    (data / "3.png").write_text("no picture")
    (data / "metadata.csv").write_text("\n".join(rows))
    result = write_overview(str(model), str(data), tmp_path / "map.png")
    assert result == {"images": 8, "families": 2, "output": str(tmp_path / "map.png")}
    assert Image.open(tmp_path / "map.png").format == "PNG"
    assert "cannot be read" in capsys.readouterr().err
    with pytest.raises(UserError, match="map.jpg"):
        write_overview(str(model), str(data), tmp_path / "map.jpg")
