"""Where data sets come from, a module each.

A source module has ``HELP``, one sentence; ``add_arguments(parser)``; and ``build(options)``, which
returns a ``DatasetContent``. It writes nothing itself. It may have ``addresses(options)``, the URLs
that it fetches; ``MODALITIES``, what it has the texts or pictures of, if that is known before; and
``LIGHT = True``, if its features are made without a model hub unless another encoder is asked for.
"""
