"""Builds the image without a registry, and runs what is in it as a container would.

The base image is made from this machine: its Python, a shell, a few of coreutils, and the libraries
they need. The container is a private mount namespace with a read-only root, a tmpfs on /tmp, the
image's user, and no way to gain privileges.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tests.deploy.manifests import ROOT

TOOLS: Final = (
    "sh", "cat", "cp", "env", "find", "id", "ls", "mkdir", "rm", "sha256sum", "touch",
)  # fmt: skip
LEFT_OUT: Final = frozenset({
    "__pycache__", "idlelib", "lib2to3", "site-packages", "test", "tests", "tkinter", "turtledemo",
})  # fmt: skip

ENTER: Final = """
root=$1; shift
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777,nosuid,nodev,size=128m tmpfs "$root/tmp"
mount --bind /dev "$root/dev"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$CONTAINER_USER" --groups= "$root" "$@"
"""


@dataclass(frozen=True)
class Image:
    """A built image: where its files lie, and what it says of itself."""

    root: Path
    config: dict[str, Any]

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs something in the image."""
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", ENTER, "sh"]
        return [*enter, str(self.root), *arguments]

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment that a container has, and nothing of this process's."""
        own = dict(entry.split("=", maxsplit=1) for entry in self.config["Env"])
        return {**own, "CONTAINER_USER": self.config["User"], **more}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run something in the image to its end."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment({}), capture_output=True, text=True, check=False,
        )  # fmt: skip

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start the image's own command, as a container runtime does."""
        entry = [*self.config["Entrypoint"], *(arguments or self.config["Cmd"])]
        return subprocess.Popen(self.command(*entry), env=self.environment(environment))


class Store:
    """A store of images in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folders = ["--root", str(folder / "store"), "--runroot", str(folder / "run")]
        self._command = ["buildah", *folders, "--storage-driver", "vfs"]
        self._context = folder / "base"

    def build(self, wheels: Path) -> Image:
        """Build the Dockerfile on a base made here, from wheels in a folder."""
        copy_python(self._context / "files")
        (self._context / "Dockerfile").write_text("FROM scratch\nCOPY files /\n", encoding="utf-8")
        bud = ["bud", "--quiet", "--isolation", "chroot", "--format", "docker"]
        self._buildah(*bud, "--tag", "localhost/python:local", str(self._context))
        arguments = [
            "BASE_IMAGE=localhost/python:local",
            "PIP_NO_INDEX=1",
            "PIP_FIND_LINKS=/wheels",
        ]
        options = [word for pair in arguments for word in ("--build-arg", pair)]
        self._buildah(
            *bud, *options, "--volume", f"{wheels}:/wheels:ro", "--tag", "localhost/discern:test",
            str(ROOT),
        )  # fmt: skip
        inspected = self._buildah("inspect", "--type", "image", "localhost/discern:test")
        container = self._buildah("from", "--pull-never", "localhost/discern:test").strip()
        return Image(
            Path(self._buildah("mount", container).strip()),
            json.loads(inspected)["Docker"]["config"],
        )

    def remove(self) -> None:
        """Take every container down, so that the folder can be deleted."""
        self._buildah("rm", "--all")

    def _buildah(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def download_wheels(folder: Path) -> subprocess.CompletedProcess[str]:
    """Fetch what the Dockerfile installs, with this machine's own pip configuration."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    served = [*extras["ort"], *extras["otlp"], *extras["redis"]]
    wanted = [*project["dependencies"], *served, "setuptools"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:"]
    return subprocess.run(
        [*pip, "--dest", str(folder), "--constraint", str(ROOT / "constraints.txt"), *wanted],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def copy_python(root: Path) -> None:
    """Lay out a root file system with this Python and nothing that it does not need."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = root / "usr/local/lib" / version
    shutil.copytree(
        sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}),
        library,
        ignore=lambda _, names: [n for n in names if n in LEFT_OUT or n.startswith("config-")],
    )
    (library / "site-packages").mkdir()
    for folder in ("usr/bin", "usr/lib", "usr/lib64", "usr/local/bin", "proc", "dev", "etc"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "tmp").mkdir(mode=0o777)
    interpreter = root / "usr/local/bin" / version
    shutil.copy2(Path(sys.base_prefix) / "bin" / version, interpreter)
    (root / "usr/local/bin/python3").symlink_to(version)
    tools = [Path(found) for name in TOOLS if (found := shutil.which(name, path="/usr/bin:/bin"))]
    for tool in tools:
        shutil.copy2(tool, root / "usr/bin" / tool.name)
    compiled = find_spec("onnxruntime")  # stands for wheels that need the C++ library
    assert compiled is not None
    assert compiled.origin is not None
    wheels = Path(compiled.origin).parent.glob("capi/*.so")
    copy_libraries([interpreter, *tools, *library.glob("lib-dynload/*.so"), *wheels], root)


def copy_libraries(binaries: Iterable[Path], root: Path) -> None:
    """Copy the shared libraries that binaries load, to where the loader looks for them."""
    listing = subprocess.run(
        ["ldd", *map(str, binaries)], capture_output=True, text=True, check=True
    ).stdout
    words = {word for line in listing.splitlines() for word in line.split() if word[0] == "/"}
    found = {Path(word) for word in words if not word.endswith(":")}
    system = next(path.parent for path in found if path.name.startswith("libc.so"))
    for path in found:
        inside = path.parent if path.is_relative_to("/lib") or path.parts[1] == "lib64" else system
        target = root / "usr" / inside.relative_to("/usr" if inside.parts[1] == "usr" else "/")
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / path.name)
