"""Jobs over HTTP: handed in, asked for, fetched, cancelled, and there after a restart."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.domain import Deadline
from tests.image_files import book, leading_to, noise
from tests.unit.gateway.calls import Connect, StartApp, png, until

PNG = {"content-type": "image/png"}
ZIP = {"content-type": "application/zip"}
SLOW_IMAGE = png(corner=250)
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def archive(**files: bytes) -> bytes:
    return packed(files, zipfile.ZIP_DEFLATED)


def damaged(compression: int) -> bytes:
    """Return an archive whose one entry does not unpack."""
    data = bytearray(packed({"a": bytes(range(256)) * 64}, compression))
    middle = (30 + data.index(b"PK\x01\x02")) // 2
    data[middle : middle + 8] = bytes(byte ^ 0xFF for byte in data[middle : middle + 8])
    return bytes(data)


def packed(files: dict[str, bytes], compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return buffer.getvalue()


async def ended(client: httpx2.AsyncClient, path: str) -> Any:
    async with asyncio.timeout(60):
        while (job := (await client.get(path)).json())["status"] in {"queued", "running"}:  # noqa: ASYNC110 - polls as a client does
            await asyncio.sleep(0.02)
    return job


async def test_a_job_is_accepted_worked_off_and_fetched(
    start_app: StartApp, connect: Connect, tmp_path: Path
) -> None:
    client = await connect(await start_app(jobs_file=tmp_path / "jobs"))
    accepted = await client.post("/jobs?format=coco", content=png(), headers=PNG)
    assert accepted.status_code == 202
    job = await ended(client, accepted.headers["location"])
    assert (job["status"], job["total"], job["finished"]) == ("succeeded", 1, 1)
    result = await client.get(job["result"])
    now = await client.post("/segment?format=coco", content=png(), headers=PNG)
    assert result.content == now.content


async def test_segment_with_prefer_becomes_a_job(
    start_app: StartApp, connect: Connect, tmp_path: Path
) -> None:
    client = await connect(await start_app(jobs_file=tmp_path / "jobs"))
    headers = PNG | {"Prefer": "respond-async, wait=1"}
    accepted = await client.post("/segment", content=png(), headers=headers)
    assert accepted.status_code == 202
    assert accepted.headers["preference-applied"] == "respond-async"
    assert (await ended(client, accepted.headers["location"]))["status"] == "succeeded"


async def test_an_archive_of_images_gives_an_archive_of_answers_and_problems(
    start_app: StartApp, connect: Connect, tmp_path: Path
) -> None:
    client = await connect(await start_app(jobs_file=tmp_path / "jobs"))
    body = archive(**{"a.png": png(), "b/c.png": b"no image", "__MACOSX/a.png": b"x"})
    accepted = await client.post("/jobs", content=body, headers=ZIP)
    job = await ended(client, accepted.headers["location"])
    assert (job["total"], job["failed"]) == (2, 1)
    result = await client.get(job["result"])
    with zipfile.ZipFile(io.BytesIO(result.content)) as answers:
        assert sorted(answers.namelist()) == ["a.png.json", "b/c.png.problem.json"]


@pytest.mark.parametrize("packed", [False, True])
async def test_every_page_of_a_stack_has_an_answer_in_the_archive(
    start_app: StartApp, connect: Connect, tmp_path: Path, *, packed: bool
) -> None:
    client = await connect(await start_app(jobs_file=tmp_path / "jobs"))
    movie = leading_to(book(*(noise(16, 16, seed=page) for page in range(3))), 1, 10**9)
    content, headers = (archive(movie=movie), ZIP) if packed else (movie, PNG)
    accepted = await client.post("/jobs?page=all", content=content, headers=headers)
    job = await ended(client, accepted.headers["location"])
    assert (job["status"], job["total"], job["failed"]) == ("succeeded", 3, 1)
    result = await client.get(job["result"])
    name = "movie" if packed else "image"
    with zipfile.ZipFile(io.BytesIO(result.content)) as answers:
        assert answers.namelist() == [
            f"{name}/0.json", f"{name}/1.json", f"{name}/2.problem.json"
        ]  # fmt: skip
        second = json.loads(answers.read(f"{name}/1.json"))
    assert (second["image"]["page"], second["image"]["frames"]) == (1, 3)


async def test_a_failed_image_alone_is_answered_with_its_problem(
    start_app: StartApp, connect: Connect, tmp_path: Path
) -> None:
    client = await connect(await start_app(jobs_file=tmp_path / "jobs"))
    accepted = await client.post("/jobs", content=b"no image", headers=PNG)
    job = await ended(client, accepted.headers["location"])
    assert job["status"] == "failed"
    result = await client.get(job["result"])
    assert (result.status_code, result.json()["code"]) == (415, "unsupported-format")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"PK no archive", 400),
        (archive(), 400),
        *((damaged(compression), 400) for compression in COMPRESSIONS),
        (archive(**{f"{n}.png": b"x" for n in range(4)}), 413),
        (archive(bomb=b"0" * 200_000), 413),
    ],
    ids=["no archive", "empty", "stored", "deflated", "bzip2", "lzma", "too many", "bomb"],
)
async def test_an_archive_beyond_the_limits_is_refused(
    start_app: StartApp, connect: Connect, tmp_path: Path, content: bytes, status: int
) -> None:
    client = await connect(
        await start_app(jobs_file=tmp_path / "jobs", max_job_images=3, max_job_bytes=100_000)
    )
    refused = await client.post("/jobs", content=content, headers=ZIP)
    assert refused.status_code == status
    if status == 413:
        limits = (await client.get("/limits")).json()
        assert refused.json()["limit"] in (limits["max_job_images"], limits["max_job_bytes"])


@pytest.mark.parametrize(
    ("path", "headers"), [("/jobs", PNG), ("/segment", PNG | {"Prefer": "respond-async"})]
)
async def test_a_full_server_takes_jobs(
    start_app: StartApp, connect: Connect, tmp_path: Path, path: str, headers: dict[str, str]
) -> None:
    app = await start_app(jobs_file=tmp_path / "jobs", max_in_flight=1, max_queue=0)
    client = await connect(app)
    async with app.state.gateway.gate.admitted(Deadline.after(30)):
        assert (await client.post("/segment", content=png(), headers=PNG)).status_code == 503
        accepted = await client.post(path, content=png(), headers=headers)
    assert accepted.status_code == 202
    assert (await ended(client, accepted.headers["location"]))["status"] == "succeeded"


async def test_a_running_job_is_cancelled_and_its_place_is_free_at_once(
    start_app: StartApp, connect: Connect, tmp_path: Path
) -> None:
    app = await start_app(jobs_file=tmp_path / "jobs", max_in_flight=1)
    client = await connect(app)
    accepted = await client.post("/jobs?model=slow", content=SLOW_IMAGE, headers=PNG)
    path = accepted.headers["location"]
    await until(lambda: app.state.gateway.gate.in_flight)
    async with asyncio.timeout(20):
        unfinished = await client.get(f"{path}/result")
        cancelled = await client.delete(path)
        await app.state.gateway.gate.idle()
    assert (unfinished.status_code, unfinished.json()["code"]) == (409, "job-has-no-result")
    assert cancelled.json()["status"] == "cancelled"
    assert (await client.get(f"{path}/result")).status_code == 409


async def test_a_repeated_submission_under_one_key_is_one_job(
    start_app: StartApp, connect: Connect, tmp_path: Path
) -> None:
    client = await connect(await start_app(jobs_file=tmp_path / "jobs"))
    keyed = PNG | {"Idempotency-Key": "7b1e"}
    first = await client.post("/jobs", content=png(), headers=keyed)
    again = await client.post("/jobs", content=png(), headers=keyed)
    assert first.headers["location"] == again.headers["location"]
    other = await client.post("/jobs", content=png(1), headers=keyed)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


async def test_a_job_survives_the_server(
    start_app: StartApp, connect: Connect, tmp_path: Path
) -> None:
    app = await start_app(jobs_file=tmp_path / "jobs")
    client = await connect(app)
    accepted = await client.post("/jobs?model=slow", content=png(5), headers=PNG)
    await app.state.jobs.aclose()
    client = await connect(await start_app(jobs_file=tmp_path / "jobs"))
    assert (await ended(client, accepted.headers["location"]))["status"] == "succeeded"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/jobs?keep=true", 422),
        ("/jobs?model=none", 404),
        ("/jobs?version=7", 404),
        ("/jobs?embedding=" + "A" * 22, 422),
    ],
)
async def test_what_cannot_be_a_job_is_refused_at_once(
    start_app: StartApp, connect: Connect, tmp_path: Path, path: str, status: int
) -> None:
    client = await connect(await start_app(jobs_file=tmp_path / "jobs"))
    assert (await client.post(path, content=png(), headers=PNG)).status_code == status


async def test_an_embedding_that_a_job_cannot_keep_is_said_to_be_none_of_a_job(
    start_app: StartApp, connect: Connect
) -> None:
    client = await connect(await start_app())
    headers = PNG | {"Prefer": "respond-async"}
    refused = await client.post("/segment?keep=true", content=png(), headers=headers)
    assert refused.json()["detail"] == "neither a batch nor a job has keep"


@pytest.mark.parametrize("path", ["/jobs/none", "/jobs/none/result"])
async def test_an_unknown_job_is_a_404(
    start_app: StartApp, connect: Connect, tmp_path: Path, path: str
) -> None:
    client = await connect(await start_app(jobs_file=tmp_path / "jobs"))
    assert (await client.get(path)).status_code == 404


async def test_a_store_that_cannot_be_used_is_a_503_and_segment_goes_on(
    start_app: StartApp, connect: Connect, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    client = await connect(await start_app(jobs_file=tmp_path / "file" / "jobs"))
    refused = await client.post("/jobs", content=png(), headers=PNG)
    assert (refused.status_code, refused.json()["code"]) == (503, "jobs-unavailable")
    assert (await client.post("/segment", content=png(), headers=PNG)).status_code == 200
