"""Words for "unknown" never reach training, shards, evaluation or taxa."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bioclip_jax.curate.build import BuildSettings, build_shards
from bioclip_jax.evaluate import candidates
from bioclip_jax.pipeline import train_batches
from bioclip_jax.pipeline.images import CAUSES
from bioclip_jax.pipeline.sources import RecordWriter, open_source
from bioclip_jax.predict.taxa.build import _read_distinct
from bioclip_jax.text.captions import DRAWN_TYPES, CaptionConfig, captions_from_taxon
from bioclip_jax.text.taxon import RANKS, Taxon
from bioclip_jax.text.tokenizer import Tokenizer

APPLE = Taxon(kingdom="Plantae", family="Rosaceae", genus="Malus", species="domestica")
ROSE = Taxon(order="Rosales")
COLUMNS = ("filepath", *RANKS, "common_name")
ROWS = [
    ("0.jpg", "Plantae", "Unknown", "nan", "NA", "Rosaceae", "malus", "M. domestica", "None"),
    ("1.jpg", "NaN", "null", "n/a", "Rosales", "-", "Unknown", "Unknown", "unknown"),
    ("2.jpg", "Unknown", "Unknown", "Unknown", "Unknown", "Unknown", "Unknown", "Unknown", "Unknown"),
    ("3.jpg", "nan", "nan", "nan", "nan", "incertae sedis", "nan", "nan", "nan"),
]


def image_bytes(number):
    stream = io.BytesIO()
    blots = np.random.default_rng(number).integers(0, 256, (9, 12, 3), np.uint8)
    Image.fromarray(blots).resize((96, 72)).save(stream, "JPEG")
    return stream.getvalue()


def write_folder(folder):
    for row in ROWS:
        (folder / row[0]).write_bytes(image_bytes(int(row[0][0])))
    (folder / "metadata.csv").write_text("\n".join(map(",".join, [COLUMNS, *ROWS])))
    return folder


def write_parquet(folder):
    table = pa.table(dict(zip(COLUMNS, map(list, zip(*ROWS)))))
    table = table.append_column("image", pa.array([image_bytes(number) for number in range(len(ROWS))]))
    pq.write_table(table, folder / "photos.parquet")
    return folder / "photos.parquet"


def write_records(folder):
    (folder / "photos").mkdir()
    source = open_source(write_folder(folder / "photos"))
    with RecordWriter(folder / "part-0.array_record") as writer:
        for number in range(len(source)):
            writer.write(source[number])
    return folder / "part-0.array_record"


def write_tars(folder):
    """Tars with words for "unknown" in their captions; the apple's own names are normalized."""
    with tarfile.open(folder / "0.tar", "w") as tar:
        for number, row in enumerate(ROWS):
            values = (*row[1:7], "domestica" if number == 0 else row[7], row[8])
            captions = captions_from_taxon(Taxon(*values))
            if number == 0:
                captions = {name: text.replace("malus", "Malus") for name, text in captions.items()}
            files = {f"{name}.txt": text.encode() for name, text in captions.items()}
            for kind, content in {"jpg": image_bytes(number), **files}.items():
                member = tarfile.TarInfo(f"{number}.{kind}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return folder / "0.tar"


@pytest.fixture(params=[write_folder, write_parquet, write_records, write_tars])
def data(request, tmp_path):
    return request.param(tmp_path)


@pytest.mark.parametrize("kind", DRAWN_TYPES)
def test_training_captions_contain_only_known_names(data, kind):
    caption = CaptionConfig(types=(kind,))
    batch = next(
        train_batches(open_source(data), image_size=32, seed=0, global_batch_size=8, caption=caption)
    )
    expected = {captions_from_taxon(taxon)[kind] for taxon in (APPLE, ROSE)}
    tokens = Tokenizer(batch["tokens"].shape[1])(sorted(expected))
    assert {tuple(row) for row in batch["tokens"].tolist()} == {tuple(row) for row in tokens.tolist()}
    # Of every four positions two have no name, and are replaced.
    assert batch["bad"][CAUSES.index("no_caption")] >= 4


def test_shards_contain_no_words_for_unknown(data, tmp_path):
    result = build_shards(data, tmp_path / "shards", BuildSettings(), processes=0)
    assert result["counts"] == {"kept": 2, "no_caption": 2}
    built = open_source(tmp_path / "shards")
    samples = [built[number] for number in range(len(built))]
    assert {sample.taxon for sample in samples} == {APPLE, ROSE}
    for sample in samples:
        assert dict(sample.captions) == captions_from_taxon(sample.taxon)


def test_classes_of_an_evaluation_are_known_names(data):
    source = open_source(data)
    samples = [source[number] for number in range(len(source))]
    assert [one.name for one in candidates(samples, "taxon_com")] == [
        "Plantae Rosaceae Malus domestica",
        "Rosales",
    ]


def test_taxa_contain_only_known_names(data):
    names, counts = _read_distinct(str(data))
    assert {names.taxon(row) for row in range(len(names))} == {APPLE, ROSE}
    assert counts == {"doubles": 0, "unnamed": 2}
