"""IRMv1 the way the papers' code computes it, to compare with: own code.

A Python loop over the environments: rows by a boolean mask, the risk of the logits
times a dummy scale, and a gradient in that scale for each, which the gradient in the
weights then goes through. In TensorFlow, and in PyTorch where that is installed.
"""

import importlib.util

import tensorflow as tf


class TensorFlowLoop:
    """Mean risk + IRMv1; used as an `objectives.Objective` is."""

    replaces_risk = True
    starts_from_clean_pass = False
    trainable_variables = ()

    def build(self, shapes):
        """Makes nothing: there are no variables."""

    def __call__(self, step):
        """The loss of a step, a scalar."""
        batch = step.batch
        risks, squares = [], []
        for environment in range(batch.num_environments):
            rows = tf.equal(batch.environment_ids, environment)
            logits = tf.boolean_mask(batch.logits, rows)
            labels = tf.boolean_mask(batch.labels, rows)
            scale = tf.constant(1.0)
            with tf.GradientTape() as tape:
                tape.watch(scale)
                risk = tf.reduce_mean(
                    tf.nn.sigmoid_cross_entropy_with_logits(labels, logits * scale)
                )
            squares.append(tf.square(tape.gradient(risk, scale)))
            risks.append(risk)
        return tf.reduce_mean(tf.stack(risks)) + tf.reduce_mean(tf.stack(squares))


def torch_installed():
    """Whether PyTorch can be imported."""
    return importlib.util.find_spec("torch") is not None


def torch_steps(features, labels, ids, hidden, learning_rate):
    """PyTorch's step of ERM, and that of IRMv1, each with a network of its own.

    Args:
      features: [B, D] float32, NumPy.
      labels: [B, 1] float32, NumPy.
      ids: [B] int, NumPy; every environment up to the largest has a row.
      hidden: units of the hidden layers.
      learning_rate: Adam's.

    Returns:
      Two functions that take a step and return its loss.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    inputs, targets, ids = (
        torch.as_tensor(array, device=device) for array in (features, labels, ids)
    )
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits

    def irm(logits, targets):
        risks, squares = [], []
        for environment in range(int(ids.max()) + 1):
            rows = ids == environment
            scale = torch.ones([], device=device, requires_grad=True)
            risk = loss_of(logits[rows] * scale, targets[rows])
            (gradient,) = torch.autograd.grad(risk, [scale], create_graph=True)
            squares.append(gradient.square())
            risks.append(risk)
        return torch.stack(risks).mean() + torch.stack(squares).mean()

    def stepper(objective):
        layers, width = [], features.shape[1]
        for units in hidden:
            layers += [torch.nn.Linear(width, units), torch.nn.ReLU()]
            width = units
        model = torch.nn.Sequential(*layers, torch.nn.Linear(width, 1)).to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)

        def step():
            optimizer.zero_grad()
            loss = objective(model(inputs), targets)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    return stepper(loss_of), stepper(irm)
