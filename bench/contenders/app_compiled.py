"""An app under `svcd up` whose processes run the compiled core, and nothing else changed."""

from contenders.app import Session

__all__ = ["Session"]
