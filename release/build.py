"""Writes a release into dist/: wheel, source archive, models, SBOM, changelog entry, checksums.

``make release`` runs it. Nothing is published, and a wheel that does not serve from an empty
environment stops it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from release.changelog import subjects, with_entry
from release.serving import answers_an_image

ROOT: Final = Path(__file__).resolve().parent.parent
DIST: Final = ROOT / "dist"
EMPTY: Final = ROOT / "build/release-venv"
SUMS: Final = "SHA256SUMS"


def main() -> None:
    """Write every file of the release."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]
    committed = int(_output("git", "log", "-1", "--format=%ct"))
    os.environ["SOURCE_DATE_EPOCH"] = str(committed)  # the archives' times: same commit, same bytes
    shutil.rmtree(DIST, ignore_errors=True)

    date = datetime.fromtimestamp(committed, UTC).date().isoformat()
    changelog = ROOT / "CHANGELOG.md"
    before = changelog.read_text(encoding="utf-8") if changelog.exists() else ""
    changelog.write_text(with_entry(before, version, date, subjects(ROOT)), encoding="utf-8")
    _say(changelog)

    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(DIST), str(ROOT))
    (wheel,) = DIST.glob("*.whl")
    models = DIST / f"discern-models-{version}.tar.gz"
    pack(ROOT / "model_repository", models, committed)

    python = install_alone(wheel)
    _say(write_bill_of_materials(python, DIST / f"discern-{version}.cdx.json"))
    instances = answers_an_image(python, ROOT / "model_repository", ROOT / "examples/nuclei.png")
    print(f"the wheel alone in a new environment found {instances} objects in examples/nuclei.png")

    write_sums(DIST)
    for path in sorted(DIST.iterdir()):
        _say(path)


def pack(folder: Path, archive: Path, seconds: int) -> None:
    """Pack a folder so that the same files give the same bytes."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = seconds
        member.mode = 0o755 if member.isdir() else 0o644
        return member

    with (
        archive.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, filename="", mode="wb", mtime=seconds) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(folder.rglob("*")):
            tar.add(path, path.relative_to(folder.parent), recursive=False, filter=plain)


def install_alone(wheel: Path) -> Path:
    """Install the wheel with the embedded backend into an empty environment; return its Python."""
    _run(sys.executable, "-m", "venv", "--clear", str(EMPTY))
    python = EMPTY / "bin/python"
    constraints = str(ROOT / "constraints.txt")
    _run(str(python), "-m", "pip", "install", "--quiet", "-c", constraints, f"{wheel}[ort]")
    return python


def write_bill_of_materials(python: Path, target: Path) -> Path:
    """List every package of an environment, with its licence and where it came from (CycloneDX)."""
    arguments = [
        "environment",
        "--pyproject",
        str(ROOT / "pyproject.toml"),
        "--output-reproducible",
    ]
    tool = [sys.executable, "-m", "cyclonedx_py"]
    _run(*tool, *arguments, "--output-file", str(target), str(python))
    return target


def write_sums(folder: Path) -> None:
    """Write the checksum of every file beside them, as ``sha256sum --check`` reads it."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in _files(folder)
    ]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _files(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name != SUMS)


def _say(path: Path) -> None:
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 2**20:.2f} MiB")


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout  # noqa: S603  # fixed words


def _run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)  # noqa: S603  # fixed words


if __name__ == "__main__":
    main()
