"""``explain_gap``: two trainings whose figures differ, and which of their differences makes it.

Imports both frameworks through ``convert``, and ``study``, ``logs`` and ``compare``; no other room imports it.
"""
