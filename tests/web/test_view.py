"""Looking closer: what is seen of a picture, by wheel, pointer, fingers and keys."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

from tests.scenes import draw_scene, png_of
from tests.web.page import DISCS, Page

Wide = tuple[Path, npt.NDArray[np.uint8], npt.NDArray[np.int32]]

MOST = 32  # pixels of the page for one of the image


def _zoom(page: Page) -> int:
    return int((page.find("zoom").get_attribute("value") or "").removesuffix(" %"))


def _turn(page: Page, dy: int, at: tuple[int, int] = (0, 0)) -> None:
    """Turn the wheel by pixels, at a place of the stage counted from its middle."""
    origin = ScrollOrigin.from_element(page.find("stage"), *at)
    ActionChains(page.browser).scroll_from_origin(origin, 0, dy).perform()


def _point(page: Page, at: tuple[int, int]) -> None:
    ActionChains(page.browser).move_to_element_with_offset(page.find("stage"), *at).perform()


def _drag(page: Page, dx: int, dy: int, start: tuple[int, int] = (0, 0)) -> None:
    _point(page, start)
    ActionChains(page.browser).click_and_hold().move_by_offset(dx, dy).release().perform()


def _place(page: Page) -> list[float]:
    """Where the layers lie, and how wide they are."""
    code = "const b = document.getElementById('base').getBoundingClientRect(); return "
    found: list[float] = page.script(code + "[b.left, b.top, b.width]")
    return found


def _seen(page: Page) -> npt.NDArray[np.uint8]:
    """The stage as it is on screen."""
    with Image.open(io.BytesIO(page.find("stage").screenshot_as_png)) as picture:
        return np.array(picture.convert("RGB"))


def test_the_wheel_zooms_at_the_pointer(page: Page, scene_file: Path) -> None:
    page.choose_file(scene_file).shows(DISCS)
    before, place = _zoom(page), _place(page)
    _point(page, (100, 60))
    pointed = page.text("tip")
    assert pointed
    _turn(page, -200, (100, 60))
    page.until(lambda: _zoom(page) > 1.3 * before)
    _point(page, (101, 60))
    assert page.text("tip") == pointed
    _turn(page, 200, (100, 60))
    page.until(lambda: _zoom(page) == before)
    assert _place(page) == place


def test_a_wheel_that_has_nothing_to_zoom_scrolls_the_page(page: Page, scene_file: Path) -> None:
    page.choose_file(scene_file).shows(DISCS)
    before = _zoom(page)
    _turn(page, 200)
    page.until(lambda: page.script("return scrollY") > 0)
    assert _zoom(page) == before


def test_a_wheel_that_cannot_enlarge_scrolls_the_page(page: Page, tmp_path: Path) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[2:6, 2:6] = 200
    file = tmp_path / "tiny.png"
    file.write_bytes(png_of(image))
    page.choose_file(file).shows(1)
    assert page.find("zoom-in").get_attribute("aria-disabled") == "true"  # all of it fits at more
    page.script("scrollTo(0, 100)")
    _turn(page, -200)
    page.until(lambda: page.script("return scrollY") < 100)


def test_what_is_told_at_the_pointer_goes_when_the_picture_moves_under_it(
    page: Page, scene_file: Path
) -> None:
    page.choose_file(scene_file).shows(DISCS)
    _point(page, (100, 60))
    assert page.text("tip")
    page.find("stage").send_keys("+++")
    assert page.text("tip") == ""
    _point(page, (320, 190))
    assert page.text("tip")


def test_an_outline_is_drawn_once_while_the_pointer_stays_on_its_instance(
    page: Page, scene_file: Path
) -> None:
    page.choose_file(scene_file).shows(DISCS)
    drawn = "return window.drawn.splice(0).length"
    page.script(
        "window.drawn = []; const context = document.getElementById('highlight').getContext('2d');"
        "const fill = context.fillRect.bind(context);"
        "context.fillRect = (...box) => { drawn.push(box); fill(...box); }"
    )
    _point(page, (100, 60))
    assert page.script(drawn) > 0
    _point(page, (101, 60))
    assert page.script(drawn) == 0
    ActionChains(page.browser).move_to_element(page.find("bandwidth")).perform()
    _point(page, (100, 60))
    assert page.script(drawn) > 0


def test_a_wheel_turned_back_has_nothing_left_to_reduce(page: Page, scene_file: Path) -> None:
    page.choose_file(scene_file).shows(DISCS)
    before = _zoom(page)
    for dy in (61, 128, 170, 172, 300):  # for some of them, in and out multiply to more than 1
        _turn(page, -dy)
        _turn(page, dy)
        page.until(lambda: _zoom(page) == before)
        assert page.find("zoom-out").get_attribute("aria-disabled") == "true", dy


def test_dragging_moves_and_chooses_nothing_and_a_double_click_fits(
    page: Page, scene_file: Path
) -> None:
    page.choose_file(scene_file).shows(DISCS)
    place, summary = _place(page), page.text("summary")
    page.find("stage").send_keys("+++")
    left, top, _ = _place(page)
    _drag(page, -30, -20, (320, 190))
    assert page.text("tip")  # it was an instance that was dragged
    assert _place(page)[:2] == pytest.approx([left - 30, top - 20], abs=0.1)
    assert page.text("summary") == summary
    ActionChains(page.browser).double_click().perform()
    assert _place(page) == place
    assert page.text("summary").startswith("Instance ")  # the first click chose it


def test_drags_that_follow_each_other_soon_are_no_double_click(
    page: Page, scene_file: Path
) -> None:
    page.choose_file(scene_file).shows(DISCS)
    page.find("stage").send_keys("++++")
    left, top, width = _place(page)
    stroke = ActionChains(page.browser, duration=20).move_to_element(page.find("stage"))
    for _ in range(2):
        stroke.click_and_hold().move_by_offset(-60, 0).release().move_by_offset(60, 0)
    stroke.perform()
    assert _place(page) == pytest.approx([left - 120, top, width], abs=0.1)


def test_two_fingers_zoom_between_them(page: Page, scene_file: Path) -> None:
    page.choose_file(scene_file).shows(DISCS)
    before = _zoom(page)
    x, y, *_ = page.script(
        "const b = document.getElementById('stage').getBoundingClientRect();"
        "return [b.left + b.width / 2, b.top + b.height / 2]"
    )

    def touch(kind: str, *across: float) -> None:
        points = [{"x": x + dx, "y": y, "id": n} for n, dx in enumerate(across)]
        page.browser.execute_cdp_cmd(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
        )

    touch("touchStart", -40)
    touch("touchStart", -40, 40)
    for apart in (60, 80, 100, 120):
        touch("touchMove", -apart, apart)
    touch("touchEnd")
    assert _zoom(page) == pytest.approx(3 * before, rel=0.02)
    left, _, width = _place(page)
    assert left + width / 2 == pytest.approx(x, abs=1)
    assert page.text("summary").startswith(f"{DISCS} instances")


@pytest.mark.parametrize("how", ["keys", "buttons"])
def test_keys_and_buttons_zoom(page: Page, scene_file: Path, how: str) -> None:
    presses: dict[str, Callable[[], None]] = {
        "+": page.find("zoom-in").click, "-": page.find("zoom-out").click,
        "0": page.find("zoom-fit").click,
    }  # fmt: skip
    page.choose_file(scene_file).shows(DISCS)
    press = page.find("stage").send_keys if how == "keys" else lambda key: presses[key]()
    before = _zoom(page)
    press("+")
    press("+")
    assert _zoom(page) == pytest.approx(2.25 * before, abs=1)
    press("-")
    assert _zoom(page) == pytest.approx(1.5 * before, abs=1)
    press("0")
    assert _zoom(page) == before
    press("-")
    assert _zoom(page) == before


def test_who_hears_the_page_is_told_what_zooms(page: Page, scene_file: Path) -> None:
    page.choose_file(scene_file).shows(DISCS)
    names = [page.find(f"zoom-{name}").accessible_name for name in ("out", "in", "fit")]
    assert names == ["Zoom out", "Zoom in", "Show the whole picture"]
    assert page.find("zoom-out").get_attribute("aria-disabled") == "true"
    page.find("zoom-in").click()
    assert page.find("zoom-out").get_attribute("aria-disabled") == "false"
    assert page.find("zoom").aria_role == "status"


def test_shift_and_arrows_move_what_is_zoomed(page: Page, scene_file: Path) -> None:
    page.choose_file(scene_file).shows(DISCS)
    page.find("stage").send_keys("++++")
    left, top, _ = _place(page)
    ActionChains(page.browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(
        Keys.SHIFT
    ).perform()
    assert _place(page)[0] < left - 50
    assert _place(page)[1] == top
    assert page.text("summary").startswith(f"{DISCS} instances")


def test_an_instance_that_is_stepped_to_comes_into_sight(page: Page, scene_file: Path) -> None:
    page.choose_file(scene_file).shows(DISCS)
    stage = page.find("stage")
    stage.send_keys("+++++")
    for _ in range(DISCS):
        stage.send_keys(Keys.ARROW_RIGHT)
        coloured = page.script(
            "const c = document.getElementById('overlay'), s = document.getElementById('stage');"
            "const [b, f] = [c.getBoundingClientRect(), s.getBoundingClientRect()];"
            "const at = (v, e, n) => Math.floor((v / e) * n);"
            "const x = at(f.left - b.left, b.width, 256), y = at(f.top - b.top, b.height, 256);"
            "const w = at(f.width, b.width, 256), h = at(f.height, b.height, 256);"
            "const d = c.getContext('2d').getImageData(x, y, w, h).data;"
            "return d.filter((v, n) => n % 4 == 3 && v == 255).length"
        )
        assert coloured > 0


def test_settings_keep_the_view_and_another_image_is_seen_whole(
    page: Page, tmp_path: Path, scene_file: Path
) -> None:
    page.choose_file(scene_file).shows(DISCS)
    whole = _place(page)
    page.find("stage").send_keys("++")
    _drag(page, 40, 30)
    place = _place(page)
    page.slide("min_area", 1000)
    page.until(lambda: page.count() < DISCS)
    assert _place(page) == place
    page.find("reset").click()
    page.shows(DISCS)
    image, labels = draw_scene(2, height=256, width=256, count=20)
    other = tmp_path / "other.png"
    other.write_bytes(png_of(image))
    page.choose_file(other)
    page.until(lambda: "other.png" in page.text("lines"))
    page.shows(int(labels.max()))
    assert _place(page) == whole


def test_a_window_of_another_size_keeps_what_is_in_the_middle(page: Page, scene_file: Path) -> None:
    page.choose_file(scene_file).shows(DISCS)
    page.find("stage").send_keys("+++")
    size, zoom = page.browser.get_window_size(), _zoom(page)
    page.browser.set_window_size(900, 800)
    page.until(lambda: page.find("stage").size["width"] < 860)
    assert _zoom(page) == zoom
    left, _, width = _place(page)
    stage = page.find("stage").rect
    page.browser.set_window_size(size["width"], size["height"])
    assert left + width / 2 == pytest.approx(stage["x"] + stage["width"] / 2, abs=1)


@pytest.fixture
def wide(tmp_path: Path) -> Wide:
    """A picture whose layers hold every third pixel of it: longer than a canvas is made."""
    image, labels = draw_scene(3, height=500, width=4200, count=24)
    file = tmp_path / "wide.png"
    file.write_bytes(png_of(image))
    return file, image, labels


def test_of_a_large_image_every_pixel_can_be_seen_and_pointed_at(page: Page, wide: Wide) -> None:
    file, image, labels = wide
    page.choose_file(file)
    page.until(lambda: " in 4200 " in page.text("summary"))
    stage = page.find("stage").rect
    scale = stage["width"] / 4200
    edges = np.flatnonzero(np.diff(labels[250, 500:3700])) + 500
    across = round(float(edges[len(edges) // 2]) * scale - stage["width"] / 2)
    for _ in range(8):
        _turn(page, -500, (across, 0))
    page.until(lambda: _zoom(page) == 100 * MOST)
    # Where the pointer is, on the stage and in the image: it stayed there.
    right = int(stage["x"] + stage["width"] / 2 + across) - stage["x"]
    down = int(stage["y"] + stage["height"] / 2) - stage["y"]
    x, y = right / scale, (down - stage["height"] / 2) / scale + 250
    blocks = [
        (column, line, *(round(value) for value in (
            right + (column + 0.5 - x) * MOST, down + (line + 0.5 - y) * MOST
        )))
        for column in range(int(x) - 4, int(x) + 5)
        for line in range(int(y) - 2, int(y) + 3)
    ]  # fmt: skip
    assert len({int(labels[line, column]) for column, line, _, _ in blocks}) > 1
    page.script("document.getElementById('view-input').click()")
    seen = _seen(page)
    for column, line, left, top in blocks:
        block = seen[top - 12 : top + 12, left - 12 : left + 12]
        assert (block == image[line, column]).all(), (column, line)
    for column, line, left, top in blocks:
        _point(page, (left - int(stage["width"] / 2), top - int(stage["height"] / 2)))
        here = labels[line, column]
        area = int(np.count_nonzero(labels == here))
        assert page.text("tip").endswith(f" {area} px") if here else page.text("tip") == ""


def test_a_large_image_is_drawn_again_where_it_is_dragged_to(page: Page, wide: Wide) -> None:
    file, image, _ = wide
    page.choose_file(file)
    page.until(lambda: " in 4200 " in page.text("summary"))
    page.script("document.getElementById('view-input').click()")
    page.find("stage").send_keys("+" * 6)
    for _ in range(10):
        _drag(page, 300, 0)  # to the left end
    seen = _seen(page)
    scale = _zoom(page) / 100
    row = int(250 - (seen.shape[0] / 2 - 60) / scale)
    expected = image[row, (np.arange(60, 700, 20) / scale).astype(int)]
    found = seen[60, 60:700:20]
    assert np.mean((expected == found).all(-1)) > 0.9  # but for pixels at the edge of a disc
    size = page.script("const b = document.getElementById('base'); return b.width * b.height")
    assert size <= 2048**2


def test_a_picture_with_holes_lies_on_white(page: Page, tmp_path: Path, scene_file: Path) -> None:
    with Image.open(scene_file) as image:
        clear = image.convert("RGBA")
    clear.putalpha(Image.new("L", clear.size, 0))
    file = tmp_path / "clear.png"
    clear.save(file)
    page.choose_file(scene_file).shows(DISCS)
    page.choose_file(file)
    page.until(lambda: "clear.png" in page.text("lines"))
    assert page.pixel("base", 128, 128) == [255, 255, 255, 255]


def test_while_the_first_answer_is_under_way_there_is_nothing_to_zoom(
    page: Page, scene_file: Path
) -> None:
    page.hold("keep=true")
    page.choose_file(scene_file)
    page.until(lambda: page.held() == 1)
    _turn(page, -200)
    page.find("zoom-in").click()
    page.release()
    page.shows(DISCS)
    assert page.find("zoom-out").get_attribute("aria-disabled") == "true"
