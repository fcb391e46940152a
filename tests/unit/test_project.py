"""What packaging, documentation and layers promise."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import fednas
from fednas.spec import Data, Partition, load_spec
from fednas.spec._base import fields_by_alias

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    parsed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        re.sub(r"[-_.]+", "-", pin.name).lower(): str(pin.specifier).removeprefix("==")
        for pin in parsed
    }


def requirements() -> list[Requirement]:
    texts = list(PROJECT["dependencies"])
    for extra in PROJECT["optional-dependencies"].values():
        texts.extend(extra)
    return [Requirement(text) for text in texts if not text.startswith("fednas[")]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_range_admits_the_tested_version(requirement: Requirement) -> None:
    tested = pins()[re.sub(r"[-_.]+", "-", requirement.name).lower()]
    assert requirement.specifier.contains(tested)


def test_the_installed_version_is_the_module_s() -> None:
    assert importlib.metadata.version("fednas") == fednas.__version__


@pytest.mark.parametrize(
    "module",
    [
        "fednas",
        "fednas.cli",
        "fednas.federation",
        "fednas.search",
        "fednas.spec",
        "fednas.store",
        "fednas_operator",
    ],
)
def test_importing_it_loads_neither_torch_nor_mlflow(module: str) -> None:
    code = f"import sys, {module}; print(*{{'torch', 'mlflow', 'matplotlib'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def installed_by(extras: str) -> set[str]:
    """Distributions, by normalised name, that ``pip install fednas[extras]`` brings."""
    found: set[str] = set()
    todo = [Requirement(f"fednas[{extras}]")]
    while todo:
        wanted = todo.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        chosen = {f"{name}[{extra}]" for extra in wanted.extras or {""}}
        if chosen <= found:
            continue
        found |= {name, *chosen}
        try:
            needs = importlib.metadata.requires(wanted.name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of another system or a faster variant: nothing here can import it
        for need in map(Requirement, needs):
            environments = [{"extra": extra} for extra in wanted.extras or {""}]
            if need.marker is None or any(map(need.marker.evaluate, environments)):
                todo.append(need)
    return found


def modules_beyond(extras: str) -> set[str]:
    """Modules at the top level that are installed here and are not brought by these extras."""
    brought = installed_by(extras)
    return {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if not {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners} & brought
    }


@pytest.mark.parametrize(
    ("extras", "code"),
    [
        ("", "from fednas.cli import app; import fednas.spec"),
        ("train", "import fednas; fednas.run({file!r}, dir={folder!r}, workers=1)"),
        (
            "train,tracking,s3",
            "from fednas.cli import main; sys.argv = ['fednas', 'plan', {file!r}]; main()",
        ),
        ("client", "import fednas.cli._client, fednas.fleet._client, fednas.fleet._worker"),
        ("coordinator", "import fednas.cli._coordinator, fednas.fleet._server, fednas.search"),
        ("operator", "import fednas_operator.__main__"),
    ],
)
def test_each_role_runs_on_what_its_extra_installs(extras: str, code: str, tmp_path: Path) -> None:
    text = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert text is not None
    file = tmp_path / "first.yaml"
    file.write_text(text[1])
    absent = f"import sys\nsys.modules.update(dict.fromkeys({modules_beyond(extras)}))"
    script = tmp_path / "script.py"
    body = code.format(file=str(file), folder=str(tmp_path / "run"))
    script.write_text(f"{absent}\nif __name__ == '__main__':\n    {body}\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_readme_s_smallest_file_has_twelve_lines_and_is_valid() -> None:
    text = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert text is not None
    assert len(text[1].splitlines()) == 12
    search = load_spec(text[1])
    assert search.metadata.name == "first"
    assert search.spec.warnings() == []


def examples_of_data() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/data.md").read_text(), re.DOTALL)


def test_the_page_on_data_has_an_example_of_every_field() -> None:
    text = "".join(examples_of_data())
    fields = [*fields_by_alias(Data), *fields_by_alias(Partition)]
    shown = {field for field in fields if re.search(rf"\b{field}:", text)}
    assert set(fields) - shown == {"iid", "dirichlet"}, "the default, and in examples/"


@pytest.mark.parametrize("example", examples_of_data())
def test_the_examples_of_the_page_on_data_are_valid(example: str) -> None:
    smallest = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert smallest is not None
    indented = "".join(f"  {line}\n" for line in example.splitlines())
    search = load_spec(smallest[1].replace("  data: {source: digits}\n", indented))
    written = yaml.safe_load(example)["data"]
    assert search.spec.data.source == written["source"]
    kept = search.to_dict()["spec"]["data"]
    assert {name: kept[name] for name in written} == written


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("docs/*.md")) + sorted(ROOT.glob("*.md")), ids=lambda p: p.name
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def reasons_in(folder: str) -> set[str]:
    """Every CamelCase reason that is raised, refused or reported below a folder."""
    calls = (
        r"(?:Problem|Refused|SearchFailed|Ending|_Unfinished|_refuse|_Refused)\("
        r"(?:lease, |\d+, )?\s*\"([A-Z][A-Za-z]+)\""
    )
    attributes = r"reason(?:\"|\b)\s*[:=]\s*\"([A-Z][A-Za-z]+)\""
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        text = path.read_text()
        found |= set(re.findall(calls, text)) | set(re.findall(attributes, text))
    return found


# Answers that only client programs read.
BETWEEN_PROGRAMS = {"LeaseGone", "NotReady", "UnknownClass", "Unregistered"}


def headings() -> set[str]:
    lines = (ROOT / "docs/troubleshooting.md").read_text().splitlines()
    return {word for line in lines if line.startswith("### ") for word in re.findall(r"\w+", line)}


def test_every_reason_has_a_heading_in_troubleshooting() -> None:
    raised = reasons_in("fednas") | reasons_in("operator/fednas_operator")
    assert {"StoreUnreachable", "OOMKilled", "BudgetNotReachable"} <= raised
    assert raised - BETWEEN_PROGRAMS - headings() == set()


def test_every_heading_in_troubleshooting_is_a_reason() -> None:
    files = [*ROOT.glob("fednas/**/*.py"), *ROOT.glob("operator/**/*.py")]
    code = "".join(path.read_text() for path in files)
    assert {word for word in headings() if f'"{word}"' not in code} == set()
