"""The network in this process: ONNX Runtime on the same model repository that Triton reads."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import numpy.typing as npt
import onnxruntime

from service import signature
from service.arrays import UInt8
from service.backends.base import CallContext, Model, Outputs
from service.backends.model_config import is_network, model_from_config, read_folder
from service.backends.tensors import check_outputs
from service.errors import (
    ArtefactError,
    BackendFailed,
    BackendUnavailable,
    DeadlineExceeded,
    ModelNotFound,
    OutOfMemory,
)
from service.threads import compute_threads

P = ParamSpec("P")
T = TypeVar("T")

_NO_MEMORY: Final = ("Failed to allocate memory", "std::bad_alloc")
"""What ONNX Runtime writes when memory is short: its arena, and whatever does without."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Model
    session: Any
    outputs: tuple[str, ...]


class EmbeddedBackend:
    """Every model of a repository, run by ONNX Runtime on this machine's cores.

    Parameters
    ----------
    repository : Path
        Folder of model folders (``config.pbtxt``, ``<version>/model.onnx``).
    threads : int
        Threads that one call of a network uses.
    calls : int
        Calls that run at once; further ones wait for their turn. With 0 each runs on the thread
        that asks, and nothing else does meanwhile: for callers who have that thread to themselves.
    nice : int
        By how much all these threads stand back behind the event loop.
    """

    def __init__(self, repository: Path, *, threads: int, calls: int, nice: int = 0) -> None:
        self._repository = repository
        self._threads = threads
        self._pool = compute_threads(calls, "network", nice=nice) if calls else None
        self._loaded: dict[str, dict[str, _Loaded]] = {}
        self._open = False

    async def start(self) -> None:
        """Load the newest version of every model.

        Raises
        ------
        ArtefactError
            If the repository holds no model, or one that cannot be served.
        """
        # On the pool: ONNX Runtime's own threads have the priority of the thread that starts them.
        self._loaded = await self._on_pool(self._load_all)
        self._open = True

    async def models(self) -> Sequence[Model]:
        """Return every model version that is loaded, by name.

        Raises
        ------
        BackendUnavailable
            If they are not loaded yet, or no more.
        """
        self._check_open()
        return [
            loaded.model
            for _, versions in sorted(self._loaded.items())
            for loaded in versions.values()
        ]

    async def model(self, name: str, version: str | None = None) -> Model:
        """Return one model, the newest version when `version` is None.

        Raises
        ------
        BackendUnavailable
            If models are not loaded yet, or no more.
        ModelNotFound
            If there is none of that name and version.
        """
        self._check_open()
        return self._find(name, version).model

    async def ready(self) -> bool:
        """Return whether the models are loaded."""
        return self._open

    async def infer(self, images: UInt8, model: Model, context: CallContext) -> Outputs:
        """Run the network on this machine's cores.

        Raises
        ------
        BackendUnavailable
            If the backend is closed, or not open yet.
        DeadlineExceeded
            If the answer would come too late; the run is stopped.
        OutOfMemory
            If there is not enough memory for the network's tensors.
        BackendFailed
            If ONNX Runtime fails.
        """
        self._check_open()
        loaded = self._find(model.name, model.version)
        options = onnxruntime.RunOptions()
        try:
            async with asyncio.timeout(context.deadline.left_s()):
                tensors = await self._on_pool(_run, loaded, images, options)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"the network did not finish within {context.deadline.allowed_s:g} s",
                stage="inference",
            ) from error
        finally:
            # Also when the caller has gone: a run nobody waits for would hold its core to the end.
            options.terminate = True
        check_outputs(tensors, model, images.shape)
        return Outputs(tensors)

    async def load(self, name: str) -> None:
        """Load a model's newest version; the one before stays, for who asked for it already.

        Raises
        ------
        ModelNotFound
            If the repository has no such model.
        BackendFailed
            If it cannot be loaded; what was there keeps serving.
        """
        folder = self._repository / name
        if not (folder / "config.pbtxt").is_file():
            raise ModelNotFound(f"the repository holds no model {name!r}")
        try:
            new = await self._on_pool(self._load_model, folder)
        except (ArtefactError, OSError) as error:
            raise BackendFailed(f"model {name} cannot be loaded") from error
        (version,) = new
        known = self._loaded.get(name, {})
        if version in known:
            if known[version].model.recipe != new[version].model.recipe:
                raise BackendFailed(f"{name}/{version} has changed: give it a new version number")
            return
        before = sorted(known, key=int)[-1:]
        self._loaded = {**self._loaded, name: {v: known[v] for v in before} | new}

    async def unload(self, name: str) -> None:
        """Let a model go; calls that run finish."""
        self._loaded = {key: value for key, value in self._loaded.items() if key != name}

    async def aclose(self) -> None:
        """Finish what runs and let the sessions go."""
        self._open = False
        if self._pool:
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
        self._loaded = {}

    async def _on_pool(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._pool is None:
            return function(*args, **kwargs)
        call = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def _check_open(self) -> None:
        if not self._open:
            raise BackendUnavailable("the models are not loaded yet, or no more")

    def _find(self, name: str, version: str | None) -> _Loaded:
        versions = self._loaded.get(name)
        if not versions:
            known = ", ".join(sorted(self._loaded)) or "none"
            raise ModelNotFound(f"there is no model {name!r}; models here: {known}")
        if version is None:
            return versions[max(versions, key=int)]
        if version not in versions:
            raise ModelNotFound(
                f"model {name!r} has no version {version!r}; ready: {', '.join(versions)}"
            )
        return versions[version]

    def _load_all(self) -> dict[str, dict[str, _Loaded]]:
        folders = sorted(path.parent for path in self._repository.glob("*/config.pbtxt"))
        if not folders:
            raise ArtefactError(f"model repository {self._repository} holds no model folder")
        networks = [folder for folder in folders if is_network(read_folder(folder))]
        return {folder.name: self._load_model(folder) for folder in networks}

    def _load_model(self, folder: Path) -> dict[str, _Loaded]:
        config = read_folder(folder)
        versions = sorted(
            (
                path.parent.name
                for path in folder.glob("*/model.onnx")
                if path.parent.name.isdigit()
            ),
            key=int,
        )
        if not versions:
            raise ArtefactError(f"model {folder.name}: no <version>/model.onnx in its folder")
        newest = versions[-1]
        return {newest: self._load_version(folder / newest / "model.onnx", config, newest)}

    def _load_version(self, path: Path, config: Any, version: str) -> _Loaded:
        model = model_from_config(config, version)
        network = path.read_bytes()
        digest = hashlib.sha256(network).hexdigest()
        if digest != model.recipe.network_sha256:
            raise ArtefactError(
                f"model {model.name}: {version}/model.onnx has sha256 {digest}, "
                f"its recipe says {model.recipe.network_sha256 or 'nothing'}"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        # Its threads spin while they wait for more; after a call the cores belong to clustering.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 4  # what fails is raised, and logged as all else is
        try:
            session = onnxruntime.InferenceSession(
                network, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises many kinds
            raise ArtefactError(
                f"model {model.name}: version {version} does not load: {error}"
            ) from error
        outputs = tuple(spec.name for spec in model.recipe.outputs)
        missing = set(outputs) - {output.name for output in session.get_outputs()}
        if missing:
            raise ArtefactError(f"model {model.name}: the network has no {', '.join(missing)}")
        return _Loaded(model, session, outputs)


def _run(loaded: _Loaded, images: UInt8, options: Any) -> dict[str, npt.NDArray[Any]]:
    if options.terminate:  # nobody waits any more
        raise BackendFailed("the call was dropped before it began")
    try:
        arrays = loaded.session.run(loaded.outputs, {signature.IMAGE: images}, options)
    except Exception as error:  # ONNX Runtime raises many kinds
        if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
            raise OutOfMemory from error
        raise BackendFailed(f"model {loaded.model.name} failed to run") from error
    return dict(zip(loaded.outputs, arrays, strict=True))
