"""The inventory page: static HTML and data files, written from gold without an engine.

:mod:`gold` reads pinned versions of the tables; :mod:`stock`, :mod:`ledger` and :mod:`lists` make
of them what the page shows; :mod:`folder` puts it where a reader never sees half of it, and
:mod:`writing` does all that once. :mod:`live` keeps a page up to date beside ``pos run``,
:mod:`serving` serves one on loopback.
"""
