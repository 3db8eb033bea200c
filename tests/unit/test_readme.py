import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_the_readmes_lines_for_networks_of_ones_own_run(capsys):
    section = (REPOSITORY / "README.md").read_text().partition("## Measure networks of your own")[2]
    code = re.search(r"```python\n(.*?)```", section, re.S).group(1)
    exec(compile(code, "README.md", "exec"), {})
    shape, log_norm, mean_transitions = capsys.readouterr().out.strip().splitlines()
    assert shape == "torch.Size([1, 100])"
    assert re.fullmatch(r"tensor\(-?\d\.\d+, dtype=torch\.float64\)", log_norm)
    assert float(re.search(r"\((.*)\)", mean_transitions).group(1)) > 1


def test_the_readme_names_files_that_exist():
    text = (REPOSITORY / "README.md").read_text()
    for name in re.findall(r"\]\((?!http)([^)#]+)\)", text) + re.findall(
        r"`(config/\w+\.yaml)`", text
    ):
        assert (REPOSITORY / name).exists(), name
