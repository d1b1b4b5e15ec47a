"""svcd's bare channel with the compiled core, and nothing else changed."""

from contenders.channel import Session

__all__ = ["Session"]
