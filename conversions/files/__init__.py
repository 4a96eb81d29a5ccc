"""Files on the disc: formats, shards, training checkpoints, what may be read of them and how they are written."""
