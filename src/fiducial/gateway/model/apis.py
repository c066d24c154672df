"""The APIs that can be guarded, by who speaks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fiducial.gateway.model.api import Api
from fiducial.gateway.model.chat import Chat
from fiducial.gateway.model.messages import Messages
from fiducial.gateway.model.responses import Responses

APIS: Final[Mapping[str, tuple[Api, ...]]] = {"openai": (Chat(), Responses()), "anthropic": (Messages(),)}

__all__ = ["APIS"]
