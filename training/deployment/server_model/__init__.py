"""What runs inside the inference server when it is to cluster as well; copied into model folders.

Nothing here imports the rest of the project: the server's container has PyTorch and this folder.
"""
