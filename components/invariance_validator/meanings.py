"""What the report says of each metric, by task."""

from components.invariance_validator.metrics import (
    BINARY,
    CALIBRATION_ERROR,
    CALIBRATION_SLOPE,
    MULTICLASS,
    REGRESSION,
    RISK_VARIANCE,
    SCORE_DISTANCE,
)

_SCALE = (
    "scale of the logits that fits the labels best; 1 is best, below 1 is overconfident"
)
_GRADIENT = (
    "change of the {} when the {} are scaled; 0 everywhere is IRM's condition, its"
    " square IRMv1's penalty"
)
_BINARY = {
    "auc": "area under the ROC curve; higher is better",
    "log_loss": "mean logistic loss; lower is better",
    "accuracy": "share of examples on the right side of 0.5; higher is better",
    "calibration": "mean prediction / mean label; 1 is best",
    CALIBRATION_SLOPE: _SCALE,
    "calibration_intercept": "shift of the logits that fits the labels best; 0 is best",
    "mean_label": "share of positive examples",
    "mean_prediction": "mean predicted probability",
    "loss_variance": "variance of the logistic loss of an example",
    "irm_gradient": _GRADIENT.format("log loss", "logits"),
    CALIBRATION_ERROR: "mean distance of forecast and outcome, over ten bins of equal"
    " weight; 0 is best, and chance alone makes it larger",
    SCORE_DISTANCE: "Wasserstein-1 distance between the predictions of two slices; 0 is"
    " least, and chance alone makes it larger",
    RISK_VARIANCE: "variance of the log loss over slices, V-REx's penalty; 0 is least,"
    " and chance alone makes it larger",
}
_MULTICLASS = {
    **_BINARY,
    "accuracy": "share of examples whose class is the likeliest; higher is better",
    "balanced_accuracy": "mean over the classes of the share predicted right; higher is"
    " better",
    "log_loss": "mean cross-entropy; lower is better",
    "mean_confidence": "mean probability of the likeliest class",
    "loss_variance": "variance of the cross-entropy of an example",
    CALIBRATION_ERROR: "mean distance of the likeliest class's probability and how"
    " often it is right, over ten bins of equal weight; 0 is best, and chance alone"
    " makes it larger",
    SCORE_DISTANCE: "Wasserstein-1 distance between the likeliest class's probabilities"
    " of two slices; 0 is least, and chance alone makes it larger",
}
_REGRESSION = {
    "mean_squared_error": "mean squared error; lower is better",
    "root_mean_squared_error": "root of the mean squared error, in the label's unit;"
    " lower is better",
    "mean_absolute_error": "mean absolute error, in the label's unit; lower is better",
    "r_squared": "share of the label's variance that is explained; 1 is best, below 0"
    " is worse than its mean",
    CALIBRATION_SLOPE: "slope of the label on the prediction, by least squares; 1 is"
    " best, below 1 the predictions are too far from their mean",
    "calibration_intercept": "the label where the prediction is 0, by least squares; 0"
    " is best",
    "mean_label": "mean label",
    "mean_prediction": "mean prediction",
    "loss_variance": "variance of the squared error of an example",
    "irm_gradient": _GRADIENT.format("mean squared error", "predictions"),
    RISK_VARIANCE: "variance of the mean squared error over slices, V-REx's penalty; 0"
    " is least, and chance alone makes it larger",
}
# Task -> metric -> what it means.
MEANINGS = {BINARY: _BINARY, MULTICLASS: _MULTICLASS, REGRESSION: _REGRESSION}
