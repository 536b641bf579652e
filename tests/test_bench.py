"""What `fastsoftmax bench` measures, on small data: that the sides do the same work."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from fastsoftmax.bench import measure, report
from fastsoftmax.bench.epochs import EPOCHS
from fastsoftmax.bench.peers import PEERS
from fastsoftmax.bench.worker import make_data

needs = {peer: pytest.mark.skipif(not find_spec(peer), reason=f"no {peer}") for peer in PEERS}
others = [pytest.param(peer, marks=needs[peer]) for peer in PEERS if peer != "fastsoftmax"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("peer", others)
def test_a_pass_of_every_peer_gives_our_loss(peer, dtype):
    data = make_data(300, 20, 5, dtype)
    ours, theirs = (PEERS[name](*data, 1)() for name in ("fastsoftmax", peer))
    np.testing.assert_allclose(theirs, ours, rtol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("peer", [peer for peer in others if peer.values[0] in EPOCHS])
def test_an_epoch_of_every_peer_takes_the_same_steps(peer):
    """With batches of all rows the order, each side's own, does not matter."""
    data = make_data(300, 20, 5, "float64")
    ours, theirs = (EPOCHS[name](*data, 1, 300)() for name in ("fastsoftmax", peer))
    np.testing.assert_allclose(theirs[0], ours[0], rtol=1e-6)
    assert ours[1] > 0
    small = [EPOCHS[name](*data, 1, 16)()[0] for name in ("fastsoftmax", peer)]
    np.testing.assert_allclose(*small, rtol=1e-2)


@pytest.mark.parametrize("batch", [None, 50])
def test_the_report_tells_what_was_measured(batch):
    result = measure.measure([(300, 20, 5)], ["float32"], ["fastsoftmax", "numpy"], 1, 1, batch)
    (row,) = result["rows"]
    assert row["shape"] == [300, 20, 5]
    assert all(seconds > 0 for seconds in row["best"].values())
    text = report.markdown(result)
    assert "300x20x5" in text
    assert ("batches of 50" in text) == (batch == 50)
