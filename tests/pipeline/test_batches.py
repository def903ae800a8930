"""Training batches: identical for any hosts and workers, with exact counts of bad samples."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from made_shards import encoded, good_sample, picture, write_tar
from PIL import Image

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline import batches as batches_module
from bioclip_jax.pipeline.batches import DataConfig, train_batches
from bioclip_jax.pipeline.buffers import SharedBuffers
from bioclip_jax.pipeline.images import CAUSES, ImageConfig, decode
from bioclip_jax.pipeline.make_example import MAX_ATTEMPTS
from bioclip_jax.pipeline.order import Shuffled
from bioclip_jax.pipeline.sampling import Sampling
from bioclip_jax.pipeline.sources import open_source
from bioclip_jax.text import CaptionConfig, Tokenizer

# A crop of the whole area is the whole image.
WHOLE = ImageConfig(scale=(1.0, 1.0))
ARGUMENTS = {"image_size": 32, "seed": 3, "global_batch_size": 24}


def take(source, count: int, **arguments) -> list[dict[str, np.ndarray]]:
    batches = train_batches(source, **ARGUMENTS | arguments)
    try:
        return [next(batches) for _ in range(count)]
    finally:
        batches.close()


def assert_same(actual, expected, case: str) -> None:
    assert len(actual) == len(expected)
    for step, (a, b) in enumerate(zip(actual, expected)):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=f"{case}: {name} of step {step}")


def test_batches_hold_the_samples_of_their_positions(shards):
    source = open_source(shards)
    order = Shuffled(3, len(source))
    for step, batch in enumerate(take(source, 3, image=WHOLE)):
        assert batch["image"].shape == (24, 32, 32, 3) and batch["image"].dtype == np.uint8
        assert batch["tokens"].shape == (24, 77) and batch["tokens"].dtype == np.int32
        assert batch["bad"].tolist() == [0] * len(CAUSES)
        texts = []
        for row in range(24):
            sample = source[order.index(step * 24 + row)]
            picture = Image.fromarray(decode(sample.image)).resize((32, 32))
            difference = np.abs(batch["image"][row].astype(int) - np.asarray(picture)).mean()
            assert difference < 6, (
                f"row {row} of step {step} differs from its sample's picture by {difference}"
            )
            actual = [
                k
                for k, text in sample.captions.items()
                if (Tokenizer()(text)[0] == batch["tokens"][row]).all()
            ]
            texts.append(set(actual))
        assert set.intersection(*texts), f"step {step} does not use one caption type for all rows: {texts}"


def test_hosts_have_the_rows_of_the_global_batch(shards):
    source = open_source(shards)
    whole = take(source, 3)
    together = {"bad": sum, "longest": max}
    for hosts in (2, 4):
        parts = [take(source, 3, host=host, hosts=hosts) for host in range(hosts)]
        joined = [
            {name: together.get(name, np.concatenate)([p[name] for p in step]) for name in step[0]}
            for step in zip(*parts)
        ]
        assert_same(joined, whole, f"{hosts} hosts")


def test_starting_at_a_later_step_resumes_exactly(shards):
    source = open_source(shards)
    whole = take(source, 6)
    assert_same(take(source, 2, start_step=4), whole[4:], "start at step 4")


@pytest.fixture(scope="module")
def bad_shards(tmp_path_factory) -> tuple[Path, dict[int, str]]:
    """A folder with a tar of good, unusual and bad samples, and the causes of the bad ones."""
    samples = [good_sample(number) for number in range(30)]
    exif = Image.Exif()
    exif[0x0112] = 6
    sixteen = Image.fromarray(np.asarray(picture(4, mode="L")).astype(np.uint16) * 257)
    samples[1]["jpg"] = encoded(picture(1, mode="L"))
    samples[2]["jpg"] = encoded(picture(2, mode="CMYK"))
    samples[3] = samples[3] | {"png": encoded(picture(3, mode="RGBA"), "PNG")}
    samples[4] = samples[4] | {"png": encoded(sixteen, "PNG")}
    samples[5]["jpg"] = encoded(picture(5), exif=exif)
    for number in (3, 4):
        del samples[number]["jpg"]
    published = (
        "jpg",
        "__key__",
        "scientific_name.txt",
        "taxonomic_name.txt",
        "sci.txt",
        "taxon.txt",
        "taxonTag.txt",
    )
    samples[6] = {name: samples[6][name] for name in published}
    samples[10]["jpg"] = samples[10]["jpg"][:900]
    samples[11]["jpg"] = b"<html>Not Found</html>"
    samples[12] = {"__key__": "no-image"} | {k: v for k, v in samples[12].items() if k.endswith("txt")}
    samples[13] = {"__key__": "no-caption", "jpg": samples[13]["jpg"]}
    samples[14]["jpg"] = b""
    samples[15] = {"__key__": "empty-captions", "jpg": samples[15]["jpg"], "sci.txt": "", "taxon.txt": " \n"}
    folder = tmp_path_factory.mktemp("bad")
    write_tar(folder / "a.tar", samples)
    causes = {
        10: "truncated",
        11: "not_an_image",
        12: "no_image",
        13: "no_caption",
        14: "no_image",
        15: "no_caption",
    }
    return folder, causes


def test_bad_samples_are_replaced_and_counted(bad_shards):
    folder, causes = bad_shards
    source = open_source(folder)
    order = Shuffled(3, 30)
    for step, batch in enumerate(take(source, 10)):
        expected = dict.fromkeys(CAUSES, 0)
        for position in range(step * 24, step * 24 + 24):
            index, attempt = order.index(position), 0
            while index in causes:
                expected[causes[index]] += 1
                attempt += 1
                index = order.substitute(position, attempt)
        assert dict(zip(CAUSES, batch["bad"].tolist())) == expected, f"step {step}"
    # Ten steps of 24 are eight epochs, each of which has every bad sample.
    total = sum(batch["bad"] for batch in take(source, 10))
    assert dict(zip(CAUSES, (total >= 8).tolist()))["truncated"] and total.sum() >= 48


def test_a_bad_sample_changes_only_its_own_row(shards, tmp_path):
    """The other rows stay the same."""
    good = open_source(shards / "shard-00000.tar")
    samples = [good_sample(number) for number in range(23)]
    samples[7]["jpg"] = b"nothing"
    write_tar(tmp_path / "a.tar", samples)
    order = Shuffled(3, 23)
    for step, (a, b) in enumerate(zip(take(good, 2), take(open_source(tmp_path), 2))):
        for row in range(24):
            same = (a["image"][row] == b["image"][row]).all() and (a["tokens"][row] == b["tokens"][row]).all()
            assert same == (order.index(step * 24 + row) != 7), f"row {row} of step {step}"


def test_only_bad_samples_is_an_error(tmp_path):
    write_tar(tmp_path / "a.tar", [{"__key__": "a", "jpg": b"no"}, {"__key__": "b", "txt": "only text"}])
    with pytest.raises(UserError, match=f"{MAX_ATTEMPTS} samples in a row are bad.*check data.train"):
        take(open_source(tmp_path), 1)


def test_a_shard_lost_while_training_is_counted_as_unreadable(tmp_path):
    write_tar(tmp_path / "a.tar", [good_sample(number) for number in range(20)])
    lost = write_tar(tmp_path / "b.tar", [good_sample(number) for number in range(20, 24)])
    source = open_source(tmp_path)
    lost.unlink()
    batch = take(source, 1)[0]
    assert batch["bad"][CAUSES.index("unreadable")] >= 4 and batch["bad"].sum() == batch["bad"][-1]


def test_workers_make_the_same_batches(bad_shards, monkeypatch):
    monkeypatch.setattr(batches_module, "_CHUNK", 5)
    source = open_source(bad_shards[0])
    caption = CaptionConfig(draw="sample", unique_texts=True)
    expected = take(source, 4, caption=caption, start_step=2)
    for workers in (1, 2):
        actual = take(source, 4, caption=caption, start_step=2, workers=workers)
        assert_same(actual, expected, f"{workers} workers")


def test_an_error_in_a_worker_reaches_the_trainer(tmp_path):
    write_tar(tmp_path / "a.tar", [{"__key__": "a", "jpg": b"no"}])
    with pytest.raises(UserError, match="samples in a row are bad"):
        take(open_source(tmp_path), 1, workers=1)


SCRIPT = """
    import multiprocessing, sys
    from bioclip_jax.pipeline.batches import train_batches
    from bioclip_jax.pipeline.sources import open_source

    if __name__ == "__main__":
        source = open_source(sys.argv[1])
        batches = train_batches(source, image_size=32, seed=0, global_batch_size=8, workers=1)
        next(batches)
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        sys.stdin.readline()
        for _ in range(60):
            next(batches)
        batches.close()
        print("done", flush=True)
"""


def running(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def test_workers_outlive_signals_but_not_their_trainer(shards, tmp_path):
    script = tmp_path / "trainer.py"
    script.write_text(textwrap.dedent(SCRIPT))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    trainers = [subprocess.Popen([sys.executable, script, shards], **pipes) for _ in range(2)]
    workers = [[int(pid) for pid in trainer.stdout.readline().split()] for trainer in trainers]
    assert [len(pids) for pids in workers] == [1, 1]
    for pid in workers[0]:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    assert trainers[0].communicate("continue\n", timeout=60)[0] == "done\n"
    assert not any(map(running, workers[0]))

    trainers[1].kill()
    trainers[1].communicate()
    deadline = time.monotonic() + 20
    while any(map(running, workers[1])) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(running, workers[1])), "workers are still running after their trainer was killed"


def test_caption_types_are_drawn_with_equal_chance(shards):
    source = open_source(shards)
    order = Shuffled(3, len(source))
    types = ("sci", "taxon_com", "taxonTag")
    for draw, steps in (("step", 60), ("sample", 3)):
        caption = CaptionConfig(types=types, draw=draw)
        counts = dict.fromkeys(types, 0)
        size = 3 if draw == "step" else 24
        for step, batch in enumerate(
            take(source, steps, caption=caption, image_size=8, global_batch_size=size)
        ):
            for row in range(24 if draw == "sample" else 1):
                captions = source[order.index(step * size + row)].captions
                kinds = [
                    kind for kind in types if (Tokenizer()(captions[kind])[0] == batch["tokens"][row]).all()
                ]
                counts[kinds[0]] += 1
        expected = sum(counts.values()) / 3
        assert all(0.6 * expected < count < 1.4 * expected for count in counts.values()), f"{draw}: {counts}"


def test_plain_captions_of_replay_data(tmp_path):
    samples = [{"__key__": str(n), "jpg": good_sample(n)["jpg"], "txt": f"cat {n}"} for n in range(4)]
    write_tar(tmp_path / "a.tar", samples)
    batch = take(open_source(tmp_path), 1, caption=CaptionConfig(types=("txt",)), global_batch_size=4)[0]
    assert sorted(batch["tokens"].tolist()) == sorted(Tokenizer()([f"cat {n}" for n in range(4)]).tolist())


def test_unique_texts_give_every_image_its_text(shards):
    source = open_source(shards)
    plain = take(source, 2, caption=CaptionConfig(types=("common_name", "sci")))
    unique = take(source, 2, caption=CaptionConfig(types=("common_name", "sci"), unique_texts=True))
    for a, b in zip(plain, unique):
        assert b["tokens"].shape == (32, 77) and b["text_index"].dtype == np.int32
        np.testing.assert_array_equal(b["tokens"][b["text_index"]], a["tokens"])
        used = np.unique(b["text_index"])
        np.testing.assert_array_equal(used, np.arange(len(used)), err_msg="texts are not numbered from 0")
        assert (b["tokens"][len(used) :] == b["tokens"][0]).all()


def test_invalid_batch_options_are_errors(shards):
    source = open_source(shards)
    with pytest.raises(UserError, match="24 cannot be split evenly over 5 hosts"):
        train_batches(source, **ARGUMENTS, hosts=5)
    with pytest.raises(UserError, match="unique_texts works on one host"):
        train_batches(source, **ARGUMENTS, hosts=2, caption=CaptionConfig(unique_texts=True))
    with pytest.raises(UserError, match="data.workers is -1"):
        DataConfig(workers=-1)
    with pytest.raises(UserError, match="data.bad_shards is 'ignore'"):
        DataConfig(bad_shards="ignore")


def test_workers_send_images_with_and_without_shared_buffers(shards, monkeypatch):
    source = open_source(shards)
    expected = take(source, 12)
    taken = []
    release = SharedBuffers.release
    monkeypatch.setattr(
        SharedBuffers, "release", lambda slots, slot: taken.append(slot) or release(slots, slot)
    )
    assert_same(take(source, 12, workers=2), expected, "through shared buffers")
    assert len(taken) == 12, f"{12 - len(taken)} of 12 batches did not use a shared buffer"
    monkeypatch.delattr(os, "memfd_create")
    taken.clear()
    assert_same(take(source, 12, workers=1), expected, "without shared buffers")
    assert not taken


def test_a_windowed_order_resumes_and_is_the_same_for_hosts_and_workers(shards):
    source, sampling = open_source(shards), Sampling(window=4)
    whole = take(source, 6, sampling=sampling)
    assert_same(take(source, 2, sampling=sampling, start_step=4), whole[4:], "start at step 4")
    parts = [take(source, 6, sampling=sampling, host=host, hosts=2, workers=host) for host in range(2)]
    for step, batch in enumerate(whole):
        joined = np.concatenate([part[step]["image"] for part in parts])
        np.testing.assert_array_equal(joined, batch["image"], err_msg=f"hosts at step {step}")
    assert not all((a["image"] == b["image"]).all() for a, b in zip(whole, take(source, 6)))


def test_worker_modules_do_not_import_jax():
    """grain itself may, in some versions."""
    code = """
        import sys, types
        for name in ("jax", "torch", "tensorflow"):
            sys.modules[name] = None
        grain = types.ModuleType("grain"); grain.experimental = types.ModuleType("grain.experimental")
        grain.experimental.index_shuffle = None
        sys.modules |= {"grain": grain, "grain.experimental": grain.experimental}
        import bioclip_jax.pipeline.batches, bioclip_jax.pipeline.sources, bioclip_jax.text.templates
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
