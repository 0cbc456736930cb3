"""Both clients against a real server."""

from __future__ import annotations

import io
import pickle
import socket
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

import httpx2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from discern.calls import found_in, read
from discern.client import AsyncClient, Client, Found, NoAnswer, Retries, ServerProblem
from tests.scenes import draw_scene, png_of, stack_of

IMAGE, LABELS = draw_scene(1)
COUNT = int(LABELS.max())


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[Client]:
    with Client(server) as made:
        yield made


def _same_partition(found: npt.NDArray[np.int32], drawn: npt.NDArray[np.int32]) -> bool:
    pairs = set(zip(found.ravel().tolist(), drawn.ravel().tolist(), strict=True))
    return (0, 0) in pairs and len(pairs) == COUNT + 1


def test_the_labels_are_those_that_were_drawn(client: Client) -> None:
    found = client.segment(png_of(IMAGE))
    assert _same_partition(found.labels, LABELS)
    assert (found.height, found.width) == LABELS.shape


def test_a_path_bytes_and_an_array_get_the_same_answer(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "discs.png"
    file.write_bytes(png_of(IMAGE))
    answers = [client.segment(image) for image in (file, str(file), file.read_bytes(), IMAGE)]
    assert all(answer.instances == answers[0].instances for answer in answers)


def test_masks_are_those_of_their_instances(client: Client) -> None:
    found = client.segment(IMAGE)
    assert [int(instance.mask.sum()) for instance in found.instances] == [
        instance.area for instance in found.instances
    ]
    assert all(
        np.array_equal(instance.mask, found.labels == instance.id) for instance in found.instances
    )


def test_settings_reach_the_server(client: Client) -> None:
    areas = [instance.area for instance in client.segment(IMAGE, min_area=300).instances]
    assert areas
    assert min(areas) >= 300
    assert client.segment(IMAGE, classes=[99]).instances == ()
    assert len(client.segment(IMAGE, max_instances=2).instances) == 2


def test_large_objects_are_found_at_a_smaller_scale(client: Client) -> None:
    twice = IMAGE.repeat(2, 0).repeat(2, 1)
    found = client.segment(twice, scale=0.5, keep=True)
    assert len(found.instances) == COUNT
    assert found.labels.shape == twice.shape[:2]
    assert len(client.segment(found, scale=0.5).instances) == COUNT
    with pytest.raises(ServerProblem, match=r"the embedding is of scale 0\.5, not 1\.0"):
        client.segment(found, scale=1)


def test_the_scale_that_the_server_found_is_in_the_answer(client: Client) -> None:
    found = client.segment(IMAGE, scale="auto", keep=True)
    assert found.image["scale"] == 1
    assert client.segment(found, scale="auto").image["scale"] == 1


def test_a_page_and_a_channel_of_a_file_are_segmented(client: Client) -> None:
    empty = np.zeros((30, 20, 3), np.uint8)
    stack = stack_of(empty, IMAGE)
    assert client.segment(stack).instances == ()
    found = client.segment(stack, page=1, keep=True)
    assert _same_partition(found.labels, LABELS)
    assert (found.image["frames"], found.image["page"], found.image["channel"]) == (2, 1, None)
    assert client.segment(found, page=1).instances == found.instances
    with pytest.raises(ServerProblem, match="the embedding is of page 1, not 0"):
        client.segment(found, page=0)
    with pytest.raises(ServerProblem, match="the embedding is of channel None, not 2"):
        client.segment(found, channel=2)
    blue = client.render(stack, "input_png", page=1, channel=2)
    with Image.open(io.BytesIO(blue)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), IMAGE[..., [2, 2, 2]])


def test_a_page_that_the_file_lacks_is_named(client: Client) -> None:
    with pytest.raises(ServerProblem, match="page is 1, but only TIFF files have pages"):
        client.segment(IMAGE, page=1)
    with pytest.raises(ServerProblem, match="page is 2, but the pages of this file go from 0 to 1"):
        client.segment(stack_of(IMAGE, IMAGE), page=2)


def test_what_was_kept_is_clustered_again_without_the_image(client: Client) -> None:
    kept = client.segment(IMAGE, keep=True)
    again = client.segment(kept, min_area=300)
    assert again.timings_ms["inference"] == 0
    assert 0 < len(again.instances) < len(kept.instances)
    assert again.instances == client.segment(IMAGE, min_area=300).instances


def test_what_was_not_kept_cannot_be_clustered_again(client: Client) -> None:
    with pytest.raises(ValueError, match="keep=True"):
        client.segment(client.segment(IMAGE))


def test_any_format_can_be_had(client: Client) -> None:
    assert client.render(IMAGE, "label_png").startswith(b"\x89PNG")
    kept = client.segment(IMAGE, keep=True)
    assert client.render(kept, "imagej_zip").startswith(b"PK")


def test_a_problem_is_raised_in_the_servers_words(client: Client) -> None:
    with pytest.raises(ServerProblem) as caught:
        client.segment(b"nothing", min_score=0.5)
    assert (caught.value.status, caught.value.code) == (415, "unsupported-format")
    assert caught.value.request_id


def test_a_problem_comes_out_of_a_pool_of_processes_as_it_was() -> None:
    problem = ServerProblem(413, {"code": "too-large", "detail": "it is larger than 32 MiB"})
    copy = pickle.loads(pickle.dumps(problem))  # noqa: S301 - what we pickled ourselves
    assert (copy.status, copy.code, str(copy)) == (413, "too-large", str(problem))


def test_many_images_come_back_with_what_was_handed_in(client: Client) -> None:
    images = [png_of(draw_scene(seed)[0]) for seed in range(6)]
    done: list[int] = []
    answers = dict(client.segment_many([*images, b"nothing"], at_once=3, progress=done.append))
    assert done == [1, 2, 3, 4, 5, 6, 7]
    assert isinstance(answers.pop(b"nothing"), ServerProblem)
    assert {type(answer) for answer in answers.values()} == {Found}


def test_a_file_that_is_not_there_does_not_stop_the_others(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "discs.png"
    file.write_bytes(png_of(IMAGE))
    answers = dict(client.segment_many([tmp_path / "gone.png", file]))
    assert isinstance(answers[tmp_path / "gone.png"], FileNotFoundError)
    assert isinstance(answers[file], Found)


def test_an_array_that_is_no_image_does_not_stop_the_others(client: Client) -> None:
    many = client.segment_many([np.zeros(3, np.uint8), IMAGE], at_once=1)
    assert [type(answer) for _, answer in many] == [ValueError, Found]


async def test_nor_does_it_stop_those_who_await(server: str) -> None:
    async with AsyncClient(server) as client:
        many = client.segment_many([np.zeros(3, np.uint8), IMAGE], at_once=1)
        assert [type(answer) async for _, answer in many] == [ValueError, Found]


def test_nothing_among_the_images_does_not_leave_out_the_rest_unsaid(client: Client) -> None:
    unread = [None, IMAGE]  # as cv2.imread gives it for a file that is none
    with pytest.raises(TypeError):
        list(client.segment_many(unread, at_once=1))  # type: ignore[type-var]


def test_more_time_than_the_server_gives_is_named_as_the_client_takes_it(server: str) -> None:
    with Client(server, timeout_s=600) as client, pytest.raises(ServerProblem) as caught:
        client.segment(IMAGE)
    assert "more than 300000 ms" in str(caught.value)
    assert str(caught.value).endswith("the client was made with a longer timeout_s")


def test_the_server_tells_of_itself(client: Client) -> None:
    assert client.ready()
    assert [model["name"] for model in client.models()] == ["scenes"]
    assert client.limits()["embeddings_kept_s"] == 300


async def test_the_async_client_does_the_same(server: str) -> None:
    async with AsyncClient(server) as client:
        assert await client.ready()
        kept = await client.segment(IMAGE, keep=True)
        assert _same_partition(kept.labels, LABELS)
        again = await client.segment(kept, min_area=300)
        assert 0 < len(again.instances) < len(kept.instances)
        assert (await client.render(kept, "label_png")).startswith(b"\x89PNG")
        answers = [
            pair async for pair in client.segment_many([png_of(IMAGE), b"nothing"], at_once=2)
        ]
        assert {type(answer) for _, answer in answers} == {Found, ServerProblem}
        assert [model["name"] for model in await client.models()] == ["scenes"]
        assert (await client.limits())["queue"] == 64


@pytest.fixture
def nobody() -> str:
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_a_server_that_is_not_there_is_no_answer(nobody: str) -> None:
    with Client(nobody, retries=Retries(attempts=2, first_s=0.01)) as client:
        assert not client.ready()
        with pytest.raises(NoAnswer):
            client.segment(IMAGE)


async def test_a_server_that_is_not_there_is_no_answer_to_those_who_await_either(
    nobody: str,
) -> None:
    async with AsyncClient(nobody, retries=Retries(attempts=2, first_s=0.01)) as client:
        assert not await client.ready()
        with pytest.raises(NoAnswer):
            await client.segment(IMAGE)


def test_a_page_to_log_in_is_no_answer(proxy: str) -> None:
    with Client(proxy) as client:
        calls: list[Callable[[], object]] = [
            client.models,
            client.limits,
            lambda: client.segment(IMAGE),
            lambda: client.render(IMAGE, "rle"),
        ]
        for call in calls:
            with pytest.raises(NoAnswer, match="is no Discern server: it sent text/html"):
                call()


async def test_a_page_to_log_in_is_no_answer_to_those_who_await_either(proxy: str) -> None:
    async with AsyncClient(proxy) as client:
        for call in (client.models(), client.limits(), client.segment(IMAGE)):
            with pytest.raises(NoAnswer, match="is no Discern server: it sent text/html"):
                await call


@pytest.mark.parametrize(("content", "kind"), [(b"", list), (b"ok", dict), (b"[]", dict)])
def test_what_is_no_json_of_discern_is_no_answer(content: bytes, kind: type) -> None:
    request = httpx2.Request("GET", "http://other/models")
    with pytest.raises(NoAnswer, match="http://other/models is no Discern server"):
        read(httpx2.Response(200, content=content, request=request), kind)


def test_json_of_another_server_is_no_answer() -> None:
    request = httpx2.Request("POST", "http://other/segment")
    with pytest.raises(NoAnswer, match="http://other/segment is no Discern server"):
        found_in(httpx2.Response(200, json={"ok": True}, request=request))


@pytest.mark.parametrize("made", [Client, AsyncClient])
def test_an_address_that_is_none_is_named(made: type[Client | AsyncClient]) -> None:
    with pytest.raises(NoAnswer, match=r"'http://localhost:abc' is no address .*port"):
        made("http://localhost:abc")


@pytest.mark.parametrize("made", [Client, AsyncClient])
@pytest.mark.parametrize("key", ["\u201csecret\u201d", "secret\nsecret"])
def test_a_key_that_is_none_is_refused_and_not_shown(
    made: type[Client | AsyncClient], key: str
) -> None:
    with pytest.raises(NoAnswer, match="API key") as told:
        made(api_key=key)
    assert "secret" not in str(told.value)


def test_a_key_read_from_a_file_may_end_its_line(server: str) -> None:
    with Client(server, api_key="secret\n") as client:
        assert client.models()


def test_an_answer_that_comes_in_drops_is_not_waited_for_beyond_the_time(dropping: str) -> None:
    with Client(dropping, timeout_s=0.1) as client, pytest.raises(NoAnswer, match="in time"):
        client.models()
    with Client(dropping, timeout_s=30) as client:
        assert client.models() == []


async def test_nor_is_it_by_those_who_await(dropping: str) -> None:
    async with AsyncClient(dropping, timeout_s=0.1) as client:
        with pytest.raises(NoAnswer, match="in time"):
            await client.models()


def test_headers_that_come_in_drops_are_not_waited_for_beyond_the_time(
    dropping_headers: str,
) -> None:
    began_s = time.monotonic()
    with Client(dropping_headers, timeout_s=0.1) as client:
        with pytest.raises(NoAnswer, match="in time"):
            client.models()
        assert not client.ready()
    assert time.monotonic() - began_s < 10  # 2.2; they take twenty


async def test_nor_are_they_by_those_who_await(dropping_headers: str) -> None:
    began_s = time.monotonic()
    async with AsyncClient(dropping_headers, timeout_s=0.1) as client:
        with pytest.raises(NoAnswer, match="in time"):
            await client.models()
        assert not await client.ready()
    assert time.monotonic() - began_s < 10


def test_a_call_is_made_in_the_context_of_its_caller(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = ContextVar("trace", default="none")
    told: list[str] = []
    send = httpx2.HTTPTransport.handle_request

    def listening(self: httpx2.HTTPTransport, request: httpx2.Request) -> httpx2.Response:
        told.append(trace.get())
        return send(self, request)

    monkeypatch.setattr(httpx2.HTTPTransport, "handle_request", listening)
    trace.set("of the caller")
    client.models()
    assert told == ["of the caller"]


def test_readiness_is_not_waited_for_beyond_the_time_either(dropping: str) -> None:
    with Client(dropping, timeout_s=0.1) as client:
        assert not client.ready()


async def test_nor_is_readiness_by_those_who_await(dropping: str) -> None:
    async with AsyncClient(dropping, timeout_s=0.1) as client:
        assert not await client.ready()


def test_an_answer_that_cannot_be_decompressed_is_none(garbling: str) -> None:
    with (
        Client(garbling, retries=Retries(attempts=1)) as client,
        pytest.raises(NoAnswer, match="decompress"),
    ):
        client.models()


async def test_nor_is_it_one_to_those_who_await(garbling: str) -> None:
    async with AsyncClient(garbling, retries=Retries(attempts=1)) as client:
        with pytest.raises(NoAnswer, match="decompress"):
            await client.models()


async def test_none_at_once_is_refused_rather_than_all_images_left_out() -> None:
    async with AsyncClient() as client:
        with pytest.raises(ValueError, match="at_once must be 1 or more"):
            await anext(client.segment_many([b""], at_once=0))
