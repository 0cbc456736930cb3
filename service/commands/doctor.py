"""``discern doctor``: what is wrong with this set-up, and what would mend it."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.text import Text

from service.compiled import is_kept
from service.errors import DiscernError
from service.local import running_gateway
from service.postprocess.regions import areas
from service.settings import Settings, unknown_variables
from service.telemetry.logs import configure_logging


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `remedy` is empty when it is well."""

    what: str
    remedy: str = ""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("doctor", help="say what is wrong with this set-up, if anything")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, settings: Settings) -> int:  # noqa: ARG001 - as every command
    """Carry the command out and return the exit status."""
    configure_logging("error", settings.log_format)
    console = Console(highlight=False, markup=False)  # a remedy may hold "[ort]"
    ill = 0
    for look in (_python, _variables, _repository, _port, _jobs, _kernels, _models):
        for finding in look(settings):
            ill += bool(finding.remedy)
            mark = Text("wrong", "red") if finding.remedy else Text("well ", "green")
            console.print(mark, finding.what)
            if finding.remedy:
                console.print(f"      {finding.remedy}")
    return 1 if ill else 0


def _python(settings: Settings) -> Iterator[Finding]:
    yield Finding(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    if not settings.network_is_here():
        return
    try:
        yield Finding(f"onnxruntime {version('onnxruntime')}")
    except PackageNotFoundError:
        yield Finding(
            "onnxruntime is missing", "pip install 'discern[ort]', or set DISCERN_TRITON_URL"
        )


def _variables(_: Settings) -> Iterator[Finding]:
    if unknown := unknown_variables():
        yield Finding(
            f"unknown variables: {', '.join(unknown)}", "see the README's table of settings"
        )
    else:
        given = sorted(name for name in os.environ if name.startswith("DISCERN_"))
        yield Finding(f"settings from the environment: {', '.join(given) or 'none, all defaults'}")


def _repository(settings: Settings) -> Iterator[Finding]:
    if not settings.network_is_here():
        yield Finding(f"the network runs in Triton at {settings.triton_url}")
        return
    repository = settings.model_repository
    names = sorted(path.parent.name for path in repository.glob("*/config.pbtxt"))
    if settings.default_model in names:
        yield Finding(f"models in {repository}: {', '.join(names)}")
    elif names:
        yield Finding(
            f"no model {settings.default_model!r} in {repository}, only {', '.join(names)}",
            f"set DISCERN_DEFAULT_MODEL={names[0]}",
        )
    else:
        yield Finding(
            f"{repository.absolute()} holds no model folder",
            "start in the checkout, or set DISCERN_MODEL_REPOSITORY",
        )


def _port(settings: Settings) -> Iterator[Finding]:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        for family, *_, address in socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            socket.create_server(address, family=family).close()
    except OSError as error:
        yield Finding(
            f"{host}:{settings.port} cannot be listened on: {error.strerror}",
            "end what listens there, or set DISCERN_HOST or DISCERN_PORT",
        )
    else:
        yield Finding(f"{host}:{settings.port} is free")


def _jobs(settings: Settings) -> Iterator[Finding]:
    if settings.jobs_store:
        return
    file = settings.jobs_file.absolute()
    folder = next(parent for parent in file.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        yield Finding(
            f"jobs cannot be kept in {file}: {folder} is no folder that can be written",
            "set DISCERN_JOBS_FILE to a file in one that can",
        )
        return
    held = sum(path.stat().st_size for path in folder.glob(f"{file.name}*"))
    room = shutil.disk_usage(folder).free + held
    most = 2 * settings.jobs_max_bytes  # SQLite's journal may grow as large as the file
    remedy = (
        f"free some space, or lower DISCERN_JOBS_MAX_BYTES: jobs may take {most / 2**30:.1f} GiB"
    )
    yield Finding(
        f"{room / 2**30:.1f} GiB for jobs in {file.parent}", "" if room >= most else remedy
    )


def _kernels(_: Settings) -> Iterator[Finding]:
    if is_kept(areas):
        yield Finding("compiled kernels are kept between starts")
    else:
        yield Finding(
            "compiled kernels cannot be kept: every start compiles them anew",
            "set NUMBA_CACHE_DIR to a folder that can be written",
        )


def _models(settings: Settings) -> Iterator[Finding]:
    began = time.perf_counter()
    try:
        names = asyncio.run(_start(settings))
    except DiscernError as error:
        yield Finding("the gateway does not become ready", error.detail)
    else:
        spent = time.perf_counter() - began
        yield Finding(f"the models answer their golden images: {', '.join(names)} ({spent:.1f} s)")


async def _start(settings: Settings) -> list[str]:
    async with running_gateway(settings) as gateway:
        return sorted(gateway.lifecycle.model_names)
