"""The commands as a person types them."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.cli import main
from service.commands.bench import Load, histogram_svg
from tests.image_files import book, leading_to
from tests.scenes import draw_scene, png_of, stack_of, write_scenes_model
from training.deployment.server_clustering import write_clustering

COUNT = int(draw_scene(1)[1].max())


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The commands run in an empty folder, with the network that knows every scene."""
    folder = tmp_path / "repository"
    write_scenes_model(folder)
    monkeypatch.setenv("DISCERN_MODEL_REPOSITORY", str(folder))
    monkeypatch.setenv("DISCERN_DEFAULT_MODEL", "scenes")
    monkeypatch.setenv("DISCERN_PORT", "0")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "discs.png"
    file.write_bytes(png_of(draw_scene(1)[0]))
    return file


@pytest.mark.parametrize("where", ["here", "there"])
def test_segment_writes_an_answer_and_a_picture(
    picture: Path, where: str, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ["--url", server] if where == "there" else []
    assert main(["segment", "discs.png", "--out", "out", *there]) == 0
    assert len(json.loads(Path("out/discs.json").read_text())["instances"]) == COUNT
    assert Path("out/discs.overlay.png").exists()
    assert f"1 images, {COUNT} instances" in capsys.readouterr().out


def test_segment_heeds_the_settings_of_a_server(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISCERN_MAX_INSTANCES", "2")
    assert main(["segment", "discs.png", "--jsonl", "lines"]) == 0
    assert len(json.loads(Path("lines").read_text())["instances"]) == 2 < COUNT


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_page_of_a_file_is_segmented_and_drawn(where: str, server: str, tmp_path: Path) -> None:
    stack = stack_of(np.zeros((30, 20, 3), np.uint8), draw_scene(1)[0])
    (tmp_path / "stack.tif").write_bytes(stack)
    there = ["--url", server] if where == "there" else []
    assert main(["segment", "stack.tif", "--out", "out", "--page", "1", *there]) == 0
    assert len(json.loads(Path("out/stack.json").read_text())["instances"]) == COUNT
    with Image.open("out/stack.overlay.png") as overlay:
        assert overlay.size == draw_scene(1)[1].shape[::-1]
    assert (
        main(["segment", "stack.tif", "--jsonl", "grey", "--page", "1", "--channel", "0", *there])
        == 0
    )
    assert json.loads(Path("grey").read_text())["image"]["channel"] == 0


def test_of_a_stack_that_is_too_large_a_page_is_segmented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, labels = draw_scene(1)
    stack = book(*(scene for _ in range(4)))
    (tmp_path / "stack.tif").write_bytes(stack)
    monkeypatch.setenv("DISCERN_MAX_BODY_BYTES", str(len(stack) // 2))
    for page in (1, 3):
        assert main(["segment", "stack.tif", "--jsonl", "lines", "--page", str(page)]) == 0
    lines = [json.loads(line) for line in Path("lines").read_text().splitlines()]
    found = [(line["page"], line["image"]["page"], line["image"]["frames"]) for line in lines]
    assert found == [(1, 1, 4), (3, 3, 4)]
    assert {len(line["instances"]) for line in lines} == {labels.max()}


@pytest.mark.parametrize("where", ["here", "there"])
def test_every_page_of_a_stack_is_segmented_and_drawn(
    where: str, server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes = [draw_scene(seed) for seed in range(3)]
    (tmp_path / "movie.tif").write_bytes(
        leading_to(book(*(image for image, _ in scenes)), 2, 10**9)
    )
    there = ["--url", server] if where == "there" else []
    assert main(["segment", "movie.tif", "--out", "out", "--page", "all", *there]) == 1
    assert "movie.tif, page 3: the page is truncated" in capsys.readouterr().err
    for page, (_, labels) in enumerate(scenes):
        answer = json.loads(Path(f"out/movie/{page}.json").read_text())
        assert len(answer["instances"]) == labels.max()
        assert (answer["image"]["page"], answer["image"]["frames"]) == (page, 4)
        with Image.open(f"out/movie/{page}.overlay.png") as overlay:
            assert overlay.size == labels.shape[::-1]
    assert main(["segment", "movie.tif", "--out", "out", "--page", "all", *there]) == 1
    said = capsys.readouterr().err
    assert "3 of 4 are answered already, whatever they were asked with (--again asks anew)" in said


def test_lines_say_which_page_they_are_of(picture: Path, tmp_path: Path) -> None:
    (tmp_path / "movie.tif").write_bytes(book(*(draw_scene(seed)[0] for seed in range(3))))
    for again in ([], ["--again"]):
        asked = ["movie.tif", "discs.png", "--jsonl", "lines", "--page", "all", *again]
        assert main(["segment", *asked]) == 0
        lines = [json.loads(line) for line in Path("lines").read_text().splitlines()]
        found = {(line["file"], line["page"]): len(line["instances"]) for line in lines}
        counts = {("movie.tif", seed): int(draw_scene(seed)[1].max()) for seed in range(3)}
        assert (len(lines), found) == (4, {**counts, ("discs.png", 0): COUNT})


def test_a_file_that_cannot_be_taken_apart_is_said_to_be_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.tif").write_bytes(b"")
    assert main(["segment", "empty.tif", "--jsonl", "lines", "--page", "all"]) == 1
    assert "empty.tif: the data is none of PNG" in capsys.readouterr().err
    empty = b"".join(struct.pack("<HI", 0, 14 + 6 * page) for page in range(10_001))
    (tmp_path / "long.tif").write_bytes(b"II*\0\x08\0\0\0" + empty)
    assert main(["segment", "long.tif", "--jsonl", "lines", "--page", "all"]) == 1
    assert "long.tif: the file has more than 10000 pages" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_view_is_of_one_page(
    picture: Path, where: str, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ["--url", server] if where == "there" else []
    assert main(["view", "discs.png", "--page", "all", *there]) == 1
    assert "one answer is of one page" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["view", "discs.png", "--page", "every", *there])
    assert "'every' is neither a number nor all" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--page", "-1"], "page"),
        (["--page", "1"], "only TIFF files have pages"),
        (["--channel", "3"], "channels of this image go from 0 to 2"),
    ],
)
def test_a_page_or_channel_that_is_not_there_is_named(
    picture: Path, asked: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", "discs.png", "--jsonl", "out", *asked]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("scale", ["0.5", "auto"])
@pytest.mark.parametrize("where", ["here", "there"])
def test_segment_takes_a_scale(where: str, server: str, tmp_path: Path, scale: str) -> None:
    twice = draw_scene(1)[0].repeat(2, 0).repeat(2, 1)
    (tmp_path / "twice.png").write_bytes(png_of(twice))
    there = ["--url", server] if where == "there" else []
    assert main(["segment", "twice.png", "--jsonl", "out", "--scale", scale, *there]) == 0
    answer = json.loads(Path("out").read_text())
    assert len(answer["instances"]) == COUNT
    assert answer["instances"][0]["segmentation"]["size"] == list(twice.shape[:2])


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_scale_out_of_bounds_is_named(
    picture: Path, where: str, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ["--url", server] if where == "there" else []
    assert main(["segment", "discs.png", "--jsonl", "out", "--scale", "0", *there]) == 1
    assert "scale" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--bandwidth", "-1"),
        ("--foreground-threshold", "2"),
        ("--min-area", "-5"),
        ("--min-score", "3"),
        ("--scale", "nan"),
    ],
)
@pytest.mark.parametrize("command", ["segment", "view"])
def test_a_setting_out_of_bounds_is_named_before_any_work(
    picture: Path, command: str, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = {"segment": ["--jsonl", "out"], "view": ["--out", "out.png"]}[command]
    assert main([command, "discs.png", *where, option, value]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"discern: {option}: ")
    assert said.count("\n") == 1
    assert not Path("out.png").exists()


def test_a_scale_that_is_neither_a_number_nor_auto_is_refused(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["segment", "discs.png", "--jsonl", "out", "--scale", "large"])
    assert "--scale: 'large' is neither a number nor auto" in capsys.readouterr().err


def test_lines_go_through_a_pipe_with_a_name(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("pipe")
    with os.fdopen(os.open("pipe", os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        assert main(["segment", "discs.png", "--jsonl", "pipe"]) == 0
        assert len(json.loads(reader.read())["instances"]) == COUNT
    said = capsys.readouterr()
    assert (said.out, said.err.splitlines()[-1]) == ("", f"1 images, {COUNT} instances")


@pytest.mark.parametrize(
    ("command", "status"), [(["segment", "discs.png", "--jsonl", "out"], 1), (["serve"], 2)]
)
def test_a_url_is_no_address_of_triton(
    picture: Path,
    command: list[str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DISCERN_TRITON_URL", "127.0.0.1:8001,http://triton:8000")
    assert main(command) == status
    assert "http://triton:8000 is a URL; gRPC takes host:port" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["models"], ["segment", "discs.png", "--jsonl", "out"]])
def test_an_address_without_a_discern_server_is_an_error_that_says_so(
    picture: Path, proxy: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--url", proxy]) == 1
    assert "is no Discern server" in capsys.readouterr().err
    assert main([*command, "--url", "http://localhost:abc"]) == 1
    assert "'http://localhost:abc' is no address of a server" in capsys.readouterr().err


def test_segment_says_what_is_done_already(
    picture: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["segment", ".", "--jsonl", "out.jsonl", "--url", server]
    assert main(arguments) == main(arguments) == 0
    assert "1 of 1 are answered already" in capsys.readouterr().err
    assert len(Path("out.jsonl").read_bytes().splitlines()) == 1
    assert main([*arguments, "--again"]) == 0
    assert len(Path("out.jsonl").read_bytes().splitlines()) == 1


def test_answers_stay_when_asking_again_fails_or_names_other_images(
    picture: Path, server: str, proxy: str
) -> None:
    shutil.copy(picture, "other.png")
    arguments = ["segment", "--jsonl", "out.jsonl", "--again"]
    assert main([*arguments, "--url", server, "discs.png", "other.png"]) == 0
    before = Path("out.jsonl").read_bytes()
    assert main([*arguments, "--url", proxy, "discs.png"]) == 1
    assert Path("out.jsonl").read_bytes() == before
    assert main([*arguments, "--url", server, "discs.png"]) == 0
    lines = Path("out.jsonl").read_bytes().splitlines()
    assert sorted(json.loads(line)["file"] for line in lines) == ["discs.png", "other.png"]


@pytest.mark.slow
def test_segment_goes_on_where_it_was_interrupted_without_loss_or_repetition(
    picture: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "many", tmp_path / "out.jsonl"
    folder.mkdir()
    names = [str(folder / f"{number:04d}.png") for number in range(200)]
    for name in names:
        shutil.copy(picture, name)
    command = [sys.executable, "-m", "service", "segment", str(folder), "--jsonl", str(out)]
    # Where the suite runs in the background, the signal is ignored, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as first:
        signal.signal(signal.SIGINT, before)
        while not (out.exists() and out.stat().st_size):
            with pytest.raises(subprocess.TimeoutExpired):  # it has not ended
                first.wait(0.02)
        first.send_signal(signal.SIGINT)
        _, told = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "say it again to go on" in told
    assert 0 < len(out.read_bytes().splitlines()) < len(names)
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    answered = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert sorted(answer["file"] for answer in answered) == names
    assert {len(answer["instances"]) for answer in answered} == {COUNT}


def test_an_interrupt_ends_a_command_without_a_traceback(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "service", "view", "pipe.png"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as above
    with subprocess.Popen(command, stderr=subprocess.PIPE) as viewer:
        signal.signal(signal.SIGINT, before)
        with pipe.open("wb"):  # opens when the command reads
            viewer.send_signal(signal.SIGINT)
            assert viewer.wait(timeout=30) == 130
        assert viewer.stderr is not None
        assert viewer.stderr.read() == b""


def test_bench_names_a_plot_that_cannot_be_written(
    picture: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench", "discs.png", "--url", server, "--seconds", "0.3", "--plot", "no/p.svg"]
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert "p99 ms" in told.out
    assert "discern: [Errno 2]" in told.err


def test_segment_reads_one_image_from_standard_input(
    picture: Path,
    server: str,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(picture.read_bytes())))
    assert main(["segment", "-", "--url", server]) == 0
    assert len(json.loads(capfdbinary.readouterr().out)["instances"]) == COUNT


def test_segment_writes_lines_to_standard_output(picture: Path) -> None:
    shutil.copy(picture, "again.png")
    command = [sys.executable, "-m", "service", "segment", "discs.png", "again.png"]
    done = subprocess.run([*command, "--jsonl", "-"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["file"]: len(line["instances"]) for line in found} == {
        "discs.png": COUNT, "again.png": COUNT,
    }  # fmt: skip
    assert f"2 images, {2 * COUNT} instances" in done.stderr
    assert not Path("-").exists()


def test_segment_ends_when_nobody_reads_on(picture: Path) -> None:
    for number in range(4):
        shutil.copy(picture, f"{number}.png")
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "service", "segment", "*.png", "--jsonl", "-"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr.endswith("discern: [Errno 32] Broken pipe\n")
    assert "images" not in done.stderr


def test_segment_reports_what_failed_and_goes_on(
    picture: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.png").write_bytes(b"nothing")
    assert main(["segment", "bad.png", "discs.png", "--out", "out", "--url", server]) == 1
    told = capsys.readouterr()
    assert "bad.png: Not a supported image format" in told.err
    assert "1 images" in told.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["segment", "discs.png"],
        ["segment", "nowhere.png", "--out", "out"],
        ["segment", "discs.png", "--out", "out", "--model", "nobody"],
        ["view", "nowhere.png"],
        ["bench", "nowhere.png"],
        ["models", "--url", "http://127.0.0.1:9"],
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    picture: Path, arguments: list[str], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("DISCERN_TIMEOUT_MS", "300")
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("discern: ")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("command", [["models"], ["key", "cell-counter"], ["doctor"]])
@pytest.mark.parametrize("buffered", ["", "1"])
def test_what_finds_no_room_to_be_printed_is_said_in_one_line(
    command: list[str], buffered: str
) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "service", *command],
            env={**os.environ, "PYTHONUNBUFFERED": buffered},
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "discern: [Errno 28] No space left on device\n"


def in_a_shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable} -m service {line}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "segment discs.png --jsonl - >&-",
        "segment - <discs.png >&-",
        "segment - <&-",
        "models >&-",
        "key cell-counter >&-",
    ],
)
def test_a_closed_stream_that_is_needed_is_said(picture: Path, line: str) -> None:
    done = in_a_shell(line)
    assert done.returncode == 1
    errors = [said for said in done.stderr.splitlines() if said.startswith("discern: ")]
    assert errors
    assert all(error.endswith("Bad file descriptor") for error in errors)
    assert "Traceback" not in done.stderr


def test_answers_go_where_they_shall_when_standard_error_is_closed(picture: Path) -> None:
    done = in_a_shell("segment discs.png --jsonl - 2>&-")
    assert done.returncode == 0
    assert json.loads(done.stdout)["file"] == "discs.png"
    assert in_a_shell("segment nowhere.png --jsonl - 2>&-").stdout == ""


def test_a_server_whose_standard_output_is_closed_ends_as_any_other() -> None:
    command = ["/bin/sh", "-c", f"exec {sys.executable} -m service serve >&-"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as serving:
        assert serving.stderr
        for line in serving.stderr:
            if "Uvicorn running" in line:
                serving.terminate()
        assert serving.wait() == 0


@pytest.mark.parametrize("where", ["here", "there"])
def test_models_lists_what_there_is(
    where: str, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", *(["--url", server] if where == "there" else [])]) == 0
    assert "scenes" in capsys.readouterr().out


def test_models_that_cluster_on_the_server_are_listed_without_their_stages(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clustering(repository / "scenes")
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert "scenes-labels" in listed
    assert "scenes-clustering" not in listed


@pytest.mark.parametrize("there", [True, False])
def test_serve_suggests_an_image_only_if_it_is_there(picture: Path, *, there: bool) -> None:
    if there:
        Path("examples").mkdir()
        picture.rename("examples/nuclei.png")
    command = [sys.executable, "-m", "service", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as serving:
        assert serving.stdout
        _, line = serving.stdout.readline(), serving.stdout.readline().decode()
        serving.terminate()
    assert f"image=@{'examples/nuclei.png' if there else 'IMAGE'} " in line


def test_a_table_that_programs_read_is_as_wide_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "scenes" in line)
    assert "scenes (default)" in line
    assert "discriminative" in line
    assert "3 numbers, every 1 px" in line


def test_view_draws_four_panels(picture: Path, server: str) -> None:
    assert main(["view", "discs.png", "--url", server]) == 0
    with Image.open("discs.view.png") as panels, Image.open(picture) as image:
        assert panels.height == image.height
        assert panels.width > 4 * image.width


def test_bench_prints_percentiles_and_draws_them(
    picture: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench", "discs.png", "--url", server, "--seconds", "0.3", "--plot", "plot.svg"]
    assert main(arguments) == 0
    assert "p99 ms" in capsys.readouterr().out
    assert Path("plot.svg").read_text().startswith("<svg")


def test_a_histogram_marks_its_percentiles() -> None:
    drawn = histogram_svg(Load(latencies_s=[0.001 * n for n in range(1, 101)]))
    assert "p50 50.5 ms" in drawn


def test_doctor_finds_nothing_wrong_with_a_good_set_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DISCERN_JOBS_MAX_BYTES", str(2**20))
    assert main(["doctor"]) == 0
    assert "wrong" not in capsys.readouterr().out


def test_doctor_names_each_fault_and_its_remedy(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DISCERN_DEFAULT_MODEL", "nuclei")
    monkeypatch.setenv("DISCERN_COLOUR", "blue")
    assert main(["doctor"]) == 1
    told = capsys.readouterr().out
    assert "DISCERN_COLOUR" in told
    assert "DISCERN_DEFAULT_MODEL=scenes" in told


@pytest.mark.parametrize("command", [["serve"], ["segment", "discs.png", "--out", "out"]])
def test_without_a_folder_of_models_a_command_ends_and_says_what_to_do(
    command: list[str], picture: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("DISCERN_MODEL_REPOSITORY", "nowhere")
    assert main(command) != 0
    assert "discern: model repository nowhere is not a folder: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["serve"], ["segment", "discs.png", "--out", "out"], ["doctor"]]
)
def test_without_onnx_runtime_a_command_ends_and_says_what_to_do(
    command: list[str], picture: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "service.backends.embedded", raising=False)
    assert main(command) != 0
    told = capsys.readouterr()
    assert "onnxruntime is missing: pip install 'discern[ort]'" in told.out + told.err


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_doctor_probes_the_port_of_either_family(
    host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        taken = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    monkeypatch.setenv("DISCERN_HOST", host)
    main(["doctor"])
    assert ":0 is free" in capsys.readouterr().out
    with taken:
        monkeypatch.setenv("DISCERN_PORT", str(taken.getsockname()[1]))
        assert main(["doctor"]) == 1
    assert "cannot be listened on: Address already in use" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DISCERN_JOBS_FILE", "discs.png/jobs.sqlite3", "set DISCERN_JOBS_FILE"),
        ("DISCERN_JOBS_MAX_BYTES", str(2**60), "lower DISCERN_JOBS_MAX_BYTES: jobs may take 2147"),
    ],
)
def test_doctor_asks_whether_jobs_find_room(
    picture: Path, name: str, value: str, said: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv(name, value)
    assert main(["doctor"]) == 1
    assert said in " ".join(capsys.readouterr().out.split())
    monkeypatch.setenv("DISCERN_JOBS_STORE", "redis://nowhere:6379")
    main(["doctor"])
    assert said not in " ".join(capsys.readouterr().out.split())
