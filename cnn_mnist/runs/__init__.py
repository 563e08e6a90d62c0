"""The run folder that both trainers write: tags, files, times, pictures.

Core: imports no framework and no extra; both trainers and whatever reads runs may import it.
"""
