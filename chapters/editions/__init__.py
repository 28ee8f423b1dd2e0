"""The editions of the book for a course, all written from the notebooks.

``python -m editions student`` (with chapters in the path; ``make student``)
writes _build/student. The others are teacher, nbgrader and slides.
"""
