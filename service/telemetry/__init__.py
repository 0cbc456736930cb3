"""What the service tells about itself: metrics, logs and traces."""
