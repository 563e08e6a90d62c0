"""What a run folder holds, written by both trainers: tags, files, times, pictures.

Imports no framework; both trainers and whatever reads runs may import it.
"""
