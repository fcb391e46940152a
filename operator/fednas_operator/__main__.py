"""``python -m fednas_operator``: run the operator until it is told to end."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

import kopf
from pydantic import ValidationError

from .cluster import ApiError, connect
from .handlers import Operator, register
from .secrets import master_key, own_namespace, store_credentials
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
        key = asyncio.run(_master_key(arguments))
        settings = Settings.read(arguments.config, key)
    except (OSError, ValueError, ValidationError, ApiError) as error:
        print(f"fednas-operator: {error}", file=sys.stderr)
        return 2
    asyncio.run(_wait_for_resource())
    host = f"[{arguments.health_host}]" if ":" in arguments.health_host else arguments.health_host
    registry = kopf.OperatorRegistry()
    register(Operator(settings, arguments.namespace, arguments.metrics_port), registry)
    kopf.run(
        registry=registry,
        standalone=True,
        clusterwide=not arguments.namespace,
        namespaces=arguments.namespace,
        liveness_endpoint=f"http://{host}:{arguments.health_port}/healthz",
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fednas-operator", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="settings, a JSON file")
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument("--master-key", type=Path, metavar="FILE", help="of the master key")
    key.add_argument(
        "--master-key-secret",
        metavar="NAME",
        help="of the Secret, in the operator's namespace, with the master key; made if missing",
    )
    parser.add_argument(
        "--store-secret",
        nargs=2,
        metavar=("NAME", "USER"),
        help="make this Secret too, if missing: credentials of the chart's own store",
    )
    parser.add_argument(
        "--namespace",
        action="append",
        default=[],
        help="watch this namespace; may be repeated; none: all namespaces",
    )
    parser.add_argument(
        "--health-host",
        default="0.0.0.0",  # noqa: S104
        help="of /healthz; the pod's address, where that is IPv6",
    )
    parser.add_argument("--health-port", type=int, default=8081, help="of /healthz")
    parser.add_argument("--metrics-port", type=int, default=8082, help="of /metrics")
    parser.add_argument("--verbose", action="store_true", help="log every action")
    return parser


async def _master_key(arguments: argparse.Namespace) -> str:
    """The master key; what is made once is made here."""
    if not (arguments.master_key_secret or arguments.store_secret):
        return str(arguments.master_key.read_text(encoding="utf-8"))
    namespace = own_namespace()
    cluster = await connect()
    try:
        if arguments.store_secret:
            await store_credentials(cluster, namespace, *arguments.store_secret)
        if arguments.master_key_secret:
            return await master_key(cluster, namespace, arguments.master_key_secret)
        return str(arguments.master_key.read_text(encoding="utf-8"))
    finally:
        await cluster.close()


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
