"""Models and their weights on disk: immutable safetensors files, and a manifest for each model that names them.

    DIR/
      .lock                       held by the server that uses the folder
      classifier/                 one folder a model
        manifest.json             what the model is, its live weights and its checkpoints; proves itself
        7-1f0c62aa.safetensors    weights: the version they were written at, and something random
        upload-93a1e07b.part      weights that are still on their way in

A file is written once, made durable, and only then named by a manifest; a manifest is replaced whole. So after a kill
or a power loss each model is as it was before or after the change that was cut short, and what no manifest names is
swept away when the folder is next opened.
"""
