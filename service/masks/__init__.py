"""How masks are written: COCO run lengths, outlines, label images."""
