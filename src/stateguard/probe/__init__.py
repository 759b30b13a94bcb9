"""The probe: concurrent requests as different users, and proof where one user's data reaches another.

:mod:`~stateguard.probe.run` sends, :mod:`~stateguard.probe.canary` marks, :mod:`~stateguard.probe.verdict`
judges; requests come from :mod:`~stateguard.probe.requests` and :mod:`~stateguard.probe.sources`, and go to
a :mod:`~stateguard.probe.targets` of one kind or another.
"""
