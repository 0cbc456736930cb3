"""The command line of training: the only place that parses arguments or prints."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import torch
from rich.console import Console
from torch.utils.tensorboard import SummaryWriter

from service.recipe import Recipe
from training import checkpoint as checkpoints
from training import config as configs
from training import engine, export, pictures
from training.ablation import ablate
from training.card import write_card
from training.checkpoint import Checkpoint
from training.config import Config, DecodeConfig
from training.data.dataset import CachedDataset, DataError, Dataset, FolderDataset
from training.data.synthetic import NucleiDataset, SticksDataset
from training.decoding import Network, TorchNetwork, recipe_of, samples, segment
from training.gpu_config import VARIANT, write_variants
from training.loss_config import ConfigError
from training.metrics.score import THRESHOLDS, Score
from training.models.unet import UNet
from training.progress import RunReport, line
from training.repository import check_repository
from training.results import write_results
from training.tuning import tune
from training.warm_start import WarmStartError

DATA = Path("../shared/data/dsb2018")
"""Where the nuclei lie unless --data says otherwise."""

console = Console(soft_wrap=True, highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        options.run(options)
    except (
        DataError,
        ConfigError,
        checkpoints.CheckpointError,
        engine.NotFinite,
        export.ExportError,
        WarmStartError,
    ) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=Path, default=DATA, help="folder of images/ and labels/")
    common.add_argument("--threads", type=int, default=torch.get_num_threads())
    for name, run, text in (
        ("train", _train, "run an experiment, or continue it"),
        ("evaluate", _evaluate, "score a model folder or checkpoint on a split"),
        ("ablate", _ablate, "tell what foreground and grouping cost"),
        ("tune", _tune, "search decoder settings on validation data and store them"),
        ("export", _export, "write the model folder that is served"),
        ("check-repository", _check_repository, "say what is wrong with model folders"),
        ("tensorrt", _tensorrt, "write the models' configuration for GPUs"),
        ("card", _card, "write the model card again, with the figures recorded since"),
        ("table", _table, "rebuild docs/RESULTS.md from recorded evaluations"),
        ("inspect", _inspect, "show a data set: figures and a contact sheet"),
        ("synthesize", _synthesize, "draw example images"),
    ):
        command = commands.add_parser(name, help=text, description=text, parents=[common])
        command.set_defaults(run=run)
        _ARGUMENTS[name](command)
    return parser


def _train_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("config", type=Path, help="TOML file of the experiment")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
        help="override one setting, such as optim.batch=4",
    )  # fmt: skip
    command.add_argument("--runs", type=Path, default=Path("runs"))
    command.add_argument("--max-minutes", type=float)


def _evaluate_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", type=Path, help="model folder or checkpoint")
    command.add_argument("--split", help="list of the data folder; default: the validation list")
    command.add_argument("--labels", nargs="+", help="label folders, the first that has an id")
    command.add_argument("--only", type=Path, help="file of ids to report apart")
    command.add_argument("--title", help="name of the result; default: the split")
    command.add_argument("--out", type=Path, help="folder for figures and the worst images")
    command.add_argument("--record", type=Path, help="folder that `table` reads")


def _checkpoint_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("checkpoint", type=Path)


def _export_arguments(command: argparse.ArgumentParser) -> None:
    _checkpoint_argument(command)
    command.add_argument("--repository", type=Path, default=Path("model_repository"))


def _repository_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("repository", type=Path, nargs="?", default=Path("model_repository"))


def _table_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--records", type=Path, default=Path("docs/results"))
    command.add_argument("--out", type=Path, default=Path("docs/RESULTS.md"))


def _inspect_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("split")
    command.add_argument("--labels", nargs="+", default=["labels"])
    command.add_argument("--out", type=Path, default=Path("runs/inspect.png"))


def _synthesize_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("kind", choices=["nuclei", "sticks"])
    command.add_argument("--out", type=Path, required=True, help="PNG file")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--size", type=int, default=256)
    command.add_argument("--count", type=int, default=30, help="objects in the picture")
    command.add_argument("--radius", type=float, default=11.0, help="of a nucleus, in pixels")


_ARGUMENTS = {
    "train": _train_arguments,
    "evaluate": _evaluate_arguments,
    "ablate": _evaluate_arguments,
    "tune": _checkpoint_argument,
    "export": _export_arguments,
    "card": _export_arguments,
    "check-repository": _repository_argument,
    "tensorrt": _repository_argument,
    "table": _table_arguments,
    "inspect": _inspect_arguments,
    "synthesize": _synthesize_arguments,
}


def _train(options: argparse.Namespace) -> None:
    overrides = list(options.overrides)
    if options.max_minutes is not None:
        overrides.append(f"optim.max_minutes={options.max_minutes}")
    config = configs.load(options.config, overrides)
    train_set, val_set = open_datasets(config, options.data)
    folder = options.runs / config.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=1) + "\n")
    with SummaryWriter(str(folder)) as writer, RunReport(writer, console) as report:
        engine.train(config, train_set, val_set, folder, report)


def _ablate(options: argparse.Namespace) -> None:
    network, recipe, _, config = _open_model(options)
    for foreground, grouping, score in ablate(network, _split(options, config), recipe):
        console.print(f"{foreground} foreground, {grouping}: {line(score)}", markup=False)


def _evaluate(options: argparse.Namespace) -> None:
    network, recipe, name, config = _open_model(options)
    dataset = _split(options, config)
    score = engine.evaluate(network, dataset, recipe)
    title = options.title or options.split or "validation"
    if options.only is not None:
        ids = options.only.read_text().split()
        score = score.of(ids)
    _print_score(title, score)
    out = options.out or Path("runs") / name / "evaluation"
    out.mkdir(parents=True, exist_ok=True)
    record = {
        "model": name,
        "title": title,
        "command": shlex.join(["python", "-m", "training", *sys.argv[1:]]),
        **score.summary(),
    }
    text = json.dumps(record, indent=1) + "\n"
    (out / f"{title}.json").write_text(text)
    if options.record is not None:
        options.record.mkdir(parents=True, exist_ok=True)
        (options.record / f"{name}-{title}.json").write_text(text)
    _picture_worst(network, recipe, dataset, score, out / f"{title}-worst.png")


def _tune(options: argparse.Namespace) -> None:
    state, model = _open(options.checkpoint)
    _, val_set = open_datasets(state.config, options.data)
    recipe = recipe_of(state.config)
    trial = None
    for trial in tune(TorchNetwork(model, recipe), val_set, recipe):
        settings = {"threshold": trial.recipe.foreground_threshold, **trial.recipe.decoder}
        console.print(f"mean AP {trial.score.mean_ap:.4f}  {settings}", markup=False)
    if trial is not None:
        decode = DecodeConfig(
            foreground_threshold=trial.recipe.foreground_threshold,
            settings=dict(trial.recipe.decoder),
        )
        state.config = replace(state.config, decode=decode)
        checkpoints.save(options.checkpoint, state)
        _print_score("best, stored in the checkpoint", trial.score)


def _export(options: argparse.Namespace) -> None:
    state, model = _open(options.checkpoint)
    folder = export.export(model, state.config, options.repository, card=_card_text(options))
    console.print(f"wrote {folder}", markup=False)


def _card(options: argparse.Namespace) -> None:
    name = checkpoints.load(options.checkpoint).config.name
    path = options.repository / name / "MODEL_CARD.md"
    path.write_text(_card_text(options))
    console.print(f"wrote {path}", markup=False)


def _card_text(options: argparse.Namespace) -> str:
    state, model = _open(options.checkpoint)
    evaluation = sorted((options.checkpoint.parent / "evaluation").glob("*.json"))
    facts = {
        "step": state.step,
        "elapsed_s": state.elapsed_s,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    results = [json.loads(path.read_text()) for path in evaluation]
    return write_card(state.config, state=facts, results=results)


def _check_repository(options: argparse.Namespace) -> None:
    found = check_repository(options.repository)
    for name, problems in found.items():
        console.print(f"{name}: {'in order' if not problems else ''}")
        for problem in problems:
            console.print(f"  {problem}", markup=False)
    if not found or any(found.values()):
        raise export.ExportError(f"{options.repository} cannot be served as it stands")


def _tensorrt(options: argparse.Namespace) -> None:
    for path in write_variants(options.repository):
        console.print(f"{path}: tritonserver --model-config-name={VARIANT} reads it")


def _table(options: argparse.Namespace) -> None:
    options.out.write_text(write_results(options.records))
    console.print(f"wrote {options.out}", markup=False)


def _inspect(options: argparse.Namespace) -> None:
    dataset = FolderDataset.open(options.data, options.split, tuple(options.labels))
    problems = list(dataset.check())
    if problems:
        raise DataError(problems)
    counts, areas, shapes = [], [], []
    for sample in samples(dataset):
        sizes = torch.bincount(torch.from_numpy(sample.labels).flatten().clamp_min(0))[1:]
        counts.append(int((sizes > 0).sum()))
        areas.extend(sizes[sizes > 0].tolist())
        shapes.append(sample.labels.shape)
    for name, values in (("instances per image", counts), ("pixels per instance", areas)):
        ordered = sorted(values)
        console.print(
            f"{name}: min {ordered[0]}, median {ordered[len(ordered) // 2]}, max {ordered[-1]}"
        )
    console.print(f"{len(dataset)} images, {sum(counts)} instances, {len(set(shapes))} sizes")
    chosen = [dataset[i] for i in range(0, len(dataset), max(1, len(dataset) // 24))][:24]
    pages = [pictures.outlines(sample.image, sample.labels) for sample in chosen]
    _write(options.out, pictures.sheet(pages, columns=6))


def _synthesize(options: argparse.Namespace) -> None:
    drawn: Dataset
    if options.kind == "sticks":
        drawn = SticksDataset(
            count=1, seed=options.seed, size=options.size,
            min_sticks=options.count, max_sticks=options.count,
        )  # fmt: skip
    else:
        drawn = NucleiDataset(
            count=1, seed=options.seed, size=options.size,
            min_nuclei=options.count, max_nuclei=options.count, radius_px=options.radius,
        )  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(options.out), drawn[0].image)
    console.print(f"wrote {options.out}", markup=False)


def open_datasets(config: Config, root: Path) -> tuple[Dataset, Dataset]:
    """Open training and validation data, every file read and checked.

    Raises
    ------
    DataError
        With one line per broken file.
    """
    data, seed = config.data, config.seed
    if data.kind != "folder":
        return (
            _drawn(config, count=10**9, seed=seed),
            _drawn(config, count=data.val_images, seed=seed + 1),
        )
    opened = [FolderDataset.open(root, split, data.labels) for split in (data.train, data.val)]
    problems = [problem for dataset in opened for problem in dataset.check()]
    if problems:
        raise DataError(problems)
    return CachedDataset(opened[0]), CachedDataset(opened[1])


def _drawn(config: Config, *, count: int, seed: int) -> Dataset:
    data = config.data
    if data.kind == "sticks":
        return SticksDataset(
            count=count, seed=seed, size=data.image_size,
            min_sticks=data.min_objects, max_sticks=data.max_objects,
        )  # fmt: skip
    return NucleiDataset(
        count=count, seed=seed, size=data.image_size,
        min_nuclei=data.min_objects, max_nuclei=data.max_objects,
    )  # fmt: skip


def _open(path: Path) -> tuple[Checkpoint, UNet]:
    state = checkpoints.load(path)
    model = engine.build_model(state.config)
    model.load_state_dict(state.average)
    return state, model


def _open_model(options: argparse.Namespace) -> tuple[Network, Recipe, str, Config | None]:
    """Open a model folder or a checkpoint; a folder knows nothing of its experiment."""
    if options.model.is_dir():
        artefact = export.open_artefact(options.model, threads=options.threads)
        return artefact, artefact.recipe, options.model.name, None
    state, model = _open(options.model)
    recipe = recipe_of(state.config)
    return TorchNetwork(model, recipe), recipe, state.config.name, state.config


def _split(options: argparse.Namespace, config: Config | None) -> Dataset:
    if options.split is None:
        if config is None:
            raise DataError(["--split is needed to evaluate a model folder"])
        return open_datasets(config, options.data)[1]
    if options.split.startswith("sticks"):
        return SticksDataset(count=100, seed=int(options.split.removeprefix("sticks:")))
    labels = options.labels or (config.data.labels if config else ["labels"])
    dataset = FolderDataset.open(options.data, options.split, tuple(labels))
    problems = list(dataset.check())
    if problems:
        raise DataError(problems)
    return dataset


def _picture_worst(network: Any, recipe: Any, dataset: Dataset, score: Score, path: Path) -> None:
    """Show the six worst images: picture, truth, answer."""
    worst = sorted(score.images, key=lambda image: image.matchings[0.7].ap)[:6]
    names = [image.name for image in worst]
    shown = {sample.name: sample for sample in samples(dataset) if sample.name in names}
    cells = []
    for name in names:
        sample = shown[name]
        answer = segment(network, sample.image, recipe)
        cells += [
            pictures.stretch(sample.image),
            pictures.outlines(sample.image, sample.labels),
            pictures.outlines(sample.image, answer),
        ]
    _write(path, pictures.sheet(cells, columns=3))


def _write(path: Path, picture: pictures.Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[:, :, ::-1])
    console.print(f"wrote {path}", markup=False)


def _print_score(title: str, score: Score) -> None:
    console.print(f"{title}: {len(score.images)} images", markup=False)
    console.print("  " + line(score), markup=False)
    pooled = "  ".join(f"{score.pooled(t).ap:.3f}" for t in THRESHOLDS)
    console.print(f"  pooled AP {pooled}  F1@0.5 {score.pooled(0.5).f1:.3f}", markup=False)
