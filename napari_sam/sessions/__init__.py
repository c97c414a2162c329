"""What a Session is made of: runs of pixels, objects, steps that can be undone, and their files.

runs.py: sets of pixels -> records.py, prompts.py: objects, prompts, steps -> state.py, index.py:
all that is there now -> draft.py, overlap.py, splitting.py: steps being made -> history.py,
journal.py, snapshot.py, folder.py: kept on disk -> importing.py, label_files.py, script.py: in and
out. `napari_sam.session` puts it together.
"""
