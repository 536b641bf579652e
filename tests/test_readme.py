import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_library_example_runs_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    exec(example, {})
    score, loss, objective, gap, stopped = capsys.readouterr().out.split()
    assert float(score) > 0.95
    assert 0 < float(loss) < 0.3
    assert 0 < float(objective) < 0.3
    assert float(gap) <= 1e-4
    assert stopped == "gap"
    assert (tmp_path / "model.npz").exists()


def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!http)([^)#]+)", README.read_text(encoding="utf-8"))
    assert len(links) >= 3
    assert [link for link in links if not (README.parent / link).exists()] == []
