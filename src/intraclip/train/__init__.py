"""The run folder: what a training run leaves behind, and where.

::

    RUN/
      config.toml          the resolved recipe, itself a valid recipe
      environment.json     versions, hardware, command, commit, data
      metrics.jsonl        one line an epoch
      checkpoints/         step-00000960.safetensors, ...: weights, optimizer, state of the loop
      throughput.json      where the time went
      failed-batch.safetensors  what a loss that is not finite was computed on, if that happened
      model.safetensors    the final weights
      events/              TensorBoard
      exported/            the frame encoder for other engines, made when one is asked for
      evaluation.json      scores by protocol, written by `intraclip evaluate`
      embeddings.npz       the scored embeddings
      report.html          written by `intraclip report`
"""

from intraclip.core.callable_package import make_callable

make_callable(__name__, module="loop", function="train")
