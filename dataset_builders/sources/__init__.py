"""Where data sets come from, a module each.

A source module has ``HELP``, one sentence; ``add_arguments(parser)``; and ``build(options)``, which
returns a ``DatasetContent``. It writes nothing itself.
"""
