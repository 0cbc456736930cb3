"""Bytes to pixels and back: decoding within limits, and fitting an image to the network's grid."""
