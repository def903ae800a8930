"""HTTP API of a running server: results, errors, hostile requests, load."""

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
    response = post(server, "/api/predict?rank=family&k=3", drawing, drawing).json()
    assert [result["file_name"] for result in response["results"]] == [drawing[0]] * 2
    first, again = (result["predictions"] for result in response["results"])
    assert first == again and len(first) == 3
    assert list(first[0]) == [*RANKS[:5], "score"]
    assert 1 >= first[0]["score"] >= first[1]["score"] >= first[2]["score"] > 0


def test_predict_backs_off_to_wider_ranks(server, drawing):
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


def test_indexed_image_is_most_similar_to_itself(server, drawing):
    (result,) = post(server, "/api/similar?k=4", drawing).json()["results"]
    first = result["images"][0]
    assert first["path"].endswith(drawing[0]) and abs(first["score"] - 1) < 1e-4
    assert len(result["images"]) == 4 and first["kingdom"]
    (result,) = post(server, "/api/similar?within=Plantae", drawing).json()["results"]
    assert {image["kingdom"] for image in result["images"]} == {"Plantae"}
    unknown = post(server, "/api/similar?within=Plantea", drawing)
    assert unknown.status_code == 400 and "Plantae" in unknown.json()["error"]
    assert str(server.folder) not in unknown.text


def test_explain_has_a_heat_map_and_reference_pictures(server, drawing):
    response = post(server, "/api/explain?k=3", drawing)
    assert response.status_code == 200, response.text
    result = response.json()
    assert result["seen"] == [0.0, 0.0, 1.0, 1.0] and result["photo"].startswith("data:image/jpeg")
    first, *others = result["candidates"]
    assert len(others) == 2 and first["prediction"]["score"] >= others[0]["prediction"]["score"]
    grid = len(first["heat_map"]["values"])
    assert {len(row) for row in first["heat_map"]["values"]} == {grid} and grid > 1
    assert first["heat_map"]["png"].startswith("data:image/png")
    for reference in (one for candidate in result["candidates"] for one in candidate["references"]):
        assert reference["thumbnail"].startswith("data:image/jpeg") and reference["score"] <= 1.001
    labels = post(server, "/api/explain", drawing, labels="fish,bird").json()
    assert {c["prediction"]["classification"] for c in labels["candidates"]} == {"fish", "bird"}
    assert post(server, "/api/explain?rank=tribe", drawing).status_code == 400
    assert post(server, "/api/explain", ("a.jpg", b"no image")).status_code == 400


def test_embed(server, drawing):
    (result,) = post(server, "/api/embed", drawing).json()["results"]
    vector = np.array(result["embedding"])
    assert vector.shape == (32,) and abs(np.linalg.norm(vector) - 1) < 1e-5


@pytest.mark.parametrize(
    ("path", "data", "message"),
    [
        ("/api/predict?rank=tribe", {}, "the ranks are kingdom"),
        ("/api/predict?k=0", {}, "k: "),
        ("/api/predict?min_confidence=2", {}, "min_confidence: "),
        ("/api/labels", {}, "the request has no labels"),
        ("/api/labels", {"labels": " , "}, "there is no label"),
        ("/api/labels", {"labels": "\n".join(map(str, range(101)))}, "101 labels are too many"),
        ("/api/labels", {"labels": "a" * 1000}, "has 1,000 characters"),
    ],
)
def test_invalid_requests_are_errors(server, drawing, path: str, data: dict, message: str):
    response = post(server, path, drawing, **data)
    assert response.status_code == 400 and message in response.json()["error"]


def test_request_without_a_file(server):
    response = httpx.post(server.url + "/api/predict", data={"rank": "family"})
    assert response.status_code == 400 and "no file" in response.json()["error"]


def test_hostile_files_are_rejected_and_memory_is_released(server, drawing, hostile_files):
    for content in hostile_files.values():  # Pillow's modules for a format stay loaded
        post(server, "/api/embed", ("x", content))
    before = server.memory_mb()
    messages = {
        "empty.jpg": "is empty",
        "drawing.svg": "is not an image",
        "drawing.jpg": "is not an image",
        "program.jpg": "is not an image",
        "letter.png": "is not an image",
        "half.jpg": "is damaged or cut off",
        "bomb.png": "has more than 89 million pixels",
        "smaller_bomb.png": "has more than 89 million pixels",
        "large.jpg": "has 50 MB; the limit is 20 MB",
    }
    for name, content in hostile_files.items():
        response = post(server, "/api/predict", (name, content))
        error = response.json()["error"]
        assert response.status_code == 400 and messages[name] in error and error.startswith(name), error
    # A readable photo among others is still predicted.
    response = post(
        server, "/api/predict", ("empty.jpg", b""), drawing, ("bomb.png", hostile_files["bomb.png"])
    ).json()
    assert [result["file_name"] for result in response["results"]] == [drawing[0]]
    assert [row["file_name"] for row in response["unreadable"]] == ["empty.jpg", "bomb.png"]
    assert server.memory_mb() < before + 25


def test_too_many_files_and_too_large_requests(server):
    many = post(server, "/api/embed", *[("a.jpg", b"x")] * 101)
    assert many.status_code == 400 and "send at most 100" in many.json()["error"]
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    connection.request("POST", "/api/embed", body=bytes(210_000_000))
    response = connection.getresponse()
    assert response.status == 413 and "at most 200 MB" in json.loads(response.read())["error"]
    without_length = httpx.post(server.url + "/api/embed", content=iter([b"x"]))
    assert without_length.status_code == 411 and "Content-Length" in without_length.json()["error"]


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
def test_file_names_are_cleaned_and_never_paths(server, drawing, name: str, shown: str):
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
def test_files_of_the_server_are_unreachable(server, path: str):
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    assert response.status in (400, 403, 404), (response.status, body[:200])
    assert b"root:" not in body and b"Traceback" not in body


@pytest.mark.parametrize("more", [{}, {"is_stream": True}, {"url": "http://127.0.0.1:9/x"}])
@pytest.mark.parametrize("path", ["/etc/passwd", "http://127.0.0.1:9/x", "{drawing}"])
def test_page_reads_only_uploaded_files(server, path: str, more: dict):
    config = httpx.get(server.url + "/config").json()
    uploads = [fn for fn in config["dependencies"] if any(event == "upload" for _, event in fn["targets"])]
    assert len(uploads) == 3, "photos, a checklist, a calibration"
    path = path.format(drawing=server.drawings()[0])
    file = {"path": path, "orig_name": "x.jpg", "meta": {"_type": "gradio.FileData"}, **more}
    for upload in uploads:
        # The first input is the visitor's language; a box for photos takes several files.
        data = [None, [file], None, None] if len(upload["inputs"]) > 2 else [None, file]
        session = f"stranger{upload['id']}"
        body = {"data": data, "fn_index": upload["id"], "session_hash": session}
        assert httpx.post(server.url + "/gradio_api/queue/join", json=body).status_code == 200
        address = f"{server.url}/gradio_api/queue/data?session_hash={session}"
        with httpx.stream("GET", address, timeout=60) as events:
            event = next(line for line in events.iter_lines() if "process_completed" in line)
        assert json.loads(event.removeprefix("data:"))["success"] is False
        assert "That file is gone" in event, event


def test_dns_rebinding_is_rejected(server):
    response = httpx.get(server.url + "/api", headers={"Host": "evil.example"})
    assert response.status_code == 403 and "localhost only" in response.json()["error"]


def test_page_uses_the_prefix_of_a_proxy(server):
    forwarded = {
        "X-Forwarded-Prefix": "/bio",
        "X-Forwarded-Host": "example.org",
        "X-Forwarded-Proto": "https",
    }
    assert httpx.get(server.url + "/config", headers=forwarded).json()["root"] == "https://example.org/bio"
    assert '<base href="/bio/" />' in httpx.get(server.url + "/", headers=forwarded).text
    plain = httpx.get(server.url + "/")
    assert plain.status_code == 200 and '<base href="./" />' in plain.text


def test_many_clients_at_once(server, drawing):
    """200 requests of 20 clients succeed or fail as busy, and memory is released."""
    names = [path.name for path in server.drawings()[:10]]
    contents = {path.name: path.read_bytes() for path in server.drawings()[:10]}
    begin = threading.Barrier(20)

    def ten_requests(client: int) -> list[tuple[str, httpx.Response]]:
        begin.wait()
        responses = []
        with httpx.Client(timeout=120) as session:
            for number in range(10):
                name = names[(client + number) % 10]
                parts = {"file": (name, contents[name])}
                responses.append((name, session.post(server.url + "/api/similar?k=1", files=parts)))
        return responses

    def all_clients() -> list[tuple[str, httpx.Response]]:
        with ThreadPoolExecutor(20) as pool:
            return [response for each in pool.map(ten_requests, range(20)) for response in each]

    all_clients()
    gc.collect()
    before = server.memory_mb()
    responses = all_clients()
    statuses = Counter(response.status_code for _, response in responses)
    assert len(responses) == 200 and set(statuses) <= {200, 503}, statuses
    assert statuses[200] >= 100
    for name, response in responses:
        if response.status_code == 503:
            assert "try again" in response.json()["error"] and int(response.headers["retry-after"]) > 0
        else:
            # Responses must not be mixed up among clients.
            (image,) = response.json()["results"][0]["images"]
            assert image["path"].endswith(name)
    assert server.memory_mb() < before + 12
    assert httpx.get(server.url + "/api").status_code == 200


def test_log_has_no_traceback(server):
    assert not re.search("Traceback|BLOCKED", server.log.read_text())
