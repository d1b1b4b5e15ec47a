"""Read a handwritten digit: prepare the picture, let two different classifiers judge it at once, take their vote."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

import svcd


@svcd.service
class Preprocess:
    """Picture file to features."""

    @svcd.api
    def features(self, image: bytes) -> np.ndarray:
        """Return 64 grey values between 0 and 1, light ink on a dark ground as in the training data."""
        try:
            picture = Image.open(io.BytesIO(image)).convert("L")
        except (UnidentifiedImageError, OSError):
            problem = "not a picture in a format that Pillow reads"
            details = [{"field": "image", "message": problem}]
            raise svcd.InvalidArgument(f"image: {problem}", details=details) from None
        return np.asarray(picture.resize((8, 8)), dtype=np.float64).reshape(64) / 255


@svcd.service
class Kernel:
    """A support vector machine with a radial kernel."""

    def __init__(self) -> None:
        # Imported here, so that only the processes that train pay for scikit-learn.
        from samples import training_set
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.svm import SVC

        self.model = CalibratedClassifierCV(SVC(gamma=0.5, C=10), ensemble=False).fit(*training_set())

    @svcd.api
    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of each digit, shape (10,)."""
        return self.model.predict_proba(features[np.newaxis])[0]


@svcd.service
class Forest:
    """A hundred decision trees."""

    def __init__(self) -> None:
        from samples import training_set
        from sklearn.ensemble import RandomForestClassifier

        self.model = RandomForestClassifier(n_estimators=100, random_state=0).fit(*training_set())

    @svcd.api
    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of each digit, shape (10,)."""
        return self.model.predict_proba(features[np.newaxis])[0]


@dataclass
class Verdict:
    digit: int
    probabilities: list[float]
    """Of the digits 0 to 9; they add up to 1."""
    unanimous: bool
    """Whether both classifiers would have said the same."""


@svcd.service
class Vote:
    """Soft voting: the mean of the classifiers' probabilities decides."""

    @svcd.api
    def decide(self, ballots: list[np.ndarray]) -> Verdict:
        mean = np.mean(ballots, axis=0)
        return Verdict(
            digit=int(mean.argmax()),
            probabilities=[round(float(share), 4) for share in mean],
            unanimous=len({int(ballot.argmax()) for ballot in ballots}) == 1,
        )


@svcd.service
class Digits:
    """The entry: `POST /classify` with a picture."""

    preprocess = svcd.depends(Preprocess)
    kernel = svcd.depends(Kernel)
    forest = svcd.depends(Forest)
    vote = svcd.depends(Vote)

    @svcd.api
    async def classify(self, image: bytes) -> Verdict:
        """Say which digit a picture shows."""
        features = await self.preprocess.features.to_async(image=image)
        ballots = await svcd.gather(
            self.kernel.probabilities.to_async(features=features),
            self.forest.probabilities.to_async(features=features),
        )
        return await self.vote.decide.to_async(ballots=list(ballots))
