"""``python -m fednas_operator``: run the operator until it is told to end."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

import kopf
from pydantic import ValidationError

from .cluster import connect
from .handlers import Operator, register
from .settings import Settings


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run; returns the exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    for chatty in ("httpx", "httpcore", "kopf", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        settings = Settings.read(arguments.config, arguments.master_key)
    except (OSError, ValueError, ValidationError) as error:
        print(f"fednas-operator: {error}", file=sys.stderr)
        return 2
    asyncio.run(_wait_for_resource())
    registry = kopf.OperatorRegistry()
    register(Operator(settings, arguments.namespace, arguments.metrics_port), registry)
    kopf.run(
        registry=registry,
        standalone=True,
        clusterwide=not arguments.namespace,
        namespaces=arguments.namespace,
        liveness_endpoint=f"http://0.0.0.0:{arguments.health_port}/healthz",
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fednas-operator", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="settings, a JSON file")
    parser.add_argument("--master-key", type=Path, required=True, help="file of the master key")
    parser.add_argument(
        "--namespace",
        action="append",
        default=[],
        help="watch this namespace; may be repeated; none: all namespaces",
    )
    parser.add_argument("--health-port", type=int, default=8081, help="of /healthz")
    parser.add_argument("--metrics-port", type=int, default=8082, help="of /metrics")
    parser.add_argument("--verbose", action="store_true", help="log every action")
    return parser


async def _wait_for_resource() -> None:
    """Wait until the API server serves FederatedSearch: kopf looks for it only once."""
    cluster = await connect()
    try:
        while not await cluster.served():
            logging.getLogger(__name__).info("waiting for the CustomResourceDefinition")
            await asyncio.sleep(2)
    finally:
        await cluster.close()


if __name__ == "__main__":
    sys.exit(main())
