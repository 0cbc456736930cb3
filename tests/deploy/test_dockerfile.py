from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from service.settings import Settings
from tests.deploy.manifests import ROOT

TEXT: Final = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STATEMENTS: Final = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n\s*(#.*\n\s*)*", " ", TEXT).splitlines()
    if line and not line.startswith("#")
]
SETTINGS: Final = {f"DISCERN_{name.upper()}" for name in Settings.model_fields}
HADOLINT: Final = Path(sys.executable).parent / "hadolint"


def arguments_of(instruction: str) -> list[str]:
    return [rest for name, rest in STATEMENTS if name == instruction]


def environment() -> dict[str, str]:
    pairs = [pair for rest in arguments_of("ENV") for pair in rest.split()]
    return dict(pair.split("=", maxsplit=1) for pair in pairs)


def outside_files() -> list[str]:
    copies = [rest.split() for rest in arguments_of("COPY") if "--from" not in rest]
    return [path for words in copies for path in words[:-1] if not path.startswith("--")]


def test_the_linter_finds_nothing() -> None:
    done = subprocess.run(
        [HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_is_pinned_by_digest_with_its_tag_beside_it() -> None:
    (base,) = (rest for rest in arguments_of("ARG") if rest.startswith("BASE_IMAGE="))
    assert re.match(r"^BASE_IMAGE=[\w./-]+:3\.\d+\.\d+-[\w-]+@sha256:[0-9a-f]{64}$", base)


def test_every_stage_starts_from_the_base_that_can_be_chosen() -> None:
    assert [rest.split()[0] for rest in arguments_of("FROM")] == ["${BASE_IMAGE}"] * 2


def test_every_install_is_held_to_the_constraints_or_to_what_was_just_built() -> None:
    commands = [part for rest in arguments_of("RUN") for part in rest.split("&&")]
    installs = [command for command in commands if " install " in command]
    assert len(installs) == 3
    assert [c for c in installs if "constraints.txt" not in c and "--no-index" not in c] == []


def test_every_variable_of_the_image_is_a_setting_with_a_value_it_accepts() -> None:
    given = {name: value for name, value in environment().items() if name.startswith("DISCERN_")}
    settings = Settings(**{name.removeprefix("DISCERN_").lower(): v for name, v in given.items()})  # type: ignore[arg-type]  # pydantic parses the strings
    assert given.keys() <= SETTINGS
    assert arguments_of("EXPOSE") == [str(settings.port)]


def test_every_extra_that_a_setting_needs_is_in_the_image() -> None:
    texts = " ".join(field.description or "" for field in Settings.model_fields.values())
    needed = set(re.findall(r"extra `(\w+)`", texts))
    assert needed == {"otlp", "redis"}
    assert needed <= set(re.findall(r'extras\["(\w+)"\]', TEXT))


def test_the_models_are_copied_to_where_the_gateway_looks() -> None:
    assert arguments_of("COPY")[-2].split()[-1] == environment()["DISCERN_MODEL_REPOSITORY"]


def test_the_process_is_a_user_by_number_and_not_root() -> None:
    assert arguments_of("USER") == ["10001:10001"]


def test_the_health_check_asks_for_readiness() -> None:
    (check,) = arguments_of("HEALTHCHECK")
    assert "/readyz" in check


@pytest.mark.parametrize(
    "label", ["title", "description", "licenses", "version", "revision", "created"]
)
def test_the_image_says_what_it_is(label: str) -> None:
    assert f"org.opencontainers.image.{label}=" in TEXT


@pytest.mark.parametrize("path", outside_files())
def test_what_is_copied_is_in_the_tree_and_not_ignored(path: str) -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert (ROOT / path).exists()
    assert f"!{path}" in ignore


def test_nothing_else_reaches_the_build() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    assert "*" in ignore
    assert allowed == set(outside_files())


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell to parse the script with")
def test_the_entry_point_is_a_valid_script_that_becomes_its_command() -> None:
    script = ROOT / "docker/entrypoint"
    subprocess.run(["sh", "-n", script], check=True)
    assert script.read_text(encoding="utf-8").splitlines()[-1].startswith("exec ")
