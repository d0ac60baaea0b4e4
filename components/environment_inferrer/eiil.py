r"""EIIL: the environments that a fixed reference model violates invariance most on.

For soft assignments q_i in [0, 1] to the first of two environments, EIIL maximises the
IRMv1 penalty of the reference, summed over both environments e,

    C(q) = sum_e | d/dw (1/N) sum_i q_i(e) loss(w z_i, y_i) |^2   at w = 1
         = (mean_i q_i g_i)^2 + (mean_i (1 - q_i) g_i)^2,

where g_i = (sigmoid(z_i) - y_i) z_i is the gradient of the logistic loss of row i in
the dummy scale w. The paper climbs C from random q by gradient steps. But with A the
first mean and G the mean of all g, C = A^2 + (G - A)^2 is convex in A, and A reaches
from the sum of all negative g to that of all positive ones (over N). So C is largest at
one of those two ends, which are the same partition with its names exchanged:

    q_i = 1 where g_i > 0, else 0.

g_i > 0 exactly where the sign of z_i is not that of the label: EIIL's environments of a
binary problem are *where the reference is right* and *where it is wrong*. That is a
function of features and label, so every row has an environment, seen or not; and with
the reference given, no seed changes it. What may change it is the reference.

References:
  Creager, Jacobsen and Zemel 2021, Environment Inference for Invariant Learning,
  eq. 4 and 5, algorithm 1.
"""

import numpy as np
from scipy.special import expit


def scale_gradients(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The g of every row: the derivative of its loss in a scale of the logits at 1.

    Args:
      logits: [rows].
      labels: 0 or 1; [rows].
    """
    return (expit(logits) - labels) * logits


def objective(assignments: np.ndarray, gradients: np.ndarray) -> float:
    """C(q), which EIIL maximises.

    Args:
      assignments: q, in [0, 1]; [rows].
      gradients: g; [rows].
    """
    first = np.mean(assignments * gradients)
    second = np.mean((1 - assignments) * gradients)
    return float(first**2 + second**2)


def assign(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The maximiser of C: 0 where the reference is right, 1 where it is wrong.

    Args:
      logits: [rows].
      labels: 0 or 1; [rows].

    Returns:
      int64 [rows]; a logit of 0, which changes nothing, counts as right.
    """
    return (scale_gradients(logits, labels) > 0).astype(np.int64)
