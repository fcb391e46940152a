"""The commands, and what becomes of their errors.

Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted. A user never sees a traceback for what
went wrong outside this program.
"""

from __future__ import annotations

import sys

import typer

from fednas.cli import (
    _check,
    _client,
    _coordinate,
    _diagnose,
    _measure_latency,
    _plan,
    _push,
    _report,
    _run,
    _validate,
)
from fednas.errors import BadInput, FednasError

__all__ = ["app", "main"]

app = typer.Typer(
    name="fednas",
    help="Federated neural architecture search.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.command("validate")(_validate.validate)
app.command("check")(_check.check)
app.command("plan")(_plan.plan)
app.command("run")(_run.run)
app.command("report")(_report.report)
app.command("diagnose")(_diagnose.diagnose)
app.command("push")(_push.push)
app.command("measure-latency")(_measure_latency.measure_latency)
app.command("coordinate")(_coordinate.coordinate)
app.command("client")(_client.client)


@app.command()
def version() -> None:
    """Print the version."""
    from fednas import __version__

    typer.echo(__version__)


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        app()  # leaves by itself: 0, or 2 with the usage
    except KeyboardInterrupt:
        code = 130
    except BadInput as error:
        typer.echo(f"error: {error}", err=True)
        code = 2
    except FednasError as error:
        typer.echo(f"{error.reason}: {error}", err=True)
        code = 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("fednas"):
            raise
        typer.echo(f"error: this needs {error.name}: pip install 'fednas[all]'", err=True)
        code = 2
    sys.exit(code)
