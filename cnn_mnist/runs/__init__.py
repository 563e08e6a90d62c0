"""What a run folder holds, written by both trainers: tags, files, times, pictures.

Core: imports no framework and no extra; both trainers and whatever reads runs may import it.
"""
