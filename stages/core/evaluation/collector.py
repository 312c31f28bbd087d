"""The scores of every image of a split, as mmengine's test loop computes them."""

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from mmengine.config import Config
from mmengine.evaluator import BaseMetric


@dataclass(frozen=True)
class Scored:
    """Images in the order of their list."""

    paths: list[str]
    labels: np.ndarray
    """(N,) int64: numbers of the true classes."""
    scores: np.ndarray
    """(N, C) float64: softmax scores, in [0, 1]."""

    @cached_property
    def predicted(self) -> np.ndarray:
        """(N,) int64: the class with the highest score; of equal ones the first."""
        return self.scores.argmax(axis=1)

    @cached_property
    def correct(self) -> np.ndarray:
        """(N,) bool."""
        return self.predicted == self.labels

    @cached_property
    def confidence(self) -> np.ndarray:
        """(N,) float64: the highest score."""
        return self.scores.max(axis=1)


class ScoreCollector(BaseMetric):
    """Keeps the scores of each image, in the order of the list."""

    scored: Scored

    def process(self, data_batch, data_samples: list[dict]) -> None:
        for sample in data_samples:
            scores = sample["pred_score"].cpu().numpy()
            self.results.append((sample["listed_path"], int(sample["gt_label"]), scores))

    def compute_metrics(self, results: list[tuple]) -> dict:
        paths, labels, scores = zip(*results, strict=True)
        self.scored = Scored([*paths], np.array(labels), np.stack(scores).astype(np.float64))
        return {}


def score_flips(cfg: Config) -> None:
    """Test-time augmentation, MMPretrain's own: the mean score of an image and its mirror image."""
    *before, pack = copy.deepcopy(cfg.test_dataloader.dataset.pipeline)
    flips = [dict(type="RandomFlip", prob=probability) for probability in (0.0, 1.0)]
    cfg.test_dataloader.dataset.pipeline = [
        *before,
        dict(type="TestTimeAug", transforms=[flips, [pack]]),
    ]
    cfg.model = dict(type="AverageClsScoreTTA", module=cfg.model)
