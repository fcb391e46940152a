"""Print what the named extras of pyproject.toml require, for a layer of its own in an image.

``python requirements.py PYPROJECT EXTRA... [--replace NAME=NAME]`` prints one requirement a line:
the core's dependencies and those of the extras, extras of fednas within extras resolved.
"""

import argparse
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path


def requirements(project: dict, extras: list[str]) -> Iterator[str]:
    """The core's requirements, then those of each extra."""
    yield from project["dependencies"]
    for extra in extras:
        for line in project["optional-dependencies"][extra]:
            inner = re.fullmatch(r"fednas\[([a-z0-9,-]+)\]", line)
            if inner:
                yield from requirements({**project, "dependencies": []}, inner[1].split(","))
            else:
                yield line


def main() -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pyproject", type=Path)
    parser.add_argument("extras", nargs="+")
    parser.add_argument("--replace", action="append", default=[], metavar="NAME=NAME")
    arguments = parser.parse_args()
    project = tomllib.loads(arguments.pyproject.read_text(encoding="utf-8"))["project"]
    replaced = dict(pair.split("=", 1) for pair in arguments.replace)
    for line in dict.fromkeys(requirements(project, arguments.extras)):
        name = re.match(r"[A-Za-z0-9._-]+", line)
        assert name, line
        print(replaced.get(name[0], name[0]) + line[name.end() :])


if __name__ == "__main__":
    main()
