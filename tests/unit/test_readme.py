import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_the_readmes_lines_for_networks_of_ones_own_run(capsys):
    section = (REPOSITORY / "README.md").read_text().partition("## Measure networks of your own")[2]
    code = "\n".join(re.findall(r"```python\n(.*?)```", section, re.S))
    exec(compile(code, "README.md", "exec"), {})
    shape, log_norm, mean_transitions, by_layer, *alone = capsys.readouterr().out.splitlines()
    assert shape == "torch.Size([1, 100])"
    assert re.fullmatch(r"tensor\(-?\d\.\d+, dtype=torch\.float64\)", log_norm)
    assert float(re.search(r"\((.*)\)", mean_transitions).group(1)) > 1
    assert by_layer == "torch.Size([1, 100, 2])"
    assert alone[0] == "torch.Size([100])"
    assert re.fullmatch(r"tensor\(0\.\d+, dtype=torch\.float64\)", alone[1])
    assert alone[2] == "torch.Size([5, 10, 1, 8, 8])"
    counts = [int(count) for count in re.findall(r"\d+", alone[3].split("]")[0])]
    assert len(counts) == 5
    assert min(counts) > 8, "some of hundreds of units change along each path"


def test_the_readme_names_files_that_exist():
    text = (REPOSITORY / "README.md").read_text()
    for name in re.findall(r"\]\((?!http)([^)#]+)\)", text) + re.findall(
        r"`(config/\w+\.yaml)`", text
    ):
        assert (REPOSITORY / name).exists(), name
