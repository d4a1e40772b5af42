"""Which of taut's own checks hold, as taut's configuration says it."""

from __future__ import annotations

from typing import Literal

from taut.model.application import Spec

CheckName = Literal["image-tag", "image-digest", "raw-secret", "service-selector", "ingress-backend"]


class ChecksConfig(Spec, frozen=True):
    """taut's own checks of what applications render to. What they find is told in the status; `taut check` makes more of them."""

    enforce: tuple[CheckName, ...] = ()
    """The checks that hold an application instead: nothing of it is written while they find something."""
    without: tuple[CheckName, ...] = ()
    """The checks that are not made."""
