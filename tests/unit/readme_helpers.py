"""The README's section 'Measure networks of your own': its code, and what the code prints."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def own_networks_code() -> str:
    section = README.read_text().partition("## Measure networks of your own")[2]
    return "\n".join(re.findall(r"```python\n(.*?)```", section, re.S))


def check_own_networks(printed: str) -> None:
    shape, log_norm, mean_transitions, by_layer, *alone = printed.splitlines()
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
