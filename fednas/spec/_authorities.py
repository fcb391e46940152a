"""By which authorities a server is checked whose certificate the public ones did not sign."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fednas.spec._base import OneOf, Text
from fednas.spec._pods import DNS_SUBDOMAIN

__all__ = ["Authorities"]

_Name = Annotated[Text, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]


class Authorities(OneOf):
    """Certificates in PEM under the key ca.crt, in the search's namespace."""

    config_map: _Name | None = Field(None, description="Name of a ConfigMap with the key ca.crt.")
    secret: _Name | None = Field(None, description="Name of a Secret with the key ca.crt.")
