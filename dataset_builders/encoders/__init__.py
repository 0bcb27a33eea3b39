"""What turns texts or pictures into feature rows, a module each.

An encoder module has ``NAME``, which goes into the feature file, and ``encode(inputs)``, which
returns float32 ``[inputs, dim]``. A zero row means that the encoder found nothing in the input.
"""
