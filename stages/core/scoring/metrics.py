"""How images are scored: mmengine metrics for cross-entropy and predictions, and the mean of flips."""

import copy
import math

from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS

from stages.core.scoring.predictions import Prediction


@METRICS.register_module()
class Loss(BaseMetric):
    """Mean cross-entropy in nats: -log of the score of the true class, without label smoothing."""

    def process(self, data_batch, data_samples: list[dict]) -> None:
        for sample in data_samples:
            score = float(sample["pred_score"][int(sample["gt_label"])])
            self.results.append(-math.log(max(score, 1e-12)))

    def compute_metrics(self, results: list[float]) -> dict:
        return {"loss": math.fsum(results) / len(results)}


class PredictionCollector(BaseMetric):
    """Keeps a Prediction for each image, in the order of the list."""

    def __init__(self, classes: list[str]):
        super().__init__()
        self.classes = classes
        self.predictions: list[Prediction] = []

    def process(self, data_batch, data_samples: list[dict]) -> None:
        for sample in data_samples:
            self.results.append(
                Prediction.from_scores(
                    sample["listed_path"],
                    self.classes,
                    sample["pred_score"].tolist(),
                    label=int(sample["gt_label"]),
                )
            )

    def compute_metrics(self, results: list[Prediction]) -> dict:
        self.predictions = results
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
