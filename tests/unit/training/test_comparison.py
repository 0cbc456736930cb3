"""The table of networks: what is counted, and where accuracy comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from training.config.experiment import Config
from training.config.model import NetworkName
from training.config.read import load
from training.models.build import build_model
from training.report.comparison import Measured, facts, of_network
from training.report.network_table import table
from training.report.results import write_results

CONFIG = Path(__file__).parents[3] / "training/configs/networks.toml"


@pytest.fixture
def config() -> Config:
    """The experiment that the networks share."""
    return load(CONFIG)


@pytest.mark.parametrize("network", get_args(NetworkName))
def test_every_network_can_take_the_place_of_the_others(
    config: Config, network: NetworkName
) -> None:
    other = of_network(config, network)
    assert other.name == f"networks-{network}"
    assert other.model.embedding_size == config.model.embedding_size
    assert (other.optim, other.loss) == (config.optim, config.loss)
    assert build_model(other).config.network == network


def test_accuracy_comes_from_the_record_of_the_same_run(config: Config, tmp_path: Path) -> None:
    measured = [
        Measured("unet", 1_000_000, 2 * 2**20, 50.0, 1.0),
        Measured("enet", 370_000, 2**20, 40.4, 0.81),
    ]
    score = {"model": "networks-enet", "title": "val", "ap": {"0.5": 0.7}, "mean_ap": 0.6}
    (tmp_path / "networks-enet-val.json").write_text(json.dumps(score))
    (tmp_path / "networks-enet-val-ablation.json").write_text(json.dumps({"rows": []}))
    rows = table(facts(config, measured, side=256, threads=1), tmp_path)
    assert rows[0].startswith("| network | 256 x 256 px, ms | time / U-Net")
    assert rows[2] == "| unet | 50 | 1.00 | 1.00 M | 2.0 |  |  |  |"
    assert rows[3] == "| enet | 40 | 0.81 | 0.37 M | 1.0 | 0.700 | 0.600 | val |"


def test_the_table_stands_on_the_page_of_results(config: Config, tmp_path: Path) -> None:
    (tmp_path / "introduction.md").write_text("# Results\n")
    record = facts(config, [Measured("unet", 1, 1, 1.0, 1.0)], side=64, threads=2)
    record["command"] = "python -m training compare-networks"
    (tmp_path / "networks-speed.json").write_text(json.dumps(record))
    page = write_results(tmp_path)
    assert "## Networks" in page
    assert "with 2 threads" in page
    assert "| unet | 1 | 1.00 |" in page
    assert "`python -m training compare-networks`" in page
