"""What the steps of one proxied call share."""

from __future__ import annotations

from .._http.context import Context
from .models import Route


class GatewayContext(Context):
    """A call's context in the gateway: also its `route`."""

    def __init__(self, route: Route) -> None:
        self.route = route
