"""Images with instance masks: files on disk, drawn scenes, and how they are varied."""
