"""Other projects' test suites, with every application in them guarded: no test may change its outcome.

``python -m compat starlette flask`` downloads the released sources of each project, runs its test suite as it
is and again with the guard around every application and server in it, and compares the two, test by test.
``python -m compat --write docs/transparency.md`` runs all of them and writes down what came out.

This takes minutes and needs a package index, so it is run on demand and at night, not with every change.
"""
