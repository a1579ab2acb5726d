"""What a delivery ends with when it can't be made."""

from __future__ import annotations


class DeliveryError(Exception):
    """It did not work; the server has what it had. The text says what is wrong and what would be right."""
