"""The metric of val and test that MMPretrain lacks: cross-entropy."""

import math

from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS


@METRICS.register_module()
class Loss(BaseMetric):
    """Mean cross-entropy in nats: -log of the score of the true class, without label smoothing."""

    def process(self, data_batch, data_samples: list[dict]) -> None:
        for sample in data_samples:
            score = float(sample["pred_score"][int(sample["gt_label"])])
            self.results.append(-math.log(max(score, 1e-12)))

    def compute_metrics(self, results: list[float]) -> dict:
        return {"loss": math.fsum(results) / len(results)}
