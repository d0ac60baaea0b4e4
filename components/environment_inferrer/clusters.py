"""Clusters of residual features.

The loss of a row has the gradient r_i x_i in the weights of a linear head on its
features, with the residual r_i = sigmoid(z_i) - y_i. Rows of a shared shortcut pull
these weights the same way, rows that contradict it the other way, each as hard as the
reference is wrong there. k-means on the first principal components of -r_i x_i groups
rows by what the reference gets wrong about them and how. The sign makes the two labels
comparable: a feature that argues for the label is positive in both. Each feature is
weighted by its correlation with the logits, so that what the reference does not use
makes no cluster.

References:
  Zeng et al. 2022, Outlier-Robust Group Inference via Gradient Space Clustering;
  Sohoni et al. 2020, No Subclass Left Behind (clusters of a reference's features).
"""

import dataclasses

import numpy as np
from scipy.special import expit
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

COMPONENTS = 10
_STARTS = 3


@dataclasses.dataclass(frozen=True)
class Clusters:
    """Where the centres lie.

    Attributes:
      centre: the mean row; float32 [D].
      mean: of the residual features; float32 [D].
      axes: principal axes, times the features' weights; float32 [D, C].
      centres: float32 [K, C]; the largest cluster's first.
    """

    centre: np.ndarray
    mean: np.ndarray
    axes: np.ndarray
    centres: np.ndarray

    def project(
        self, rows: np.ndarray, logits: np.ndarray, labels: np.ndarray
    ) -> np.ndarray:
        """Principal components of residual features; float32 [rows, C]."""
        features = residual_features(rows - self.centre, logits, labels)
        return (features - self.mean) @ self.axes

    def assign(
        self, rows: np.ndarray, logits: np.ndarray, labels: np.ndarray
    ) -> np.ndarray:
        """The nearest centre of each row; int64 [rows].

        Args:
          rows: float32 [rows, D].
          logits: [rows].
          labels: 0 or 1; [rows].
        """
        points = self.project(rows, logits, labels)
        # |p - c|^2 without |p|^2, which is the same for all centres.
        distances = (self.centres**2).sum(axis=1) - 2 * points @ self.centres.T
        return distances.argmin(axis=1)


def residual_features(
    rows: np.ndarray, logits: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """-r_i x_i of centred rows, so that x_i argues for either label; [rows, D]."""
    residuals = (labels - expit(logits)).astype(np.float32)
    return residuals[:, None] * rows


def loadings(rows: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The size of each feature's correlation with the logits; float32 [D] in [0, 1]."""
    centred = rows - rows.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0)) * logits.std()
    products = np.abs((logits - logits.mean()) @ centred) / len(rows)
    return np.divide(
        products, spread, out=np.zeros_like(products), where=spread > 0
    ).astype(np.float32)


def fit(
    rows: np.ndarray,
    logits: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    number: int,
    seed: int,
) -> Clusters:
    """Fits principal axes and centres.

    Args:
      rows: float32 [N, D].
      logits: of the reference, out of fold; [N].
      labels: 0 or 1; [N].
      weights: rows of the data that each stands for, by which clusters are ordered.
      number: of clusters.
      seed: of k-means' starts.
    """
    centre = rows.mean(axis=0)
    features = residual_features(rows - centre, logits, labels)
    mean = features.mean(axis=0)
    used = loadings(rows, logits)
    pca = PCA(min(COMPONENTS, *features.shape), random_state=seed)
    pca.fit((features - mean) * used)
    axes = used[:, None] * pca.components_.T.astype(np.float32)
    model = KMeans(number, n_init=_STARTS, random_state=seed)
    found = model.fit_predict((features - mean) @ axes)
    sizes = np.bincount(found, weights, minlength=number)
    order = np.argsort(-sizes, kind="stable")
    return Clusters(
        centre, mean, axes, model.cluster_centers_[order].astype(np.float32)
    )
