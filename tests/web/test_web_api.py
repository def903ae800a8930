"""The HTTP API as programs use it, and as people misuse it."""

from __future__ import annotations

import gc
import http.client
import json
import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from bioclip_jax.text import RANKS


def post(server, path: str, *files: tuple[str, bytes], **data) -> httpx.Response:
    parts = [("file", (name, content, "application/octet-stream")) for name, content in files]
    return httpx.post(server.url + path, files=parts, data=data, timeout=120)


@pytest.fixture(scope="module")
def drawing(server) -> tuple[str, bytes]:
    path = server.drawings()[0]
    return path.name, path.read_bytes()


def test_about(server):
    about = httpx.get(server.url + "/api").json()
    assert about["model"] == "small" and about["embed_dim"] == 32
    assert about["taxa"] == about["index"] == len(server.drawings())


def test_predict_at_a_rank(server, drawing):
    answer = post(server, "/api/predict?rank=family&k=3", drawing, drawing).json()
    assert [result["file_name"] for result in answer["results"]] == [drawing[0]] * 2
    first, again = (result["predictions"] for result in answer["results"])
    assert first == again and len(first) == 3
    assert list(first[0]) == [*RANKS[:5], "score"]
    assert 1 >= first[0]["score"] >= first[1]["score"] >= first[2]["score"] > 0


def test_predict_backs_off(server, drawing):
    (result,) = post(server, "/api/predict?min_confidence=1", drawing).json()["results"]
    (row,) = result["predictions"]
    assert row["rank"] == "unknown" or row["score"] >= 1
    (result,) = post(server, "/api/predict?min_confidence=0.0001", drawing).json()["results"]
    assert result["predictions"][0]["rank"] == "species"


def test_labels(server, drawing):
    (result,) = post(server, "/api/labels", drawing, labels="fish, bird ,fish").json()["results"]
    rows = result["predictions"]
    assert sorted(row["classification"] for row in rows) == ["bird", "fish"]
    assert abs(sum(row["score"] for row in rows) - 1) < 1e-5


def test_an_image_of_the_index_is_most_similar_to_itself(server, drawing):
    (result,) = post(server, "/api/similar?k=4", drawing).json()["results"]
    first = result["images"][0]
    assert first["path"].endswith(drawing[0]) and abs(first["score"] - 1) < 1e-4
    assert len(result["images"]) == 4 and first["kingdom"]
    (result,) = post(server, "/api/similar?within=Plantae", drawing).json()["results"]
    assert {image["kingdom"] for image in result["images"]} == {"Plantae"}
    unknown = post(server, "/api/similar?within=Plantea", drawing)
    assert unknown.status_code == 400 and "Plantae" in unknown.json()["error"]
    assert str(server.folder) not in unknown.text


def test_embed(server, drawing):
    (result,) = post(server, "/api/embed", drawing).json()["results"]
    vector = np.array(result["embedding"])
    assert vector.shape == (32,) and abs(np.linalg.norm(vector) - 1) < 1e-5


@pytest.mark.parametrize(
    ("path", "data", "says"),
    [
        ("/api/predict?rank=tribe", {}, "the ranks are kingdom"),
        ("/api/predict?k=0", {}, "k: "),
        ("/api/predict?min_confidence=2", {}, "min_confidence: "),
        ("/api/labels", {}, "the request has no labels"),
        ("/api/labels", {"labels": " , "}, "there is no label"),
        ("/api/labels", {"labels": "\n".join(map(str, range(101)))}, "101 labels are too many"),
        ("/api/labels", {"labels": "a" * 1000}, "has 1000 characters"),
    ],
)
def test_mistakes_are_told_in_a_sentence(server, drawing, path: str, data: dict, says: str):
    answer = post(server, path, drawing, **data)
    assert answer.status_code == 400 and says in answer.json()["error"]


def test_without_a_file(server):
    answer = httpx.post(server.url + "/api/predict", data={"rank": "family"})
    assert answer.status_code == 400 and "no file" in answer.json()["error"]


def test_hostile_files_are_told_and_memory_comes_back(server, drawing, hostile_files):
    for content in hostile_files.values():  # whatever Pillow loads for a format stays loaded
        post(server, "/api/embed", ("x", content))
    before = server.memory_mb()
    says = {
        "empty.jpg": "is empty",
        "drawing.svg": "is not an image",
        "drawing.jpg": "is not an image",
        "program.jpg": "is not an image",
        "letter.png": "is not an image",
        "half.jpg": "is damaged or cut off",
        "bomb.png": "has more than 89 million pixels",
        "smaller_bomb.png": "has more than 89 million pixels",
        "large.jpg": "has 50 MB; at most 20 MB",
    }
    for name, content in hostile_files.items():
        answer = post(server, "/api/predict", (name, content))
        error = answer.json()["error"]
        assert answer.status_code == 400 and says[name] in error and error.startswith(name), error
    # A good photo among bad ones is answered all the same.
    answer = post(
        server, "/api/predict", ("empty.jpg", b""), drawing, ("bomb.png", hostile_files["bomb.png"])
    ).json()
    assert [result["file_name"] for result in answer["results"]] == [drawing[0]]
    assert [row["file_name"] for row in answer["unreadable"]] == ["empty.jpg", "bomb.png"]
    assert server.memory_mb() < before + 25


def test_too_many_files_and_too_large_requests(server):
    many = post(server, "/api/embed", *[("a.jpg", b"x")] * 101)
    assert many.status_code == 400 and "send at most 100" in many.json()["error"]
    sent = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    sent.request("POST", "/api/embed", body=bytes(210_000_000))
    answer = sent.getresponse()
    assert answer.status == 413 and "at most 200 MB" in json.loads(answer.read())["error"]
    unsaid = httpx.post(server.url + "/api/embed", content=iter([b"x"]))
    assert unsaid.status_code == 411 and "Content-Length" in unsaid.json()["error"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../../etc/passwd", "passwd"),
        ("..\\..\\windows\\photo.jpg", "photo.jpg"),
        ("<script>alert(1)</script>.jpg", "script>.jpg"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("=cmd|' /C calc'!A0.jpg", "A0.jpg"),
        ("a" * 300 + ".jpg", "….jpg"),
    ],
)
def test_names_are_only_names(server, drawing, name: str, shown: str):
    before = {path for path in server.folder.rglob("*") if "xla" not in str(path)}
    (result,) = post(server, "/api/embed", (name, drawing[1])).json()["results"]
    assert len(result["file_name"]) <= 80 and "/" not in result["file_name"].replace("</script>", "")
    assert result["file_name"].endswith(shown.replace("….", "."))
    assert {path for path in server.folder.rglob("*") if "xla" not in str(path)} == before


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/file=/etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/assets/../../../../../../../etc/passwd",
        "/assets/..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/svelte//etc/passwd",
        "/photos/../metadata.csv",
        "/photos/999999.jpg",
        "/monitoring",
        "/gradio_api/vibe-code",
        "/gradio_api/info",
        "/docs",
        "/metadata.csv",
    ],
)
def test_no_file_of_the_server_is_reachable(server, path: str):
    asked = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    asked.request("GET", path)
    answer = asked.getresponse()
    body = answer.read()
    assert answer.status in (400, 403, 404), (answer.status, body[:200])
    assert b"root:" not in body and b"Traceback" not in body


@pytest.mark.parametrize("more", [{}, {"is_stream": True}, {"url": "http://127.0.0.1:9/x"}])
@pytest.mark.parametrize("path", ["/etc/passwd", "http://127.0.0.1:9/x", "{drawing}"])
def test_the_page_reads_no_file_that_was_not_uploaded(server, path: str, more: dict):
    config = httpx.get(server.url + "/config").json()
    (upload,) = [fn for fn in config["dependencies"] if any(event == "upload" for _, event in fn["targets"])]
    path = path.format(drawing=server.drawings()[0])
    file = {"path": path, "orig_name": "x.jpg", "meta": {"_type": "gradio.FileData"}, **more}
    body = {"data": [[file], None], "fn_index": upload["id"], "session_hash": "stranger"}
    assert httpx.post(server.url + "/gradio_api/queue/join", json=body).status_code == 200
    with httpx.stream(
        "GET", server.url + "/gradio_api/queue/data?session_hash=stranger", timeout=60
    ) as events:
        told = next(line for line in events.iter_lines() if "process_completed" in line)
    assert json.loads(told.removeprefix("data:"))["success"] is False
    assert "not there any more" in told, told


def test_a_page_elsewhere_cannot_name_this_machine_its_own(server):
    answer = httpx.get(server.url + "/api", headers={"Host": "evil.example"})
    assert answer.status_code == 403 and "localhost only" in answer.json()["error"]


def test_the_page_knows_the_path_that_a_proxy_has_stripped(server):
    told = {"X-Forwarded-Prefix": "/bio", "X-Forwarded-Host": "example.org", "X-Forwarded-Proto": "https"}
    assert httpx.get(server.url + "/config", headers=told).json()["root"] == "https://example.org/bio"
    assert '<base href="/bio/" />' in httpx.get(server.url + "/", headers=told).text
    plain = httpx.get(server.url + "/")
    assert plain.status_code == 200 and '<base href="./" />' in plain.text


def test_many_clients_at_once(server, drawing):
    """200 requests of 20 clients: each is answered or told that the server is busy, and memory comes back."""
    names = [path.name for path in server.drawings()[:10]]
    contents = {path.name: path.read_bytes() for path in server.drawings()[:10]}
    begin = threading.Barrier(20)

    def ten_requests(client: int) -> list[tuple[str, httpx.Response]]:
        begin.wait()
        answers = []
        with httpx.Client(timeout=120) as session:
            for number in range(10):
                name = names[(client + number) % 10]
                parts = {"file": (name, contents[name])}
                answers.append((name, session.post(server.url + "/api/similar?k=1", files=parts)))
        return answers

    def all_clients() -> list[tuple[str, httpx.Response]]:
        with ThreadPoolExecutor(20) as pool:
            return [answer for answers in pool.map(ten_requests, range(20)) for answer in answers]

    all_clients()
    gc.collect()
    before = server.memory_mb()
    answers = all_clients()
    statuses = Counter(answer.status_code for _, answer in answers)
    assert len(answers) == 200 and set(statuses) <= {200, 503}, statuses
    assert statuses[200] >= 100
    for name, answer in answers:
        if answer.status_code == 503:
            assert "try again" in answer.json()["error"] and int(answer.headers["retry-after"]) > 0
        else:
            # Nobody gets the answer of another.
            (image,) = answer.json()["results"][0]["images"]
            assert image["path"].endswith(name)
    assert server.memory_mb() < before + 12
    assert httpx.get(server.url + "/api").status_code == 200


def test_the_log_holds_no_traceback(server):
    assert not re.search("Traceback|BLOCKED", server.log.read_text())
