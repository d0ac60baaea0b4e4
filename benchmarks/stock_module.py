"""The stock pipeline's user code, written as TFX's own templates write it.

The transform graph and the network are ours, so both pipelines fit the same model; how
data is read, trained on and exported is what the templates do.
"""

import tensorflow as tf
from tfx_bsl.public import tfxio

from trainer_module.keras3 import keras, tft
from trainer_module.model import build_model
from trainer_module.settings import ModelSettings
from trainer_module.transform_graph import TransformGraph


def run_fn(fn_args):
    """Trains with Keras `fit` on the materialized examples and exports."""
    config = fn_args.custom_config
    output = tft.TFTransformOutput(fn_args.transform_output)
    graph = TransformGraph.open(fn_args.transform_output, config)
    names = [feature.name for feature in graph.features]
    dataset = fn_args.data_accessor.tf_dataset_factory(
        fn_args.train_files,
        tfxio.TensorFlowDatasetOptions(
            batch_size=config["batch_size"], label_key="label"
        ),
        output.transformed_metadata.schema,
    ).repeat()
    dataset = dataset.map(lambda x, y: ({name: x[name] for name in names}, y))
    whole = build_model(graph.features, ModelSettings.from_config(config["model"]))
    model = keras.Model(whole.inputs, whole.outputs[0])
    model.compile(
        optimizer=keras.optimizers.Adam(config["learning_rate"]),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    model.fit(dataset, steps_per_epoch=fn_args.train_steps, epochs=1, verbose=0)
    module = Served(model, graph, names)
    tf.saved_model.save(
        module,
        fn_args.serving_model_dir,
        signatures={"serving_default": module.serve},
    )


class Served(tf.Module):
    """The model behind its transform graph."""

    def __init__(self, model, graph, names):
        super().__init__()
        self.variables_of_model = model.variables
        self.layer = graph.output.transform_features_layer()
        self._model, self._names, self._spec = model, names, graph.feature_spec

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        """Serialized examples to probabilities."""
        transformed = self.layer(tf.io.parse_example(examples, self._spec))
        logits = self._model({name: transformed[name] for name in self._names})
        return {"probabilities": tf.sigmoid(logits)}
