import re

from readme_helpers import README, check_own_networks, own_networks_code


def test_the_readmes_lines_for_networks_of_ones_own_run(capsys):
    exec(compile(own_networks_code(), "README.md", "exec"), {})
    check_own_networks(capsys.readouterr().out)


def test_the_readme_names_files_that_exist():
    text = README.read_text()
    for name in re.findall(r"\]\((?!http)([^)#]+)\)", text) + re.findall(
        r"`(config/\w+\.yaml)`", text
    ):
        assert (README.parent / name).exists(), name
