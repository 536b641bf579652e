"""The examples of docs/cli.md, and what it says of options."""

import gzip
import re
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.main import get_command

from fastsoftmax.cli.app import app

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
TEXT = PAGE.read_text(encoding="utf-8")
LINES = [
    line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]


@pytest.fixture
def folder(tmp_path):
    """With the files of the page."""
    folder = tmp_path
    rng = np.random.default_rng(0)
    temperature = rng.normal(15, 8, 120).round(1)
    weather = pl.DataFrame(
        {
            "day": range(1, 121),
            "temperature": temperature,
            "wind": rng.choice(["west", "east", "none"], 120),
            "city": rng.choice(["Bern", "Ulm"], 120),
            "sky": np.where(temperature + rng.normal(size=120) > 15, "sun", "rain"),
        }
    )
    weather.write_csv(folder / "weather.csv")
    weather.write_parquet(folder / "weather-1.parquet")
    (folder / "weather.csv.gz").write_bytes(gzip.compress(weather.write_csv().encode()))
    weather.sample(40, seed=1).write_csv(folder / "later.csv")
    weather.drop("sky").sample(7, seed=2).write_csv(folder / "new.csv")
    weather.drop("day").write_csv(folder / "headless.csv", include_header=False, separator=";")
    posts = pl.DataFrame({"text": ["one cat", "two dogs"] * 20, "label": ["cat", "dog"] * 20})
    posts.write_csv(folder / "posts.csv")
    gaps = pl.when(pl.col("day") % 9 > 0).then("temperature").alias("temperature")
    weather.with_columns(gaps).write_csv(folder / "gaps.csv")
    return folder


@pytest.mark.usefixtures("trains_sparse_rows")
def test_the_examples_run_as_written(run, folder, monkeypatch):
    """One after the other: they use what those before them wrote."""
    monkeypatch.chdir(folder)
    assert len(LINES) > 15
    for line in LINES:
        stdin = None
        if line.startswith("cat "):
            name, line = line.removeprefix("cat ").split(" | ")
            stdin = Path(name).read_bytes()
        program, *arguments = shlex.split(line)
        assert program == "fastsoftmax"
        result = run(*arguments, stdin=stdin)
        assert result.exit_code == 0, f"{line}: {result.output}"
        assert result.stdout or "-o" in arguments


def test_the_commands_have_no_other_options_than_the_page_names():
    """But for those of training, which training.md and --help tell of."""
    group = get_command(app)
    assert {"--install-completion", "--show-completion"} <= {
        n for o in group.params for n in o.opts
    }
    for name in ("train", "predict", "evaluate"):
        command = group.commands[name]
        assert command.help
        for option in command.params:
            assert option.help, option.name
            assert option.help[0].isupper()
            assert option.help.endswith((".", "…"))
    elsewhere = {"--l2", "--standardize", "--no-standardize", "--seed", "--threads", "--tol"}
    names = {
        n for c in group.commands.values() if c.name != "bench" for o in c.params for n in o.opts
    }
    missing = {n for n in names - elsewhere if n.startswith("--") and n not in TEXT}
    assert missing == {"--output"}


def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!http)([^)#]+)", TEXT)
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
